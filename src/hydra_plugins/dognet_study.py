"""The sweeper."""
