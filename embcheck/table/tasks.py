"""A part of a matrix, and work on it where it is read: in this process, or in any that is there for it."""

from __future__ import annotations

import atexit
import traceback
from dataclasses import dataclass
from functools import cache
from threading import local
from typing import TYPE_CHECKING, Any

import torch

from embcheck.errors import SourceError
from embcheck.settings import Settings, give_back_memory, prepare_process, using
from embcheck.table.hashing import digest
from embcheck.table.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table.table import EmbeddingTable

__all__ = ["Part", "Task", "as_dtype", "between", "perform", "perform_there"]


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
    dtype: str | None = None
    """Of PyTorch, that rows become before anybody sees them; ``None`` for what they are stored in."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
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
        return digest((self.part, self.start, self.rows, self.device, self.settings, self.work, self.given))


def perform_there(tasks: Sequence[Task]) -> list[Any] | Exception:
    """The same in a process that is there for it, of some parts; an error of the work's own is given, not raised."""
    answers = []
    try:
        _set_up(tasks[0].threads)
        for task in tasks:
            answers.append(perform(task))
            give_back_memory()
    except Exception as error:  # noqa: BLE001 - raised where it was asked for
        error.add_note(f"In a worker:\n{traceback.format_exc()}")
        return error
    return answers


def perform(task: Task) -> Any:
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

    key = digest((part, start, device))
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
    stored = _spool.keep(digest((part.read, part.version)), part.read)
    if stored is None:
        rows = torch.cat(list(between(part.read(), part.skip, part.skip + part.rows)))
    else:
        rows = stored[part.skip : part.skip + part.rows]
    if tuple(rows.shape) != part.shape:
        raise SourceError(f"{part.name} holds {tuple(rows.shape)} numbers, not {part.shape}; get it again")
    return as_dtype(rows, part.dtype)


def as_dtype(rows: Tensor, dtype: str | None) -> Tensor:
    """Rows in a dtype of PyTorch by its name; in none, as they are."""
    return rows if dtype is None else rows.to(getattr(torch, dtype))


def between(blocks: Iterable[Tensor], start: int, stop: int) -> Iterator[Tensor]:
    """The rows from one to another."""
    first = 0
    for block in blocks:
        rows = block[max(0, start - first) : max(0, stop - first)]
        first += len(block)
        if len(rows):
            yield rows


def _on_host(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return tuple(map(_on_host, answer))
    return answer.cpu() if isinstance(answer, torch.Tensor) else answer
