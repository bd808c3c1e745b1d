"""The state of a sweep: what each checkpoint lacks, what is finished, and what that says under the claims of today."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from embcheck.checks.check import error_result, judge
from embcheck.claims import UNMEASURED, Verdict
from embcheck.config import per_model as adapting
from embcheck.config.per_model import PerModel
from embcheck.reports.series import series_of
from embcheck.run.rows import has_value, judged_again, row_of
from embcheck.sweep.plan import Checkpoint, bundles, fingerprint
from embcheck.sweep.store import SCHEMA, Store, base_of
from embcheck.sweep.worker import Answer, How, Task, digest, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from embcheck.checks.check import Check
    from embcheck.run.rows import Row

__all__ = ["ATTEMPTS", "KNOWN_TABLES", "Job", "Sweep"]

ATTEMPTS = 3
KNOWN_TABLES = 2_000
"""How many tables a task is told of, the newest: telling it of all would cost more with each."""


@dataclass(slots=True)
class Job:
    """What one task makes: checks that a checkpoint lacks; of several where they are layers of one model, run once."""

    parts: tuple[tuple[Checkpoint, tuple[str, ...]], ...]
    bytes: int = 0
    attempts: int = 0
    slot: int = 0

    def pieces(self) -> Iterator[Job]:
        """A job for each check, with its last chance: one that kills its worker is then known by name."""
        for one, labels in self.parts:
            yield from (Job(((one, (label,)),), self.bytes, ATTEMPTS - 1) for label in labels)


@dataclass(slots=True)
class Sweep:
    """The state of one sweep."""

    plan: tuple[Checkpoint, ...]
    checks: dict[str, Check]
    how: How
    store: Store
    per_model: Mapping[str, PerModel]
    marks: dict[str, str | None] = field(default_factory=dict)
    failed: dict[tuple[str, str], Row] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    """Which table each checkpoint turned out to be, by spec."""
    known: dict[object, deque[bytes]] = field(default_factory=dict)
    """Tables on which some labels are finished."""
    computed: int = 0

    def own(self, one: Checkpoint) -> PerModel:
        """What the project says of a checkpoint."""
        return self.per_model.get(one.spec.alias, PerModel())

    def check(self, one: Checkpoint, label: str) -> Check | None:
        """A check as the project has it for a checkpoint."""
        check = self.checks[label]
        return adapting.adapt(self.own(one), check) if check.declaration.applies_to(one.spec) else None

    def is_finished(self, one: Checkpoint, label: str, *tables: str) -> bool:
        """Whether a result is there, and the claims of today can be held against it."""
        check = self.check(one, label)
        row = None if check is None else self._stored(one, check, tables)
        return row is not None and check is not None and judged_again(row, check) is not None

    def _stored(self, one: Checkpoint, check: Check, tables: Iterable[str]) -> Row | None:
        keys = (key_of(table, check, self.how, self.own(one)) for table in tables)
        return next((self.store.finished[key] for key in keys if key in self.store.finished), None)

    def _tables(self, one: Checkpoint) -> tuple[str, ...]:
        """What results of a checkpoint are about: its table, or all of it where more than that was looked at."""
        table = self.held.get(one.spec.text)
        return () if table is None else (table, f"{table}:{self._mark(one)}")

    def _mark(self, one: Checkpoint) -> str:
        return self.marks[one.spec.text] or one.spec.text

    def lacking(self, size: int) -> Iterator[Job]:
        """What is not finished, in groups of ``size`` checks of one checkpoint."""
        for bundle in bundles(self.plan):
            lacking = [(one, self._lacking(one)) for one in bundle]
            for start in range(0, max(len(labels) for _, labels in lacking), size):
                parts = [(one, tuple(labels[start : start + size])) for one, labels in lacking]
                yield Job(tuple(part for part in parts if part[1]))

    def _lacking(self, one: Checkpoint) -> list[str]:
        mark = self.marks[one.spec.text] = fingerprint(one.spec)
        if mark in self.store.tables:
            self.held[one.spec.text] = self.store.tables[mark]
        labels = [label for label in self.checks if self.check(one, label) is not None]
        return [label for label in labels if not self.is_finished(one, label, *self._tables(one))]

    def tasks(self, job: Job) -> Iterator[Task]:
        """What is sent to a worker: where there are several, the layers that one run of their model is to give."""
        layers = "+".join(one.spec.option("layer") or "" for one, _ in job.parts)
        for one, labels in job.parts:
            options = tuple(option for option in one.spec.options if option[0] != "keep")
            spec = replace(one.spec, options=(*options, ("keep", layers)) if len(job.parts) > 1 else options)
            known, own = tuple(self._known(one, labels)), self.own(one)
            yield Task(spec, labels, self.how, job.slot, known, own, self._mark(one))

    def _known(self, one: Checkpoint, labels: tuple[str, ...]) -> deque[bytes]:
        """Digests of the tables on which these checks are finished, worked out once and then kept up."""
        group = (one.spec.alias if one.spec.alias in self.per_model else None, labels)
        if group not in self.known:
            tables = dict.fromkeys(base_of(row["table"]) for row in self.store.finished.values())
            digests = (digest(table) for table in tables if self._is_known(one, table, labels))
            self.known[group] = deque(digests, maxlen=KNOWN_TABLES)
        return self.known[group]

    def _is_known(self, one: Checkpoint, table: str, labels: Sequence[str]) -> bool:
        return all(self.is_finished(one, label, table) for label in labels)

    def take(self, job: Job, answers: Sequence[Answer]) -> None:
        """Keep what a task found."""
        good = []
        for (one, labels), answer in zip(job.parts, answers, strict=True):
            if answer.table:
                self.held[one.spec.text] = answer.table
            for label, row in zip(labels, answer.rows or (), strict=answer.rows is not None):
                stamped = self._stamped(row, one, label, answer.table)
                if row["verdict"] == "error":
                    self.failed[one.spec.text, label] = stamped
                else:
                    good.append(stamped)
        self.computed += len(good)
        if good:
            self.store.add(good)
        for (one, labels), answer in zip(job.parts, answers, strict=True):
            if answer.rows and self._is_known(one, answer.table, labels):
                self._known(one, labels).append(digest(answer.table))

    def give_up(self, job: Job, error: BaseException) -> None:
        """After its last attempt, a job's checks are errors."""
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        message = f"the task died each time it was tried: {why}"
        self.take(job, [Answer("", tuple(self._error_rows(labels, message))) for _, labels in job.parts])

    def _error_rows(self, labels: Sequence[str], message: str) -> Iterator[Row]:
        return (row_of(error_result(self.checks[label], message)) for label in labels)

    def _stamped(self, row: Row, one: Checkpoint, label: str, table: str) -> Row:
        """A row with every column."""
        own, check, table = self.own(one), self.check(one, label) or self.checks[label], row.get("table") or table
        named = {"table": table, "key": key_of(table, check, self.how, own)}
        return dict.fromkeys(SCHEMA.names) | row | self.how.columns(own) | self._about(one, label) | named

    def _about(self, one: Checkpoint, label: str) -> Row:
        """The columns in which checkpoints with one table differ."""
        mark, matrix = self.marks[one.spec.text], one.spec.option("tensor") or one.spec.option("matrix") or "input"
        about = {"model": one.model, "step": one.step, "spec": one.spec.text, "fingerprint": mark}
        return about | {"label": label, "matrix": matrix}

    def rows(self) -> tuple[list[Row], int]:
        """Every result of the plan, in order, as it is judged now; and how many are skipped that had a value."""
        rows = []
        for one in self.plan:
            for label in sorted(self.checks):
                check = self.check(one, label)
                if check is None:
                    continue
                row = self.failed.get((one.spec.text, label)) or self._stored(one, check, self._tables(one))
                if row is None:
                    raise AssertionError(f"{one.spec.text}: {label} was neither finished nor an error")
                row = judged_again(row, check) or row  # but for claims of an own kind, which were judged where measured
                expected = not {check.declaration.id, label} & set(self.own(one).exceptions)
                passes = judge(Verdict(row["verdict"]), expected=expected, kind=check.declaration.kind)
                outcome = "pass" if passes else "fail"
                rows.append(row | self._about(one, label) | {"outcome": outcome})
        first: dict[object, int] = {}
        for row in (*self.store.rows.values(), *rows):
            if has_value(row):
                first[series_of(row)] = min(row["step"], first.get(series_of(row), row["step"]))
        lost = [r for r in rows if r["verdict"] in UNMEASURED and first.get(series_of(r), r["step"]) < r["step"]]
        for row in lost:
            row["outcome"] = "fail"
        return rows, len(lost)
