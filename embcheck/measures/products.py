"""Cosines and distances of some rows to the whole population, tile by tile, and the nearest rows they give."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from embcheck.measures import kernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = ["Tile", "lengths", "nearest", "tiles"]

Tile = tuple[slice, "Tensor"]

_CELLS = 2**21  # of a tile: 8 MB, inside the cache of a CPU core
_QUERIES = 250


def tiles(table: EmbeddingTable, rows: NDArray[np.int64], *, own: float = math.nan) -> Iterator[Tile]:
    """Cosines of rows (ids in the population) with every population row, as slices of the population and (m, n) tiles.

    Where a row meets itself the tile holds ``own``. Go through it inside ``kernels.full_precision``.
    """
    device, position = table.vectors.device, np.searchsorted(table.population, rows)
    query = table.units(rows)
    step = max(256, _CELLS // max(1, len(rows)))
    for part, unit in kernels.blocks(table):
        for first in range(0, len(unit), step):
            cosine = query @ unit[first : first + step].T
            start = part.start + first
            inside = np.flatnonzero((position >= start) & (position < start + cosine.shape[1]))
            columns = torch.from_numpy(position[inside] - start).to(device)
            cosine[torch.from_numpy(inside).to(device), columns] = own
            yield slice(start, start + cosine.shape[1]), cosine


def lengths(table: EmbeddingTable, rows: NDArray[np.int64]) -> Tensor:
    """(n,) float32 Euclidean lengths of rows, on the device."""
    return table.norms[torch.from_numpy(np.ascontiguousarray(rows)).to(table.vectors.device)].float()


def nearest(
    table: EmbeddingTable, rows: NDArray[np.int64], k: int, by: Literal["cosine", "distance"] = "cosine"
) -> NDArray[np.int64]:
    """Positions in the population of the k rows nearest to each given row, itself left out: (m, k), nearest first.

    Parameters
    ----------
    rows
        Row ids in the population.
    k
        How many; at most the size of the population less one.
    by
        Largest cosine, or smallest Euclidean distance.
    """
    k = min(k, len(table.population) - 1)
    found = [_nearest(table, rows[start : start + _QUERIES], k, by) for start in range(0, len(rows), _QUERIES)]
    return np.concatenate([np.zeros((0, k), dtype=np.int64), *found])


def _nearest(table: EmbeddingTable, rows: NDArray[np.int64], k: int, by: str) -> NDArray[np.int64]:
    best = torch.full((len(rows), 0), -math.inf, device=table.vectors.device)
    where = torch.zeros((len(rows), 0), dtype=torch.int64, device=best.device)
    with kernels.full_precision():
        length, own = lengths(table, table.population), lengths(table, rows)[:, None]
        for part, cosine in tiles(table, rows, own=-math.inf):
            # the squared distance less |row|^2, negated: it orders the others of one row as the distance does
            score = cosine if by == "cosine" else (2 * own * cosine - length[part]) * length[part]
            values, columns = score.topk(min(k, score.shape[1]), dim=1)
            best, where = torch.cat([best, values], 1), torch.cat([where, columns + part.start], 1)
            best, order = best.topk(min(k, best.shape[1]), dim=1)
            where = where.gather(1, order)
    return where.cpu().numpy()
