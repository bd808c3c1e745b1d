"""The results of a run as a data frame: one row a result, one column a quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.checks.record import parameters_of
from embcheck.reports.frame import frame
from embcheck.reports.wording import bound_text
from embcheck.run.rows import row_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from embcheck.checks.check import Result
    from embcheck.run.rows import Row

COLUMNS = {
    "model": "object",
    "property": "object",
    "parameters": "object",
    "other": "object",
    "estimate": "object",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "confidence_level": "float64",
    "exact": "boolean",
    "claim": "object",
    "verdict": "object",
    "passed": "bool",
    "expected": "bool",
    "kind": "object",
    "n": "Int64",
    "unit": "object",
    "method": "object",
    "p_value": "float64",
    "effect": "float64",
    "rests_on": "object",
    "control": "Int64",
    "change": "object",
    "remark": "object",
    "reason": "object",
    "seconds": "float64",
}
"""By name, the pandas type of a column: what was not measured is NaN, NA or None."""


def dataframe(results: Iterable[Result]) -> pd.DataFrame:
    """The results in their order; raises `UsageError` where pandas is not installed."""
    return frame(map(row, results), COLUMNS, "run.document has the same, as plain types")


def row(result: Result) -> Row:
    """One result by the names of the columns."""
    check, record = result.check, result.record
    params = {name: value for name, value in check.record.items() if name != "other"}
    beaten = {claim.null for claim in result.claims if claim.op == "beats"}
    p_values = [null.p_value for null in result.nulls if null.name in beaten and null.p_value is not None]
    measured: dict[str, Any] = {name: value for name, value in row_of(result).items() if name in COLUMNS}
    return measured | {
        "model": result.model,
        "parameters": parameters_of(params),
        "other": check.other,
        "passed": result.passed,
        "expected": result.expected,
        "claim": "; ".join(map(bound_text, record.claims)),
        "kind": record.kind,
        "p_value": max(p_values, default=None),
        "rests_on": None if result.ladder is None else result.ladder.suffices or "more",
        "control": None if result.control is None else result.control.holds,
        "effect": None if result.estimate is None or not result.estimate.effect else result.estimate.effect["value"],
        "change": None if result.change is None else str(result.change.state),
        "remark": record.details.get("remark"),
        "reason": result.reason,
    }
