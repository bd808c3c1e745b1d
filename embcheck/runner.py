"""Run checks on models, one model in memory at a time, and make the report. One failing leaves the others."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embcheck import display, record, sources
from embcheck.checkpoint import entry_of
from embcheck.errors import EmbcheckError
from embcheck.gate import settle
from embcheck.progress import track
from embcheck.run import Result, error_result, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from embcheck.baseline import Entry
    from embcheck.gate import Gate
    from embcheck.run import Check
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["Model", "Policy", "Population", "Run", "execute", "models_of"]

Population = Literal["known", "all"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What checks found on one or more models."""

    document: Mapping[str, Any]
    """The report, ``embcheck-report/1``."""
    results: tuple[Result, ...]
    """One for each model and check, in order."""
    load_errors: tuple[str, ...] = ()
    """Why models failed to load, where others did not."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how models were read, such as that the output matrix is tied to the input."""
    entries: Mapping[str, tuple[tuple[Entry, str], ...]] = field(default_factory=dict)
    """By alias, what a baseline would keep of each result, and its state."""

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
        from embcheck.reports import json_file

        json_file.write(self.document, Path(path))

    def save_html(self, path: str | Path) -> None:
        """Write the report to a file as one HTML page.

        Raises
        ------
        UsageError
            The extra ``html`` is not installed, or the path is none for a file.
        EmbcheckError
            It can't be written.
        """
        from embcheck.reports import html

        html.write(self.document, Path(path))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return display.as_html("run", self)


@dataclass(frozen=True, slots=True)
class Model:
    """A model to check: its name, and how to get its table once its turn has come."""

    spec: ModelSpec
    load: Callable[[], EmbeddingTable]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What is known of single models, by alias."""

    expected: Callable[[str, Check], bool] = lambda _alias, _check: True
    """Whether a check is expected to hold."""
    adapt: Callable[[str, Check], Check | None] = lambda _alias, check: check
    """The check with the model's own bounds; none where it is not run on that model."""
    gate: Gate | None = None
    keeps_entries: bool = False
    """Whether the run keeps what a baseline would."""


def models_of(
    specs: Sequence[ModelSpec],
    *,
    device: str | Callable[[str], str],
    dtype: str | Callable[[str], str | None] | None,
    population: Population,
) -> tuple[Model, ...]:
    """Models, each read from its spec when its turn comes. Device and dtype may be functions of the alias."""
    found = []
    for one in specs:
        where = device(one.alias) if callable(device) else device
        kind = dtype(one.alias) if callable(dtype) else dtype
        found.append(Model(one, partial(sources.load, one, device=where, dtype=kind, population=population)))
    return tuple(found)


def execute(
    models: Sequence[Model],
    checks: Sequence[Check],
    *,
    settings: Settings,
    device: str | None = None,
    control: bool = False,
    policy: Policy | None = None,
) -> Run:
    """Run every check on every model, one model in memory at a time.

    Parameters
    ----------
    models, checks
        What to run, in this order.
    settings
        How.
    device
        What the report calls the device; by default that of the first table.
    control
        Also run each check on random tables.
    policy
        What is known of single models: exceptions, bounds, baselines.

    Raises
    ------
    EmbcheckError
        The only model failed to load. One of several gives ``error`` results, and the others run.
    """
    policy = policy or Policy()
    found = [_run_model(one, checks, settings, control=control, policy=policy) for one in models]
    errors = tuple(one.error for one in found if one.error is not None)
    if len(models) == 1 and errors:
        raise errors[0]
    timing = {"models": {one.record["alias"]: one.timing for one in found}}
    device = device or next((one.device for one in found if one.device), "none")
    for one in found:
        settle(one.record["results"])
    document = record.document([one.record for one in found], settings=settings, device=device, timing=timing)
    results = tuple(result for one in found for result in one.results)
    notes = tuple(f"{one.record['alias']}: {note}" for one in found for note in one.notes)
    entries = {one.record["alias"]: one.entries for one in found}
    return Run(document, results, tuple(map(str, errors)), notes, entries)


@dataclass(frozen=True, slots=True)
class _Found:
    record: dict[str, Any]
    results: tuple[Result, ...]
    timing: dict[str, Any]
    device: str | None = None
    error: EmbcheckError | None = None
    notes: tuple[str, ...] = ()
    entries: tuple[tuple[Entry, str], ...] = ()


def _run_model(
    model: Model,
    checks: Sequence[Check],
    settings: Settings,
    *,
    control: bool,
    policy: Policy,
) -> _Found:
    alias = model.spec.alias
    checks = [adapted for check in checks if (adapted := policy.adapt(alias, check)) is not None]
    expected = policy.expected
    started = time.perf_counter()
    try:
        table = model.load()
    except EmbcheckError as error:
        failed = tuple(error_result(c, str(error), expected=expected(alias, c)) for c in checks)
        return _Found(record.model_record(model.spec, None, [r.record for r in failed]), failed, {}, error=error)
    loaded = time.perf_counter() - started
    named = track(checks, alias, naming=lambda check: check.label)
    results = tuple(_evaluate(alias, c, table, settings, control=control, policy=policy) for c in named)
    timing = {
        "load_seconds": loaded,
        "bytes_read": table.provenance.bytes_read,
        "results": {result.check.label: result.seconds for result in results},
    }
    place = record.model_record(model.spec, table, [r.record for r in results])
    kept = [entry_of(r, table, settings) for r in results] if policy.keeps_entries else []
    entries = tuple(entry for entry in kept if entry is not None)
    return _Found(place, results, timing, str(table.vectors.device), notes=table.provenance.notes, entries=entries)


def _evaluate(
    alias: str, check: Check, table: EmbeddingTable, settings: Settings, *, control: bool, policy: Policy
) -> Result:
    expected = policy.expected(alias, check)
    try:
        result = evaluate(check, table, settings, control=control, expected=expected)
        return result if policy.gate is None else policy.gate.apply(alias, result, table, settings)
    except EmbcheckError as error:  # this property is at fault; the others may still run
        return error_result(check, str(error), expected=expected)
