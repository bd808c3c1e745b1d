"""A matrix that lies in parts, each read where it is worked on: in this process, in others, on a cluster.

What a pass over the table needs is sent to the parts, and what each makes of it comes back (``EmbeddingTable.over``).
An executor is anything with the ``submit`` of `concurrent.futures.Executor`; a part whose worker died is done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.errors import SourceError
from embcheck.progress import track
from embcheck.settings import Settings, current, using

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table.table import EmbeddingTable

__all__ = ["Part", "Parts"]

_TRIES = 3  # for a part, where the process that works on it may die
_HELD_BYTES = 256 * 2**20  # of parts that a process keeps for the next pass
_GATHERED_BYTES = 64 * 2**20  # of single rows that are kept


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a matrix that follow each other, and how to read them."""

    name: str
    """Where they lie, as a user would say it."""
    rows: int
    version: str
    """Another one, where what is read may be other numbers: what has been made of them is of no more use."""
    read: Callable[[], Tensor]
    """(rows, d) as they are stored; by any process. Raises `SourceError`."""
    encode: Callable[[Tensor], Tensor] | None = None
    """What is made of the rows before anybody sees them."""


class Parts:
    """A (V, d) matrix in parts, which is read, measured and indexed like a tensor, and never held.

    ``damaged`` has the reason for each part that can't be read: its rows count as rows without finite numbers.
    """

    is_floating_point = True
    device = torch.device("cpu")

    def __init__(self, parts: Sequence[Part], width: int, dtype: torch.dtype, executor: Executor | None = None) -> None:
        self.parts = tuple(parts)
        self.shape = (sum(part.rows for part in parts), width)
        self.dtype = dtype
        self.executor = executor
        self.damaged: dict[str, str] = {}
        self._starts = np.cumsum([0, *(part.rows for part in parts)])
        self._where = "cpu"
        self._gathered: tuple[NDArray[np.int64], Tensor] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def element_size(self) -> int:
        """Bytes of a number."""
        return torch.empty(0, dtype=self.dtype).element_size()

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Parts:
        """The same, worked on on a device wherever that is done, and in another dtype."""
        other = self if dtype in {None, self.dtype} else self.mapped(_Cast(dtype), dtype=dtype)
        moved = Parts(other.parts, self.shape[1], other.dtype, self.executor)
        moved._where = str(device)
        return moved

    def mapped(self, encode: Callable[[Tensor], Tensor], *, dtype: torch.dtype | None = None) -> Parts:
        """Other rows in place of each: ``encode`` makes (n, k) of (n, d) and can be sent to other processes."""
        parts = [replace(part, encode=_Both(part.encode, encode)) for part in self.parts]
        row = encode(torch.zeros((1, self.shape[1]), dtype=self.dtype))
        mapped = Parts(parts, row.shape[1], dtype or row.dtype, self.executor)
        mapped._where = self._where
        return mapped

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
        if len(self.damaged) == len(self.parts):
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
    ) -> _Task:
        return _Task(self.parts[number], int(self._starts[number]), rows, self._where, current(), work, given)

    def _run(self, tasks: Sequence[_Task]) -> list[Any]:
        """What the tasks give, or the `SourceError` of each that can't be read."""
        if self.executor is None:
            return [_perform(task) for task in track(tasks, "parts")]
        waiting = [self.executor.submit(_perform, task) for task in tasks]
        answers = []
        for task, future in zip(tasks, track(waiting, "parts"), strict=True):
            for attempt in range(_TRIES):
                try:
                    answers.append(future.result())
                    break
                except BrokenExecutor as error:
                    if attempt == _TRIES - 1:
                        raise SourceError(f"{task.part.name}: {_TRIES} workers died while they read it") from error
                    future = self.executor.submit(_perform, task)  # noqa: PLW2901 - the same work again
        return answers

    # --- rows ---------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        """Rows, copied here: a slice of them, or those with ids."""
        if isinstance(index, slice):
            return self._between(*index.indices(len(self))[:2])
        ids = np.asarray(index, dtype=np.int64)
        return self._gather(ids.ravel()).view(*ids.shape, self.shape[1])

    def _between(self, start: int, stop: int) -> Tensor:
        """Consecutive rows, read by this process, part after part."""
        rows = [torch.empty((0, self.shape[1]), dtype=self.dtype)]
        for number, (first, last) in enumerate(pairwise(self._starts.tolist())):
            low, high = max(start, first), min(stop, last)
            if low < high:
                rows.append(_table(self.parts[number], first, "cpu").vectors[low - first : high - first])
        return torch.cat(rows) if len(rows) != 2 else rows[1]

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


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Work on a part."""

    part: Part
    start: int
    rows: NDArray[np.int64] | None
    """Those that count, by their places in the part; ``None`` for all."""
    device: str
    settings: Settings
    work: Callable[..., Any]
    given: tuple[Any, ...]


def _perform(task: _Task) -> Any:
    """What the work gives, on the host, or the `SourceError` of a part that can't be read."""
    try:
        table = _table(task.part, task.start, task.device)
        if task.rows is not None:
            table = table.among(task.rows)
        with using(task.settings):
            return _on_host(task.work(table, *task.given))
    except SourceError as error:
        return error


_held: OrderedDict[str, EmbeddingTable] = OrderedDict()
"""The parts that this process has in memory, the one that was used last at the end."""


def _table(part: Part, start: int, device: str) -> EmbeddingTable:
    """A part as a table of its own, whose rows have no words."""
    from embcheck.table.provenance import Provenance
    from embcheck.table.table import EmbeddingTable, dtype_name
    from embcheck.table.vocabulary import NamedRows, RowNumbers

    key = _digest((part, start, device))
    if key in _held:
        _held.move_to_end(key)
        return _held[key]
    matrix = part.read()
    if matrix.shape[0] != part.rows:
        raise SourceError(f"{part.name} has {matrix.shape[0]} rows, not the {part.rows} it promises; get it again")
    matrix = (matrix if part.encode is None else part.encode(matrix)).to(device)
    origin = Provenance(part.name, "part", (matrix.shape[0], matrix.shape[1]), dtype_name(matrix))
    _held[key] = EmbeddingTable(matrix, NamedRows(RowNumbers(part.rows)), origin, "all", first=start)
    while len(_held) > 1 and sum(held.vectors.nbytes for held in _held.values()) > _HELD_BYTES:
        _held.popitem(last=False)
    return _held[key]


def _norms(part: EmbeddingTable) -> Tensor:
    return part.norms


def _take(part: EmbeddingTable, rows: NDArray[np.int64]) -> Tensor:
    return part.vectors[torch.from_numpy(rows).to(part.vectors.device)]


def _on_host(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return tuple(map(_on_host, answer))
    return answer.cpu() if isinstance(answer, torch.Tensor) else answer


@dataclass(frozen=True, slots=True)
class _Both:
    """One thing after the other."""

    first: Callable[[Tensor], Tensor] | None
    second: Callable[[Tensor], Tensor]

    def __call__(self, rows: Tensor) -> Tensor:
        return self.second(rows if self.first is None else self.first(rows))


@dataclass(frozen=True, slots=True)
class _Cast:
    dtype: torch.dtype

    def __call__(self, rows: Tensor) -> Tensor:
        return rows.to(self.dtype)


def _digest(given: Any) -> str:
    """A hash of numbers, texts, arrays, functions and what is made of them: equal for equal ones, in any process."""
    digest = hashlib.sha256()
    _feed(digest, given)
    return digest.hexdigest()


def _feed(digest: Any, given: Any) -> None:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu().contiguous()
        digest.update(f"{given.dtype}{tuple(given.shape)}".encode())
        digest.update(given.flatten().view(torch.uint8).numpy().data)
    elif isinstance(given, np.ndarray):
        digest.update(f"{given.dtype}{given.shape}".encode())
        digest.update(np.ascontiguousarray(given).view(np.uint8).data)
    elif isinstance(given, (tuple, list)):
        digest.update(f"({len(given)}".encode())
        for each in given:
            _feed(digest, each)
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        digest.update(type(given).__qualname__.encode())
        for field in dataclasses.fields(given):
            _feed(digest, getattr(given, field.name))
    elif hasattr(given, "func"):  # a functools.partial
        _feed(digest, (given.func, given.args, tuple(sorted(given.keywords.items()))))
    elif callable(given):
        digest.update(f"{given.__module__}.{given.__qualname__}".encode())
    else:
        digest.update(f"{type(given).__name__}:{given!r}".encode())
