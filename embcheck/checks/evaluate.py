"""Run checks: property x table, or pair of tables -> result. `embcheck.checks.record` makes the document from results.

Importing this module imports no numpy, so that properties can be collected cheaply.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import statistics
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from embcheck import nulls
from embcheck.checks.record import estimate_record, plain
from embcheck.claims import Verdict, beats, combine, decides
from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Estimate, as_html
from embcheck.settings import Settings, deciding, in_ci, using

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np

    from embcheck.claims import Declaration
    from embcheck.table import EmbeddingTable

    Subject = EmbeddingTable | tuple[EmbeddingTable, ...]
    """What a property is measured on: a table, or two where it is about pairs of models."""

__all__ = ["Check", "Result", "checks_of", "error_result", "evaluate", "judge", "rng_for", "skipped_result"]

WHOLE_TABLE_DRAWS = 199
CONTROL_TABLES, CONTROL_ROWS, VACUOUS_AT = 20, 20_000, 3


@dataclass(frozen=True, slots=True)
class Check:
    """One property with one value for each of its parameters; of a pair of models, with the second one's alias.

    A property of pairs without that alias stands for all of its pairs, and can't be run.
    """

    function: Callable[..., Estimate]
    params: Mapping[str, Any] = field(default_factory=dict)
    other: str | None = None

    @property
    def declaration(self) -> Declaration:
        """What ``@claim`` said of the property."""
        found: Declaration = self.function.__embcheck__  # type: ignore[attr-defined]
        return found

    @property
    def is_whole(self) -> bool:
        """Whether it says all that it takes to run it."""
        return self.other is not None or not self.declaration.of_pairs

    @property
    def record(self) -> dict[str, Any]:
        """The parameters as JSON types: numbers and strings as they are, other values by their name."""
        found = {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in self.params.items()}
        return found if self.other is None else {**found, "other": self.other}

    @property
    def label(self) -> str:
        """``analogy_rank[king]``: the property's id and parameters, as a person writes them."""
        inside = "-".join(str(v) for v in self.record.values())
        return f"{self.declaration.id}[{inside}]" if inside else self.declaration.id


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found on one table; ``record`` is its place in the report."""

    check: Check
    verdict: Verdict
    estimate: Estimate | None = None
    claims: tuple[dict[str, Any], ...] = ()
    nulls: tuple[dict[str, Any], ...] = ()
    control: dict[str, Any] | None = None
    reason: str | None = None
    expected: bool = True
    seconds: float = 0.0
    change: dict[str, Any] | None = None
    """The change against the baseline."""
    gate: Literal["claims", "regressions", "both"] = "claims"
    """Which of the two decide whether it passes."""

    @property
    def passed(self) -> bool:
        """Whether the check passes: it holds, or is a known exception; and it did not regress, where that counts."""
        claims = judge(self.verdict, expected=self.expected, vacuous=bool(self.control and self.control["vacuous"]))
        if self.change is None or self.gate == "claims" or self.verdict is Verdict.ERROR:
            return claims
        return bool(self.change["passes"]) and (claims or self.gate == "regressions")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html("result", self)

    @property
    def record(self) -> dict[str, Any]:
        """The result as the report states it."""
        declaration, estimate = self.check.declaration, self.estimate
        found = {
            "property": declaration.id,
            "version": declaration.version,
            "params": self.check.record,
            "sentence": declaration.sentence,
            "outcome": "pass" if self.passed else "fail",
            "verdict": self.verdict,
            "claims": self.claims,
            "estimate": None if estimate is None else estimate_record(estimate),
            "nulls": self.nulls,
            "control": self.control,
            "change": self.change,
            "details": {} if estimate is None else estimate.details,
            "counterexamples": [] if estimate is None else estimate.counterexamples,
            "reason": self.reason,
        }
        record: dict[str, Any] = plain(found if self.expected else {**found, "expected": False})
        return record


def judge(verdict: Verdict, *, expected: bool = True, vacuous: bool = False) -> bool:
    """Whether a verdict passes.

    Only HOLDS does. A check that is expected not to hold passes where it does not, and fails where it does (the
    exception has become wrong); an error never passes. A skipped check passes outside continuous integration only.
    """
    if verdict is Verdict.ERROR or vacuous:
        return False
    if not expected:
        return verdict is not Verdict.HOLDS
    return verdict is Verdict.HOLDS or (verdict is Verdict.SKIPPED and not in_ci())


def checks_of(functions: Iterable[Callable[..., Estimate]], others: Iterable[str] = ()) -> list[Check]:
    """All checks of some declared functions: one for each combination of parameter values.

    A property of two models has besides, for each combination, one check for each of the ``others``: the aliases of
    the models that may stand second in a pair.
    """
    seconds = (None, *others)
    found = []
    for function in functions:
        declaration: Declaration = function.__embcheck__  # type: ignore[attr-defined]
        for case in declaration.cases():
            found += [Check(function, case, other) for other in (seconds if declaration.of_pairs else (None,))]
    return found


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

    Parameters
    ----------
    check, table, settings
        What to measure, on what, and how.
    control
        Also run it on 20 random tables, on which a property that should fail on noise must not hold 3 times.
    expected
        ``False`` for a configured exception: the check is expected not to hold.

    Raises
    ------
    EmbcheckError
        The property was written or called wrongly. What the table lacks makes a skipped result instead.
    """
    started = time.perf_counter()
    with using(settings), deciding(lambda low, high: decides(check.declaration.claims, low, high)):
        try:
            estimate = _measure(check, table, check.params, rng_for(settings.seed, check))
            estimate = _draw_missing_nulls(check, table, estimate, settings)
        except NotMeasurable as why:
            claims = _claims(check, None, Verdict.SKIPPED)
            result = Result(check, Verdict.SKIPPED, claims=claims, reason=str(why), expected=expected)
        else:
            result = _judged(check, estimate, expected=expected)
            if control and check.declaration.on_noise == "fails":
                result = _with_control(result, table, settings)
    return replace(result, seconds=time.perf_counter() - started)


def _judged(check: Check, estimate: Estimate, *, expected: bool) -> Result:
    verdict, reason = _verdict(check, estimate)
    if not expected and verdict is Verdict.HOLDS:
        reason = "it holds, but the configuration expects it not to; remove the exception"
    claims = _claims(check, estimate, verdict)
    return Result(check, verdict, estimate, claims, _nulls(estimate), reason=reason, expected=expected)


def _with_control(result: Result, table: Subject, settings: Settings) -> Result:
    found = _control(result.check, table, settings)
    if not found["vacuous"]:
        return replace(result, control=found)
    reason = f"vacuous: it also holds on {found['holds']} of {found['tables']} random tables"
    return replace(result, control=found, reason=reason)


def _measure(check: Check, table: Subject, params: Mapping[str, Any], rng: np.random.Generator) -> Estimate:
    supplied = {"rng": rng} if "rng" in inspect.signature(check.function).parameters else {}
    found: object = check.function(table, **params, **supplied)
    if not isinstance(found, Estimate):
        got = f"property {check.declaration.id} returned {type(found).__name__}"
        raise UsageError(f"{got}; return an Estimate, such as Estimate.exact(x)")
    return found


def _draw_missing_nulls(check: Check, table: Subject, estimate: Estimate, settings: Settings) -> Estimate:
    """Draws of the nulls that the measure did not draw itself, by measuring 199 tables or relabellings made by each."""
    import numpy as np

    draws = dict(estimate.draws)
    for bound in check.declaration.claims:
        if isinstance(bound, beats) and bound.name not in draws:
            rng = rng_for(settings.seed, check, bound.name)
            made = (bound.null(table, dict(check.params), rng) for _ in range(settings.drawn(WHOLE_TABLE_DRAWS)))
            draws[bound.name] = np.array([_measure(check, other, params, rng).value for other, params in made])
    return replace(estimate, draws=draws)


def _verdict(check: Check, estimate: Estimate) -> tuple[Verdict, str | None]:
    if estimate.reason is not None:
        return Verdict.INCONCLUSIVE, estimate.reason
    return combine([bound.verdict(estimate) for bound in check.declaration.claims]), None


def _claims(check: Check, estimate: Estimate | None, overall: Verdict) -> tuple[dict[str, Any], ...]:
    """Each claim with a verdict of its own, or the overall one where the estimate may not decide."""
    decides = estimate is not None and estimate.reason is None
    return tuple(
        {**bound.record(estimate), "verdict": (bound.verdict(estimate) if decides and estimate else overall).value}
        for bound in check.declaration.claims
    )


def _nulls(estimate: Estimate) -> tuple[dict[str, Any], ...]:
    """Every null that was measured or stated: its centre, and the p-value where it has draws."""
    from embcheck.stats.permutations import p_value

    rows = []
    for name, draws in sorted(estimate.draws.items()):
        p = p_value(draws, estimate.value)
        rows.append({"name": name, "value": statistics.median(draws.tolist()), "p_value": p, "p_adjusted": None})
    for name, reference in sorted(estimate.references.items()):
        rows.append({"name": name, "value": reference.mean, "p_value": None, "p_adjusted": None})
    return tuple(rows)


def _control(check: Check, table: Subject, settings: Settings) -> dict[str, Any]:
    """On how many random tables, with the model's tokens and width, the property holds all the same.

    Of a pair of models, the second one's table is the random one.
    """
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
    return {"tables": CONTROL_TABLES, "rows": len(small.vectors), "holds": holds, "vacuous": holds >= VACUOUS_AT}


def error_result(check: Check, message: str, *, expected: bool = True) -> Result:
    """The result of a check that could not be run, such as one whose model failed to load."""
    return Result(check, Verdict.ERROR, claims=_claims(check, None, Verdict.ERROR), reason=message, expected=expected)


def skipped_result(check: Check, reason: str) -> Result:
    """The result of a check that was not run."""
    return Result(check, Verdict.SKIPPED, claims=_claims(check, None, Verdict.SKIPPED), reason=reason)
