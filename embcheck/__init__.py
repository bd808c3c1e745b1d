"""Property tests for embedding matrices: state claims about their geometry, measure them, pass or fail.

Public names are loaded when first used: importing this package imports neither torch, numpy nor scipy.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck import explore, lexicons, measures, needs, nulls, published, strategies
    from embcheck.api import Run, check, compare, diagnose, load
    from embcheck.checks.check import Result
    from embcheck.claims import Verdict, above, agrees, beats, below, claim, within
    from embcheck.errors import EmbcheckError, NotMeasurable
    from embcheck.estimate import Estimate
    from embcheck.table import EmbeddingTable

    __version__: str

__all__ = [
    "EmbcheckError",
    "EmbeddingTable",
    "Estimate",
    "NotMeasurable",
    "Result",
    "Run",
    "Verdict",
    "__version__",
    "above",
    "agrees",
    "beats",
    "below",
    "check",
    "claim",
    "compare",
    "diagnose",
    "explore",
    "lexicons",
    "load",
    "measures",
    "needs",
    "nulls",
    "published",
    "strategies",
    "within",
]

_HOME = {
    "EmbcheckError": "errors",
    "EmbeddingTable": "table",
    "Estimate": "estimate",
    "NotMeasurable": "errors",
    "Result": "checks.check",
    "Run": "api",
    "Verdict": "claims",
    "above": "claims",
    "agrees": "claims",
    "beats": "claims",
    "below": "claims",
    "check": "api",
    "claim": "claims",
    "compare": "api",
    "diagnose": "api",
    "load": "api",
    "within": "claims",
}
_MODULES = frozenset({"explore", "lexicons", "measures", "needs", "nulls", "published", "strategies"})


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        from embcheck.checks.record import version

        return version("embcheck")
    if name not in _HOME:
        raise AttributeError(f"module 'embcheck' has no attribute {name!r}")
    if _HOME[name] == "api" and "torch" not in sys.modules:  # once PyTorch is there its threads have been set up
        from embcheck.settings import prepare_process

        prepare_process()
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
