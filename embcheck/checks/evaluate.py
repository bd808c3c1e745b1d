"""Run checks: property x table, or pair of tables -> estimate -> claims -> verdict.

Each claim decides for itself (`embcheck.claims`); here the verdicts are combined.

Importing this module imports no numpy, so that properties can be collected cheaply.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embcheck import nulls
from embcheck.checks.check import Check, Result, checks_of, claim_outcomes, error_result, judge, skipped_result
from embcheck.checks.record import Control, NullResult, plain
from embcheck.claims import Verdict, beats, combine, decides
from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Estimate
from embcheck.settings import Settings, using, using_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from embcheck.table import EmbeddingTable

    Subject = EmbeddingTable | tuple[EmbeddingTable, ...]
    """What a property is measured on: a table, or two where it is about pairs of models."""

__all__ = ["Check", "Result", "checks_of", "error_result", "evaluate", "judge", "rng_for", "skipped_result"]

WHOLE_TABLE_DRAWS = 199
CONTROL_TABLES, CONTROL_ROWS, VACUOUS_AT = 20, 20_000, 3


def rng_for(seed: int, check: Check, purpose: str = "") -> np.random.Generator:
    """A generator derived from the seed, the property id and the parameters, and nothing else."""
    import numpy as np

    text = json.dumps([seed, check.declaration.id, check.record, purpose], sort_keys=True)
    entropy = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.PCG64(entropy))


def evaluate(
    check: Check, table: Subject, settings: Settings, *, control: bool = False, expected: bool = True
) -> Result:
    """Measure one property on one table, or on a pair, and hold its claims against the estimate.

    With ``control`` also on 20 random tables, on which a property that should fail on noise must not hold 3 times.
    ``expected`` is false for a configured exception. Raises `EmbcheckError` where the property was written or called
    wrongly; what the table lacks makes a skipped result instead, and one not applicable where the property needs it.
    """
    started = time.perf_counter()
    tables = table if isinstance(table, tuple) else (table,)
    with using(settings), using_rule(lambda low, high: decides(check.declaration.claims, low, high)):
        try:
            if (lacking := check.declaration.lacking(tables, check.params)) is not None:
                return skipped_result(check, lacking, expected=expected, verdict=Verdict.NOT_APPLICABLE)
            estimate = _measure(check, table, check.params, rng_for(settings.seed, check))
            estimate = _draw_missing_nulls(check, table, estimate, settings)
        except NotMeasurable as why:
            result = skipped_result(check, str(why), expected=expected)
        else:
            verdict, reason = _verdict(check, estimate)
            if not expected and verdict is Verdict.HOLDS:
                reason = "it holds, but the configuration expects it not to; remove the exception"
            claims = claim_outcomes(check.declaration.claims, estimate, verdict)
            result = Result(
                check, verdict, estimate, claims, _nulls(check, estimate), undecided=reason, expected=expected
            )
            if control and check.declaration.on_noise == "fails":
                result = _with_control(result, table, settings)
    return replace(result, seconds=time.perf_counter() - started)


def _measure(check: Check, table: Subject, params: Mapping[str, Any], rng: np.random.Generator) -> Estimate:
    supplied = {"rng": rng} if "rng" in inspect.signature(check.function).parameters else {}
    estimate: object = check.function(table, **params, **supplied)
    if not isinstance(estimate, Estimate):
        got = f"property {check.declaration.id} returned {type(estimate).__name__}"
        raise UsageError(f"{got}; return an Estimate, such as Estimate.exact(x)")
    return estimate


def _draw_missing_nulls(check: Check, table: Subject, estimate: Estimate, settings: Settings) -> Estimate:
    """Draws of the nulls that the measure did not draw itself, by measuring 199 tables or relabellings made by each."""
    import numpy as np

    draws = dict(estimate.draws)
    for bound in check.declaration.claims:
        if isinstance(bound, beats) and bound.name not in draws:
            rng = rng_for(settings.seed, check, bound.name)
            values = []
            for _ in range(settings.drawn(WHOLE_TABLE_DRAWS)):
                try:
                    drawn = bound.null(table, dict(check.params), rng)
                except KeyError as lacking:
                    changes = f"{lacking}, which the null {bound.name} changes"
                    raise UsageError(f"property {check.declaration.id} has no parameter {changes}") from None
                if not (isinstance(drawn, tuple) and len(drawn) == 2):
                    kind = type(drawn).__name__
                    raise UsageError(f"the null {bound.name} must return (table, parameters), got {kind}")
                values.append(_measure(check, *drawn, rng).value)
            draws[bound.name] = np.array(values)
    return replace(estimate, draws=draws)


def _verdict(check: Check, estimate: Estimate) -> tuple[Verdict, str | None]:
    if estimate.reason is not None:
        return Verdict.INCONCLUSIVE, estimate.reason
    return combine([bound.verdict(estimate) for bound in check.declaration.claims]), None


def _nulls(check: Check, estimate: Estimate) -> tuple[NullResult, ...]:
    """Every null that was measured or stated: its centre, and the p-value where it has draws."""
    from embcheck.stats.permutations import p_value

    sides = {bound.name: bound.side for bound in check.declaration.claims if isinstance(bound, beats)}
    drawn = [
        NullResult(
            name, plain(statistics.median(draws.tolist())), p_value(draws, estimate.value, sides.get(name, "above"))
        )
        for name, draws in sorted(estimate.draws.items())
    ]
    stated = [NullResult(name, plain(ref.mean), None) for name, ref in sorted(estimate.references.items())]
    return (*drawn, *stated)


def _with_control(result: Result, table: Subject, settings: Settings) -> Result:
    """The result with what random tables of the model's tokens and width gave, of a pair for the second one."""
    check = result.check
    *kept, small = nulls.control_subsets(table, CONTROL_ROWS, check.params)
    holds = 0
    for i in range(CONTROL_TABLES):
        random, _ = nulls.gaussian(small, {}, rng_for(settings.seed, check, f"control {i}"))
        noise = (*kept, random) if kept else random
        try:
            estimate = _measure(check, noise, check.params, rng_for(settings.seed, check, f"control rng {i}"))
            estimate = _draw_missing_nulls(check, noise, estimate, settings)
        except NotMeasurable:
            continue
        holds += _verdict(check, estimate)[0] is Verdict.HOLDS
    control = Control(CONTROL_TABLES, len(small.vectors), holds, vacuous=holds >= VACUOUS_AT)
    if not control.vacuous:
        return replace(result, control=control)
    return replace(
        result, control=control, undecided=f"vacuous: it also holds on {holds} of {CONTROL_TABLES} random tables"
    )
