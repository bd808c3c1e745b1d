"""Words and tokens: which rows they are, how few of them are too few, which write one word; pools to draw from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from embcheck import lexicons
from embcheck.errors import NotMeasurable
from embcheck.estimate import KEPT, Details
from embcheck.estimate import part as labelled
from embcheck.measures.kernels import blocks
from embcheck.table.spelling import STEM
from embcheck.table.vocabulary import TokenKind, word_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.estimate import Part
    from embcheck.lexicons import Axis, Relation
    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import Coverage, EmbeddingTable
    from embcheck.table.vocabulary import Vocabulary

__all__ = [
    "Forms", "RandomPairs", "Words", "axis_pool", "check_pairs", "forms_of", "listed", "lowest", "lowest_pairs",
    "matched_pools", "random_pairs", "resolve", "resolved_pairs", "scores", "tokens_part", "undecided", "unit",
    "word_rows",
]  # fmt: skip

MIN_PAIRS, ENOUGH = 3, 20
FEW = 100  # word tokens below which random words are drawn from the whole population
POOL = 20


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Words that resolved, each to a row of its own: ``rows`` (n,), ``vectors`` (n, d) float64, as stored."""

    words: tuple[str, ...]
    rows: Ints
    vectors: Floats
    coverage: Coverage

    @property
    def units(self) -> Floats:
        """(n, d) vectors of length 1."""
        return unit(self.vectors)

    @property
    def index(self) -> dict[str, int]:
        """Position of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def listed(self, pairs: Sequence[tuple[str, str]], **columns: Sequence[Any] | NDArray[Any]) -> list[Details]:
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

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[Floats, Floats]:
        """(n, d) vectors of the first words, and of the second words."""
        index = self.index
        first, second = (self.vectors[[index[pair[k]] for pair in pairs]] for k in (0, 1))
        return first, second


@dataclass(frozen=True, slots=True, eq=False)
class RandomPairs:
    """Cosines and dot products of random pairs of tokens, (n,) each."""

    cosines: Floats
    dots: Floats

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


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1; a row of zeros stays one."""
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1.0)  # squares of tiny or huge numbers leave the floats' range
    lengths = np.linalg.norm(scaled, axis=-1, keepdims=True)
    return np.asarray(scaled / np.where(lengths > 0, lengths, 1.0))


def word_rows(table: EmbeddingTable, kind: TokenKind = TokenKind.WORD_START) -> Ints:
    """Population rows of a class of words; all of the population where there are fewer than 100."""
    rows = table.of_kind(kind)
    return rows if len(rows) >= FEW else table.population


def random_pairs(table: EmbeddingTable, rows: Ints, count: int, rng: np.random.Generator) -> RandomPairs:
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


def scores(table: EmbeddingTable, queries: Floats) -> Tensor:
    """(q, N) cosines of (q, d) queries with every row of the population, on the table's device."""
    return blocks.cosines(table, torch.from_numpy(unit(queries)).float().to(table.vectors.device))


def lowest_pairs(ids: Ints, names: Sequence[str], values: Floats) -> list[Details]:
    """The ten pairs with the smallest values, by ids, (n, 2), and name."""
    order = np.argsort(values, kind="stable")[:10]
    return [{"ids": ids[i].tolist(), "token": names[i], "value": float(values[i])} for i in order]


def tokens_part(table: EmbeddingTable, rows: Ints, values: NDArray[Any]) -> Part:
    """The units of a mean over all of some rows, (n,) sorted: the first 1,000 in hash order tell which tokens moved."""
    drawn = table.probes(KEPT, among=rows)
    labels = [table.token(int(row)) for row in drawn]
    return labelled(labels, values[np.searchsorted(rows, drawn)], population=len(rows))


def listed(table: EmbeddingTable, rows: Ints, **columns: Sequence[Any] | NDArray[Any]) -> list[Details]:
    """Rows by id and token, each with its number of every column."""
    return [
        {"id": int(row), "token": table.token(int(row)), **{name: float(column[i]) for name, column in columns.items()}}
        for i, row in enumerate(rows)
    ]


def lowest(table: EmbeddingTable, rows: Ints, values: NDArray[Any], **columns: NDArray[Any]) -> list[Details]:
    """The ten rows with the smallest values, which weigh most against a claim that values are large."""
    order = np.argsort(values, kind="stable")[:10]
    columns = {name: column[order] for name, column in columns.items()}
    return listed(table, rows[order], value=values[order], **columns)


# --- surface forms: case and space variants of one word, ranked as one ------------------------------------------------


@dataclass(frozen=True)
class Forms:
    """Which population rows write the same word; forms are numbered in order of their first row."""

    of_position: Ints  # (N,)
    count: int
    keys: dict[str, int]  # by folded surface
    of_row: Ints  # (V,), -1 outside the population
    vocabulary: Vocabulary

    def find(self, word: str) -> int | None:
        """Form of a word: of the row that it leads to, whatever that is called, else of a row that writes it."""
        ids = self.vocabulary.encode([word])[0]
        if len(ids) == 1 and ids[0] < len(self.of_row) and self.of_row[ids[0]] >= 0:
            return int(self.of_row[ids[0]])
        return self.keys.get(word_key(word))

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        order = np.argsort(self.of_position, kind="stable")
        starts = np.searchsorted(self.of_position[order], np.arange(self.count + 1))
        return order, starts

    def positions(self, forms: Iterable[int]) -> Ints:
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
        of_row = np.full(len(table.vectors), -1, dtype=np.int64)
        of_row[table.population] = index
        table.memo["forms"] = Forms(index, len(keys), keys, of_row, table.vocabulary)
    return cast("Forms", table.memo["forms"])


# --- pools of words from which nulls draw: of like frequency, or free to make an axis of ------------------------------


def axis_pool(axis: Axis) -> list[str]:
    """Words that a random axis may be made of: this axis' own and those of all lexicons, but for what is projected out.

    Of case variants the first is kept.
    """
    taken = {word.casefold() for pair in axis.away for word in pair}
    known: dict[str, str] = {}
    for word in (*axis.poles.words, *lexicons.words()):
        known.setdefault(word.casefold(), word)
    return [word for folded, word in known.items() if folded not in taken]


def matched_pools(table: EmbeddingTable, rows: Ints, pairs: Sequence[tuple[str, str]]) -> Ints:
    """Pools of words of like frequency, one a pair: (n, m) rows, disjoint, the second word itself first.

    Frequency is read off the row id, which follows it in most vocabularies. A pool holds the words with the nearest ids
    that are of the second word's class, occur in no pair and do not begin like the pair's first word.
    """
    taken = set(rows.reshape(-1).tolist())
    words = np.concatenate([table.of_kind(TokenKind.WORD_START), table.of_kind(TokenKind.WORD_INSIDE)])
    kinds = table.vocabulary.kinds
    usual = int(np.bincount(kinds[rows[:, 1]]).argmax())
    candidates = np.sort(np.array([row for row in words if kinds[row] == usual and row not in taken], dtype=np.int64))
    extra = min(POOL - 1, len(candidates) // max(1, len(rows)))
    if extra < 1:
        raise NotMeasurable(f"{len(candidates)} other words are too few to match {len(rows)} pairs by frequency")
    free = np.ones(len(candidates), dtype=np.bool_)
    pools = np.empty((len(rows), 1 + extra), dtype=np.int64)
    for i in np.argsort(rows[:, 1]):
        stem = pairs[i][0].casefold()[:STEM]
        chosen: list[int] = []
        for j in _nearest_first(candidates, free, int(rows[i, 1]), extra + STEM * 4):
            related = table.token(int(candidates[j])).strip().casefold().startswith(stem)
            if not related and len(chosen) < extra:
                chosen.append(int(j))
        if len(chosen) < extra:
            raise NotMeasurable(f"too few words unrelated to {pairs[i][0]!r} to match it by frequency")
        free[chosen] = False
        pools[i] = [rows[i, 1], *candidates[chosen]]
    return pools


def _nearest_first(candidates: Ints, free: Bools, row: int, count: int) -> Ints:
    """Positions of the free candidates with ids nearest to ``row``."""
    open_ = np.flatnonzero(free)
    middle = int(np.searchsorted(candidates[open_], row))
    window = open_[max(0, middle - count) : middle + count]
    nearest: Ints = window[np.argsort(np.abs(candidates[window] - row), kind="stable")]
    return nearest
