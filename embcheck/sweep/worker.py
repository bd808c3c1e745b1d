"""One task of a sweep: read a checkpoint's table, measure some checks on it, return rows of builtin types.

`measure` is what executors send to other processes and machines: it takes and returns only what pickles anywhere.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.errors import EmbcheckError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.evaluate import Check, Result
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["Answer", "How", "Task", "columns", "key_of", "measure"]

_held = threading.local()


@dataclass(frozen=True, slots=True)
class How:
    """What is the same for every task of a sweep."""

    settings: Settings
    properties: tuple[str, ...] = ()
    """Property files and folders beside the shipped ones."""
    device: str = "auto"
    dtype: str | None = None
    population: str = "known"
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
    rows: tuple[dict[str, Any], ...] | None
    error: str | None = None


def key_of(table: str, declaration_version: int, label: str, how: How) -> str:
    """The key under which a result is finished: weights and tokens, property, version and parameters, settings."""
    return hashlib.sha256(json.dumps([table, label, declaration_version, how.record]).encode()).hexdigest()


def measure(task: Task) -> Answer:
    """Make a task's checks. A checkpoint that can't be read, or a faulty property, gives rows that say so."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(task.how.threads)
    try:
        checks = _checks(task)
        try:
            table = _table(task)
            name = f"{table.provenance.weights_sha256}:{table.tokens_sha256}"
        except EmbcheckError as error:
            return Answer("", tuple(_failed(check, str(error)) for check in checks), str(error))
        if name in task.finished:
            return Answer(name, None)
        return Answer(name, tuple(_row(check, table, task.how) for check in checks))
    finally:
        torch.set_num_threads(before)


def _checks(task: Task) -> list[Check]:
    from embcheck.checks import collect
    from embcheck.checks.evaluate import checks_of

    known = {one.label: one for one in checks_of(collect.functions([Path(p) for p in task.how.properties]))}
    lacking = [label for label in task.labels if label not in known]
    if lacking:
        raise UsageError(f"this worker finds no property {lacking[0]!r}; are the same property files there?")
    return [known[label] for label in task.labels]


def _table(task: Task) -> EmbeddingTable:
    """The table, kept until another one is asked for: tasks about one checkpoint tend to follow each other."""
    from embcheck import sources

    device = _device(task)
    wanted = (task.spec.text, device, task.how.dtype, task.how.population)
    if getattr(_held, "wanted", None) != wanted:
        _held.wanted = _held.table = None  # the old one goes before the new one comes
        _held.table = sources.load(
            task.spec,
            device=device,
            dtype=task.how.dtype,
            population=task.how.population,  # type: ignore[arg-type]
        )
        _held.wanted = wanted
    found: EmbeddingTable = _held.table
    return found


def _device(task: Task) -> str:
    import torch

    if task.how.device in {"auto", "cuda"} and torch.cuda.device_count() > 1:
        return f"cuda:{task.slot % torch.cuda.device_count()}"
    return task.how.device


def _row(check: Check, table: EmbeddingTable, how: How) -> dict[str, Any]:
    from embcheck.checks.evaluate import error_result, evaluate

    try:
        result = evaluate(check, table, how.settings)
    except EmbcheckError as error:
        result = error_result(check, str(error))
    return columns(result)


def _failed(check: Check, why: str) -> dict[str, Any]:
    from embcheck.checks.evaluate import error_result

    return columns(error_result(check, why))


def columns(result: Result) -> dict[str, Any]:
    """A result as one row of the Parquet file; what has no fixed shape is JSON."""
    record = result.record
    estimate: dict[str, Any] = record["estimate"] or {}
    numbers: Sequence[str] = ("value", "low", "high", "confidence_level", "method", "n", "unit", "exact")
    return {
        "property": record["property"],
        "version": record["version"],
        "params": json.dumps(record["params"], sort_keys=True),
        "verdict": str(record["verdict"]),
        "outcome": record["outcome"],
        "estimate": estimate.get("name"),
        **{name: estimate.get(name) for name in numbers},
        "sentence": record["sentence"],
        "claims": json.dumps(record["claims"], sort_keys=True),
        "nulls": json.dumps(record["nulls"], sort_keys=True),
        "reason": record["reason"],
        "seconds": result.seconds,
        "margin": result.check.declaration.margin,
    }
