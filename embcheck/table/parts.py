"""A matrix that lies in parts, each read where it is worked on: in this process, in others, on a cluster.

What a pass over the table needs is sent to the parts, and what each makes of it comes back (``EmbeddingTable.over``).
A part whose worker died is done again.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from embcheck.errors import EmbcheckError, SourceError
from embcheck.progress import track
from embcheck.settings import current
from embcheck.table.hashing import Hashing
from embcheck.table.tasks import Task, as_dtype, between, perform, perform_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table.pools import Pool
    from embcheck.table.states import States
    from embcheck.table.table import EmbeddingTable
    from embcheck.table.tasks import Part

__all__ = ["PART_BYTES", "Parts", "as_tensor"]

PART_BYTES = 16 * 2**20  # of rows that are worked on at once
_TRIES = 3  # for a part, where the process that works on it may die
_TOGETHER, _SHARES = 8, 4  # parts to a message at most, and messages to a worker at least: each costs milliseconds
_GATHERED_BYTES = 64 * 2**20  # of single rows that are kept


class Parts:
    """A (V, d) matrix in parts, which is indexed like a tensor and never held whole.

    ``damaged`` has the reason for each part, or file of parts, that can't be read. Where they are tolerated, its rows
    count as rows without finite numbers.
    """

    device = torch.device("cpu")
    """Where rows come to; where parts are worked on is another matter."""

    def __init__(
        self, parts: Sequence[Part], dtype: str, damaged: Mapping[str, str] | None = None, where: str = "cpu"
    ) -> None:
        self.parts = tuple(parts)
        self.shape = (sum(part.rows for part in parts), parts[0].shape[1])
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.damaged = dict(damaged or {})
        self.tolerates = False
        self.pool: Pool | None = None
        self.states: States | None = None
        self.hashing = Hashing(self.blocks())
        self._executor: Executor | None = None
        self._starts = np.cumsum([0, *(part.rows for part in parts)])
        self._where = where
        self._gathered: tuple[NDArray[np.int64], Tensor] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def element_size(self) -> int:
        """Bytes of a number."""
        return torch.empty(0, dtype=self.dtype).element_size()

    def first(self, rows: int) -> Parts:
        """The first rows; what states have of their parts still holds."""
        starts = zip(self._starts.tolist(), self.parts, strict=False)
        return self._like([replace(p, shape=(min(p.rows, rows - at), p.shape[1])) for at, p in starts if at < rows])

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Parts:
        """The same, in another dtype, and worked on on a device of that kind wherever it is."""
        name = str(dtype or self.dtype).removeprefix("torch.")
        parts = self.parts if dtype in {None, self.dtype} else [replace(part, dtype=name) for part in self.parts]
        return self._like(parts, name, str(device))

    def _like(self, parts: Sequence[Part], dtype: str | None = None, where: str | None = None) -> Parts:
        """Other parts, worked on by the same pool."""
        other = Parts(parts, dtype or str(self.dtype).removeprefix("torch."), self.damaged, where or self._where)
        other.tolerates, other.pool, other._executor = self.tolerates, self.pool, self._executor
        other.hashing, other.states = self.hashing, self.states  # of what is stored, in whichever dtype
        return other

    # --- passes -------------------------------------------------------------------------------------------------

    @cached_property
    def norms(self) -> Tensor:
        """(V,) Euclidean lengths; of a part that can't be read they are no numbers."""
        answers = self._run([self._task(number, None, _norms, ()) for number in range(len(self.parts))])
        norms = torch.full((len(self),), torch.nan, dtype=torch.float64)
        for start, part, answer in zip(self._starts, self.parts, answers, strict=False):
            if isinstance(answer, SourceError):
                self.damaged[part.name] = str(answer)
            else:
                norms[start : start + part.rows] = answer.double()
        if self.damaged and not (self.tolerates and bool(torch.isfinite(norms).any())):
            raise SourceError(next(iter(self.damaged.values())))
        return norms

    def over(self, population: NDArray[np.int64], work: Callable[..., Any], given: tuple[Any, ...]) -> list[Any]:
        """What ``work`` makes of each part with rows of a population, in the order of the parts."""
        tasks = []
        for number, (low, high) in enumerate(pairwise(np.searchsorted(population, self._starts).tolist())):
            if low < high:
                whole = high - low == self.parts[number].rows
                rows = None if whole else population[low:high] - self._starts[number]
                tasks.append(self._task(number, rows, work, given))
        answers = self._run(tasks)
        for answer in answers:
            if isinstance(answer, SourceError):
                raise answer
        return answers

    def _task(
        self, number: int, rows: NDArray[np.int64] | None, work: Callable[..., Any], given: tuple[Any, ...]
    ) -> Task:
        start, threads = int(self._starts[number]), None if self.pool is None else self.pool.threads
        return Task(number, self.parts[number], start, rows, self._where, threads, current(), work, given)

    def _run(self, tasks: Sequence[Task]) -> list[Any]:
        """What the tasks give, or the `SourceError` of what can't be read, as far as states do not have it."""
        if self.states is None:
            return self._work(tasks)
        keys = [task.key for task in tasks]
        known = {key: answer for key in keys if (answer := self.states.get(key)) is not None}
        missing = [n for n, key in enumerate(keys) if key not in known]
        for number, answer in zip(missing, self._work([tasks[number] for number in missing]), strict=True):
            known[keys[number]] = answer
            if not isinstance(answer, SourceError):
                self.states.put(keys[number], answer)
        return [known[key] for key in keys]

    def _work(self, tasks: Sequence[Task]) -> list[Any]:
        """What the tasks give; those that came to nothing, as where a worker died, once more, and each by itself."""
        if self.pool is None:
            return [perform(task) for task in track(tasks, "parts")]
        answers: dict[int, Any] = {}
        for trial in range(_TRIES):
            shares: dict[int, list[int]] = {}
            for n, task in enumerate(tasks):
                if n not in answers:
                    shares.setdefault(n if trial else self._shares[task.number], []).append(n)
            lost = self._ask(self.pool, tasks, shares, answers)
            if not lost:
                return [answers[n] for n in range(len(tasks))]
            first = min(lost)
            if self.pool.is_gone() or (self._executor is None and not self.pool.owned):
                raise EmbcheckError(f"the executor is gone or broken ({_short(lost[first])}); start it anew")
        raise EmbcheckError(
            f"{tasks[first].part.name}: no worker got through it in {_TRIES} tries ({_short(lost[first])}); "
            "have workers the memory for a part?"
        )

    def _ask(
        self, pool: Pool, tasks: Sequence[Task], shares: Mapping[int, list[int]], answers: dict[int, Any]
    ) -> dict[int, Exception]:
        """Have shares of the tasks worked on, add what they give to the answers, and say what became of the others."""
        executor = self._executor = self._executor or pool.make()
        near, lost = pool.near(), dict[int, Exception]()
        waiting = {
            share: _submit(executor, [tasks[n] for n in some], near[share % len(near)])
            for share, some in shares.items()
        }
        for share, future in track(waiting.items(), "parts", total=len(waiting)):
            while not future.done() and self.hashing.step():
                pass
            try:
                given = future.result()
            except Exception as error:  # noqa: BLE001 - the executor's, whichever it is: what the work raised is given
                lost |= dict.fromkeys(shares[share], error)
                continue
            if isinstance(given, Exception):
                raise given
            answers |= zip(shares[share], given, strict=True)
        if any(isinstance(error, BrokenExecutor) for error in lost.values()):
            self._executor = None
        return lost

    @cached_property
    def _shares(self) -> list[int]:
        """For each part a number of those that are worked on together: rather what is read together."""
        least = len(self.parts) // (_SHARES * self.pool.slots) if self.pool is not None else 1
        shares, size = [0], 1
        for before, part in pairwise(self.parts):
            is_full = size == _TOGETHER or (size >= least and part.read is not before.read)
            shares.append(shares[-1] + is_full)
            size = 1 if is_full else size + 1
        return shares

    # --- rows ---------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        """Rows, copied here: a slice of them, or those with ids."""
        if isinstance(index, slice):
            return torch.cat(
                [torch.empty((0, self.shape[1]), dtype=self.dtype), *self.blocks(*index.indices(len(self))[:2])]
            )
        ids = np.asarray(index, dtype=np.int64)
        return self._gather(ids.ravel()).view(*ids.shape, self.shape[1])

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Consecutive rows, some at a time, read by this process: what lies together once.

        Raises `SourceError`.
        """
        stop = len(self) if stop is None else stop
        for _, group in groupby(zip(self._starts.tolist(), self.parts, strict=False), lambda pair: pair[1].read):
            lying = list(group)
            (first, part), (last, end) = lying[0], lying[-1]
            low, high, begin = max(start, first), min(stop, last + end.rows), first - part.skip
            for block in between(part.read(), low - begin, high - begin) if low < high else ():
                low += len(block)
                if block.shape[1] != self.shape[1]:
                    raise SourceError(f"{part.name} has {block.shape[1]} columns, not {self.shape[1]}; get it again")
                yield as_dtype(block, part.dtype)
            if low < high:
                raise SourceError(f"{part.name} has {high - low} rows fewer than it promises; get it again")

    def _gather(self, ids: NDArray[np.int64]) -> Tensor:
        """Rows by their ids. Those asked for before are there: the same probes serve many passes."""
        wanted = np.unique(ids)
        known = self._gathered[0] if self._gathered is not None else wanted[:0]
        missing = np.setdiff1d(wanted, known, assume_unique=True)
        if len(missing) or self._gathered is None:
            rows = self._read(missing)
            if self._gathered is not None:
                rows, missing = torch.cat([self._gathered[1], rows]), np.concatenate([known, missing])
                order = np.argsort(missing)
                missing, rows = missing[order], rows[torch.from_numpy(order)]
            known, held = missing, rows
            if rows.numel() * rows.element_size() <= _GATHERED_BYTES:
                self._gathered = known, held
        else:
            held = self._gathered[1]
        return held[torch.from_numpy(np.searchsorted(known, ids))]

    def _read(self, ids: NDArray[np.int64]) -> Tensor:
        """Rows by their ids, ascending, from the parts that have them."""
        cuts, tasks = np.searchsorted(ids, self._starts).tolist(), []
        for number, (low, high) in enumerate(pairwise(cuts)):
            if low < high:
                tasks.append(self._task(number, None, _take, (ids[low:high] - self._starts[number],)))
        rows = [torch.empty((0, self.shape[1]), dtype=self.dtype), *self._run(tasks)]
        for answer in rows:
            if isinstance(answer, SourceError):
                raise answer
        return torch.cat(rows)


def as_tensor(parts: Parts) -> Tensor:
    """Parts where a tensor is expected; ``EmbeddingTable.parts`` tells them apart."""
    return cast("Tensor", parts)


def _submit(executor: Executor, tasks: list[Task], near: Mapping[str, Any]) -> Future[Any]:
    try:
        return executor.submit(perform_there, tasks, **near)
    except Exception as error:  # noqa: BLE001 - an executor that is broken, or gone, each in its own words
        lost: Future[Any] = Future()
        lost.set_exception(error)
        return lost


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].removesuffix(": ")


def _norms(part: EmbeddingTable) -> Tensor:
    return part.norms


def _take(part: EmbeddingTable, rows: NDArray[np.int64]) -> Tensor:
    return part.vectors[torch.from_numpy(rows).to(part.vectors.device)]
