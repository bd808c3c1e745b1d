"""Surface forms: case and space variants of one word, ranked as one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from embcheck.table.vocabulary import word_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = ["Forms", "forms_of"]


@dataclass(frozen=True)
class Forms:
    """Which population rows write the same word; forms are numbered in order of their first row."""

    of_position: NDArray[np.int64]  # (N,)
    count: int
    keys: dict[str, int]  # by folded surface

    def find(self, word: str) -> int | None:
        """Form of a word, ``None`` where no row writes it."""
        return self.keys.get(word_key(word))

    @cached_property
    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.of_position, kind="stable")
        starts = np.searchsorted(self.of_position[order], np.arange(self.count + 1))
        return order, starts

    def positions(self, forms: Iterable[int]) -> NDArray[np.int64]:
        """Population positions of all variants of the given forms."""
        order, starts = self._order
        return np.concatenate([np.zeros(0, dtype=np.int64), *(order[starts[f] : starts[f + 1]] for f in forms)])

    def best(self, scores: Tensor) -> Tensor:
        """(..., N) scores by position -> (..., forms): the best of each form's variants."""
        if self.count == scores.shape[-1]:
            return scores
        index = torch.from_numpy(self.of_position).to(scores.device).expand(scores.shape)
        start = scores.new_full((*scores.shape[:-1], self.count), -torch.inf)
        return start.scatter_reduce(-1, index, scores, "amax")


def forms_of(table: EmbeddingTable) -> Forms:
    """The forms of a table's population, found once a table."""
    if "forms" not in table.memo:
        keys: dict[str, int] = {}
        index = np.fromiter((keys.setdefault(k, len(keys)) for k in table.word_keys), dtype=np.int64)
        table.memo["forms"] = Forms(index, len(keys), keys)
    return cast("Forms", table.memo["forms"])
