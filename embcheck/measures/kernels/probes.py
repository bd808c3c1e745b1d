"""Rows that are held against all others: what a pass over a table needs of them, wherever its other rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.measures.kernels.signs import Side
from embcheck.table.table import row_index

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Probes", "side"]


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Some rows of a table, to be held against all of its rows, wherever those are."""

    rows: Ints
    """(m,) their ids."""
    stored: Tensor
    """(m, d) as they are stored."""
    norms: Tensor
    """(m,) lengths, in the widest float."""

    @classmethod
    def of(cls, table: EmbeddingTable, rows: Ints) -> Probes:
        """Rows by their ids."""
        return cls(rows, table.stored(rows), table.norms[row_index(rows, table.vectors.device)])

    def some(self, which: Ints) -> Probes:
        """Those at some places."""
        at = torch.from_numpy(which).to(self.stored.device)
        return Probes(self.rows[which], self.stored[at], self.norms[at])

    def on(self, device: torch.device) -> Probes:
        """The same on a device."""
        return Probes(self.rows, self.stored.to(device), self.norms.to(device))

    def units(self, center: Tensor | None = None) -> Tensor:
        """(m, d) float32 rows of length 1; with ``center`` (d,), less that vector before they are scaled."""
        if center is None:
            return self.stored.float() / self.norms.float()[:, None]
        return torch.nn.functional.normalize(self.stored.float() - center, dim=1, eps=1e-30)

    @property
    def side(self) -> Side:
        """These rows as one side of a product."""
        return Side(self.stored, self.norms, torch.arange(len(self.rows), device=self.stored.device))

    def places(self, part: EmbeddingTable) -> Ints:
        """(m,) where in a part's population each stands, -1 for those that are elsewhere."""
        local = self.rows - (part.first or 0)
        at = np.searchsorted(part.population, local)
        at[at == len(part.population)] = 0
        return np.where(part.population[at] == local, at, -1)


def side(table: EmbeddingTable) -> Side:
    """A table's population as one side of a product."""
    return Side(table.vectors, table.norms, torch.from_numpy(table.population).to(table.vectors.device))
