r"""Signs of the cosines of all pairs of rows, exact, in half the products, on all threads.

Each thread multiplies, compares and counts tiles of its own, in memory of its own.

A processor that multiplies bfloat16 far faster than float32 (AMX) multiplies float32 rows so too: x = h + l + e, with h
and l in bfloat16 and e a hundred-thousandth of x, and of the product of two rows h h' + h l' + l h' is worked out, as
one product of three times the width with float32 sums. What it leaves out is at most
:math:`|l| |l'| + |e| |x'| + |x| |e'|` (Cauchy and Schwarz), which is known; cells nearer to zero are settled like any
others.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.measures.kernels import signs
from embcheck.measures.kernels.blocks import Memory, full_precision, moderate, on_host, on_threads
from embcheck.measures.kernels.probes import side
from embcheck.table.table import row_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["all_pairs_counts", "bfloat16_pays"]

COPY_BYTES = 512 * 2**20  # up to which a copy is kept of rows that can't be multiplied as they are
TILE, DEVICE_TILE = 1_024, 4_096
_PREPARED = 2**17  # numbers split into parts at once: inside the cache
TERMS = 3  # products of bfloat16 parts that make up one of float32


def all_pairs_counts(table: EmbeddingTable) -> Ints:
    """For every population row, how many others it has a cosine of zero or more with. Exact, in half the products.

    The product of two tiles of rows serves both: its row sums count for the one, its column sums for the other. Rows
    are multiplied as they are stored, since their lengths change no sign: bfloat16 ones natively where a trial finds
    that this machine is faster at it, and float32 ones in three bfloat16 products where those are; float16 ones
    natively on CUDA; all others in float32.
    """
    if table.parts is not None:  # of a table that is too large for memory nobody takes all pairs
        table = table.with_vectors(table.vectors[:])
    size, device = len(table.population), table.vectors.device
    counts = np.zeros(size, dtype=np.int64)
    with full_precision():
        tiles = _Tiles.of(table)
        starts = range(0, size, tiles.size)
        strips = on_threads(partial(_strip, tiles), starts, device, "all pairs")
        for start, of_strip in zip(starts, strips, strict=True):
            counts[start:] += of_strip
    return counts


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """Tiles of the population's rows, as they are multiplied."""

    side: signs.Side
    factors: _Factors
    near: Tensor
    """(N,) how near to zero the product of a row with one of length 1 is not trusted."""
    memory: Memory
    size: int

    @classmethod
    def of(cls, table: EmbeddingTable) -> _Tiles:
        device, factors = table.vectors.device, _factors(table)
        size = TILE if device.type == "cpu" else DEVICE_TILE
        return cls(side(table), factors, factors.error * factors.lengths, Memory(factors.kind, device), size)

    def stored(self, first: slice, second: slice) -> tuple[Tensor, Tensor]:
        """Rows of two slices of the population, as they are stored."""
        return self.side.rows(first), self.side.rows(second)


def _strip(tiles: _Tiles, start: int) -> Ints:
    """Counts for the rows from ``start`` on, of the products of one tile with itself and all later ones.

    Cells near zero are settled all together at the end.
    """
    factors, lengths, size = tiles.factors, tiles.factors.lengths, len(tiles.side.ids)
    counts = np.zeros(size - start, dtype=np.int64)
    first = slice(start, min(start + tiles.size, size))
    rows, doubts = factors.first(first), []
    limits = tiles.near[first].max() * torch.stack([part.max() for part in torch.split(lengths[start:], tiles.size)])
    for limit, other in zip(limits, range(start, size, tiles.size), strict=True):
        second = slice(other, min(other + tiles.size, size))
        others = factors.second(second)
        product = torch.mm(rows, others.T, out=tiles.memory(len(rows), len(others)))
        if other == start:
            product.fill_diagonal_(-torch.inf)
        bounds = tiles.near[first], lengths[second]
        tally = signs.count(product, limit, partial(tiles.stored, first, second), bounds=bounds)
        doubts.append(tally.cells(product, start, other))
        counts[: len(rows)] += on_host(tally.rows)
        if other != start:
            counts[other - start : second.stop - start] += on_host(tally.columns)
    cells = signs.together(doubts)
    i, j = signs.settle((tiles.side, tiles.side), cells, tiles.near[cells[0]] * lengths[cells[1]])
    counts += np.bincount(i - start, minlength=len(counts))
    return counts + np.bincount(j[j >= first.stop] - start, minlength=len(counts))


# --- what is multiplied ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Factors:
    """Rows of the population as they are multiplied, in a type to multiply in."""

    first: Callable[[slice], Tensor]
    second: Callable[[slice], Tensor]
    """Those on the other side of a product, (n, d) or (n, 3 d) like the first."""
    kind: torch.dtype
    lengths: Tensor
    """(N,) float32 lengths of the rows that they stand for."""
    error: float
    """How far from the truth a product of rows of length 1 may be."""


def _factors(table: EmbeddingTable) -> _Factors:
    """How to get the rows to multiply.

    Consecutive rows of the right type are views of the matrix. Others are kept as a copy where it fits 512 MB, and
    made tile by tile otherwise. Very long or short rows are scaled, so that no product leaves the range of the type.
    """
    population, stored = table.population, table.vectors
    lengths = table.norms[row_index(population, stored.device)].float()
    on_cuda, error = stored.device.type == "cuda", signs.tolerance(table.width, stored.device)
    native = (stored.dtype == torch.bfloat16 and (on_cuda or bfloat16_pays())) or (
        stored.dtype == torch.float16 and on_cuda
    )
    kind = stored.dtype if native else torch.float32  # the stored type where it is faster, with sums in float32
    view = kind == stored.dtype and isinstance(row_index(population, stored.device), slice)
    scaled = not moderate(lengths) or (kind == torch.float16 and bool(lengths.max() > 64))
    if scaled:
        kind, lengths, view = torch.float32, torch.ones_like(lengths), False

    def make(part: slice) -> Tensor:
        return table.units(population[part]) if scaled else table.stored(population[part]).to(kind)

    if kind == torch.float32 and stored.device.type == "cpu" and bfloat16_pays(TERMS):
        return _split_factors(table, make, lengths)
    rows = make if view else _keep(make, table, kind)
    return _Factors(rows, rows, kind, lengths, error)


def _split_factors(table: EmbeddingTable, rows: Callable[[slice], Tensor], lengths: Tensor) -> _Factors:
    """Float32 rows as sums of bfloat16 parts, laid out as h, h, l, h: one side reads h, l, h, the other h, h, l."""
    size, width, kind = len(lengths), table.width, torch.bfloat16
    columns = (TERMS + 1) * width
    memory, other = Memory(kind, lengths.device), Memory(kind, lengths.device)

    def laid_out(memory: Memory, part: slice) -> Tensor:
        out = memory(part.stop - part.start, columns)
        _lay_out(rows(part), out)
        return out

    kept = torch.empty((size, columns), dtype=kind) if kind.itemsize * columns * size <= COPY_BYTES else None

    def dropped(part: slice) -> float:
        whole = rows(part)
        left = _lay_out(whole, memory(len(whole), columns) if kept is None else kept[part])
        low, rest = (float((torch.linalg.vector_norm(rest, dim=1) / lengths[part]).max()) for rest in left)
        return low**2 + 2 * rest

    step = max(1, _PREPARED // width)
    parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
    left = max(on_threads(dropped, parts, lengths.device, "parts of rows"))
    first, second = (partial(laid_out, own) if kept is None else kept.__getitem__ for own in (memory, other))
    error = signs.tolerance(TERMS * width, lengths.device) + left
    return _Factors(lambda part: first(part)[:, width:], lambda part: second(part)[:, :-width], kind, lengths, error)


def _lay_out(rows: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Write rows (n, d) in their parts (n, 4 d); their low parts, and what is left of them, both in float32."""
    high, again, low, last = out.view(len(rows), TERMS + 1, -1).unbind(1)
    for copy in (high, again, last):
        copy.copy_(rows)
    rest = rows - high
    low.copy_(rest)
    second = low.float()
    return second, rest.sub_(second)


def _keep(make: Callable[[slice], Tensor], table: EmbeddingTable, kind: torch.dtype) -> Callable[[slice], Tensor]:
    """Rows made once where all of them fit, and again for each tile otherwise."""
    shape = len(table.population), table.width
    if kind.itemsize * math.prod(shape) > COPY_BYTES:
        return make
    kept = torch.empty(shape, dtype=kind, device=table.vectors.device)
    for part in table.slices(len(kept)):
        kept[part] = make(part)
    return partial(torch.Tensor.__getitem__, kept)


@cache
def bfloat16_pays(terms: int = 1) -> bool:
    """Whether this CPU multiplies so many times as much in bfloat16 faster than in float32, by a trial of milliseconds.

    No count depends on it.
    """
    rows = torch.ones((256, 512))
    best = []
    for factor in (rows, rows.bfloat16().repeat(1, terms)):
        times = []
        for _ in range(4):
            started = time.perf_counter()
            torch.mm(factor, factor.T)
            times.append(time.perf_counter() - started)
        best.append(min(times))
    return best[1] < best[0]
