"""Measures: pure functions ``(table, ..., rng) -> Estimate``. One idea a module, loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck.measures.analogies import analogy_gain, analogy_rank
    from embcheck.measures.classes import negative_share_difference
    from embcheck.measures.gaussian import gaussian_share
    from embcheck.measures.offsets import offset_consistency
    from embcheck.measures.shares import non_negative_share

_HOME = {
    "analogy_gain": "analogies",
    "analogy_rank": "analogies",
    "gaussian_share": "gaussian",
    "negative_share_difference": "classes",
    "non_negative_share": "shares",
    "offset_consistency": "offsets",
}

__all__ = [
    "analogy_gain",
    "analogy_rank",
    "gaussian_share",
    "negative_share_difference",
    "non_negative_share",
    "offset_consistency",
]


def __getattr__(name: str) -> Any:
    """Load the module of a measure when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(
            f"module 'embcheck.measures' has no measure {name!r}; there are {', '.join(sorted(_HOME))}"
        )
    return getattr(importlib.import_module(f"embcheck.measures.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """The measures."""
    return sorted(__all__)
