"""Words and tokens: which rows they are, how few of them are too few, and how details name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import KEPT
from embcheck.estimate import part as labelled
from embcheck.measures.kernels import blocks
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.estimate import Part
    from embcheck.lexicons import Relation
    from embcheck.table import Coverage, EmbeddingTable

__all__ = [
    "RandomPairs", "Words", "check_pairs", "listed", "lowest", "random_pairs", "resolve", "resolved_pairs", "scores",
    "tokens_part", "undecided", "unit", "word_rows",
]  # fmt: skip

MIN_PAIRS, ENOUGH = 3, 20
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
    def index(self) -> dict[str, int]:
        """Position of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def listed(self, pairs: Sequence[tuple[str, str]], **columns: Sequence[Any] | NDArray[Any]) -> list[dict[str, Any]]:
        """Pairs by ids and words, each with its number of every column."""
        index = self.index
        return [
            {
                "ids": [int(self.rows[index[word]]) for word in pair],
                "token": "-".join(pair),
                **{name: float(column[i]) for name, column in columns.items()},
            }
            for i, pair in enumerate(pairs)
        ]

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, d) vectors of the first words, and of the second words."""
        index = self.index
        first, second = (self.vectors[[index[pair[k]] for pair in pairs]] for k in (0, 1))
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
    embedded = table.embed(words)
    rows = np.array([ids[0] for ids in embedded.rows], dtype=np.int64)
    _, first = np.unique(rows, return_index=True)
    kept = np.sort(first)
    vectors = embedded.vectors.cpu().double().numpy()
    return Words(tuple(embedded.words[i] for i in kept), rows[kept], vectors[kept], embedded.coverage)


def resolved_pairs(table: EmbeddingTable, relation: Relation, name: str = "") -> tuple[Words, list[tuple[str, str]]]:
    """The words of a relation that are single tokens, and the pairs of two such words, at least 3."""
    words = resolve(table, relation.words)
    known = set(words.words)
    pairs = [pair for pair in relation.pairs if known.issuperset(pair)]
    check_pairs(len(pairs), relation, name)
    return words, pairs


def check_pairs(count: int, relation: Relation, name: str = "") -> None:
    """Raise `NotMeasurable` where so few of a relation's pairs resolved that there is nothing to estimate."""
    if count < MIN_PAIRS:
        raise NotMeasurable(
            f"{count} of {len(relation.pairs)} {name or relation.name} pairs are two single tokens here; "
            f"at least {MIN_PAIRS} are needed"
        )


def undecided(count: int, what: str, enough: int = ENOUGH) -> str | None:
    """Why an estimate of so few units may be read and decides nothing; none where there are enough."""
    return f"only {count} {what}; {enough} are needed to decide" if count < enough else None


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to length 1; a row of zeros stays one."""
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1.0)  # squares of tiny or huge numbers leave the floats' range
    lengths = np.linalg.norm(scaled, axis=-1, keepdims=True)
    return np.asarray(scaled / np.where(lengths > 0, lengths, 1.0))


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
    return blocks.cosines(table, torch.from_numpy(unit(queries)).float().to(table.vectors.device))


def tokens_part(table: EmbeddingTable, rows: NDArray[np.int64], values: NDArray[Any]) -> Part:
    """The units of a mean over all of some rows, (n,) sorted: the first 1,000 in hash order tell which tokens moved."""
    drawn = table.probes(KEPT, among=rows)
    labels = [table.token(int(row)) for row in drawn]
    return labelled(labels, values[np.searchsorted(rows, drawn)], population=len(rows))


def listed(
    table: EmbeddingTable, rows: NDArray[np.int64], **columns: Sequence[Any] | NDArray[Any]
) -> list[dict[str, Any]]:
    """Rows by id and token, each with its number of every column."""
    return [
        {"id": int(row), "token": table.token(int(row)), **{name: float(column[i]) for name, column in columns.items()}}
        for i, row in enumerate(rows)
    ]


def lowest(
    table: EmbeddingTable, rows: NDArray[np.int64], values: NDArray[Any], **columns: NDArray[Any]
) -> list[dict[str, Any]]:
    """The ten rows with the smallest values, which weigh most against a claim that values are large."""
    order = np.argsort(values, kind="stable")[:10]
    columns = {name: column[order] for name, column in columns.items()}
    return listed(table, rows[order], value=values[order], **columns)
