"""Run checks on models, one model or pair in memory at a time, and make the report. One failing leaves the others."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embcheck import sources
from embcheck.baseline.gate import settle
from embcheck.baseline.tokens import entry_of
from embcheck.checks import record
from embcheck.checks.evaluate import Result, error_result, evaluate
from embcheck.errors import EmbcheckError, NotMeasurable
from embcheck.estimate import as_html
from embcheck.progress import track
from embcheck.run.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from embcheck.baseline.file import Entry
    from embcheck.baseline.gate import Gate
    from embcheck.checks.evaluate import Check
    from embcheck.run.budget import Budget
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
        return as_html("run", self)


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
    budget: Budget | None = None,
) -> Run:
    """Run every check on every model, and every one of pairs on each pair: never more in memory than that needs.

    Parameters
    ----------
    models, checks
        What to run, in this order. A check of a pair runs on its second model and each that stands before that.
    settings
        How.
    device
        What the report calls the device; by default that of the first table.
    control
        Also run each check on random tables.
    policy
        What is known of single models: exceptions, bounds, baselines.
    budget
        How many seconds the checks of each model may take, reading it included.

    Raises
    ------
    EmbcheckError
        The only model failed to load. One of several gives ``error`` results, and the others run.
    """
    policy = policy or Policy()
    session = _Session(Shelf(_loaded), tuple(models), settings, policy, control, budget)
    found = [session.run(place, checks) for place in range(len(models))]
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


@dataclass(frozen=True, slots=True)
class _Loaded:
    table: EmbeddingTable
    seconds: float


def _loaded(model: Model) -> _Loaded:
    started = time.perf_counter()
    table = model.load()
    return _Loaded(table, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class _Session:
    """One run: what it is told, and the tables that it keeps."""

    shelf: Shelf[Model, _Loaded]
    models: tuple[Model, ...]
    settings: Settings
    policy: Policy
    control: bool
    budget: Budget | None = None

    def run(self, place: int, checks: Sequence[Check]) -> _Found:
        """Everything about one model: the checks of it alone, then those of it and each later one."""
        model = self.models[place]
        alias = model.spec.alias
        later = {other.spec.alias: other for other in self.models[place + 1 :]}
        about = [check for check in checks if check.declaration.applies_to(model.spec)]
        runs = [check for check in about if not check.declaration.of_pairs or check.other in later]
        adapted = [own for check in runs if (own := self.policy.adapt(alias, check)) is not None]
        try:
            (loaded,) = self.shelf.get(model)
        except EmbcheckError as error:
            failed = tuple(self._error(alias, check, error) for check in adapted)
            return _Found(record.model_record(model.spec, None, [r.record for r in failed]), failed, {}, error=error)
        by_place = [c for other in (None, *later) for c in adapted if c.other == other]

        def evaluated(check: Check, settings: Settings) -> Result:
            return self._evaluate(check, settings, model, *([] if check.other is None else [later[check.other]]))

        if self.budget is None:
            named = track(by_place, alias, naming=lambda check: check.label)
            results = tuple(evaluated(check, self.settings) for check in named)
        else:
            rows = _population_size(loaded.table)
            results = self.budget.spend(by_place, evaluated, self.settings, rows=rows, spent=loaded.seconds)
        return self._found(model, loaded, results)

    def _found(self, model: Model, loaded: _Loaded, results: tuple[Result, ...]) -> _Found:
        table = loaded.table
        timing = {
            "load_seconds": loaded.seconds,
            "bytes_read": table.bytes_read,
            "results": {result.check.label: result.seconds for result in results},
        }
        place = record.model_record(model.spec, table, [r.record for r in results])
        kept = [entry_of(r, table, self.settings) for r in results] if self.policy.keeps_entries else []
        entries = tuple(entry for entry in kept if entry is not None)
        return _Found(place, results, timing, str(table.vectors.device), notes=table.provenance.notes, entries=entries)

    def _evaluate(self, check: Check, settings: Settings, *models: Model) -> Result:
        alias, policy = models[0].spec.alias, self.policy
        try:
            tables = tuple(loaded.table for loaded in self.shelf.get(*models))
            result = evaluate(
                check,
                tables if check.declaration.of_pairs else tables[0],
                settings,
                control=self.control,
                expected=policy.expected(alias, check),
            )
            return result if policy.gate is None else policy.gate.apply(alias, result, tables[0], settings)
        except EmbcheckError as error:  # this property or the second model is at fault; the others may still run
            return self._error(alias, check, error)

    def _error(self, alias: str, check: Check, error: EmbcheckError) -> Result:
        return error_result(check, str(error), expected=self.policy.expected(alias, check))


def _population_size(table: EmbeddingTable) -> int:
    try:
        return len(table.population)
    except NotMeasurable:  # every check will say so
        return 2
