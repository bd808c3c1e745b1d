"""Properties watched while a model is trained: in any loop, or through a callback of transformers' ``Trainer``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.training.monitor import Monitor, Observation

if TYPE_CHECKING:
    from embcheck.training.callbacks import EmbcheckCallback

__all__ = ["EmbcheckCallback", "Monitor", "Observation"]


def __getattr__(name: str) -> Any:
    """The callback, which needs transformers, once it is asked for."""
    if name != "EmbcheckCallback":
        raise AttributeError(f"module 'embcheck.training' has no attribute {name!r}")
    from embcheck.training.callbacks import EmbcheckCallback

    return EmbcheckCallback
