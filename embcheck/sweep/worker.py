"""One task of a sweep: read a checkpoint's table, measure some checks on it, return rows of builtin types.

`measure` is what executors send to other processes and machines: it takes and returns only what pickles anywhere.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck.errors import EmbcheckError, UsageError

if TYPE_CHECKING:
    from embcheck.checks.check import Check
    from embcheck.run.document import Row
    from embcheck.run.session import Population, Session
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec

__all__ = ["Answer", "How", "Task", "key_of", "measure"]

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

    @property
    def record(self) -> str:
        """What of it changes numbers, as JSON: a part of every result's key."""
        one = self.settings
        return json.dumps([one.seed, one.confidence_level, one.probes, self.dtype, self.population])


@dataclass(frozen=True, slots=True)
class Task:
    """One checkpoint, and the labels of the checks to make on it. ``slot`` is the place it has: it picks a GPU."""

    spec: ModelSpec
    labels: tuple[str, ...]
    how: How
    slot: int = 0
    finished: frozenset[str] = frozenset()
    """Tables on which all of these checks were made before: they are recognised, and left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task found: which table it was, and a row for each check, or none where all are known already."""

    table: str
    rows: tuple[Row, ...] | None
    error: str | None = None


def key_of(table: str, declaration_version: int, label: str, how: How) -> str:
    """The key under which a result is finished: weights and tokens, property, version and parameters, settings."""
    return hashlib.sha256(json.dumps([table, label, declaration_version, how.record]).encode()).hexdigest()


def measure(task: Task) -> Answer:
    """Make a task's checks. A checkpoint that can't be read, or a faulty property, gives rows that say so."""
    import torch

    from embcheck.checks.check import error_result
    from embcheck.run.document import row_of

    before = torch.get_num_threads()
    torch.set_num_threads(task.how.threads)
    try:
        checks, session = _checks(task), _session(task)
        (model,) = session.models
        try:
            (loaded,) = session.loaded(model)
        except EmbcheckError as error:
            return Answer("", tuple(row_of(error_result(check, str(error))) for check in checks), str(error))
        name = f"{loaded.table.provenance.weights_sha256}:{loaded.table.tokens_sha256}"
        if name in task.finished:
            return Answer(name, None)
        return Answer(name, tuple(row_of(session.measure(check, model)) for check in checks))
    finally:
        torch.set_num_threads(before)


def _checks(task: Task) -> list[Check]:
    from embcheck.checks import collect
    from embcheck.checks.check import checks_of

    known = {one.label: one for one in checks_of(collect.functions([Path(p) for p in task.how.properties]))}
    lacking = [label for label in task.labels if label not in known]
    if lacking:
        raise UsageError(f"this worker finds no property {lacking[0]!r}; are the same property files there?")
    return [known[label] for label in task.labels]


def _session(task: Task) -> Session:
    """A session of one model, kept until another is asked for: tasks about one checkpoint tend to follow each other."""
    from embcheck import sources
    from embcheck.run.session import Model, Session

    how, device = task.how, _device(task)
    wanted = (task.spec.text, device, how)
    if getattr(_held, "wanted", None) != wanted:
        _held.wanted = _held.session = None  # the old table goes before the new one comes
        load = partial(sources.load, task.spec, device=device, dtype=how.dtype, population=how.population)
        _held.session = Session([Model(task.spec, load)], how.settings)
        _held.wanted = wanted
    session: Session = _held.session
    return session


def _device(task: Task) -> str:
    import torch

    if task.how.device in {"auto", "cuda"} and torch.cuda.device_count() > 1:
        return f"cuda:{task.slot % torch.cuda.device_count()}"
    return task.how.device
