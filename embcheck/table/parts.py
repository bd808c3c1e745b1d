"""A matrix that lies in parts, each read where it is worked on: in this process, in others, on a cluster.

What a pass over the table needs is sent to the parts, and what each makes of it comes back (``EmbeddingTable.over``).
A part whose worker died is done again.
"""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import traceback
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import groupby, pairwise
from threading import local
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from embcheck.errors import EmbcheckError, SourceError
from embcheck.progress import track
from embcheck.settings import Settings, current, give_back_memory, prepare_process, using
from embcheck.table.hashing import Hashing
from embcheck.table.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table.pools import Pool
    from embcheck.table.states import States
    from embcheck.table.table import EmbeddingTable

__all__ = ["PART_BYTES", "Part", "Parts", "as_tensor"]

PART_BYTES = 16 * 2**20  # of rows that are worked on at once
_TRIES = 3  # for a part, where the process that works on it may die
_TOGETHER, _SHARES = 8, 4  # parts to a message at most, and messages to a worker at least: each costs milliseconds
_ENCODED_BYTES = 4 * 2**20  # of rows as float32
_GATHERED_BYTES = 64 * 2**20  # of single rows that are kept


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a matrix that follow each other, and how to read them."""

    name: str
    """Where they lie, as a user would say it."""
    shape: tuple[int, int]
    """Rows and columns."""
    version: str
    """Another one, where what is read may be other numbers: what has been made of them is of no more use."""
    read: Callable[[], Iterable[Tensor]]
    """Blocks (n, d) of rows as they are stored, by any process: those of the part, and of others that lie with it.

    Raises `SourceError`.
    """
    skip: int = 0
    """How many rows of what is read come before the part's."""
    encode: Callable[[Tensor], Tensor] | None = None
    """What is made of the rows before anybody sees them."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.shape[0]


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
        self._made_of: tuple[Parts, Callable[[Tensor], Tensor]] | None = None

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
        if dtype is None or dtype == self.dtype:
            return self._like(self.parts, where=str(device))
        return self.mapped(_Cast(dtype), str(device))

    def mapped(self, encode: Callable[[Tensor], Tensor], where: str | None = None) -> Parts:
        """Other rows in place of each: ``encode`` makes (n, k) of (n, d), by any process."""
        row = encode(torch.zeros((1, self.shape[1]), dtype=self.dtype))
        parts = [replace(p, shape=(p.rows, row.shape[1]), encode=_Both(p.encode, encode)) for p in self.parts]
        return self._like(parts, row.dtype, where, encode)

    def _like(
        self,
        parts: Sequence[Part],
        dtype: torch.dtype | None = None,
        where: str | None = None,
        encode: Callable[[Tensor], Tensor] | None = None,
    ) -> Parts:
        """Other parts, worked on by the same pool."""
        other = Parts(parts, str(dtype or self.dtype).removeprefix("torch."), self.damaged, where or self._where)
        other.tolerates, other.pool, other._executor = self.tolerates, self.pool, self._executor
        other.hashing = self.hashing  # of what is stored, whatever is made of it
        other.states, other._made_of = self.states, None if encode is None else (self, encode)
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
    ) -> _Task:
        start, threads = int(self._starts[number]), None if self.pool is None else self.pool.threads
        return _Task(number, self.parts[number], start, rows, self._where, threads, current(), work, given)

    def _run(self, tasks: Sequence[_Task]) -> list[Any]:
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

    def _work(self, tasks: Sequence[_Task]) -> list[Any]:
        """What the tasks give; those that came to nothing, as where a worker died, once more, and each by itself."""
        if self.pool is None:
            return [_perform(task) for task in track(tasks, "parts")]
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
        self, pool: Pool, tasks: Sequence[_Task], shares: Mapping[int, list[int]], answers: dict[int, Any]
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
            for block in _between(part.read(), low - begin, high - begin) if low < high else ():
                low += len(block)
                yield _encoded(block, replace(part, shape=(len(block), self.shape[1])))
            if low < high:
                raise SourceError(f"{part.name} has {high - low} rows fewer than it promises; get it again")

    def _gather(self, ids: NDArray[np.int64]) -> Tensor:
        """Rows by their ids. Those asked for before are there: the same probes serve many passes."""
        if self._made_of is not None:
            stored, encode = self._made_of
            return encode(stored[ids])
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


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Work on a part."""

    number: int
    """Of the part in its matrix."""
    part: Part
    start: int
    rows: NDArray[np.int64] | None
    """Those that count, by their places in the part; ``None`` for all."""
    device: str
    threads: int | None
    """Of PyTorch, where it is ours to say."""
    settings: Settings
    work: Callable[..., Any]
    given: tuple[Any, ...]

    @property
    def key(self) -> str:
        """A name for what it gives, which is another one where anything is that this hangs on."""
        return _digest((self.part, self.start, self.rows, self.device, self.settings, self.work, self.given))


def _submit(executor: Executor, tasks: list[_Task], near: Mapping[str, Any]) -> Future[Any]:
    try:
        return executor.submit(_perform_there, tasks, **near)
    except Exception as error:  # noqa: BLE001 - an executor that is broken, or gone, each in its own words
        lost: Future[Any] = Future()
        lost.set_exception(error)
        return lost


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].removesuffix(": ")


def _perform_there(tasks: Sequence[_Task]) -> list[Any] | Exception:
    """The same in a process that is there for it, of some parts; an error of the work's own is given, not raised."""
    answers = []
    try:
        _set_up(tasks[0].threads)
        for task in tasks:
            answers.append(_perform(task))
            give_back_memory()
    except Exception as error:  # noqa: BLE001 - raised where it was asked for
        error.add_note(f"In a worker:\n{traceback.format_exc()}")
        return error
    return answers


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


@cache
def _set_up(threads: int | None) -> None:
    """What a process that works on parts is set up to, once."""
    prepare_process(is_worker=True)
    if threads is not None:
        torch.set_num_threads(threads)


class _Held(local):
    """The part that a thread has in memory: one, since a worker may have little."""

    def __init__(self) -> None:
        self.tables: dict[str, EmbeddingTable] = {}


_held = _Held()
_spool = Spool()
"""Rows as they were read, and lengths: decoding takes far longer than reading what was decoded."""
atexit.register(_spool.close)


def _table(part: Part, start: int, device: str) -> EmbeddingTable:
    """A part as a table of its own, whose rows have no words."""
    from embcheck.table.provenance import Provenance
    from embcheck.table.table import EmbeddingTable, dtype_name, row_norms
    from embcheck.table.vocabulary import NamedRows, RowNumbers

    key = _digest((part, start, device))
    if key not in _held.tables:
        _held.tables.clear()  # before as much again is asked for
        matrix = _read(part).to(device)
        origin = Provenance(part.name, "part", part.shape, dtype_name(matrix))
        table = EmbeddingTable(matrix, NamedRows(RowNumbers(part.rows)), origin, "all", first=start)
        norms = _spool.get(key)
        if norms is None:
            norms = row_norms(matrix, table.accumulator)
            _spool.keep(key, lambda: [norms.cpu()])
        # Not through the property: before Python 3.12 it makes threads wait for each other.
        table.__dict__["norms"] = norms.to(device)
        _held.tables[key] = table
    return _held.tables[key]


def _read(part: Part) -> Tensor:
    """A part's rows."""
    rows = _spool.keep(_digest((part.read, part.version)), part.read)
    if rows is None:
        return _encoded(torch.cat(list(_between(part.read(), part.skip, part.skip + part.rows))), part)
    return _encoded(rows[part.skip : part.skip + part.rows], part)


def _encoded(rows: Tensor, part: Part) -> Tensor:
    if part.encode is None:
        matrix = rows
    else:  # some at a time, for it may make copies
        step = max(256, _ENCODED_BYTES // (4 * rows.shape[1]))
        matrix = torch.cat([part.encode(some) for some in torch.split(rows, step)])
    if tuple(matrix.shape) != part.shape:
        raise SourceError(f"{part.name} holds {tuple(matrix.shape)} numbers, not {part.shape}; get it again")
    return matrix


def _between(blocks: Iterable[Tensor], start: int, stop: int) -> Iterator[Tensor]:
    """The rows from one to another."""
    first = 0
    for block in blocks:
        rows = block[max(0, start - first) : max(0, stop - first)]
        first += len(block)
        if len(rows):
            yield rows


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
        digest.update(f"{getattr(given, '__module__', None)}.{getattr(given, '__qualname__', given)}".encode())
    else:
        digest.update(f"{type(given).__name__}:{given!r}".encode())
