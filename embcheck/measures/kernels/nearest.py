"""The rows nearest to some vectors, streamed: what is no longer among the best costs a comparison, no sorting.

Candidates come from float32 products, with some to spare; the order among them is that of float64 cosines or distances,
rounded to twelve digits, and of row ids where those are equal. So ranks do not depend on blocks, threads or devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from embcheck.measures.kernels import signs
from embcheck.measures.kernels.blocks import Memory, Raw, blocks, full_precision, on_threads
from embcheck.measures.kernels.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Encode", "nearest", "top_k"]

SPARE = 16  # candidates beyond the k that are asked for: float32 may misplace near ties
QUERIES = 2_048
_CELLS, _DEVICE_CELLS = 2**21, 2**25  # of a product: 8 MB on the CPU, 128 MB elsewhere
_HELD = 2**14  # rows held against all others at once
_REFINED = 2**20  # numbers gathered at once for candidates: 8 MB
_DIGITS = 12
_FEW = 32  # cells to one hit from which sorting all of them costs more
_WAITING = 8  # hits a query that wait before they are merged
_FIRST = 64  # times k rows are sorted at first
_GROWTH = 3  # times as many as before are then compared with the best of those, until a tile is through

By = Literal["cosine", "distance"]
Encode = Callable[["Tensor"], "Tensor"]

_Hits = tuple["Ints", "Ints", "NDArray[np.float32]"]
"""Cells of a product: queries, columns or positions, and scores."""


def top_k(table: EmbeddingTable, queries: Tensor, k: int) -> tuple[Ints, Floats]:
    """Row ids and cosines, both (q, k), of the k population rows nearest to each of (q, d) queries, nearest first."""
    rows, cosines = _best_of(table.over(_of_vectors, queries, k), k, "cosine")
    return rows, cosines


def nearest(table: EmbeddingTable, rows: Ints, k: int, by: By = "cosine", encode: Encode | None = None) -> Ints:
    """Positions in the population of the k rows nearest to each given row, itself left out: (m, k), nearest first.

    Nearest is what has the largest cosine, or the smallest Euclidean distance. With ``encode``, which makes (n, e) of
    (n, d) stored rows, it is so of what that makes of all rows; those that become zero are near nothing.
    """
    k = min(k, len(table.population) - 1)
    lists = [np.zeros((0, k), dtype=np.int64)]
    for start in range(0, len(rows), _HELD):
        probes = Probes.of(table, rows[start : start + _HELD])
        if encode is not None:
            probes = replace(probes, stored=encode(probes.stored))
        lists.append(_best_of(table.over(_of_rows, probes, k, by, encode), k, by)[0])
    return np.searchsorted(table.population, np.concatenate(lists))


def _of_vectors(part: EmbeddingTable, queries: Tensor, k: int) -> tuple[Ints, Floats]:
    """(q, k) ids and cosines of a part's rows, as many as it has."""
    queries = queries.to(part.vectors.device, part.accumulator)

    def search(some: slice) -> tuple[Ints, Floats]:
        return _search(part, queries[some], k, None, "cosine")

    return _searched(part, len(queries), search)


def _of_rows(part: EmbeddingTable, probes: Probes, k: int, by: By, encode: Encode | None) -> tuple[Ints, Floats]:
    """(m, k) ids of a part's rows and cosines or distances; a probe itself comes last."""
    if encode is not None:
        part = _encoded(part, encode)
        if not len(part.population):
            return np.zeros((len(probes.rows), 0), dtype=np.int64), np.zeros((len(probes.rows), 0))
    own, stored = probes.places(part), probes.stored.to(part.vectors.device)

    def search(some: slice) -> tuple[Ints, Floats]:
        return _search(part, stored[some].float().to(part.accumulator), k, own[some], by)

    return _searched(part, len(stored), search)


def _encoded(part: EmbeddingTable, encode: Encode) -> EmbeddingTable:
    """The rows of a part's population that do not become zero, encoded some at a time, for it may make copies."""
    vectors = torch.cat([encode(part.stored(some)) for some in part.slices(len(part.vectors))])
    return replace(part, vectors=vectors, only=part.population, memo={})


def _searched(
    part: EmbeddingTable, queries: int, search: Callable[[slice], tuple[Ints, Floats]]
) -> tuple[Ints, Floats]:
    device = part.vectors.device
    with full_precision():
        answers = list(on_threads(search, _parts(queries, device), device, "nearest rows"))
    where, exact = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return part.population[where] + (part.first or 0), exact


def _best_of(answers: Sequence[tuple[Ints, Floats]], k: int, by: By) -> tuple[Ints, Floats]:
    """The k best of what the parts of a table have, in the order of `_refine`."""
    if len(answers) == 1:
        return answers[0]
    rows, exact = (np.concatenate(parts, axis=1) for parts in zip(*answers, strict=True))
    order = _order(rows, exact, by)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(exact, order, 1)


def _order(where: Ints, exact: Floats, by: By) -> Ints:
    """(q, c) the order of candidates: nearest first, and the lower id of equally near ones."""
    return np.lexsort((where, np.round(exact if by == "distance" else -exact, _DIGITS)), axis=1)


def _parts(queries: int, device: torch.device) -> list[slice]:
    """Equal shares of the queries, as many for one thread as for another."""
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    count = max(1, -(-queries // (QUERIES * threads)) * threads)
    step = max(1, -(-queries // count))
    return [slice(start, start + step) for start in range(0, queries, step)] or [slice(0, 0)]


def _search(table: EmbeddingTable, queries: Tensor, k: int, own: Ints | None, by: By) -> tuple[Ints, Floats]:
    """Positions and cosines, or distances, of the k nearest rows; ``own`` are the queries' places, to leave out."""
    k = min(k, len(table.population))
    lengths = torch.linalg.vector_norm(queries, dim=1, keepdim=True)
    if table.vectors.dtype.is_floating_point:
        query, lengths = torch.nn.functional.normalize(queries, dim=1, eps=1e-300).float(), lengths.float()
    else:  # products of whole numbers are exact: those that are equal tie
        query, lengths = queries.float(), torch.ones_like(lengths, dtype=torch.float32)
    best = _Best(len(queries), min(k + SPARE, len(table.population)), query.device)
    for part, cosine in _tiles(table, query):
        score = cosine
        if by == "distance":  # the squared distance less |query|^2, negated: it has the same order
            length = table.norms[torch.from_numpy(table.population[part]).to(query.device)].float()
            score = (2 * lengths * cosine).sub_(length).mul_(length)
        if own is not None:
            inside = np.flatnonzero((own >= part.start) & (own < part.stop))
            score[torch.from_numpy(inside), torch.from_numpy(own[inside] - part.start)] = -math.inf
        best.add(score, part.start)
    return _refine(table, queries, *best.found(), k, own, by)


def _tiles(table: EmbeddingTable, query: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Cosines of unit queries with rows of the population, tile by tile: each takes the memory of the one before.

    Whichever is smaller is scaled: the rows of a tile, or the product.
    """
    cells = _CELLS if query.device.type == "cpu" else _DEVICE_CELLS
    step = max(256, cells // len(query) // 64 * 64)  # hits are sought 64 cells at a time
    memory = torch.empty(len(query) * step, device=query.device)
    narrow = table.width < len(query) and table.vectors.dtype.is_floating_point
    rows_of = ((part, unit, None) for part, unit in blocks(table)) if narrow else Raw(table).blocks()
    for part, rows, scale in rows_of:
        for first in range(0, len(rows), step):
            piece = rows[first : first + step]
            out = memory[: len(query) * len(piece)].view(len(query), len(piece))
            cosine = torch.mm(query, piece.T, out=out)
            if scale is not None:
                cosine.mul_(scale[first : first + step])
            yield slice(part.start + first, part.start + first + len(piece)), cosine


class _Best:
    """The largest scores so far of each query, and where they stand."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self._k = k
        self._values = torch.full((queries, 0), -math.inf, device=device)
        self._where = torch.zeros((queries, 0), dtype=torch.int64, device=device)
        self._mask = Memory(torch.bool, device)
        self._waiting: list[_Hits] = []

    def add(self, score: Tensor, start: int) -> None:
        """Take in the scores of the next rows, from position ``start`` on: few at first, since sorting is slow."""
        rows, done = score.shape[1], 0
        while done < rows:
            step = max(_FIRST * self._k, _GROWTH * (start + done)) if score.device.type == "cpu" else rows
            self._add(score[:, done : done + step], start + done)
            done += step

    def _add(self, score: Tensor, start: int) -> None:
        full = self._values.shape[1] == self._k
        if full and score.device.type == "cpu":
            query, column, values = self._hits(score)
            if len(query) < score.numel() // _FEW:
                self._waiting.append((query, column + start, values))
                if sum(len(values) for _, _, values in self._waiting) > _WAITING * len(score):
                    self._take_in()
                return
        self._merge(*_top(score, torch.arange(start, start + score.shape[1]), self._k))

    def found(self) -> tuple[Ints, NDArray[np.float32]]:
        """(queries, k) positions of the rows with the largest scores, and these, the largest first."""
        self._take_in()
        return self._where.cpu().numpy(), self._values.cpu().numpy()

    def _hits(self, score: Tensor) -> _Hits:
        """Scores that are larger than the least of a query's best."""
        cells, mask = score.numpy(), self._mask(*score.shape).numpy()
        np.greater(cells, self._values[:, -1:].numpy(), out=mask)
        hits = np.flatnonzero(mask) if mask.size % 64 else signs.set_bits(np.packbits(mask).view(np.uint64))
        query, column = np.divmod(hits, cells.shape[1])
        return query, column, cells[query, column]

    def _take_in(self) -> None:
        """Merge the hits that wait: few at a time would cost more than comparing with an old bound."""
        if not self._waiting:
            return
        query, where, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        order = np.argsort(query, kind="stable")
        query, counts = query[order], np.bincount(query, minlength=len(self._values))
        column = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
        shape = len(counts), int(counts.max(initial=0))
        scores, rows = np.full(shape, -np.inf, dtype=np.float32), np.zeros(shape, dtype=np.int64)
        scores[query, column], rows[query, column] = values[order], where[order]
        self._merge(torch.from_numpy(scores), torch.from_numpy(rows))

    def _merge(self, values: Tensor, where: Tensor) -> None:
        together, places = torch.cat([self._values, values], 1), torch.cat([self._where, where], 1)
        self._values, self._where = _top(together, places, self._k)


def _top(scores: Tensor, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(q, k) the largest scores and where they are; of equal ones, as compressed rows have many, the first places.

    ``places`` are (q, n), or (n,) for all queries alike.
    """
    places = places.to(scores.device).expand_as(scores)
    best, columns = scores.topk(min(k, scores.shape[1]), dim=1)
    where = places.gather(1, columns)
    tied = torch.nonzero((scores >= best[:, -1:]).sum(1) > best.shape[1])[:, 0]
    if len(tied):
        order = np.lexsort((places[tied].cpu().numpy(), -scores[tied].cpu().numpy()), axis=1)[:, : best.shape[1]]
        first = torch.from_numpy(np.ascontiguousarray(order)).to(scores.device)
        best[tied], where[tied] = scores[tied].gather(1, first), places[tied].gather(1, first)
    return best, where


def _refine(
    table: EmbeddingTable,
    queries: Tensor,
    where: Ints,
    scores: NDArray[np.float32],
    k: int,
    own: Ints | None,
    by: By,
) -> tuple[Ints, Floats]:
    """The k best of the candidates, by what float64 makes of them.

    Looked at are those whose float32 score can be that of one of the k: a sum of d products is off by d 2^-24 at most.
    """
    are_cosines = by == "cosine" and table.vectors.dtype.is_floating_point
    close = 2 * (table.width + 4) * 2.0**-24 if are_cosines else math.inf
    found, exact = np.empty((len(where), k), dtype=np.int64), np.empty((len(where), k))
    step = max(1, _REFINED // (where.shape[1] * table.width))
    for start in range(0, len(where), step):
        chosen = slice(start, start + step)
        can_be = scores[chosen] >= scores[chosen, k - 1 : k] - close
        some = where[chosen, : int(can_be.sum(1).max(initial=k))]
        rows = table.gather(table.population[some].ravel()).to(table.accumulator).view(*some.shape, -1)
        query = queries[chosen, None]
        if by == "cosine":
            lengths = torch.linalg.vector_norm(rows, dim=2) * torch.linalg.vector_norm(query, dim=2)
            values = ((rows * query).sum(2) / lengths).cpu().double().numpy()
        else:
            values = torch.linalg.vector_norm(rows - query, dim=2).cpu().double().numpy()
        if own is not None:  # the last there is
            values[some == own[chosen, None]] = math.inf if by == "distance" else -math.inf
        order = _order(some, values, by)[:, :k]
        found[chosen], exact[chosen] = np.take_along_axis(some, order, 1), np.take_along_axis(values, order, 1)
    return found, exact
