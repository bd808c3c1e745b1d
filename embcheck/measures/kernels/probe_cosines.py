"""Cosines of some rows, the probes, with all others: counts of signs, extremes, means, medians, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from embcheck.measures.kernels import signs
from embcheck.measures.kernels.blocks import Memory, Raw, full_precision, on_host, on_threads, per_row
from embcheck.measures.kernels.probes import Probes, side
from embcheck.measures.kernels.signs import row_totals

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["ProbeStatistics", "probe_statistics", "row_counts"]

PRODUCT_BYTES = 4 * 2**20  # of a product with probes: near the cache of a CPU core
_DEVICE_PRODUCT_BYTES = 64 * 2**20  # and elsewhere, where a product has to be large to be fast
ROW_BYTES, COPIED_BYTES = 32 * 2**20, 8 * 2**20  # of the rows in such a product, as float32
_PROBE_CHUNK = 1_024
_COUNTED = 2**19  # cosines that wait to be counted
BINS = 2_000  # of the histogram of all probes' cosines
_STEPS = 32_767  # of a cosine between 0 and 1, for medians and histograms
_SAMPLED, _ERRORS = 8_192, 5  # rows that say where to look for a median, at most, and how many standard errors around
_SAMPLED_SHARE = 8  # one row in so many
_MISSED = 64  # probes whose cosines are all counted one by one at once
_KEPT = 16  # small arrays kept apart at once: each may stand in free memory where a large one then does not fit
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ProbeStatistics:
    """Per probe, over all other rows of the population: counts and statistics of the cosine.

    All but ``others`` and ``histogram`` are NumPy arrays of shape (probes,).
    """

    non_negative: Ints
    minimum: Floats
    maximum: Floats
    mean: Floats
    median: Floats
    """NaN where it was not asked for."""
    others: int
    histogram: Ints
    """(2000,) counts of all probes' cosines in bins over [-1, 1]; empty where it was not asked for."""

    @property
    def share(self) -> Floats:
        """Share of the other rows at a cosine of zero or more."""
        return self.non_negative / self.others


def probe_statistics(
    table: EmbeddingTable,
    probes: Ints,
    *,
    median: bool = False,
    histogram: bool = False,
    center: Tensor | None = None,
) -> ProbeStatistics:
    """Cosines of each probe, less ``center`` where it is given, with every other row, in one pass over the matrix.

    ``median`` and ``histogram`` are of the cosines rounded to multiples of 1/32,767, the median without interpolation.
    Counts are exact (`signs`); the other figures are those of float32 products, right to about 1e-7. Work is O(m N d)
    for m probes. Memory beyond the table is a block of rows and one of products for each thread.

    A probe's median needs no more of its N cosines than how many are below those around it, and the counts of these: a
    sample of the rows says where to look. Where it misleads, as one time in a million, those probes have a second pass.
    """
    bins, counts, chunks = BINS if histogram else 0, np.zeros(BINS if histogram else 0, dtype=np.int64), []
    for start in range(0, len(probes), _PROBE_CHUNK):
        chosen = Probes.of(table, probes[start : start + _PROBE_CHUNK])
        around = _around_medians(table, chosen, center) if median else None
        non_negative, low, high, total, below, near, cells = _over(table, chosen, center, around, bins)
        mean, medians = total / (len(table.population) - 1), np.full(len(total), np.nan)
        if around is not None:
            medians = _medians(table, chosen, center, around, below, near)
        chunks.append((non_negative, low, high, mean, medians))
        counts += cells
    non_negative, low, high, mean, medians = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return ProbeStatistics(non_negative, low, high, mean, medians, len(table.population) - 1, counts)


def _over(table: EmbeddingTable, probes: Probes, center: Tensor | None, around: Around | None, bins: int = 0) -> _State:
    """What `_pass` makes of all parts of a table."""
    non_negative, low, high, *sums = zip(*table.over(_pass, probes, center, around, bins), strict=True)
    summed: list[Any] = [sum(of_parts, np.int64(0)) for of_parts in sums]
    total, below, near, cells = summed
    return sum(non_negative), np.min(low, axis=0), np.max(high, axis=0), total, below, near, cells


Around = tuple["Ints", int]
"""(m,) the first of the rounded cosines that are counted one by one, and how many numbers they may take."""
_State = tuple["Ints", "Floats", "Floats", "Floats", "Ints", "Ints", "Ints"]


def _around_medians(table: EmbeddingTable, probes: Probes, center: Tensor | None) -> Around:
    """Where each probe's median may be: between order statistics of its cosines with some rows, five errors away."""
    if "rows around medians" not in table.memo:
        sampled = min(_SAMPLED, -(-len(table.population) // _SAMPLED_SHARE))
        table.memo["rows around medians"] = Probes.of(table, table.probes(sampled))
    some: Probes = table.memo["rows around medians"]
    with full_precision():
        cosine = probes.units(center) @ some.units(center).T
        cells, last = cosine.mul_(_STEPS).round_().cpu().numpy(), cosine.shape[1] - 1
    reach = math.ceil(_ERRORS * 0.5 * math.sqrt(len(some.rows))) + 1
    ranks = max(0, last // 2 - reach), min(last, last // 2 + 1 + reach)
    low, high = (np.partition(cells, rank, axis=1)[:, rank].astype(np.int64) for rank in ranks)  # both at once: slower
    return low - 1, int((high - low).max()) + 3


def _medians(
    table: EmbeddingTable, probes: Probes, center: Tensor | None, around: Around, below: Ints, near: Ints
) -> Floats:
    """(m,) medians; those that are not around where they were looked for are looked for everywhere."""
    others = len(table.population) - 1
    medians = _read_off(around, below, near, others)
    missed = np.flatnonzero(np.isnan(medians))
    for start in range(0, len(missed), _MISSED):
        some = missed[start : start + _MISSED]
        everywhere = np.full(len(some), -_STEPS), 2 * _STEPS + 1
        *_, below, near, _ = _over(table, probes.some(some), center, everywhere)
        medians[some] = _read_off(everywhere, below, near, others)
    return medians


def _read_off(around: Around, below: Ints, near: Ints, others: int) -> Floats:
    """(m,) order statistics from counts of what is below those cells, (m,), and in each, (m, cells); NaN for others."""
    rank = max(1, math.ceil(others / 2))
    reached = below[:, None] + np.cumsum(near, axis=1)
    cell = (reached < rank).sum(1)
    is_there = (below < rank) & (cell < near.shape[1])
    return np.where(is_there, (around[0] + cell) / _STEPS, np.nan)


def _pass(part: EmbeddingTable, probes: Probes, center: Tensor | None, around: Around | None, bins: int = 0) -> _State:
    """Of each probe: non-negative cosines, the smallest, largest and sum; below and in the cells around its median.

    The last is a histogram of all probes' cosines, in so many bins.
    """
    chunk = _Chunk.of(part, probes, center, around, histogram=bins > 0)
    raw, count = chunk.raw, len(probes.rows)
    counts, total = np.zeros(count, dtype=np.int64), np.zeros(count)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    below, near = np.zeros(count, dtype=np.int64), _Counts(count * (0 if around is None else around[1]))
    cells, doubts = np.zeros(bins, dtype=np.int64), []
    with full_precision():
        pieces = _pieces(part, raw, count)
        for piece in on_threads(chunk.piece, pieces, part.vectors.device, "cosines of probes"):
            counts += piece.counts
            total += piece.total
            low, high = np.minimum(low, piece.low), np.maximum(high, piece.high)
            doubts.append(piece.doubts)
            if len(doubts) == _KEPT:
                doubts = [signs.together(doubts)]
            if around is not None:
                below += piece.below
                near.add(piece.near)
            cells += piece.histogram
        first, _ = signs.settle((chunk.probes.side, chunk.side), signs.together(doubts), chunk.limit, center)
    counts += np.bincount(first, minlength=count)
    around_medians: Any = near.counts.astype(np.uint32).reshape(count, -1)  # parts send it
    return counts, low, high, total, below, around_medians, cells


class _Counts:
    """How often each number was there, of numbers that come a few at a time."""

    def __init__(self, size: int) -> None:
        self._counts, self._many = np.zeros(size, dtype=np.int64), 0
        self._waiting = np.empty(max(_COUNTED, size), dtype=np.int64)  # copied to: kept as they are, they leave holes

    def add(self, numbers: Ints) -> None:
        """Some more numbers."""
        for start in range(0, len(numbers), len(self._waiting)):
            part = numbers[start : start + len(self._waiting)]
            if self._many + len(part) > len(self._waiting):
                self._count()
            self._waiting[self._many : self._many + len(part)] = part
            self._many += len(part)

    @property
    def counts(self) -> Ints:
        """Of each number up to the size."""
        self._count()
        return self._counts

    def _count(self) -> None:
        self._counts += np.bincount(self._waiting[: self._many], minlength=len(self._counts))
        self._many = 0


class _Piece(NamedTuple):
    """Figures of some probes over a slice of the population, and cosines of doubtful sign."""

    counts: Ints
    low: Floats
    high: Floats
    total: Floats
    doubts: signs.Cells
    below: Ints
    near: Ints
    histogram: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Some probes, and what their products with the population need."""

    table: EmbeddingTable
    probes: Probes
    side: signs.Side
    position: Ints
    """(m,) where in the population the probes stand, -1 for elsewhere."""
    query: Tensor
    """(m, d) float32 of length 1."""
    center: Tensor | None
    raw: Raw
    memory: Memory
    limit: float
    around: Around | None
    histogram: bool

    @classmethod
    def of(
        cls, table: EmbeddingTable, probes: Probes, center: Tensor | None, around: Around | None, *, histogram: bool
    ) -> _Chunk:
        device = table.vectors.device
        with torch.inference_mode():
            probes, center = probes.on(device), None if center is None else center.to(device)
            query, raw, memory = probes.units(center), Raw(table, center), Memory(torch.float32, device)
        limit, own = signs.tolerance(table.width, device), probes.places(table)
        return cls(table, probes, side(table), own, query, center, raw, memory, limit, around, histogram)

    def piece(self, part: slice) -> _Piece:
        """Figures over a slice of the population."""
        rows, scale = self.raw(part)
        cosine = torch.mm(self.query, rows.T, out=self.memory(len(self.query), len(rows))).mul_(scale)
        own = self._own_cells(part)
        cosine[own] = torch.inf
        low = cosine.amin(1)
        cosine[own] = -torch.inf
        high = cosine.amax(1)
        tally = signs.count(cosine, self.limit, partial(self._stored, part), columns=False)
        doubts = tally.cells(cosine, 0, part.start)
        cosine[own] = 0.0
        total, below, near, histogram = cosine.sum(1), _NONE, _NONE, _NONE
        if self.around is not None or self.histogram:
            cosine.mul_(_STEPS).round_()
        if self.histogram:
            histogram = _histogram(cosine, len(own[0]))
        if self.around is not None:
            cosine[own] = torch.nan
            below, near = _near(cosine, self.around)
        ends = on_host(low).astype(np.float64), on_host(high).astype(np.float64)
        summed = on_host(total).astype(np.float64)
        return _Piece(on_host(tally.rows), *ends, summed, doubts, below, near, histogram)

    def _stored(self, part: slice) -> tuple[Tensor, Tensor]:
        return self.probes.side.rows(slice(None), self.center), self.side.rows(part, self.center)

    def _own_cells(self, part: slice) -> tuple[Tensor, Tensor]:
        """Where probes meet themselves in a product: (probe, column) indices."""
        inside = np.flatnonzero((self.position >= part.start) & (self.position < part.stop))
        columns = self.position[inside] - part.start
        return torch.from_numpy(inside).to(self.query.device), torch.from_numpy(columns).to(self.query.device)


def row_counts(table: EmbeddingTable, anchors: Ints) -> Ints:
    """For every population row, with how many of the anchors (row ids) it has a negative cosine. Exact."""
    return per_row(table, _row_counts, Probes.of(table, anchors))


def _row_counts(part: EmbeddingTable, anchors: Probes) -> Ints:
    device, raw = part.vectors.device, Raw(part)
    anchors, own = anchors.on(device), side(part)
    count, memory, limit = len(anchors.rows), Memory(torch.float32, device), signs.tolerance(part.width, device)
    with full_precision():
        query = anchors.units()

        def piece(some: slice) -> tuple[Ints, signs.Cells]:
            rows, scale = raw(some)
            cosine = torch.mm(query, rows.T, out=memory(count, len(rows))).mul_(scale)
            tally = signs.count(cosine, limit, lambda: (anchors.stored, own.rows(some)))
            return on_host(tally.columns), tally.cells(cosine, 0, some.start)

        pieces = on_threads(piece, _pieces(part, raw, count), device, "negative cosines")
        counts, doubts = zip(*pieces, strict=True)
        _, second = signs.settle((anchors.side, own), signs.together(doubts), limit)
    negative: Ints = count - np.concatenate(counts)
    return negative - np.bincount(second, minlength=len(negative))


def _pieces(table: EmbeddingTable, raw: Raw, probes: int) -> list[slice]:
    """Slices of the population whose product with the probes is of a size that a device is fast at."""
    room = PRODUCT_BYTES if table.vectors.device.type == "cpu" else _DEVICE_PRODUCT_BYTES
    rows = (COPIED_BYTES if raw.copied else ROW_BYTES) // (4 * table.width)
    size, step = len(table.population), max(256, min(room // (4 * max(1, probes)), rows))
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _histogram(cosines: Tensor, own: int) -> Ints:
    """Counts of rounded cosines, all probes together, in equal bins over [-1, 1]; so many zeros are in none."""
    counts = torch.bincount(cosines.flatten().int().add_(_STEPS), minlength=2 * _STEPS + 1).cpu().numpy()
    counts[_STEPS] -= own
    bins = np.minimum((np.arange(2 * _STEPS + 1) * BINS) // (2 * _STEPS), BINS - 1)
    return np.bincount(bins, weights=counts, minlength=BINS).astype(np.int64)


def _near(cosines: Tensor, around: Around) -> tuple[Ints, Ints]:
    """(m,) how many rounded cosines are below those around a probe's median, and (k,) which cells others are in."""
    count, size = around[1], cosines.shape[1]
    first: Any = torch.from_numpy(around[0]).to(cosines.device, torch.float32)[:, None]
    cells: Any = cosines
    if cosines.device.type == "cpu":  # NumPy compares three times as fast there
        first, cells = first.numpy(), cosines.numpy()
    is_below = cells < first
    is_near = ((cells < first + count) ^ is_below).reshape(-1)
    at = np.flatnonzero(is_near) if cosines.device.type == "cpu" else torch.nonzero(is_near)[:, 0]
    probe = at // size
    beyond = on_host(cells.reshape(-1)[at] - first[probe, 0]).astype(np.int64)
    return on_host(row_totals(is_below)), on_host(probe) * count + beyond
