"""Records of toys, of which a test changes what it is about."""

from __future__ import annotations

from typing import Any

from embcheck.checks.record import (
    SCHEMA,
    EstimateRecord,
    ModelRecord,
    NullResult,
    Population,
    Report,
    ResultRecord,
    RunRecord,
)
from embcheck.claims import ClaimOutcome, Verdict


def claim(
    op: Any, *numbers: float | None, null: str | None = None, verdict: str = "holds", **about: Any
) -> ClaimOutcome:
    """A claim with its bound, or its low and high end."""
    ends = dict(zip(("low", "high") if op == "within" else ("bound",), numbers, strict=True))
    return ClaimOutcome(op, Verdict(verdict), null, **ends, **about)


def estimate(value: float | None = 0.75, low: float | None = 0.7, high: float | None = 0.8, **changes: Any) -> Any:
    """12 toys."""
    about = {"name": "", "confidence_level": 0.95, "method": "t", "n": 12, "unit": "toys", "exact": low == high}
    return EstimateRecord(**{**about, "value": value, "low": low, "high": high, "effect": None, **changes})


def result(verdict: str = "holds", outcome: Any = "pass", **changes: Any) -> ResultRecord:
    """A result of the property toy, claimed to lie above 0.5."""
    about = {
        "id": "toy",
        "version": 1,
        "params": {},
        "sentence": "Everything is a toy.",
        "claims": (claim("above", 0.5, verdict=verdict),),
        "estimate": estimate(),
        "nulls": (),
        "control": None,
        "change": None,
        "details": {},
        "counterexamples": (),
        "reason": None,
    }
    return ResultRecord(**{**about, "verdict": Verdict(verdict), "outcome": outcome, **changes})


def null(name: str, value: float, p_value: float | None = None) -> NullResult:
    """What a null gave."""
    return NullResult(name, value, p_value)


def model(*results: ResultRecord, **changes: Any) -> ModelRecord:
    """Ten rows of width 4."""
    about = {
        "alias": "m",
        "spec": "m",
        "revision": None,
        "weights_sha256": None,
        "tokens_sha256": None,
        "shape": (10, 4),
        "dtype": "float32",
        "population": Population("known", 8, {"special": 2}),
        "results": results,
    }
    return ModelRecord(**{**about, **changes})


def report(*models: ModelRecord, seed: int = 5) -> Report:
    """A report of models."""
    return Report(SCHEMA, RunRecord("1.0", seed, "cpu", {}), {}, models)
