"""Baselines: the estimates of an earlier checkpoint, and what has changed since."""
