"""The simulations: noise, planted structure, and redraws of what an interval is about."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats

from embcheck.checks.evaluate import evaluate
from embcheck.claims import Verdict
from embcheck.errors import EmbcheckError
from embcheck.progress import track
from embcheck.selftest.plants import ROWS, SHAPES, WIDTH, plant_of, shaped, stage_of
from embcheck.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.checks.evaluate import Check, Result
    from embcheck.estimate import Estimate
    from embcheck.selftest.plants import Stage
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["Plan", "coverage_limits", "examine", "faults", "most_passes"]

SCHEMA = "embcheck-selftest/1"
PROBES, DRAWS = 100, 99  # on noise: intervals are sampled ones, and p <= 0.01 is one rank
REDRAWN = 50  # probes of each redraw
PER_PLANTED = 4  # tables of noise to one of planted structure
_PATIENCE = 5  # skipped tables before it is taken that all are
_NOISE, _PLANTED, _REDRAWN, _TIES, _SHAPED = range(5)  # seeds of each simulation are its own
FALSE_PASSES, MISSES = 0.05, 0.01
COVERED, LOW, HIGH = 0.95, 0.92, 0.98
KS, POWER = 0.001, 0.8


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is simulated: tables of noise for each check, redraws for each property.

    ``shapes`` are measured too where it says so, on a tenth of the redraws and tables, 20 at least.
    """

    tables: int = 200
    redraws: int = 2_000
    seed: int = 0
    shapes: bool = False

    @property
    def tenth(self) -> Plan:
        """A tenth of it."""
        return replace(self, tables=max(20, self.tables // 10), redraws=max(20, self.redraws // 10))


def examine(checks: Sequence[Check], plan: Plan) -> dict[str, Any]:
    """Simulate every property on tables of known structure; checks of one property stand next to each other.

    The document, ``embcheck-selftest/1`` in plain JSON types, holds limits and a row for each property.
    """
    groups = [list(group) for _, group in groupby(checks, key=lambda check: check.declaration.id)]
    with _one_thread():
        rows = [_row(cases, plan) for cases in track(groups, "selftest")]
    low, high = coverage_limits(plan.redraws)
    return {
        "schema": SCHEMA,
        "tables": plan.tables,
        "redraws": plan.redraws,
        "seed": plan.seed,
        "design": {"rows": ROWS, "width": WIDTH, "probes": PROBES, "draws": DRAWS, "redrawn": REDRAWN},
        "limits": {"false_passes": most_passes(plan.tables), "coverage": [low, high]},
        "properties": rows,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Products of tables this small are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _row(cases: list[Check], plan: Plan) -> dict[str, Any]:
    declaration = cases[0].declaration
    row: dict[str, Any] = {
        "property": declaration.id,
        "on_noise": declaration.on_noise,
        "cases": [],
        "uniform": None,
        "coverage": _no_coverage("not simulated"),
        "shapes": {},
        "reason": _unfit(cases[0]),
    }
    if row["reason"] is None:
        try:
            row["cases"] = [_simulate(check, plan) for check in cases]
            measured = [i for i, case in enumerate(row["cases"]) if case["noise"]["reason"] is None]
            row["coverage"] = _coverage(cases[measured[0]], plan) if measured else row["coverage"]
            row["shapes"] = _shapes(cases[measured[0]], plan.tenth) if measured and plan.shapes else {}
        except EmbcheckError as error:
            return row | {"reason": f"can't be run: {error}", "faults": [str(error)], "calibrated": False}
    if row["cases"] and all(case["noise"]["reason"] for case in row["cases"]):
        row["reason"] = row["cases"][0]["noise"]["reason"]
    p_values = [p for case in row["cases"] for p in (case["noise"]["uniform"] or {}).values()]
    row["uniform"] = min(1.0, len(p_values) * min(p_values)) if p_values else None  # Bonferroni
    row["faults"] = list(faults(row))
    return row | {"calibrated": not row["faults"]}


def _unfit(check: Check) -> str | None:
    """Why a property can't be run on one table at a time."""
    if "table" not in inspect.signature(check.function).parameters:
        return "it takes more than one table"
    if fixtures := check.declaration.fixtures:
        return f"only pytest supplies {', '.join(fixtures)}"
    return "it carries pytest marks" if getattr(check.function, "pytestmark", ()) else None


def _simulate(check: Check, plan: Plan) -> dict[str, Any]:
    stage = stage_of(check)
    noise = _on_noise(check, stage, plan)
    planted = _on_planted(check, stage, plan) if noise["reason"] is None else _nothing_planted("not measured on noise")
    return {"name": check.label.partition("[")[2].removesuffix("]"), "noise": noise, "planted": planted}


# --- noise ----------------------------------------------------------------------------------------------------------


def _on_noise(check: Check, stage: Stage, plan: Plan) -> dict[str, Any]:
    """How often it holds on noise, and whether the p-values of each null are uniform there."""
    results: list[Result] = []
    for i in range(plan.tables):
        settings = Settings(seed=plan.seed + i, probes=PROBES, draws=DRAWS, details=False)
        results.append(evaluate(check, stage.noise(plan.seed, _NOISE, i), settings))
        if i + 1 == _PATIENCE and all(result.estimate is None for result in results):
            return {"tables": 0, "holds": 0, "uniform": None, "reason": f"skipped: {results[0].reason}"}
    estimates = [result.estimate for result in results if result.estimate is not None]
    rng = np.random.default_rng([plan.seed, _TIES])
    uniform = {}
    for name in estimates[0].draws:
        p_values = [_p_value(estimate, name, rng) for estimate in estimates]
        uniform[name] = float(stats.kstest(p_values, "uniform").pvalue)
    holds = sum(result.verdict is Verdict.HOLDS for result in results)
    return {"tables": len(estimates), "holds": holds, "uniform": uniform or None, "reason": None}


def _p_value(estimate: Estimate, null: str, rng: np.random.Generator) -> float:
    """The p-value with equal values in random order: uniform on noise, however few values there are."""
    draws = estimate.draws[null]
    above, equal = int((draws > estimate.value).sum()), int((draws == estimate.value).sum())
    return (above + rng.uniform() * (equal + 1)) / (len(draws) + 1)


# --- planted structure ----------------------------------------------------------------------------------------------


def _nothing_planted(reason: str) -> dict[str, Any]:
    return {"tables": 0, "found": 0, "reason": reason}


def _on_planted(check: Check, stage: Stage, plan: Plan) -> dict[str, Any]:
    """How often it holds where its structure was planted; where noise may hold, how often it then does not."""
    if plant_of(check, stage.measure) is None:
        return _nothing_planted("nothing planted")
    must_hold, tables = check.declaration.on_noise == "fails", max(1, plan.tables // PER_PLANTED)
    seen = 0
    for i in range(tables):
        settings = Settings(seed=plan.seed + i, probes=PROBES, draws=DRAWS, details=False)
        verdict = evaluate(check, _structured(check, stage, plan, _PLANTED, i), settings).verdict
        seen += (verdict is Verdict.HOLDS) is must_hold
    return {"tables": tables, "found": seen, "reason": None}


def _structured(check: Check, stage: Stage, plan: Plan, *seed: int, shape: str = "") -> EmbeddingTable:
    """Fresh noise, with what is planted in it, the same for every seed; noise alone where nothing is."""
    plant = plant_of(check, stage.measure)

    def planted(table: EmbeddingTable) -> EmbeddingTable:
        return table if plant is None else plant(table, check.params, np.random.default_rng(plan.seed))

    noise = stage.noise(plan.seed, *seed)
    rng = np.random.default_rng([plan.seed, *seed, _SHAPED])
    return shaped(shape, noise, planted, rng) if shape else planted(noise)


# --- coverage -------------------------------------------------------------------------------------------------------


def _no_coverage(reason: str) -> dict[str, Any]:
    return {"share": None, "redraws": 0, "target": None, "name": None, "reason": reason}


def _coverage(check: Check, plan: Plan, shape: str = "") -> dict[str, Any]:
    """How often the interval covers, units redrawn from a known population.

    Where a measure can measure all units, the population is one table, and the interval must cover its exact value.
    Elsewhere each redraw is a table of its own with the same structure, and the interval must cover the mean of all.
    """
    stage = stage_of(check)
    first, second = (_measure(check, _structured(check, stage, plan, _REDRAWN, 0, shape=shape), i) for i in (0, 1))
    if first is None or second is None:
        return _no_coverage("not measured")
    if first.is_exact:
        return _no_coverage("exact")
    if first.low == first.high:
        return _no_coverage("no interval")
    ends, targets, target = _probes_redrawn(check, stage, plan, shape) or _tables_redrawn(check, stage, plan, shape)
    if not len(ends):
        return _no_coverage("not measured")
    share = float(((ends[:, 0] <= targets) & (targets <= ends[:, 1])).mean())
    return {"share": share, "redraws": len(ends), "target": target, "name": check.label, "reason": None}


_Redraws = tuple["Floats", "Floats", str]


def _probes_redrawn(check: Check, stage: Stage, plan: Plan, shape: str) -> _Redraws | None:
    """Intervals from 50 probes of one table, and the exact value; none where there is no such value."""
    table = _structured(check, stage, plan, _REDRAWN, 0, shape=shape)
    wholes = [_exact(check, table, seed) for seed in (0, 1)]
    if wholes[0] is None or wholes[1] is None:
        return None
    ends, targets = [], []
    for seed in range(plan.redraws):
        estimate = _measure(check, table, plan.seed + seed)
        whole = wholes[0] if wholes[0] == wholes[1] else _exact(check, table, plan.seed + seed)
        if estimate is not None and whole is not None:
            ends.append((estimate.low, estimate.high))
            targets.append(whole)
    return np.array(ends), np.array(targets), "the exact value"


def _tables_redrawn(check: Check, stage: Stage, plan: Plan, shape: str) -> _Redraws:
    """Intervals on tables of their own, and the mean of all values."""
    tables = (_structured(check, stage, plan, _REDRAWN, i, shape=shape) for i in range(plan.redraws))
    estimates = (_measure(check, table, plan.seed + i) for i, table in enumerate(tables))
    kept = [estimate for estimate in estimates if estimate is not None]
    ends = np.array([(estimate.low, estimate.high) for estimate in kept])
    return ends, np.full(len(kept), np.mean([estimate.value for estimate in kept])), "the mean of all redraws"


def _shapes(check: Check, plan: Plan) -> dict[str, Any]:
    """For each shape of a table: on how many without structure it holds, and how often the interval covers with it.

    What a shape is may itself be what a property looks for, as a common mean is, so neither is a fault.
    """
    stage, shapes = stage_of(check), {}
    for shape in SHAPES:
        holds = 0
        for i in range(plan.tables):
            rng = np.random.default_rng([plan.seed, i, _SHAPED])
            table = shaped(shape, stage.noise(plan.seed, _SHAPED, i), lambda noise: noise, rng)
            settings = Settings(seed=plan.seed + i, probes=PROBES, draws=DRAWS, details=False)
            holds += evaluate(check, table, settings).verdict is Verdict.HOLDS
        limits, coverage = list(coverage_limits(plan.redraws)), _coverage(check, plan, shape)
        shapes[shape] = {"tables": plan.tables, "holds": holds, "coverage": coverage, "limits": limits}
    return shapes


def _measure(check: Check, table: EmbeddingTable, seed: int) -> Estimate | None:
    return evaluate(check, table, Settings(seed=seed, probes=REDRAWN, draws=1, details=False)).estimate


def _exact(check: Check, table: EmbeddingTable, seed: int) -> float | None:
    estimate = evaluate(check, table, Settings(seed=seed, probes="all", draws=1, details=False)).estimate
    return estimate.value if estimate is not None and estimate.is_exact else None


# --- what a calibrated property stays within, as far as so many simulations can tell ----------------------------------


def most_passes(tables: int, rate: float = FALSE_PASSES) -> int:
    """The most passes of so many tables that a true rate may give in 99 of 100 runs: 18 of 200 for 5%."""
    return int(stats.binom.ppf(0.99, tables, rate))


def coverage_limits(redraws: int) -> tuple[float, float]:
    """92% and 98%; wider where a true coverage of 95% would leave them in one of 1,000 runs of so many redraws."""
    low, high = (float(stats.binom.ppf(level, redraws, COVERED)) / redraws for level in (0.001, 0.999))
    return min(LOW, low), max(HIGH, high)


def faults(row: Mapping[str, Any]) -> Iterator[str]:
    """In which ways the simulations of one property left their limits."""
    for case in row["cases"]:
        where = f"[{case['name']}] " if case["name"] else ""
        tables, holds = case["noise"]["tables"], case["noise"]["holds"]
        if row["on_noise"] == "fails" and holds > (limit := most_passes(tables)):
            yield f"{where}holds on {holds} of {tables} tables of noise, more than {limit}"
        if row["on_noise"] == "holds" and tables - holds > (limit := most_passes(tables, MISSES)):
            yield f"{where}fails on {tables - holds} of {tables} tables of noise, more than {limit}"
        planted, seen = case["planted"]["tables"], case["planted"]["found"]
        if planted and seen < POWER * planted:
            yield f"{where}finds what was planted on {seen} of {planted} tables, less than {POWER:.0%}"
    if row["uniform"] is not None and row["uniform"] <= KS:
        yield f"p-values on noise are not uniform: Kolmogorov-Smirnov p = {row['uniform']:.2g}"
    coverage = row["coverage"]
    if coverage["share"] is not None and coverage["share"] < (low := coverage_limits(coverage["redraws"])[0]):
        yield f"intervals cover {coverage['share']:.1%} of {coverage['redraws']} redraws, less than {low:.1%}"
