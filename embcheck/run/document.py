"""A run and its report, made once from its results; and a result as one row of a table over checkpoints."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from embcheck.baseline.gate import settle
from embcheck.checks.record import (
    SCHEMA,
    Json,
    ModelRecord,
    Population,
    Report,
    ResultRecord,
    RunRecord,
    builtins,
    version,
)
from embcheck.errors import NotMeasurable
from embcheck.estimate import as_html
from embcheck.reports import html, json_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from embcheck.baseline.file import Entry
    from embcheck.checks.check import Result
    from embcheck.checks.record import State
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What checks found on one or more models."""

    report: Report
    """What was found, as ``embcheck-report/1`` states it."""
    results: tuple[Result, ...]
    """One for each model and check, in order."""
    load_errors: tuple[str, ...] = ()
    """Why models failed to load, where others did not."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how models were read, such as that the output matrix is tied to the input."""
    entries: Mapping[str, tuple[tuple[Entry, State], ...]] = field(default_factory=dict)
    """By alias, what a baseline would keep of each result, and its state."""

    @property
    def document(self) -> Json:
        """The report as JSON types, ``embcheck-report/1``."""
        document: Json = builtins(self.report)
        return document

    @property
    def passed(self) -> bool:
        """Whether something ran and every check passed."""
        return bool(self.results) and all(result.passed for result in self.results)

    def save(self, path: str | Path) -> None:
        """Write the report to a file as JSON.

        Raises
        ------
        EmbcheckError
            It can't be written.
        """
        json_file.write(self.report, Path(path))

    def save_html(self, path: str | Path) -> None:
        """Write the report to a file as one HTML page.

        Raises
        ------
        UsageError
            The extra ``html`` is not installed, or the path is none for a file.
        EmbcheckError
            It can't be written.
        """
        html.write(self.report, Path(path))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html("run", self)


def report(models: Iterable[ModelRecord], *, settings: Settings, device: str, timing: Mapping[str, Json]) -> Report:
    """The report document, ``embcheck-report/1``."""
    libraries = {name: version(name) for name in ("numpy", "scipy", "tokenizers", "torch")}
    run = RunRecord(version("embcheck"), settings.seed, device, {"python": platform.python_version(), **libraries})
    return Report(SCHEMA, run, {"models": dict(timing)}, tuple(models))


def model_record(spec: ModelSpec, table: EmbeddingTable | None, results: Iterable[ResultRecord] = ()) -> ModelRecord:
    """A model's place in the report, its results in order of property and parameters."""
    ordered = sorted(results, key=lambda result: (result.id, json.dumps(result.params, sort_keys=True)))
    origin = None if table is None else table.provenance
    return ModelRecord(
        alias=spec.alias,
        spec=spec.text,
        revision=(None if origin is None else origin.revision) or spec.revision,
        weights_sha256=None if origin is None else origin.weights_sha256,
        tokens_sha256=None if table is None else table.tokens_sha256,
        shape=None if origin is None else (int(origin.shape[0]), int(origin.shape[1])),
        dtype=None if origin is None else origin.dtype,
        population=None if table is None else population_of(table),
        results=tuple(adjusted(ordered)),
    )


def population_of(table: EmbeddingTable) -> Population:
    """Which rows claims are about, and how many are left out as what."""
    excluded = table.excluded()
    try:
        rows = len(table.population)
    except NotMeasurable:  # every check is skipped for want of rows, which is worth a report too
        rows = len(table.vectors) - sum(excluded.values())
    return Population(table.kind, rows, excluded)  # type: ignore[arg-type] # the keys are names of classes of rows


def adjusted(results: Sequence[ResultRecord]) -> list[ResultRecord]:
    """A model's results with Holm's adjustment: of all permutation tests, which gates nothing, and of all changes."""
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
    return [
        structs.replace(result, nulls=own, change=change)
        for result, own, change in zip(results, nulls, changes, strict=True)
    ]


# --- as a row ---------------------------------------------------------------------------------------------------------


Row = Json
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
