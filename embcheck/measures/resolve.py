"""Words of a list as unit vectors, and random words to compare them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.estimate import KEPT
from embcheck.estimate import part as labelled
from embcheck.measures.kernels import blocks
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.estimate import Part
    from embcheck.table import Coverage, EmbeddingTable

__all__ = ["RandomPairs", "Words", "random_pairs", "resolve", "scores", "tokens_part", "unit", "word_rows"]

FEW = 100  # word tokens below which random words are drawn from the whole population


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Words that resolved, each to a row of its own: ``rows`` (n,), ``vectors`` (n, d) float64, as stored."""

    words: tuple[str, ...]
    rows: NDArray[np.int64]
    vectors: NDArray[np.float64]
    coverage: Coverage

    @property
    def units(self) -> NDArray[np.float64]:
        """(n, d) vectors of length 1."""
        return unit(self.vectors)

    @property
    def place(self) -> dict[str, int]:
        """Position of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, d) vectors of the first words, and of the second words."""
        place = self.place
        first, second = (self.vectors[[place[pair[k]] for pair in pairs]] for k in (0, 1))
        return first, second


@dataclass(frozen=True, slots=True, eq=False)
class RandomPairs:
    """Cosines and dot products of random pairs of tokens, (n,) each."""

    cosines: NDArray[np.float64]
    dots: NDArray[np.float64]

    def percentile(self, cosine: float) -> float:
        """Percentage of the pairs with a smaller cosine."""
        return 100 * float((self.cosines < cosine).mean())


def resolve(table: EmbeddingTable, words: Sequence[str]) -> Words:
    """The words that are one token of the population; of words with one row, such as case variants, the first."""
    found = table.embed(words)
    rows = np.array([ids[0] for ids in found.rows], dtype=np.int64)
    _, first = np.unique(rows, return_index=True)
    kept = np.sort(first)
    vectors = found.vectors.cpu().double().numpy()
    return Words(tuple(found.words[i] for i in kept), rows[kept], vectors[kept], found.coverage)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to length 1; a row of zeros stays one."""
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1.0)  # squares of tiny or huge numbers leave the floats' range
    lengths = np.linalg.norm(scaled, axis=-1, keepdims=True)
    found: NDArray[np.float64] = scaled / np.where(lengths > 0, lengths, 1.0)
    return found


def word_rows(table: EmbeddingTable, kind: TokenKind = TokenKind.WORD_START) -> NDArray[np.int64]:
    """Population rows of a class of words; all of the population where there are fewer than 100."""
    rows = table.of_kind(kind)
    return rows if len(rows) >= FEW else table.population


def random_pairs(table: EmbeddingTable, rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> RandomPairs:
    """Pairs of two different rows drawn from ``rows``, one pair independent of the next."""
    first = rng.integers(0, len(rows), count)
    second = (first + rng.integers(1, len(rows), count)) % len(rows)
    cosines, dots = [], []
    for part in table.slices(count):
        dot = (table.gather(rows[first[part]]) * table.gather(rows[second[part]])).sum(1, dtype=table.accumulator)
        lengths = table.norms[torch.from_numpy(rows[np.stack([first[part], second[part]])]).to(dot.device)]
        dots.append(dot.cpu().double().numpy())
        cosines.append((dot / lengths[0] / lengths[1]).cpu().double().numpy())
    return RandomPairs(np.concatenate(cosines), np.concatenate(dots))


def scores(table: EmbeddingTable, queries: NDArray[np.float64]) -> Tensor:
    """(q, N) cosines of (q, d) queries with every row of the population, on the table's device."""
    with blocks.full_precision():
        query = torch.from_numpy(unit(queries)).float().to(table.vectors.device)
        return torch.cat([query @ block.T for _, block in blocks.blocks(table)], dim=1)


def tokens_part(table: EmbeddingTable, rows: NDArray[np.int64], values: NDArray[Any]) -> Part:
    """The units of a mean over all of some rows, (n,) sorted: the first 1,000 in hash order tell which tokens moved."""
    drawn = table.probes(KEPT, among=rows)
    labels = [table.token(int(row)) for row in drawn]
    return labelled(labels, values[np.searchsorted(rows, drawn)], population=len(rows))
