"""dognet: the network of one lecture, run as a real experiment pipeline."""
