"""The old place of `embcheck.training.EmbcheckCallback`, for one release."""

from embcheck.training.callbacks import EmbcheckCallback

__all__ = ["EmbcheckCallback"]
