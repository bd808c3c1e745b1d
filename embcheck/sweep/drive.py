"""Drive a sweep: plan what is missing, keep the pool busy, try again what died, keep what is finished."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck import sources
from embcheck.checks import collect
from embcheck.errors import EmbcheckError, UsageError
from embcheck.progress import track
from embcheck.settings import Settings
from embcheck.sweep.plan import Checkpoint, checkpoints, fingerprint
from embcheck.sweep.pools import Pool, pool_of
from embcheck.sweep.store import Store
from embcheck.sweep.worker import Answer, How, Task, key_of, measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.check import Check
    from embcheck.run.document import Row
    from embcheck.run.session import Population

__all__ = ["Swept", "sweep"]

ATTEMPTS = 3
WORKING_BYTES = 2**30
"""What a worker takes beside its table: PyTorch itself, and blocks of work."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A finished sweep."""

    path: Path
    rows: tuple[Row, ...]
    computed: int
    """Results that this sweep computed; the others were finished before."""

    @property
    def passed(self) -> bool:
        """Whether there are results and all of them pass."""
        return bool(self.rows) and all(row["outcome"] == "pass" for row in self.rows)

    @property
    def errors(self) -> tuple[Row, ...]:
        """Results of checkpoints that could not be read and of checks that failed to run."""
        return tuple(row for row in self.rows if row["verdict"] == "error")


@dataclass(slots=True)
class _Job:
    """Checks that one checkpoint lacks."""

    checkpoint: Checkpoint
    fingerprint: str | None
    labels: tuple[str, ...]
    bytes: int = 0
    attempts: int = 0
    slot: int = 0


@dataclass(slots=True)
class _Sweep:
    """The state of one sweep."""

    plan: tuple[Checkpoint, ...]
    checks: dict[str, Check]
    how: How
    store: Store
    marks: dict[str, str | None] = field(default_factory=dict)
    failed: dict[tuple[str, str], Row] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    """Which table each checkpoint turned out to be, by spec."""
    computed: int = 0

    def labels(self, one: Checkpoint) -> list[str]:
        """The checks that a checkpoint has."""
        return [label for label, check in self.checks.items() if check.declaration.applies_to(one.spec)]

    def key(self, table: str, label: str) -> str:
        return key_of(table, self.checks[label].declaration.version, label, self.how)

    def lacking(self, size: int) -> Iterator[_Job]:
        """What is not finished, in groups of ``size`` checks of one checkpoint."""
        for one in self.plan:
            mark = self.marks[one.spec.text] = fingerprint(one.spec)
            table = self.store.tables.get(mark or "")
            if table:
                self.held[one.spec.text] = table
            labels = [c for c in self.labels(one) if not table or self.key(table, c) not in self.store.finished]
            for start in range(0, len(labels), size):
                yield _Job(one, mark, tuple(labels[start : start + size]))

    def task(self, job: _Job) -> Task:
        done = {table for table in self.store.known if self._complete(table, job.labels)}
        return Task(job.checkpoint.spec, job.labels, self.how, job.slot, frozenset(done))

    def _complete(self, table: str, labels: Sequence[str]) -> bool:
        return all(self.key(table, label) in self.store.finished for label in labels)

    def take(self, job: _Job, answer: Answer) -> None:
        """Keep what a task found."""
        if answer.table:
            self.held[job.checkpoint.spec.text] = answer.table
        if answer.rows is None:
            return
        rows = [
            self._stamped(row, job.checkpoint, job.fingerprint, label, answer.table)
            for label, row in zip(job.labels, answer.rows, strict=True)
        ]
        for row in rows:
            if row["verdict"] == "error":
                self.failed[job.checkpoint.spec.text, row["label"]] = row
        good = [row for row in rows if row["verdict"] != "error"]
        self.computed += len(good)
        if good:
            self.store.add(good)

    def give_up(self, job: _Job, error: BaseException) -> None:
        """After its last attempt, a job's checks are errors."""
        from embcheck.checks.check import error_result
        from embcheck.run.document import row_of

        why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        message = f"the task died {job.attempts} times: {why}"
        rows = tuple(row_of(error_result(self.checks[label], message)) for label in job.labels)
        self.take(job, Answer("", rows))

    def _stamped(self, row: Row, one: Checkpoint, mark: str | None, label: str, table: str) -> Row:
        about = {"model": one.model, "step": one.step, "spec": one.spec.text, "fingerprint": mark}
        return row | about | {"label": label, "table": table, "key": self.key(table, label)}

    def rows(self) -> list[Row]:
        """Every result of the plan, in order; and those of other checkpoints that the file already had."""
        found = {}
        for one in self.plan:
            table, mark = self.held.get(one.spec.text, ""), self.marks[one.spec.text]
            for label in self.labels(one):
                row = self.failed.get((one.spec.text, label)) or self.store.finished[self.key(table, label)]
                found[one.model, one.step, label] = self._stamped(row, one, mark, label, table)
        for row in self.store.finished.values():
            found.setdefault((row["model"], row["step"], row["label"]), row)
        return [found[place] for place in sorted(found)]


def sweep(  # noqa: PLR0913 - the options of the command, all by keyword
    specs: Sequence[str] = (),
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
    with Store(Path(out)) as store:
        state = _Sweep(plan, {check.label: check for check in checks}, how, store)
        jobs = list(state.lacking(group or len(checks)))
        if jobs:
            pool = pool_of(executor, workers)
            try:
                for _ in track(_drive(state, jobs, pool, memory), "sweep", total=len(jobs)):
                    pass
            finally:
                pool.close()
        rows = state.rows()
        store.finish(rows)
    return Swept(store.path, tuple(rows), state.computed)


def _drive(state: _Sweep, jobs: Sequence[_Job], pool: Pool, memory: int | None) -> Iterator[_Job]:
    """Run the jobs, as many at once as there are places and memory for; yield each when it is over."""
    if pool.here:
        memory = _all_memory() if memory is None else memory
        for job in jobs:
            job.bytes = WORKING_BYTES + _table_bytes(job.checkpoint)
    waiting, running, free = deque(jobs), dict[Future[Answer], _Job](), list(range(pool.slots))
    executor = pool.make()
    try:
        while waiting or running:
            while waiting and free and _fits(waiting[0], running.values(), memory):
                job = waiting.popleft()
                job.slot = free.pop()
                running[executor.submit(measure, state.task(job))] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                job = running.pop(future)
                free.append(job.slot)
                broken |= isinstance(future.exception(), BrokenExecutor)
                if _settle(state, job, future):
                    yield job
                else:
                    waiting.append(job)
            if broken:
                executor.shutdown(wait=False)
                executor = _anew(pool)
    finally:
        for future in running:
            future.cancel()
        if pool.owned:
            executor.shutdown(wait=False)


def _settle(state: _Sweep, job: _Job, future: Future[Answer]) -> bool:
    """Take what a job found; False where it died and is to be tried again."""
    error = future.exception()
    if isinstance(error, EmbcheckError):  # the whole sweep is at fault, not this task
        raise error
    if error is None:
        state.take(job, future.result())
        return True
    job.attempts += 1
    if job.attempts < ATTEMPTS:
        return False
    state.give_up(job, error)
    return True


def _fits(job: _Job, running: Any, memory: int | None) -> bool:
    """Whether a job may start now. One that has died before gets its last chance alone, so that it harms no other."""
    others = list(running)
    if any(one.attempts == ATTEMPTS - 1 for one in (job, *others)):
        return not others
    return not others or memory is None or job.bytes + sum(one.bytes for one in others) <= memory


def _anew(pool: Pool) -> Executor:
    if not pool.owned:
        raise EmbcheckError(
            "the executor that was handed in is broken; what is finished is kept: sweep again with a new one"
        )
    return pool.make()


def _table_bytes(one: Checkpoint) -> int:
    try:
        return sources.describe(one.spec).bytes or 0
    except EmbcheckError:
        return 0  # it can't be read: the task will say so


def _all_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
