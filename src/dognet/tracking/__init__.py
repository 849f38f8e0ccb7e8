"""Runs in MLflow: recorded from their folders, compared on prepared dashboards, exported as models."""
