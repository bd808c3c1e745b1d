"""The report of a run, made once from its results."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

from msgspec import structs

from embcheck.baseline.gate import settle
from embcheck.checks.check import passes
from embcheck.checks.record import (
    SCHEMA,
    Json,
    ModelRecord,
    Population,
    Report,
    ResultRecord,
    RunRecord,
    version,
)
from embcheck.claims import SIGNIFICANCE, Verdict, combine
from embcheck.errors import NotMeasurable
from embcheck.extensions import installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from embcheck.checks.check import GateMode
    from embcheck.claims import ClaimOutcome
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable


def report(
    models: Iterable[ModelRecord],
    *,
    settings: Settings,
    device: str,
    timing: Mapping[str, Json],
    partial: bool = False,
) -> Report:
    """The report document, ``embcheck-report/1``."""
    libraries = {name: version(name) for name in ("numpy", "scipy", "tokenizers", "torch")}
    libraries = {"python": platform.python_version(), **libraries}
    run = RunRecord(version("embcheck"), settings.seed, device, libraries, settings.family_wise, partial)
    return Report(SCHEMA, run, {"models": dict(timing)}, tuple(models))


def model_record(
    spec: ModelSpec,
    table: EmbeddingTable | None,
    results: Iterable[ResultRecord] = (),
    *,
    family_wise: GateMode | None = None,
) -> ModelRecord:
    """A model's place in the report, its results in order of property and parameters.

    ``family_wise`` is what decides which results pass, where permutation tests are judged as one family.
    """
    origin = None if table is None else table.provenance
    population = None if table is None else population_of(table)  # first: workers may read what is hashed meanwhile
    return ModelRecord(
        alias=spec.alias,
        spec=spec.text,
        revision=(None if origin is None else origin.revision) or spec.revision,
        weights_sha256=None if origin is None else origin.weights_sha256,
        tokens_sha256=None if table is None else table.tokens_sha256,
        shape=None if origin is None else (int(origin.shape[0]), int(origin.shape[1])),
        dtype=None if origin is None else origin.dtype,
        population=population,
        results=settled(results, family_wise),
        package=added.package if (added := installed("sources").get(spec.scheme)) else None,
        damaged={} if table is None or table.parts is None else table.parts.damaged,
    )


def settled(results: Iterable[ResultRecord], family_wise: GateMode | None = None) -> tuple[ResultRecord, ...]:
    """All of a model's results as its report has them: in order of property and parameters, adjusted as one family."""
    ordered = sorted(results, key=lambda result: (result.id, json.dumps(result.params, sort_keys=True)))
    return tuple(adjusted(ordered, family_wise)) if ordered else ()  # an interrupted run may have none, nor NumPy


def population_of(table: EmbeddingTable) -> Population:
    """Which rows claims are about, and how many are left out as what."""
    excluded = table.excluded()
    try:
        rows = len(table.population)
    except NotMeasurable:  # every check is skipped for want of rows, which is worth a report too
        rows = len(table.vectors) - sum(excluded.values())
    return Population(table.kind, rows, excluded)  # type: ignore[arg-type] # the keys are names of classes of rows


def adjusted(results: Sequence[ResultRecord], family_wise: GateMode | None = None) -> list[ResultRecord]:
    """A model's results with Holm's adjustment: of all permutation tests, and of all changes.

    That of the tests decides nothing, but where they are judged ``family_wise``.
    """
    from embcheck.stats.permutations import holm

    p_values = [null.p_value for result in results for null in result.nulls if null.p_value is not None]
    adjusted = iter(holm(p_values))
    nulls = [
        tuple(
            null if null.p_value is None else structs.replace(null, p_adjusted=next(adjusted)) for null in result.nulls
        )
        for result in results
    ]
    changes = settle([result.change for result in results])
    records = [
        structs.replace(result, nulls=own, change=change)
        for result, own, change in zip(results, nulls, changes, strict=True)
    ]
    return records if family_wise is None else [_in_family(record, family_wise) for record in records]


def _in_family(result: ResultRecord, gate: GateMode) -> ResultRecord:
    """The result with its permutation tests judged by their adjusted p-values: what does not hold so is open."""
    adjusted = {null.name: null.p_adjusted for null in result.nulls if null.p_adjusted is not None}

    def is_open(claim: ClaimOutcome) -> bool:
        is_test = claim.op == "beats" and claim.verdict is Verdict.HOLDS
        return is_test and adjusted[claim.null or ""] > SIGNIFICANCE

    if not any(map(is_open, result.claims)):
        return result
    claims = tuple(structs.replace(c, verdict=Verdict.INCONCLUSIVE) if is_open(c) else c for c in result.claims)
    tests = ", ".join(f"{c.null} p = {adjusted[c.null or '']:.3g}" for c in result.claims if is_open(c))
    reason = f"among all permutation tests of the model (Holm): {tests}, above {SIGNIFICANCE}"
    verdict = combine([claim.verdict for claim in claims])
    judged = structs.replace(result, claims=claims, verdict=verdict, reason=reason)
    return structs.replace(judged, outcome="pass" if passes(judged, gate) else "fail")
