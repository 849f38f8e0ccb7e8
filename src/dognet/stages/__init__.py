"""The stages: fetch, train, evaluate, plot and track, one by one for `dvc repro`, or in one process for `dognet`."""
