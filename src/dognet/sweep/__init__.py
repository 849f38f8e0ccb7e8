"""Sweeps: studies, the points of a grid, the runs that are to do, and the report of what came of them."""
