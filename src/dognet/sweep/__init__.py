"""Sweeps: the grid of a study, the runs that must still be trained, and the report of their results."""
