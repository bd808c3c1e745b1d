"""Cosines and distances of some rows to the whole population, tile by tile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.measures import kernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = ["Tile", "lengths", "tiles"]

Tile = tuple[slice, "Tensor"]

_CELLS = 2**21  # of a tile: 8 MB, inside the cache of a CPU core


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
