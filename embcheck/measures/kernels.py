"""Blockwise kernels that the measures share: one pass over the matrix, never V x V, on the table's device.

Products run in float32 (never TF32), whatever dtype the rows are stored in, save where only signs are wanted and those
in doubt are worked out again; sums of unit vectors run in the widest float that the device has. Counts are integers.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.measures import signs
from embcheck.progress import track
from embcheck.table import row_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = [
    "ProbeStatistics",
    "blocks",
    "full_precision",
    "mean_vector",
    "moderate",
    "on_host",
    "probe_statistics",
    "raw_blocks",
    "row_counts",
    "unit_sum",
]

KEPT_COSINES = 128 * 2**20  # bytes of 16-bit cosines kept at once for quantiles
PRODUCT_BYTES = 2 * 2**20  # of a product with probes: inside the cache of a CPU core
_PROBE_CHUNK = 1_024
BINS = 2_000  # of the histogram of all probes' cosines
_STEPS = 32_767  # of a cosine between 0 and 1, where it is kept in 16 bits
_MODERATE = 1e12  # lengths up to it, and down to its inverse, whose products stay inside the range of float32


@dataclass(frozen=True, slots=True)
class ProbeStatistics:
    """Per probe, over all other rows of the population: counts and statistics of the cosine.

    All but ``histogram`` are NumPy arrays of shape (probes,), ``quantiles`` of shape (probes, len(levels)).
    """

    non_negative: NDArray[np.int64]
    others: int
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    levels: tuple[float, ...]
    histogram: NDArray[np.int64]
    """(2000,) counts of all probes' cosines in bins over [-1, 1]; empty where no levels were asked for."""

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of the other rows at a cosine of zero or more."""
        return self.non_negative / self.others


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
    population, unit = table.population, _Buffer(torch.float32)
    stored = _Buffer(table.vectors.dtype)
    for part in _tracked(table, what):
        rows = _stored(table, population[part], stored)
        if center is None:
            lengths = table.norms[row_index(population[part], rows.device)].float()
            yield part, torch.div(rows, lengths[:, None], out=unit.like(rows))
        else:
            moved = torch.sub(rows, center, out=unit.like(rows))
            yield part, moved.div_(torch.linalg.vector_norm(moved, dim=1, keepdim=True).clamp_min_(1e-30))


def _tracked(table: EmbeddingTable, what: str | None) -> Iterable[slice]:
    parts = list(table.slices(len(table.population)))
    return parts if what is None else track(parts, what)


class _Buffer:
    """Memory for one block after the other: freed and asked for again, large blocks leave holes between small ones."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._kept: Tensor | None = None

    def like(self, rows: Tensor) -> Tensor:
        """As many rows as these, on their device; the first ones asked for are the most."""
        return self.of(len(rows), rows)

    def of(self, count: int, rows: Tensor) -> Tensor:
        """So many rows of this width, on their device."""
        if self._kept is None or len(self._kept) < count:
            self._kept = torch.empty((count, rows.shape[1]), dtype=self._dtype, device=rows.device)
        return self._kept[:count]


def _stored(table: EmbeddingTable, rows: NDArray[np.int64], buffer: _Buffer) -> Tensor:
    """(n, d) rows as they are stored: consecutive ones a view of the matrix, others in the buffer."""
    index = row_index(rows, table.vectors.device)
    if isinstance(index, slice):
        return table.vectors[index]
    return torch.index_select(table.vectors, 0, index, out=buffer.of(len(rows), table.vectors))


def mean_vector(table: EmbeddingTable) -> Tensor:
    """(d,) mean of the population's raw rows, float32."""
    total = torch.zeros(table.width, dtype=table.accumulator, device=table.vectors.device)
    population = table.population
    for part in table.slices(len(population)):
        total += table.gather(population[part]).sum(0, dtype=table.accumulator)
    return (total / len(population)).float()


def unit_sum(table: EmbeddingTable, center: Tensor | None = None) -> Tensor:
    """(d,) sum of the population's unit rows, in the accumulator's dtype."""
    total = torch.zeros(table.width, dtype=table.accumulator, device=table.vectors.device)
    for _, unit in blocks(table, center):
        total += unit.sum(0, dtype=table.accumulator)
    return total


def raw_blocks(
    table: EmbeddingTable, center: Tensor | None = None, what: str | None = None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows of the population in blocks, and what scales them to length 1: the slice, (n, d) float32 and (n,) float32.

    Cosines come from scaling a product, which is smaller than the rows; rows stored as float32 are not even copied.
    Rows so long or short that products of them could leave the range of float32 come scaled. ``what`` names the work on
    a progress bar. The next block may take the memory of the one before.
    """
    population, stored, wide = table.population, _Buffer(table.vectors.dtype), _Buffer(torch.float32)
    for part in _tracked(table, what):
        rows = _stored(table, population[part], stored)
        if center is not None:
            rows = torch.sub(rows, center, out=wide.like(rows))
            lengths = torch.linalg.vector_norm(rows, dim=1)
        else:
            rows = rows if rows.dtype == torch.float32 else wide.like(rows).copy_(rows)
            lengths = table.norms[row_index(population[part], rows.device)].float()
        if moderate(lengths):
            yield part, rows, 1 / lengths
        else:
            unit = (
                torch.nn.functional.normalize(rows, dim=1, eps=1e-30) if center is not None else rows / lengths[:, None]
            )
            yield part, unit, torch.ones_like(lengths)


def moderate(lengths: Tensor) -> bool:
    """Whether products of rows of these lengths stay well inside the range of float32."""
    return bool(lengths.min() > 1 / _MODERATE) and bool(lengths.max() < _MODERATE)


def probe_statistics(
    table: EmbeddingTable,
    probes: NDArray[np.int64],
    *,
    levels: tuple[float, ...] = (),
    center: Tensor | None = None,
) -> ProbeStatistics:
    r"""Cosines of each probe with every other row of the population, in one pass over the matrix.

    Parameters
    ----------
    table
        N population rows of width d.
    probes
        Row ids in the population.
    levels
        Quantiles to find: those of the cosines rounded to multiples of 1/32,767, without interpolation.
    center
        (d,) vector to subtract from every row first.

    Notes
    -----
    Counts are exact (`embcheck.measures.signs`); the other figures are those of float32 products, right to about 1e-7.
    Work is O(m N d) for m probes. Memory beyond the table is one block of rows, one of products, and with levels
    2 m N bytes, at most 128 MB.
    """
    size = len(table.population)
    step = min(_PROBE_CHUNK, max(50, KEPT_COSINES // (2 * size))) if levels else _PROBE_CHUNK
    chunks = [_probe_chunk(table, probes[i : i + step], levels, center) for i in range(0, len(probes), step)]
    counts, minimum, maximum, mean, quantiles = (np.concatenate([chunk[i] for chunk in chunks]) for i in range(5))
    histogram: NDArray[np.int64] = np.add.reduce([chunk[5] for chunk in chunks]).astype(np.int64)
    return ProbeStatistics(counts.astype(np.int64), size - 1, minimum, maximum, mean, quantiles, levels, histogram)


def _probe_chunk(
    table: EmbeddingTable, probes: NDArray[np.int64], levels: tuple[float, ...], center: Tensor | None
) -> tuple[NDArray[Any], ...]:
    device, count = table.vectors.device, len(probes)
    position = np.searchsorted(table.population, probes)
    with full_precision():
        own_rows = table.gather(probes) if center is None else table.gather(probes) - center
        query = table.units(probes) if center is None else torch.nn.functional.normalize(own_rows, dim=1, eps=1e-30)
        counted = np.zeros(count, dtype=np.int64)
        low = torch.full((count,), 2.0, device=device)
        high = torch.full((count,), -2.0, device=device)
        total = torch.zeros(count, dtype=table.accumulator, device=device)
        kept = torch.empty((count, len(table.population)), dtype=torch.int16, device=device) if levels else None
        limits = torch.full((count,), signs.tolerance(table.width, device), device=device)
        for part, rows, scale in raw_blocks(table, center, "cosines of probes"):
            for piece in _product_slices(len(rows), count):
                cosine = (query @ rows[piece].T).mul_(scale[piece])
                at = slice(part.start + piece.start, part.start + piece.stop)
                own = _own_cells(position, at.start, at.stop, device)
                cosine[own] = 2.0
                low = torch.minimum(low, cosine.amin(1))
                cosine[own] = -2.0  # from here on the probe itself is negative, and less than any other cosine
                high = torch.maximum(high, cosine.amax(1))
                mask = signs.non_negative(cosine, limits, None, partial(_pair, own_rows, rows[piece]))
                mask[own[0].cpu().numpy(), own[1].cpu().numpy()] = False
                counted += on_host(signs.row_totals(mask))
                cosine[own] = 0.0
                total += cosine.sum(1)
                if kept is not None:
                    cosine[own] = -2.0
                    kept[:, at] = cosine.mul_(_STEPS).round_().clamp_(-_STEPS - 1, _STEPS).to(torch.int16)
    mean = (total / (len(table.population) - 1)).cpu().double().numpy()
    ends = (low.cpu().double().numpy(), high.cpu().double().numpy())
    return (counted, *ends, mean, _quantiles(kept, count, levels), _histogram(kept))


def _pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return first, second


def on_host(found: Any) -> NDArray[Any]:
    """An array as NumPy's, wherever it was worked out."""
    return found.cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)


def _product_slices(rows: int, probes: int) -> Iterator[slice]:
    """Cut a block so that its product with the probes stays near 2 MB, inside the cache of a CPU core."""
    step = max(256, PRODUCT_BYTES // (4 * max(1, probes)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _own_cells(position: NDArray[np.int64], start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each probe meets itself in a product: (probe, column) indices."""
    inside = np.flatnonzero((position >= start) & (position < stop))
    columns = position[inside] - start
    return torch.from_numpy(inside).to(device), torch.from_numpy(columns).to(device)


def _histogram(kept: Tensor | None) -> NDArray[np.int64]:
    """Counts of rounded cosines, all probes together, in equal bins over [-1, 1]; a probe's own is in none."""
    if kept is None:
        return np.zeros(0, dtype=np.int64)
    counts = np.zeros(2 * _STEPS + 2, dtype=np.int64)
    for cosines in kept:
        counts += torch.bincount(cosines.int().add_(_STEPS + 1), minlength=len(counts)).cpu().numpy()
    bins = np.minimum((np.arange(2 * _STEPS + 1) * BINS) // (2 * _STEPS), BINS - 1)  # the first count is the own ones
    return np.bincount(bins, weights=counts[1:], minlength=BINS).astype(np.int64)


def _quantiles(kept: Tensor | None, probes: int, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Order statistics of (m, N) rounded cosines; a probe's own is the smallest, and none of them."""
    if kept is None:
        return np.full((probes, 0), np.nan)
    others = kept.shape[1] - 1
    ranks = [max(1, math.ceil(level * others)) for level in levels]
    if kept.device.type == "cpu":
        cells = kept.numpy()
        cells.partition(sorted(set(ranks)), axis=1)
        found = cells[:, ranks]
    else:
        found = kept.sort(dim=1).values[:, ranks].cpu().numpy()
    return np.asarray(found / _STEPS, dtype=np.float64)


def row_counts(table: EmbeddingTable, anchors: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every population row, with how many of the anchors (row ids) it has a negative cosine."""
    found = []
    with full_precision():
        query, stored = table.units(anchors), table.gather(anchors)
        limits = torch.full((len(anchors),), signs.tolerance(table.width, query.device), device=query.device)
        for _, rows, scale in raw_blocks(table, what="negative cosines"):
            for piece in _product_slices(len(rows), len(anchors)):
                cosine = (query @ rows[piece].T).mul_(scale[piece])
                mask = signs.non_negative(cosine, limits, None, partial(_pair, stored, rows[piece]))
                found.append(len(anchors) - on_host(signs.column_totals(mask)))
    return np.concatenate(found)
