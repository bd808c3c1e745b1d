"""A result as one row of a table over checkpoints or training steps; what has no fixed shape is JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from embcheck.checks.record import builtins

if TYPE_CHECKING:
    from embcheck.checks.check import Result

Row = dict[str, Any]
"""By the names of `embcheck.sweep.store.SCHEMA`."""


def row_of(result: Result) -> Row:
    """A result as one row of the Parquet file."""
    record, estimate = result.record, result.estimate
    stated = record.estimate
    return {
        "property": record.id,
        "version": record.version,
        "params": _text(record.params),
        "verdict": str(record.verdict),
        "outcome": record.outcome,
        "estimate": None if stated is None else stated.name,
        "value": None if stated is None else stated.value,
        "low": None if stated is None else stated.low,
        "high": None if stated is None else stated.high,
        "confidence_level": None if stated is None else stated.confidence_level,
        "method": None if stated is None else stated.method,
        "n": None if stated is None else stated.n,
        "unit": None if stated is None else stated.unit,
        "exact": None if estimate is None else estimate.is_exact,
        "sentence": record.sentence,
        "claims": _text(record.claims),
        "nulls": _text(record.nulls),
        "reason": record.reason,
        "seconds": result.seconds,
        "margin": result.check.declaration.margin,
    }


def _text(value: Any) -> str:
    return json.dumps(builtins(value), sort_keys=True)
