"""Drive a sweep: plan what is missing, keep the pool busy, try again what died, keep what is finished."""

from __future__ import annotations

import json
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck import sources
from embcheck.checks import collect
from embcheck.claims import UNMEASURED
from embcheck.errors import EmbcheckError, UsageError
from embcheck.progress import track
from embcheck.run.rows import note_of_broken
from embcheck.settings import Settings
from embcheck.sweep.plan import Checkpoint, bundles, checkpoints
from embcheck.sweep.state import ATTEMPTS, Job, Sweep
from embcheck.sweep.store import Store
from embcheck.sweep.worker import Answer, How, measure
from embcheck.table.pools import Pool, UnfinishedError, pool_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.config.per_model import PerModel
    from embcheck.run.rows import Row
    from embcheck.run.session import Population
    from embcheck.spec import ModelSpec

__all__ = ["Swept", "sweep"]

WORKING_BYTES = 2**30
"""What a worker takes beside its table: PyTorch itself, and blocks of work."""


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
        return not self.lost and all(row["verdict"] in UNMEASURED for row in self.own)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the tables: which steps hold the same one, and which have broken rows."""
        steps: dict[tuple[str, str], list[int]] = {}
        broken: dict[tuple[str, int], str] = {}
        for row in self.own:
            where = steps.setdefault((row["model"], row["table"]), [])
            if row["table"] and row["step"] not in where:
                where.append(row["step"])
            if note := note_of_broken(row["rows"] or 0, json.loads(row["excluded"] or "{}")):
                broken[row["model"], row["step"]] = note
        same = [
            f"{model}: the same table at steps {', '.join(map(str, s))}" for (model, _), s in steps.items() if s[1:]
        ]
        return (*(f"{model} step {step}: {why}" for (model, step), why in broken.items()), *same)


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
        ``process``, ``thread``, ``dask://HOST:PORT``, ``ray``, ``ray://HOST:PORT``, or any
        `concurrent.futures.Executor`. Dask and Ray do again themselves what a worker died over.
    workers
        Tasks at once; by default one a core, and on a cluster what it has places for at the time.
    memory
        Bytes that tasks on this machine may take together, by default all there is; a table and 1 GiB are counted for
        each task, and a task that is larger than everything runs alone. Not for Dask and Ray, which share out theirs.
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
        state = Sweep(plan, {check.label: check for check in checks}, how, store, per_model or {})
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


def _drive(state: Sweep, jobs: Sequence[Job], pool: Pool, memory: int | None) -> Iterator[Job]:
    """Run the jobs, as many at once as there are places and memory for; yield each when it is over.

    An engine may grow meanwhile. It is not given all at once, since tasks are told which tables are known by then.
    """
    memory = _limit(jobs, pool, memory)
    waiting, running = deque(jobs), dict[Future[tuple[Answer, ...]], Job]()
    executor = pool.make()
    try:
        while waiting or running:
            places = _places(pool)
            while waiting and len(running) < places and _fits(waiting[0], running.values(), memory):
                job = waiting.popleft()
                job.slot = min(set(range(places)) - {one.slot for one in running.values()})
                running[_submit(executor, pool, state, job)] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                job = running.pop(future)
                error = _error(future, pool)
                broken |= isinstance(error, BrokenExecutor) and pool.takes is None
                was_lost = isinstance(error, BrokenExecutor | CancelledError)
                again = _settle(state, job, future, error, 1 if was_lost or pool.takes is None else ATTEMPTS)
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


def _limit(jobs: Sequence[Job], pool: Pool, memory: int | None) -> int | None:
    """What jobs may take together, as far as that is ours to say; each is told what it takes where that counts."""
    if pool.takes is not None and memory is not None:
        raise UsageError("memory is what tasks may take on this machine; a cluster shares out its own")
    if pool.here or pool.needs is not None:
        for job in jobs:
            job.bytes = WORKING_BYTES + max(_table_bytes(one) for one, _ in job.parts)
    return _all_memory() if pool.here and pool.takes is None and memory is None else memory


def _places(pool: Pool) -> int:
    if pool.takes is None:
        return pool.slots
    try:
        return max(1, pool.takes())
    except Exception as error:
        raise UnfinishedError(f"the executor is gone ({type(error).__name__})") from error


def _submit(executor: Executor, pool: Pool, state: Sweep, job: Job) -> Future[tuple[Answer, ...]]:
    tasks = tuple(state.tasks(job))
    try:
        return executor.submit(measure, *tasks, **({} if pool.needs is None else pool.needs(job.bytes)))
    except BrokenExecutor as error:  # a worker died since the last look: the task is tried again, on a new pool
        lost: Future[tuple[Answer, ...]] = Future()
        lost.set_exception(error)
        return lost
    except Exception as error:
        raise UnfinishedError(f"the executor takes no tasks ({type(error).__name__})") from error


def _error(future: Future[Any], pool: Pool) -> BaseException | None:
    """What a task died of."""
    error = CancelledError() if future.cancelled() else future.exception()
    if error is not None and pool.is_gone():
        raise UnfinishedError(f"the executor is gone ({type(error).__name__})") from error
    return error


def _settle(
    state: Sweep, job: Job, future: Future[tuple[Answer, ...]], error: BaseException | None, tries: int
) -> list[Job]:
    """Take what a job found; where it died, as often as it was tried, what is to be tried again."""
    if isinstance(error, EmbcheckError):  # the whole sweep is at fault, not this task
        raise error
    if error is None:
        state.take(job, future.result())
        return []
    if job.attempts == ATTEMPTS - 1:
        state.give_up(job, error)
        return []
    job.attempts = min(job.attempts + tries, ATTEMPTS - 1)
    return list(job.pieces()) if job.attempts == ATTEMPTS - 1 else [job]


def _fits(job: Job, running: Any, memory: int | None) -> bool:
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
        return sources.describe(one.spec).bytes or 0
    except EmbcheckError:
        return 0  # it can't be read: the task will say so


def _all_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
