"""What makes a function a measure: its estimates carry its name, by which pictures and plants know them."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from embcheck.estimate import Estimate

__all__ = ["measure"]

P = ParamSpec("P")


def measure(function: Callable[P, Estimate]) -> Callable[P, Estimate]:
    """The function, with its name in ``Estimate.measure`` of what it returns."""

    @wraps(function)
    def stamped(*args: P.args, **kwargs: P.kwargs) -> Estimate:
        return replace(function(*args, **kwargs), measure=function.__name__)

    return stamped
