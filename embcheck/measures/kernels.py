"""Blockwise kernels that the measures share: one pass over the matrix, never V x V, on the table's device.

Products run in float32 (never TF32 or bfloat16), whatever dtype the rows are stored in; sums of unit vectors run in the
widest float that the device has. Counts are integers.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.progress import track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = [
    "ProbeStatistics",
    "all_pairs_counts",
    "full_precision",
    "mean_vector",
    "probe_statistics",
    "row_counts",
    "top_k",
    "unit_sum",
]

BINS = 2_000  # of cosine over [-1, 1]: quantiles are interpolated inside a bin of width 0.001
NORMALISED_COPY = 512 * 2**20  # bytes up to which all-pairs products keep a float32 copy of the unit rows
_TILE = 1_024
_PROBE_CHUNK = 1_024


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
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def blocks(table: EmbeddingTable, center: Tensor | None = None, what: str = "") -> Iterator[tuple[slice, Tensor]]:
    """Unit rows of the population in blocks: the slice of the population, and (n, d) float32 on the device.

    With ``center`` (d,), that vector is subtracted before the rows are scaled to length 1; a row equal to it stays 0.
    """
    population = table.population
    for part in track(list(table.slices(len(population))), what):
        if center is None:
            yield part, table.units(population[part])
        else:
            yield part, torch.nn.functional.normalize(table.gather(population[part]) - center, dim=1, eps=1e-30)


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
        Quantiles to read off a histogram of 2,000 bins over [-1, 1]; the error is at most one bin, 0.001.
    center
        (d,) vector to subtract from every row first.

    Notes
    -----
    The mean over the others is exact: :math:`(u_i \cdot \sum_j u_j - 1) / (N - 1)`. Work is O(m N d) for m probes;
    memory beyond the table is one block of rows and one of products.
    """
    chunks = [
        _probe_chunk(table, probes[start : start + _PROBE_CHUNK], levels, center)
        for start in range(0, len(probes), _PROBE_CHUNK)
    ]
    stacked = [np.concatenate([chunk[i] for chunk in chunks]) for i in range(5)]
    counts, minimum, maximum, mean, quantiles = stacked
    histogram: NDArray[np.int64] = np.add.reduce([chunk[5] for chunk in chunks]).astype(np.int64)
    return ProbeStatistics(
        counts.astype(np.int64), len(table.population) - 1, minimum, maximum, mean, quantiles, levels, histogram
    )


def _probe_chunk(
    table: EmbeddingTable, probes: NDArray[np.int64], levels: tuple[float, ...], center: Tensor | None
) -> tuple[NDArray[np.float64], ...]:
    device, count = table.vectors.device, len(probes)
    position = np.searchsorted(table.population, probes)
    with full_precision():
        query = (
            table.units(probes)
            if center is None
            else torch.nn.functional.normalize(table.gather(probes) - center, dim=1, eps=1e-30)
        )
        counted = torch.zeros(count, dtype=table.accumulator, device=device)
        low = torch.full((count,), 2.0, device=device)
        high = torch.full((count,), -2.0, device=device)
        sums = torch.zeros(table.width, dtype=table.accumulator, device=device)
        histogram = torch.zeros(count * BINS, dtype=torch.int64, device=device) if levels else None
        for part, unit in blocks(table, center, "cosines of probes"):
            sums += unit.sum(0, dtype=table.accumulator)
            for rows in _product_slices(len(unit), count):
                cosine = query @ unit[rows].T
                own = _own_cells(position, part.start + rows.start, part.start + rows.stop, device)
                cosine[own] = 2.0
                low = torch.minimum(low, cosine.amin(1))
                cosine[own] = -2.0  # from here on the probe itself is negative, and in a bin of no other cosine
                high = torch.maximum(high, cosine.amax(1))
                if histogram is not None:
                    histogram += _histogram(cosine, own)
                counted += torch.ge(cosine, 0, out=cosine).sum(1)
        squares = (query.to(table.accumulator) ** 2).sum(1)
        total = query.to(table.accumulator) @ sums - squares
    others = len(table.population) - 1
    quantiles = _quantiles(histogram, count, levels)
    mean = (total / others).cpu().double().numpy()
    lowest, highest = low.cpu().double().numpy(), high.cpu().double().numpy()
    pooled = np.zeros(0) if histogram is None else histogram.view(count, BINS).sum(0).cpu().numpy()
    return (counted.cpu().double().numpy(), lowest, highest, mean, quantiles, pooled)


def _product_slices(rows: int, probes: int) -> Iterator[slice]:
    """Cut a block so that its product with the probes stays near 8 MB, inside the cache of a CPU core."""
    step = max(256, (8 * 2**20) // (4 * max(1, probes)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _own_cells(position: NDArray[np.int64], start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each probe meets itself in a product: (probe, column) indices."""
    inside = np.flatnonzero((position >= start) & (position < stop))
    columns = position[inside] - start
    return torch.from_numpy(inside).to(device), torch.from_numpy(columns).to(device)


def _histogram(cosine: Tensor, own: tuple[Tensor, Tensor]) -> Tensor:
    """Counts per probe and bin of cosine, flattened; the probe's own cell is taken out again."""
    probes = cosine.shape[0]
    bins = cosine.add(1).mul_(BINS / 2).clamp_(0, BINS - 1).to(torch.int32)
    bins += torch.arange(probes, dtype=torch.int32, device=cosine.device)[:, None] * BINS
    counts = torch.bincount(bins.flatten(), minlength=probes * BINS)
    counts[own[0] * BINS] -= 1
    return counts


def _quantiles(histogram: Tensor | None, probes: int, levels: tuple[float, ...]) -> NDArray[np.float64]:
    if histogram is None:
        return np.full((probes, 0), np.nan)
    counts = histogram.view(probes, BINS).cpu().numpy()
    cumulative = np.cumsum(counts, axis=1)
    found = np.empty((probes, len(levels)))
    for column, level in enumerate(levels):
        wanted = level * cumulative[:, -1]
        bin_of = np.minimum((cumulative < wanted[:, None]).sum(1), BINS - 1)
        rows = np.arange(probes)
        inside = counts[rows, bin_of]
        before = cumulative[rows, bin_of] - inside
        fraction = np.clip((wanted - before) / np.maximum(inside, 1), 0, 1)
        found[:, column] = -1 + (bin_of + fraction) * 2 / BINS
    return found


def all_pairs_counts(table: EmbeddingTable) -> NDArray[np.int64]:
    """For every population row, how many others it has a cosine of zero or more with. Exact, in half the products.

    The product of two tiles of rows serves both: its row sums count for the one, its column sums for the other. A copy
    of the unit rows is kept only where it fits 512 MB; otherwise tiles are scaled as they come.
    """
    population, device = table.population, table.vectors.device
    size = len(population)
    starts = list(range(0, size, _TILE))
    counts = torch.zeros(size, dtype=table.accumulator, device=device)
    with full_precision():
        kept = torch.cat([unit for _, unit in blocks(table)]) if 4 * size * table.width <= NORMALISED_COPY else None

        def tile(start: int) -> Tensor:
            stop = min(start + _TILE, size)
            return table.units(population[start:stop]) if kept is None else kept[start:stop]

        for start in track(starts, "all pairs"):
            rows = tile(start)
            for other in range(start, size, _TILE):
                signs = rows @ (rows if other == start else tile(other)).T
                torch.ge(signs, 0, out=signs)
                if other == start:
                    signs.fill_diagonal_(0)
                else:
                    counts[other : other + signs.shape[1]] += signs.sum(0)
                counts[start : start + len(rows)] += signs.sum(1)
    return counts.cpu().numpy().astype(np.int64)


def row_counts(table: EmbeddingTable, anchors: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every population row, with how many of the anchors (row ids) it has a negative cosine."""
    found = []
    with full_precision():
        query = table.units(anchors)
        for _, unit in blocks(table, what="negative cosines"):
            for rows in _product_slices(len(unit), len(anchors)):
                product = query @ unit[rows].T
                found.append(torch.lt(product, 0, out=product).sum(0).to(torch.int64).cpu().numpy())
    return np.concatenate(found)


def top_k(table: EmbeddingTable, queries: Tensor, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k population rows nearest to each query by cosine, nearest first: row ids and cosines, both (q, k).

    Parameters
    ----------
    queries
        (q, d) vectors, of any length but zero.
    k
        How many; at most the size of the population.
    """
    population = table.population
    k = min(k, len(population))
    with full_precision():
        query = torch.nn.functional.normalize(queries.to(table.accumulator), dim=1).float()
        best = torch.full((len(query), 0), -2.0, device=query.device)
        where = torch.zeros((len(query), 0), dtype=torch.int64, device=query.device)
        for part, unit in blocks(table):
            cosine = query @ unit.T
            values, columns = cosine.topk(min(k, cosine.shape[1]), dim=1)
            best, where = torch.cat([best, values], 1), torch.cat([where, columns + part.start], 1)
            best, order = best.topk(min(k, best.shape[1]), dim=1)
            where = where.gather(1, order)
    return population[where.cpu().numpy()], best.cpu().double().numpy()
