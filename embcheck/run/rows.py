"""A result as one row of a table over checkpoints or training steps; what has no fixed shape is JSON text."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from embcheck.checks.check import claim_outcomes
from embcheck.checks.record import builtins
from embcheck.claims import Verdict, above, beats, below, combine, within
from embcheck.estimate import Estimate
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embcheck.checks.check import Check, Result
    from embcheck.checks.record import ModelRecord
    from embcheck.claims import Bound

__all__ = ["Row", "has_value", "judged_again", "note_of_broken", "population_of", "row_of"]

_FEW = 0.01
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


def population_of(model: ModelRecord) -> Row:
    """Which rows of a model the claims are about, and how many were left out as what."""
    population = model.population
    if population is None:
        return {}
    return {"rows": population.rows, "excluded": _text(population.excluded)}


def note_of_broken(rows: int, excluded: Mapping[Any, int]) -> str | None:
    """What to say first of a table with rows that no claim is about for being broken.

    A few zero rows alone are padding's; those of ordinary tokens are counted by the property ``intact_rows``.
    """
    not_finite, zero = excluded.get("non_finite", 0), excluded.get("zero", 0)
    if not not_finite and zero <= _FEW * (rows + zero):
        return None
    kinds = {"not finite": not_finite, "zero": zero}
    broken = [counted(n, f"rows are {kind}", f"row is {kind}") for kind, n in kinds.items() if n]
    return ", ".join([*broken, f"{rows} {'is' if rows == 1 else 'are'} measured"])


def has_value(row: Row) -> bool:
    """Whether a check was measured: it has a value, and one that may decide its claims."""
    return row["value"] is not None and not (row["verdict"] == Verdict.INCONCLUSIVE and row["reason"])


def judged_again(row: Row, check: Check) -> Row | None:
    """A stored row under the claims as they are now, whose outcome is still to be worked out.

    None where the row can't tell and the check is to be measured again: a claim needs more than the row has, such as
    the draws of another null, or other bounds are undecided by an estimate that was made as sharp as the old ones took.
    """
    declaration = check.declaration
    about = row | {"sentence": declaration.sentence, "margin": declaration.margin}
    if not has_value(row):
        outcomes = claim_outcomes(declaration.claims, None, Verdict(row["verdict"]))
        return about | {"claims": _text(outcomes)}
    value, low, high = (math.nan if row[name] is None else row[name] for name in ("value", "low", "high"))
    estimate = Estimate(value, low, high, row["confidence_level"], row["method"], row["n"], row["unit"])
    ranges = {claim["null"]: claim for claim in json.loads(row["claims"]) if claim["op"] == "within"}
    p_values = {null["name"]: null["p_value"] for null in json.loads(row["nulls"])}
    claims: list[Any] = []
    for bound in declaration.claims:
        outcome = _judged_bound(bound, estimate, ranges, p_values)
        if outcome is None:
            return None
        claims.append(outcome)
    verdict, text = combine([Verdict(claim["verdict"]) for claim in claims]), _text(claims)
    if verdict is Verdict.INCONCLUSIVE and _bounds(text) != _bounds(row["claims"]):
        return None
    return about | {"verdict": str(verdict), "claims": text, "reason": None}


def _judged_bound(
    bound: Bound, estimate: Estimate, ranges: dict[str | None, Row], p_values: dict[str, float | None]
) -> Any:
    """A claim with its verdict, as JSON types; none where a row does not tell."""
    if isinstance(bound, above | below | within):
        return builtins(bound.outcome(estimate, bound.verdict(estimate)))
    if isinstance(bound, beats):
        p_value = p_values.get(bound.name)
        return None if p_value is None else builtins(bound.outcome(estimate, bound.verdict_of(p_value)))
    null = getattr(bound, "null", None)  # what it predicts is part of the property's version
    stated = ranges.get(null) if null is not None else None
    if stated is None or stated["low"] is None or stated["high"] is None:
        return None
    holds = stated["low"] <= estimate.value <= stated["high"]
    return stated | {"verdict": str(Verdict.HOLDS if holds else Verdict.REFUTED)}


def _bounds(claims: str) -> list[Row]:
    return [{key: value for key, value in claim.items() if key != "verdict"} for claim in json.loads(claims)]


def _text(value: Any) -> str:
    return json.dumps(builtins(value), sort_keys=True)
