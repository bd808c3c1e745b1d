"""Blockwise kernels that the measures share: one pass over the matrix, never V x V, on the table's device.

Products run in float32 (never TF32), whatever dtype the rows are stored in, save where only signs are wanted and those
in doubt are worked out again; sums of unit vectors run in the widest float that the device has. Counts are integers.

A table may lie in parts, and a pass is what each part makes of itself, merged; in memory a table is one part. What
``EmbeddingTable.over`` is given is a function of a module; its arguments, and what it returns, are arrays, tensors and
tuples of them, so that it may run elsewhere. Integers come out the same whatever the parts; a sum in float64 of n
numbers differs by at most :math:`n 2^{-53}` of the sum of their sizes, float32 products by their own rounding.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from embcheck import files
from embcheck.progress import track
from embcheck.table.table import row_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

Tile = tuple[slice, "Tensor"]

__all__ = [
    "Memory", "Raw", "Tile", "blocks", "cosines", "distances", "full_precision", "lengths", "mean_vector", "moderate",
    "on_host", "on_threads", "per_row", "tiles", "total", "unit_sum",
]  # fmt: skip

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")
_TILE_CELLS = 2**21  # of a tile: 8 MB, inside the cache of a CPU core
_AHEAD = 4  # pieces for each thread that are begun before they are asked for
_MODERATE = 1e12  # lengths up to it, and down to its inverse, whose products stay inside the range of float32


def on_threads(
    work: Callable[[_Piece], _Result], pieces: Sequence[_Piece], device: torch.device, what: str
) -> Iterator[_Result]:
    """What ``work`` gives for each piece, in order: on the CPU by as many threads as PyTorch has, elsewhere by one.

    The threads are PyTorch's only while the iterator is read to its end, or closed. They are a few pieces ahead of who
    reads it, so that what waits takes little memory however slow that is.
    """

    def run(piece: _Piece) -> _Result:
        with torch.inference_mode():  # which holds for a single thread
            return work(piece)

    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1 or len(pieces) == 1:
        yield from (run(piece) for piece in track(pieces, what))
        return
    pool = ThreadPoolExecutor(threads, "embcheck", initializer=torch.set_num_threads, initargs=(1,))
    try:
        ahead = _AHEAD * threads
        waiting = deque(pool.submit(run, piece) for piece in pieces[:ahead])
        for number in track(range(len(pieces)), what):
            yield waiting.popleft().result()
            if number + ahead < len(pieces):
                waiting.append(pool.submit(run, pieces[number + ahead]))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


class Memory(local):
    """Memory for one block after the other, for every thread its own.

    Freed and asked for again, large blocks leave holes between small ones, and their pages are cleared each time.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._kept = torch.empty(0, dtype=dtype, device=device)

    def __call__(self, *shape: int) -> Tensor:
        """A tensor of a shape, with anything in it; the one before it on this thread is no longer to be used."""
        cells = math.prod(shape)
        if self._kept.numel() < cells:
            self._kept = self._kept.new_empty(cells)
        return self._kept[:cells].view(shape)


@contextmanager
def full_precision() -> Iterator[None]:
    """Products in full float32 inside the block, whatever the program around it has chosen for speed."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    cuda = torch.backends.cuda.matmul  # sums of 16-bit products stay in float32 to the end there
    reduced = cuda.allow_bf16_reduced_precision_reduction, cuda.allow_fp16_reduced_precision_reduction
    cuda.allow_bf16_reduced_precision_reduction = cuda.allow_fp16_reduced_precision_reduction = False
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        cuda.allow_bf16_reduced_precision_reduction, cuda.allow_fp16_reduced_precision_reduction = reduced


def blocks(
    table: EmbeddingTable, center: Tensor | None = None, what: str | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Unit rows of the population in blocks: the slice of the population, and (n, d) float32 on the device.

    With ``center`` (d,), that vector is subtracted before the rows are scaled to length 1; a row equal to it stays 0.
    ``what`` names the work on a progress bar. The next block takes the memory of the one before.
    """
    population, device = table.population, table.vectors.device
    stored, unit = Memory(table.vectors.dtype, device), Memory(torch.float32, device)
    parts = list(table.slices(len(population)))
    for part in parts if what is None else track(parts, what):
        rows = _stored(table, population[part], stored)
        if center is None:
            lengths = table.norms[row_index(population[part], rows.device)].float()
            yield part, torch.div(rows, lengths[:, None], out=unit(*rows.shape))
        else:
            moved = torch.sub(rows, center, out=unit(*rows.shape))
            yield part, moved.div_(torch.linalg.vector_norm(moved, dim=1, keepdim=True).clamp_min_(1e-30))


def _stored(table: EmbeddingTable, rows: Ints, memory: Memory) -> Tensor:
    """(n, d) rows as they are stored: consecutive ones a view of the matrix, others copied to some memory."""
    index = row_index(rows, table.vectors.device)
    if isinstance(index, slice):
        return table.stored(rows)
    files.refuse_changed()
    return torch.index_select(table.vectors, 0, index, out=memory(len(rows), table.width))


def cosines(table: EmbeddingTable, query: Tensor, what: str | None = None) -> Tensor:
    """(q, N) float32 cosines of (q, d) unit queries with every row of the population, on the table's device."""
    return torch.cat([part.to(query.device) for part in table.over(_cosines, query, what)], dim=1)


def _cosines(part: EmbeddingTable, query: Tensor, what: str | None) -> Tensor:
    with full_precision():
        return torch.cat([query @ unit.T for _, unit in blocks(part, what=what)], dim=1)


def mean_vector(table: EmbeddingTable, rows: Ints | None = None) -> Tensor:
    """(d,) mean of the population's raw rows, or of others, float32."""
    if rows is not None:
        return (_row_sum(table, rows) / len(rows)).float()
    return (total(table, _row_sum) / len(table.population)).float()


def _row_sum(part: EmbeddingTable, rows: Ints | None = None) -> Tensor:
    rows = part.population if rows is None else rows
    summed = torch.zeros(part.width, dtype=part.accumulator, device=part.vectors.device)
    for some in part.slices(len(rows)):
        summed += part.gather(rows[some]).sum(0, dtype=part.accumulator)
    return summed


def total(table: EmbeddingTable, work: Callable[..., Tensor], *given: Any) -> Tensor:
    """Sum of the tensors that ``work`` makes of the table's parts, on the table's device."""
    return torch.stack([part.to(table.vectors.device) for part in table.over(work, *given)]).sum(0)


def per_row(table: EmbeddingTable, work: Callable[..., NDArray[Any]], *given: Any) -> NDArray[Any]:
    """What ``work`` makes of the rows of the population, part by part, as one array."""
    return np.concatenate(table.over(work, *given))


def distances(table: EmbeddingTable, rows: Ints, center: Tensor) -> Floats:
    """(n,) distances of rows from a vector (d,), worked out in float32."""
    parts = [torch.linalg.vector_norm(table.gather(rows[part]) - center, dim=1) for part in table.slices(len(rows))]
    return np.asarray(torch.cat(parts).cpu().double().numpy())


def unit_sum(table: EmbeddingTable, center: Tensor | None = None) -> Tensor:
    """(d,) sum of the population's unit rows, in the accumulator's dtype."""
    return total(table, _unit_sum, center)


def _unit_sum(part: EmbeddingTable, center: Tensor | None) -> Tensor:
    summed = torch.zeros(part.width, dtype=part.accumulator, device=part.vectors.device)
    for _, unit in blocks(part, center):
        summed += unit.sum(0, dtype=part.accumulator)
    return summed


class Raw:
    """Rows of the population and what scales them to length 1, slice by slice, on any thread.

    Cosines come from scaling a product, which is smaller than the rows; rows stored as float32 are not even copied.
    Rows so long or short that products of them could leave the range of float32 come scaled. With ``center`` (d,),
    that vector is subtracted first. The next slice on a thread may take the memory of the one before.
    """

    def __init__(self, table: EmbeddingTable, center: Tensor | None = None) -> None:
        self._table, self._center = table, center
        device, population = table.vectors.device, table.population
        self._kept, self._wide = Memory(table.vectors.dtype, device), Memory(torch.float32, device)
        index = row_index(population, device)
        self._first = index.start if isinstance(index, slice) else None
        self._lengths = table.norms[index].float()
        self._moderate = moderate(self._lengths)

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        """(n, d) and (n,) float32: rows, and the inverse of their lengths."""
        if self._first is None:
            rows = _stored(self._table, self._table.population[part], self._kept)
        else:
            rows = self._table.vectors[self._first + part.start : self._first + part.stop]
        if self._center is not None:
            rows = torch.sub(rows, self._center, out=self._wide(*rows.shape))
            lengths = torch.linalg.vector_norm(rows, dim=1)
            if not moderate(lengths):
                return torch.nn.functional.normalize(rows, dim=1, eps=1e-30), torch.ones_like(lengths)
            return rows, 1 / lengths
        rows, lengths = (
            rows if rows.dtype == torch.float32 else self._wide(*rows.shape).copy_(rows),
            self._lengths[part],
        )
        return (rows, 1 / lengths) if self._moderate else (rows / lengths[:, None], torch.ones_like(lengths))

    @property
    def copied(self) -> bool:
        """Whether rows are copied, and not read where the table has them."""
        return self._first is None or self._center is not None or self._table.vectors.dtype != torch.float32

    def blocks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """All of the population, one slice after the other."""
        for part in self._table.slices(len(self._table.population)):
            yield part, *self(part)


def moderate(lengths: Tensor) -> bool:
    """Whether products of rows of these lengths stay well inside the range of float32."""
    return bool(lengths.min() > 1 / _MODERATE) and bool(lengths.max() < _MODERATE)


def on_host(array: Any) -> NDArray[Any]:
    """An array as NumPy's, wherever it was worked out."""
    return array.cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def tiles(table: EmbeddingTable, query: Tensor, position: Ints, *, own: float = math.nan) -> Iterator[Tile]:
    """Cosines of (m, d) unit rows with every population row, as slices of the population and (m, n) tiles.

    Where a row meets itself, at its position in the population, the tile holds ``own``. Go through it inside
    ``full_precision``.
    """
    device = table.vectors.device
    step = max(256, _TILE_CELLS // max(1, len(query)))
    for part, unit in blocks(table):
        for first in range(0, len(unit), step):
            cosine = query @ unit[first : first + step].T
            start = part.start + first
            inside = np.flatnonzero((position >= start) & (position < start + cosine.shape[1]))
            columns = torch.from_numpy(position[inside] - start).to(device)
            cosine[torch.from_numpy(inside).to(device), columns] = own
            yield slice(start, start + cosine.shape[1]), cosine


def lengths(table: EmbeddingTable, rows: Ints) -> Tensor:
    """(n,) float32 Euclidean lengths of rows, on the device."""
    return table.norms[torch.from_numpy(np.ascontiguousarray(rows)).to(table.vectors.device)].float()
