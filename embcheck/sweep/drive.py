"""Drive a sweep: plan what is missing, keep the pool busy, try again what died, keep what is finished."""

from __future__ import annotations

import json
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck import sources
from embcheck.checks import collect
from embcheck.checks.check import error_result, judge
from embcheck.claims import Verdict
from embcheck.config import per_model as adapting
from embcheck.config.per_model import PerModel
from embcheck.errors import EmbcheckError, UsageError
from embcheck.progress import track
from embcheck.reports.series import series_of
from embcheck.run.rows import has_value, judged_again, row_of
from embcheck.settings import Settings
from embcheck.sweep.plan import Checkpoint, bundles, checkpoints, fingerprint
from embcheck.sweep.pools import Pool, UnfinishedError, pool_of
from embcheck.sweep.store import SCHEMA, Store, base_of
from embcheck.sweep.worker import Answer, How, Task, digest, key_of, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from embcheck.checks.check import Check
    from embcheck.run.rows import Row
    from embcheck.run.session import Population
    from embcheck.spec import ModelSpec

__all__ = ["Swept", "sweep"]

ATTEMPTS = 3
WORKING_BYTES = 2**30
"""What a worker takes beside its table: PyTorch itself, and blocks of work."""
KNOWN_TABLES = 2_000
"""How many tables a task is told of, the newest: telling it of all would cost more with each."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A finished sweep."""

    path: Path
    rows: tuple[Row, ...]
    """All that the file has."""
    computed: int
    """Results that this sweep computed; the others were finished before."""
    own: tuple[Row, ...] = ()
    """What it was about, and what it passes or fails by."""
    lost: int = 0
    """Checks that were skipped though an earlier step of the same run has a value: they fail."""

    @property
    def passed(self) -> bool:
        """Whether there are results and all of them pass."""
        return bool(self.own) and all(row["outcome"] == "pass" for row in self.own)

    @property
    def errors(self) -> tuple[Row, ...]:
        """Results of checkpoints that could not be read and of checks that failed to run."""
        return tuple(row for row in self.own if row["verdict"] == "error")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        return not self.lost and all(row["verdict"] == "skipped" for row in self.own)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the tables: which steps hold the same one, and which have broken rows."""
        steps: dict[tuple[str, str], list[int]] = {}
        broken: dict[tuple[str, int], str] = {}
        for row in self.own:
            where = steps.setdefault((row["model"], row["table"]), [])
            if row["table"] and row["step"] not in where:
                where.append(row["step"])
            lacking = json.loads(row["excluded"] or "{}").get("non_finite", 0)
            if lacking:
                broken[row["model"], row["step"]] = f"{lacking} rows are not finite, {row['rows']} are measured"
        same = [
            f"{model}: the same table at steps {', '.join(map(str, s))}" for (model, _), s in steps.items() if s[1:]
        ]
        return (*same, *(f"{model} step {step}: {why}" for (model, step), why in broken.items()))


@dataclass(slots=True)
class _Job:
    """What one task makes: checks that a checkpoint lacks; of several where they are layers of one model, run once."""

    parts: tuple[tuple[Checkpoint, tuple[str, ...]], ...]
    bytes: int = 0
    attempts: int = 0
    slot: int = 0

    def pieces(self) -> Iterator[_Job]:
        """A job for each check, with its last chance: one that kills its worker is then known by name."""
        for one, labels in self.parts:
            yield from (_Job(((one, (label,)),), self.bytes, ATTEMPTS - 1) for label in labels)


@dataclass(slots=True)
class _Sweep:
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

    def lacking(self, size: int) -> Iterator[_Job]:
        """What is not finished, in groups of ``size`` checks of one checkpoint."""
        for bundle in bundles(self.plan):
            lacking = [(one, self._lacking(one)) for one in bundle]
            for start in range(0, max(len(labels) for _, labels in lacking), size):
                parts = [(one, tuple(labels[start : start + size])) for one, labels in lacking]
                yield _Job(tuple(part for part in parts if part[1]))

    def _lacking(self, one: Checkpoint) -> list[str]:
        mark = self.marks[one.spec.text] = fingerprint(one.spec)
        if mark in self.store.tables:
            self.held[one.spec.text] = self.store.tables[mark]
        labels = [label for label in self.checks if self.check(one, label) is not None]
        return [label for label in labels if not self.is_finished(one, label, *self._tables(one))]

    def tasks(self, job: _Job) -> Iterator[Task]:
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

    def take(self, job: _Job, answers: Sequence[Answer]) -> None:
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

    def give_up(self, job: _Job, error: BaseException) -> None:
        """After its last attempt, a job's checks are errors."""
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        message = f"the task died {job.attempts} times: {why}"
        self.take(job, [Answer("", tuple(self._error_rows(labels, message))) for _, labels in job.parts])

    def _error_rows(self, labels: Sequence[str], message: str) -> Iterator[Row]:
        return (row_of(error_result(self.checks[label], message)) for label in labels)

    def _stamped(self, row: Row, one: Checkpoint, label: str, table: str) -> Row:
        """A row with every column, as that of one checkpoint."""
        own, mark = self.own(one), self.marks[one.spec.text]
        check, table = self.check(one, label) or self.checks[label], row.get("table") or table
        about = {"model": one.model, "step": one.step, "spec": one.spec.text, "fingerprint": mark, "label": label}
        matrix = one.spec.option("tensor") or one.spec.option("matrix") or "input"
        named = {"table": table, "key": key_of(table, check, self.how, own), "matrix": matrix}
        return dict.fromkeys(SCHEMA.names) | row | self.how.columns(own) | about | named

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
                outcome = "pass" if judge(Verdict(row["verdict"]), expected=expected) else "fail"
                rows.append(self._stamped(row | {"outcome": outcome}, one, label, row["table"]))
        first: dict[object, int] = {}
        for row in (*self.store.rows.values(), *rows):
            if has_value(row):
                first[series_of(row)] = min(row["step"], first.get(series_of(row), row["step"]))
        lost = [r for r in rows if r["verdict"] == "skipped" and first.get(series_of(r), r["step"]) < r["step"]]
        for row in lost:
            row["outcome"] = "fail"
        return rows, len(lost)


def sweep(  # noqa: PLR0913 - the options of the command, all by keyword
    specs: Sequence[str | ModelSpec] = (),
    *,
    out: str | Path,
    globs: Sequence[str] = (),
    properties: Sequence[str] = (),
    property_files: Sequence[str | Path] = (),
    executor: str | Executor = "process",
    workers: int | None = None,
    memory: int | None = None,
    group: int | None = None,
    settings: Settings | None = None,
    device: str = "auto",
    dtype: str | None = None,
    population: Population = "known",
    threads: int = 1,
    per_model: Mapping[str, PerModel] | None = None,
    shard: tuple[int, int] | None = None,
) -> Swept:
    """Check properties on many checkpoints, and keep every result in one Parquet file.

    Called again after an interruption, or with more checkpoints, it computes only what is missing: results are known
    by the hash of the tensor and of its tokens, the property's version and parameters, and the settings.

    Parameters
    ----------
    specs, globs
        Checkpoints, as `embcheck.sweep.checkpoints` takes them.
    out
        The Parquet file. Finished parts stand in a folder beside it until the end.
    properties, property_files
        Globs over property ids, none for all; and files beside the shipped ones.
    executor
        ``process``, ``thread``, ``dask://HOST:PORT``, or any `concurrent.futures.Executor`.
    workers
        Tasks at once.
    memory
        Bytes that tasks on this machine may take together, by default all there is; a table and 1 GiB are counted for
        each task, and a task that is larger than everything runs alone.
    group
        Checks a task; by default all of a checkpoint's.
    settings, device, dtype, population
        As in `embcheck.check`. With several GPUs, tasks are dealt out to them.
    threads
        Of PyTorch in a task.
    per_model
        By alias, what a project says of one model: its own bounds, checks, parameters and exceptions.
    shard
        ``(i, n)``: only the i-th of n parts of the checkpoints. Several of these may add to one file at once, each its
        part, which a sweep without ``shard`` gathers.

    Raises
    ------
    UsageError
        An argument is wrong, or nothing is named.
    EmbcheckError
        The file can't be written, or is in use, or the cluster can't be reached.
    """
    plan = checkpoints(specs, globs)
    for one in plan:
        sources.check(one.spec)
    files = tuple(str(Path(file).resolve()) for file in property_files)
    found = collect.collect([Path(file) for file in files], globs=properties)
    checks = [check for check in found if check.is_whole]  # not those of two models
    if not checks:
        raise UsageError("nothing to check: no properties were found")
    if group is not None and group < 1:
        raise UsageError(f"group must be at least 1, got {group}")
    how = How(settings or Settings(), files, device, dtype, population, threads)
    if shard is not None:
        plan = _part(plan, *shard)
    with Store(Path(out), is_shared=shard is not None) as store:
        state = _Sweep(plan, {check.label: check for check in checks}, how, store, per_model or {})
        jobs = list(state.lacking(group or len(checks)))
        if jobs:
            pool = pool_of(executor, workers)
            try:
                for _ in track(_drive(state, jobs, pool, memory), "sweep", total=len(jobs)):
                    pass
            finally:
                pool.close()
        own, lost = state.rows()
        rows = store.finish(own)
    return Swept(store.path, tuple(rows), state.computed, tuple(own), lost)


def _part(plan: Sequence[Checkpoint], place: int, count: int) -> tuple[Checkpoint, ...]:
    if not 1 <= place <= count:
        raise UsageError(f"shard must be one of 1/{count} to {count}/{count}, got {place}/{count}")
    return tuple(sorted(one for bundle in bundles(plan)[place - 1 :: count] for one in bundle))


def _drive(state: _Sweep, jobs: Sequence[_Job], pool: Pool, memory: int | None) -> Iterator[_Job]:
    """Run the jobs, as many at once as there are places and memory for; yield each when it is over."""
    if pool.here:
        memory = _all_memory() if memory is None else memory
        for job in jobs:
            job.bytes = WORKING_BYTES + max(_table_bytes(one) for one, _ in job.parts)
    waiting, running, free = deque(jobs), dict[Future[tuple[Answer, ...]], _Job](), list(range(pool.slots))
    executor = pool.make()
    try:
        while waiting or running:
            while waiting and free and _fits(waiting[0], running.values(), memory):
                job = waiting.popleft()
                job.slot = free.pop()
                running[_submit(executor, tuple(state.tasks(job)))] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                job = running.pop(future)
                free.append(job.slot)
                error = _error(future, pool)
                broken |= isinstance(error, BrokenExecutor)
                again = _settle(state, job, future, error)
                waiting.extend(again)
                if not again:
                    yield job
            if broken:
                executor.shutdown(wait=False)
                executor = _anew(pool)
    finally:
        for future in running:
            future.cancel()
        if pool.owned:
            executor.shutdown(wait=False)


def _submit(executor: Executor, tasks: tuple[Task, ...]) -> Future[tuple[Answer, ...]]:
    try:
        return executor.submit(measure, *tasks)
    except BrokenExecutor:
        raise
    except Exception as error:
        raise UnfinishedError(f"the executor takes no tasks ({type(error).__name__})") from error


def _error(future: Future[Any], pool: Pool) -> BaseException | None:
    """What a task died of."""
    error = CancelledError() if future.cancelled() else future.exception()
    if error is not None and pool.is_gone():
        raise UnfinishedError(f"the executor is gone ({type(error).__name__})") from error
    return error


def _settle(state: _Sweep, job: _Job, future: Future[tuple[Answer, ...]], error: BaseException | None) -> list[_Job]:
    """Take what a job found; where it died, what is to be tried again."""
    if isinstance(error, EmbcheckError):  # the whole sweep is at fault, not this task
        raise error
    if error is None:
        state.take(job, future.result())
        return []
    job.attempts += 1
    if job.attempts == ATTEMPTS - 1:
        return list(job.pieces())
    if job.attempts < ATTEMPTS:
        return [job]
    state.give_up(job, error)
    return []


def _fits(job: _Job, running: Any, memory: int | None) -> bool:
    """Whether a job may start now. One that has died before gets its last chance alone, so that it harms no other."""
    others = list(running)
    if any(one.attempts == ATTEMPTS - 1 for one in (job, *others)):
        return not others
    return not others or memory is None or job.bytes + sum(one.bytes for one in others) <= memory


def _anew(pool: Pool) -> Executor:
    if not pool.owned:
        raise UnfinishedError("the executor that was handed in is broken")
    return pool.make()


def _table_bytes(one: Checkpoint) -> int:
    try:
        return int(sources.describe(one.spec)["bytes"])
    except EmbcheckError:
        return 0  # it can't be read: the task will say so


def _all_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
