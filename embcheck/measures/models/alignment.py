"""The tokens that two tables share: rows of one and the other that write the same text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import NotMeasurable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.table import EmbeddingTable

__all__ = ["Alignment", "align"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Tokens of two populations that have the same text."""

    first: NDArray[np.int64]
    """(N,) row of each shared token in the first table, ascending."""
    second: NDArray[np.int64]
    """(N,) and in the second."""
    ambiguous: tuple[int, int]
    """How many texts of either population are left out because several of its rows have them."""
    sizes: tuple[int, int]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def record(self) -> dict[str, Any]:
        """Counts and shares as JSON types."""
        names = ("first", "second")
        return {
            "shared": len(self),
            "share_of_population": {n: len(self) / size for n, size in zip(names, self.sizes, strict=True)},
            "ambiguous": dict(zip(names, self.ambiguous, strict=True)),
        }


def align(tables: tuple[EmbeddingTable, ...]) -> Alignment:
    """The tokens of both populations with identical decoded text, case, leading space and all.

    A text that several rows of one population have names none of them, and is left out.
    """
    (first, twice), (second, again) = (_rows_of(table) for table in tables)
    shared = [(row, second[text]) for text, row in first.items() if text in second]
    if not shared:
        raise NotMeasurable("no token of the one vocabulary is written exactly as one of the other")
    rows = np.array(shared, dtype=np.int64)
    sizes = (len(tables[0].population), len(tables[1].population))
    return Alignment(rows[:, 0].copy(), rows[:, 1].copy(), (twice, again), sizes)


def _rows_of(table: EmbeddingTable) -> tuple[dict[str, int], int]:
    """Row of each text that one row of the population has, in order of rows; and how many texts more of them have.

    Rows past the vocabulary have no text of their own.
    """
    named = table.population[table.population < len(table.tokens)].tolist()
    texts = [table.token(row) for row in named]
    counts = Counter(texts)
    rows = {text: row for text, row in zip(texts, named, strict=True) if counts[text] == 1}
    return rows, len(counts) - len(rows)
