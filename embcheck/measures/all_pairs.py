"""Signs of the cosines of all pairs of rows, exact, in half the products, on all threads.

Each thread multiplies, compares and counts tiles of its own, in memory of its own: beside the product of a float32
tile of 1,024 rows of width 640, the rest takes a fifth of the time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.measures import signs
from embcheck.measures.kernels import full_precision, moderate, on_host
from embcheck.measures.threads import on_threads
from embcheck.table import row_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = ["all_pairs_counts", "bfloat16_pays"]

COPY_BYTES = 512 * 2**20  # up to which a copy is kept of rows that can't be multiplied as they are
TILE, DEVICE_TILE = 1_024, 4_096


def all_pairs_counts(table: EmbeddingTable) -> NDArray[np.int64]:
    """For every population row, how many others it has a cosine of zero or more with. Exact, in half the products.

    The product of two tiles of rows serves both: its row sums count for the one, its column sums for the other. Rows
    are multiplied as they are stored, since their lengths change no sign: float32 ones in float32, bfloat16 ones
    natively where a trial finds that this machine is faster at it, float16 ones natively on CUDA.
    """
    size, device = len(table.population), table.vectors.device
    counts = np.zeros(size, dtype=np.int64)
    with full_precision():
        tiles = _Tiles(table, *_factors(table), TILE if device.type == "cpu" else DEVICE_TILE)
        starts = range(0, size, tiles.size)
        for start, found in zip(starts, on_threads(partial(_strip, tiles), starts, device, "all pairs"), strict=True):
            counts[start:] += found
    return counts


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """Tiles of the population's rows, as they are multiplied."""

    table: EmbeddingTable
    rows: Callable[[slice], Tensor]
    lengths: Tensor
    """(N,) float32 bounds on the lengths of those rows."""
    size: int

    @property
    def near(self) -> Tensor:
        """(N,) how near to zero the product of a row with one of length 1 is not trusted."""
        return signs.tolerance(self.table.width, self.lengths.device) * self.lengths

    def stored(self, first: slice, second: slice) -> tuple[Tensor, Tensor]:
        """Rows of two slices of the population, as they are stored."""
        return self.table.stored(self.table.population[first]), self.table.stored(self.table.population[second])


def _strip(tiles: _Tiles, start: int) -> NDArray[np.int64]:
    """Counts for the rows from ``start`` on, of the products of one tile with itself and all later ones.

    Cells near zero count as negative at first, and are settled all together at the end.
    """
    size, lengths, near = len(tiles.lengths), tiles.lengths, tiles.near
    counts = np.zeros(size - start, dtype=np.int64)
    first = slice(start, min(start + tiles.size, size))
    doubts: list[_Doubts] = []
    rows, product_of = tiles.rows(first), _products(tiles.size, lengths.device)
    limits = near[first].max() * torch.stack([part.max() for part in torch.split(lengths[start:], tiles.size)])
    for limit, other in zip(limits, range(start, size, tiles.size), strict=True):
        second = slice(other, min(other + tiles.size, size))
        product, masks = product_of(rows, rows if other == start else tiles.rows(second))
        mask, cells = signs.split(product, limit, masks)
        if len(cells) > signs.DENSE * product.numel():
            mask = signs.non_negative(product, near[first], lengths[second], partial(tiles.stored, first, second))
        else:
            doubts.append(_Doubts(other, product.shape[1], cells, product.view(-1)[cells]))
        if other == start:
            mask[np.arange(len(rows)), np.arange(len(rows))] = False
        else:
            counts[other - start : second.stop - start] += on_host(signs.column_totals(mask))
        counts[: len(rows)] += on_host(signs.row_totals(mask))
    if doubts:
        _settle(tiles, doubts, first, counts)
    return counts


def _products(tile: int, device: torch.device) -> Callable[[Tensor, Tensor], tuple[Tensor, signs.Masks | None]]:
    """A function that multiplies two tiles, whole ones on the CPU in the same memory each time."""
    kept: list[tuple[Tensor, signs.Masks]] = []

    def multiply(rows: Tensor, others: Tensor) -> tuple[Tensor, signs.Masks | None]:
        if device.type != "cpu" or (len(rows), len(others)) != (tile, tile):
            return rows @ others.T, None
        if not kept:
            masks = np.empty((2, tile, tile), dtype=np.bool_)
            kept.append((torch.empty(tile, tile, dtype=rows.dtype), (masks[0], masks[1])))
        product, pair = kept[0]
        return torch.mm(rows, others.T, out=product), pair

    return multiply


@dataclass(frozen=True, slots=True, eq=False)
class _Doubts:
    """Cells near zero of one product: where its columns begin and how many there are, places row by row, and values."""

    start: int
    width: int
    cells: Tensor
    values: Tensor


def _settle(tiles: _Tiles, doubts: list[_Doubts], first: slice, counts: NDArray[np.int64]) -> None:
    """Add cells near zero to the counts of a strip."""
    table, lengths = tiles.table, tiles.lengths
    i = torch.cat([one.cells // one.width for one in doubts]) + first.start
    j = torch.cat([one.cells % one.width + one.start for one in doubts])
    values = torch.cat([one.values for one in doubts])
    found, unsure = values >= 0, signs.in_doubt(values, tiles.near[i] * lengths[j])
    own = torch.from_numpy(table.population).to(i.device)
    one, other = own[i[unsure]], own[j[unsure]]
    found[unsure] = signs.of_cells(table.vectors, table.vectors, one, other, table.norms[one] * table.norms[other])
    found &= i != j
    rows, others = (on_host(one[found]) - first.start for one in (i, j))
    counts += np.bincount(rows, minlength=len(counts))
    counts += np.bincount(others[others >= first.stop - first.start], minlength=len(counts))


def _factors(table: EmbeddingTable) -> tuple[Callable[[slice], Tensor], Tensor]:
    """How to get rows of the population to multiply, in the type to do it in, and (N,) float32 bounds on their lengths.

    Consecutive rows of the right type are views of the matrix. Others are kept as a copy where it fits 512 MB, and
    made tile by tile otherwise. Very long or short rows are scaled, so that no product leaves the range of the type.
    """
    population, stored = table.population, table.vectors
    lengths = table.norms[row_index(population, stored.device)].float()
    kind = _fast_type(stored)
    if not moderate(lengths) or (kind == torch.float16 and bool(lengths.max() > 64)):
        kind, lengths = torch.float32, torch.ones_like(lengths)
        make = partial(_made, table, None)
    else:
        make = partial(_made, table, kind)
        if isinstance(row_index(population, stored.device), slice) and kind == stored.dtype:
            return make, lengths
    if kind.itemsize * len(population) * table.width > COPY_BYTES:
        return make, lengths
    kept = torch.cat([make(part) for part in table.slices(len(population))])
    return partial(torch.Tensor.__getitem__, kept), lengths


def _made(table: EmbeddingTable, kind: torch.dtype | None, part: slice) -> Tensor:
    """Rows of a slice of the population in a type, or scaled to length 1."""
    rows = table.population[part]
    return table.units(rows) if kind is None else table.stored(rows).to(kind)


def _fast_type(stored: Tensor) -> torch.dtype:
    """The type to multiply in: the stored one where that is faster and sums run in float32, else float32."""
    if stored.dtype == torch.bfloat16 and (stored.device.type == "cuda" or bfloat16_pays()):
        return torch.bfloat16
    return torch.float16 if stored.dtype == torch.float16 and stored.device.type == "cuda" else torch.float32


@cache
def bfloat16_pays() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32, by a trial of a few milliseconds.

    No count depends on it.
    """
    rows = torch.ones((256, 512))
    best = []
    for kind in (torch.float32, torch.bfloat16):
        one, times = rows.to(kind), []
        for _ in range(4):
            started = time.perf_counter()
            torch.mm(one, one.T)
            times.append(time.perf_counter() - started)
        best.append(min(times))
    return best[1] < best[0]
