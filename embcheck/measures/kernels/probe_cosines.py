"""Cosines of some rows, the probes, with all others: counts of signs, extremes, means, quantiles, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from embcheck.measures.kernels import signs
from embcheck.measures.kernels.blocks import Memory, Raw, full_precision, on_host, on_threads

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["ProbeStatistics", "probe_statistics", "row_counts"]

KEPT_COSINES = 64 * 2**20  # bytes of 16-bit cosines kept at once for quantiles
PRODUCT_BYTES = 4 * 2**20  # of a product with probes: near the cache of a CPU core
_DEVICE_PRODUCT_BYTES = 64 * 2**20  # and elsewhere, where a product has to be large to be fast
ROW_BYTES, COPIED_BYTES = 32 * 2**20, 8 * 2**20  # of the rows in such a product, as float32
_PROBE_CHUNK = 1_024
_COUNTED = 2**21  # cosines counted at once for a histogram
BINS = 2_000  # of the histogram of all probes' cosines
_STEPS = 32_767  # of a cosine between 0 and 1, where it is kept in 16 bits
_OWN = -_STEPS - 1  # what is kept for a probe's cosine with itself: less than any other


@dataclass(frozen=True, slots=True)
class ProbeStatistics:
    """Per probe, over all other rows of the population: counts and statistics of the cosine.

    All but ``histogram`` are NumPy arrays of shape (probes,), ``quantiles`` of shape (probes, len(levels)).
    """

    non_negative: Ints
    others: int
    minimum: Floats
    maximum: Floats
    mean: Floats
    quantiles: Floats
    levels: tuple[float, ...]
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
    levels: tuple[float, ...] = (),
    histogram: bool = False,
    center: Tensor | None = None,
) -> ProbeStatistics:
    """Cosines of each probe, less ``center`` where it is given, with every other row, in one pass over the matrix.

    ``levels`` are quantiles to find: those of the cosines rounded to multiples of 1/32,767, without interpolation;
    ``histogram`` counts the rounded cosines of all probes in bins. Counts are exact (`signs`); the other figures are
    those of float32 products, right to about 1e-7. Work is O(m N d) for m probes. Memory beyond the table is a block of
    rows and one of products for each thread, and with levels or a histogram 2 m N bytes, at most 64 MB but for 50
    probes.
    """
    size, keep = len(table.population), histogram or bool(levels)
    step = min(_PROBE_CHUNK, max(50, KEPT_COSINES // (2 * size))) if keep else _PROBE_CHUNK
    chunks = []
    counts = np.zeros(BINS if histogram else 0, dtype=np.int64)
    for start in range(0, len(probes), step):
        chunk = _Chunk.of(table, probes[start : start + step], center, keep=keep)
        figures = chunk.figures()
        chunks.append((*figures, _quantiles(chunk.kept, len(figures[0]), levels)))
        if histogram and chunk.kept is not None:
            counts += _histogram(chunk.kept)
        del chunk  # before the next one asks for as much
    non_negative, minimum, maximum, mean, quantiles = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return ProbeStatistics(non_negative, size - 1, minimum, maximum, mean, quantiles, levels, counts)


class _Piece(NamedTuple):
    """Figures of some probes over a slice of the population, and cosines of doubtful sign."""

    counts: Ints
    low: Floats
    high: Floats
    total: Floats
    doubts: signs.Cells


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Some of the probes, and what their products with the population need."""

    table: EmbeddingTable
    ids: tuple[Tensor, Tensor]
    """(m,) rows of the probes, and (N,) of the population."""
    position: Ints
    """(m,) and where in the population they stand."""
    query: Tensor
    """(m, d) float32 of length 1."""
    center: Tensor | None
    raw: Raw
    memory: Memory
    kept: Tensor | None
    """(m, N) rounded cosines."""

    @classmethod
    def of(cls, table: EmbeddingTable, probes: Ints, center: Tensor | None, *, keep: bool) -> _Chunk:
        device, population = table.vectors.device, table.population
        with torch.inference_mode():
            if center is None:
                query = table.units(probes)
            else:
                query = torch.nn.functional.normalize(table.gather(probes) - center, dim=1, eps=1e-30)
            shape = len(probes), len(population)
            kept = torch.empty(shape, dtype=torch.int16, device=device) if keep else None
        position, raw, memory = np.searchsorted(population, probes), Raw(table, center), Memory(torch.float32, device)
        return cls(table, _ids(table, probes), position, query, center, raw, memory, kept)

    def figures(self) -> tuple[Ints, Floats, Floats, Floats]:
        """(m,) counts of cosines at zero or more, smallest and largest cosines, and means."""
        with full_precision():
            parts = _pieces(self.table, self.raw, len(self.query))
            pieces = list(on_threads(self._piece, parts, self.query.device, "cosines of probes"))
            counts, low, high, total, doubts = zip(*pieces, strict=True)
            first, _ = signs.settle(self.table, signs.together(doubts), self.ids, self._limit, self.center)
        others = len(self.table.population) - 1
        non_negative = np.sum(counts, axis=0) + np.bincount(first, minlength=len(self.query))
        return non_negative, np.min(low, axis=0), np.max(high, axis=0), np.sum(total, axis=0) / others

    def _piece(self, part: slice) -> _Piece:
        """The same, with sums in place of means, over a slice of the population."""
        rows, scale = self.raw(part)
        cosine = torch.mm(self.query, rows.T, out=self.memory(len(self.query), len(rows))).mul_(scale)
        own = self._own_cells(part)
        cosine[own] = torch.inf
        low = cosine.amin(1)
        cosine[own] = -torch.inf
        high = cosine.amax(1)
        ids = self.ids[0], self.ids[1][part]
        tally = signs.count(cosine, self._limit, partial(_stored, self.table, ids, self.center), columns=False)
        cells = tally.cells(cosine, 0, part.start)
        cosine[own] = 0.0
        total = cosine.sum(1)
        if self.kept is not None:
            piece = self.kept[:, part]
            piece.copy_(cosine.mul_(_STEPS).round_())
            piece[own] = _OWN
        ends = on_host(low).astype(np.float64), on_host(high).astype(np.float64)
        return _Piece(on_host(tally.rows), *ends, on_host(total).astype(np.float64), cells)

    def _own_cells(self, part: slice) -> tuple[Tensor, Tensor]:
        """Where probes meet themselves in a product: (probe, column) indices."""
        inside = np.flatnonzero((self.position >= part.start) & (self.position < part.stop))
        columns = self.position[inside] - part.start
        return torch.from_numpy(inside).to(self.query.device), torch.from_numpy(columns).to(self.query.device)

    @property
    def _limit(self) -> float:
        return signs.tolerance(self.table.width, self.query.device)


def row_counts(table: EmbeddingTable, anchors: Ints) -> Ints:
    """For every population row, with how many of the anchors (row ids) it has a negative cosine. Exact."""
    device, raw = table.vectors.device, Raw(table)
    ids, memory, limit = _ids(table, anchors), Memory(torch.float32, device), signs.tolerance(table.width, device)
    with full_precision():
        query = table.units(anchors)

        def piece(part: slice) -> tuple[Ints, signs.Cells]:
            rows, scale = raw(part)
            cosine = torch.mm(query, rows.T, out=memory(len(query), len(rows))).mul_(scale)
            stored = partial(_stored, table, (ids[0], ids[1][part]), None)
            tally = signs.count(cosine, limit, stored)
            return on_host(tally.columns), tally.cells(cosine, 0, part.start)

        pieces = on_threads(piece, _pieces(table, raw, len(anchors)), device, "negative cosines")
        counts, doubts = zip(*pieces, strict=True)
        _, second = signs.settle(table, signs.together(doubts), ids, limit)
    negative: Ints = len(anchors) - np.concatenate(counts)
    return negative - np.bincount(second, minlength=len(negative))


def _pieces(table: EmbeddingTable, raw: Raw, probes: int) -> list[slice]:
    """Slices of the population whose product with the probes is of a size that a device is fast at."""
    room = PRODUCT_BYTES if table.vectors.device.type == "cpu" else _DEVICE_PRODUCT_BYTES
    rows = (COPIED_BYTES if raw.copied else ROW_BYTES) // (4 * table.width)
    size, step = len(table.population), max(256, min(room // (4 * max(1, probes)), rows))
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _ids(table: EmbeddingTable, probes: Ints) -> tuple[Tensor, Tensor]:
    """(m,) and (N,) row ids of the probes and of the population, on the device."""
    device = table.vectors.device
    return torch.from_numpy(probes.astype(np.int64)).to(device), torch.from_numpy(table.population).to(device)


def _stored(table: EmbeddingTable, ids: tuple[Tensor, Tensor], center: Tensor | None) -> tuple[Tensor, Tensor]:
    return signs.stored(table, ids[0], center), signs.stored(table, ids[1], center)


def _histogram(kept: Tensor) -> Ints:
    """Counts of rounded cosines, all probes together, in equal bins over [-1, 1]; a probe's own is in none."""

    def count(cosines: Tensor) -> Ints:
        counts = torch.bincount(cosines.flatten().int().sub_(_OWN), minlength=_STEPS - _OWN + 1)
        return np.asarray(counts.cpu().numpy())

    rows = torch.split(kept, max(1, _COUNTED // kept.shape[1]))
    counts = np.sum(list(on_threads(count, rows, kept.device, "histogram of cosines")), axis=0)
    bins = np.minimum((np.arange(2 * _STEPS + 1) * BINS) // (2 * _STEPS), BINS - 1)  # the first count is the own ones
    return np.bincount(bins, weights=counts[1:], minlength=BINS).astype(np.int64)


def _quantiles(kept: Tensor | None, probes: int, levels: tuple[float, ...]) -> Floats:
    """Order statistics of (m, N) rounded cosines; a probe's own is the smallest, and none of them."""
    if kept is None or not levels:
        return np.full((probes, 0), np.nan)
    others = kept.shape[1] - 1
    ranks = [max(1, math.ceil(level * others)) for level in levels]
    if kept.device.type == "cpu":
        cells = kept.numpy()
        cells.partition(sorted(set(ranks)), axis=1)
        statistics = cells[:, ranks]
    else:
        statistics = kept.sort(dim=1).values[:, ranks].cpu().numpy()
    return np.asarray(statistics / _STEPS, dtype=np.float64)
