"""The old place of `embcheck.training.Monitor`, for one release."""

from embcheck.training.monitor import Monitor, Observation, Reaction

__all__ = ["Monitor", "Observation", "Reaction"]
