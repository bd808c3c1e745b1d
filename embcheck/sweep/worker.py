"""One task of a sweep: read a checkpoint's table, measure some checks on it, return rows of builtin types.

`measure` is what executors send to other processes and machines: it takes and returns only what pickles anywhere.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.config import per_model
from embcheck.config.per_model import PerModel
from embcheck.errors import EmbcheckError, UsageError

if TYPE_CHECKING:
    from embcheck.checks.check import Check
    from embcheck.run.rows import Row
    from embcheck.run.session import Population, Session
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["Answer", "How", "Task", "digest", "key_of", "measure"]

_held = threading.local()


@dataclass(frozen=True, slots=True)
class How:
    """What is the same for every task of a sweep."""

    settings: Settings
    properties: tuple[str, ...] = ()
    """Property files and folders beside the shipped ones."""
    device: str = "auto"
    dtype: str | None = None
    population: Population = "known"
    threads: int = 1
    """Of PyTorch in a task; with another number, sums end in other digits."""

    def columns(self, own: PerModel) -> Row:
        """What of it changes numbers, beside what the project says of one model."""
        settings = self.settings
        return {
            "seed": settings.seed,
            "confidence_level": settings.confidence_level,
            "probes": None if settings.probes is None else str(settings.probes),
            "dtype": own.dtype or self.dtype,
            "population": self.population,
        }


@dataclass(frozen=True, slots=True)
class Task:
    """One checkpoint, and the labels of the checks to make on it. ``slot`` is the place it has: it picks a GPU."""

    spec: ModelSpec
    labels: tuple[str, ...]
    how: How
    slot: int = 0
    known: tuple[bytes, ...] = ()
    """Digests of tables on which all of these checks were made before: they are recognised, and left."""
    own: PerModel = field(default_factory=PerModel)
    """What the project says of this model."""
    mark: str = ""
    """Which checkpoint it is, for checks that look at more of it than the table."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task found: which table it was, and a row for each check, or none where all are known already."""

    table: str
    rows: tuple[Row, ...] | None
    error: str | None = None


def key_of(table: str, check: Check, how: How, own: PerModel) -> str:
    """The key under which a result is finished: weights and tokens, property, version and parameters, settings."""
    told = [table, check.label, check.declaration.version, how.columns(own), how.settings.draws]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def digest(table: str) -> bytes:
    """A table's name in few bytes."""
    return hashlib.sha256(table.encode()).digest()[:16]


def measure(*tasks: Task) -> tuple[Answer, ...]:
    """Make the checks of some tasks: one, or the layers of one model.

    A checkpoint that can't be read, or a faulty property, gives rows that say so.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(tasks[0].how.threads)
    try:
        return tuple(_answer(task) for task in tasks)
    finally:
        torch.set_num_threads(before)


def _answer(task: Task) -> Answer:
    from embcheck.checks.check import error_result
    from embcheck.run.rows import population_of, row_of

    checks, session = _checks(task), _session(task)
    (model,) = session.models
    try:
        (loaded,) = session.loaded(model)
    except EmbcheckError as error:
        return Answer("", tuple(row_of(error_result(check, str(error))) for check in checks), str(error))
    table = f"{loaded.table.provenance.weights_sha256}:{loaded.table.tokens_sha256}"
    if digest(table) in task.known:
        return Answer(table, None)
    about, rows = population_of(loaded.record), []
    for check in checks:
        row = row_of(session.measure(check, model))
        looked_further = isinstance(loaded.table.layers, _Layers) and loaded.table.layers.were_read
        rows.append(row | about | {"table": f"{table}:{task.mark}" if looked_further else table})
    return Answer(table, tuple(rows))


def _checks(task: Task) -> list[Check]:
    from embcheck.checks import collect
    from embcheck.checks.check import checks_of

    known = {check.label: check for check in checks_of(collect.functions([Path(p) for p in task.how.properties]))}
    lacking = [label for label in task.labels if label not in known]
    if lacking:
        raise UsageError(f"this worker finds no property {lacking[0]!r}; are the same property files there?")
    return [per_model.adapt(task.own, known[label]) or known[label] for label in task.labels]


def _session(task: Task) -> Session:
    """A session of one model, kept until another is asked for: tasks about one checkpoint tend to follow each other."""
    from embcheck.run.session import Model, Session

    how, device = task.how, _device(task)
    wanted = (task.spec.text, task.mark, device, task.own.dtype or how.dtype, how)
    if getattr(_held, "wanted", None) != wanted:
        _held.wanted = _held.session = None  # the old table goes before the new one comes
        _held.session = Session([Model(task.spec, partial(_load, task, device))], how.settings)
        _held.wanted = wanted
    session: Session = _held.session
    return session


def _load(task: Task, device: str) -> EmbeddingTable:
    from embcheck import sources

    how = task.how
    table = sources.load(task.spec, device=device, dtype=task.own.dtype or how.dtype, population=how.population)
    return table if table.layers is None else replace(table, layers=_Layers(table.layers), memo={})


class _Layers:
    """The layers of a table's model, and whether they were asked for: then numbers depend on more than the table."""

    def __init__(self, layers: Any) -> None:
        self.were_read = False
        self._layers = layers

    def __getattr__(self, name: str) -> Any:
        """Everything is as the layers have it."""
        self.were_read |= name in {"read", "tied_output"}
        return getattr(self._layers, name)


def _device(task: Task) -> str:
    import torch

    device = task.own.device or task.how.device
    if device in {"auto", "cuda"} and torch.cuda.device_count() > 1:
        return f"cuda:{task.slot % torch.cuda.device_count()}"
    return device
