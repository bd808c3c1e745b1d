"""Rows of two checkpoints beside each other, by their tokens, and what became of every token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.table.vocabulary import RowStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from embcheck.checks.record import Json
    from embcheck.stats import Bools, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Pairing", "Shared", "is_broken", "pair_rows", "shared_population"]

NAMED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Which row of a second table has the token of which row of a first: of all rows, broken and special ones too.

    Rows past the vocabulary have no token, and are in none of these.
    """

    first: Ints
    """(n,) row of each paired token in the first table, ascending."""
    second: Ints
    """(n,) and in the second."""
    went: Ints
    """Rows of the first whose text no row of the second has."""
    came: Ints
    """Rows of the second whose text no row of the first has."""
    ambiguous: Ints
    """Rows of the first that are left out because several rows have their text, other ones in the second."""

    def record(self, old: EmbeddingTable, new: EmbeddingTable) -> Json:
        """Of each fate how many tokens met it, and the first ten, as JSON types."""
        died = is_broken(new)[self.second] & ~is_broken(old)[self.first]
        moved = self.first != self.second
        new_ids = self.second[moved][:NAMED].tolist()
        shifted = _named(old, self.first[moved])
        for entry, new_id in zip(shifted["first"], new_ids, strict=True):
            entry["new_id"] = new_id
        return {
            "paired": len(self.first),
            "died": _named(old, self.first[died]),
            "came": _named(new, self.came),
            "went": _named(old, self.went),
            "moved_id": shifted,
            "ambiguous": _named(old, self.ambiguous),
        }


def pair_rows(old: EmbeddingTable, new: EmbeddingTable) -> Pairing:
    """Pair the rows of two tables by the text of their tokens.

    A text that several rows have, such as that of bytes which are no text, pairs them where both tables have it in the
    same rows, and leaves them out where they differ: which is which is not to be known then.
    """
    numbers: dict[str, int] = {}
    texts = [
        np.fromiter((numbers.setdefault(token, len(numbers)) for token in _tokens(table)), dtype=np.int64)
        for table in (old, new)
    ]
    size = len(numbers)
    in_old, in_new = (np.bincount(text, minlength=size) for text in texts)
    common = min(map(len, texts))
    unmoved = np.bincount(texts[0][:common][texts[0][:common] == texts[1][:common]], minlength=size)
    by_id = (unmoved == in_old) & (unmoved == in_new)
    is_paired = by_id | ((in_old == 1) & (in_new == 1))
    row_of_text = np.zeros(size, dtype=np.int64)
    row_of_text[texts[1]] = np.arange(len(texts[1]))
    first = np.flatnonzero(is_paired[texts[0]])
    second = np.where(by_id[texts[0][first]], first, row_of_text[texts[0][first]])
    went, came = np.flatnonzero(in_new[texts[0]] == 0), np.flatnonzero(in_old[texts[1]] == 0)
    return Pairing(first, second, went, came, np.flatnonzero(((in_new > 0) & ~is_paired)[texts[0]]))


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Two tables with the rows in their populations that both have in them, and what there is to say of it."""

    old: EmbeddingTable
    new: EmbeddingTable
    with_words: EmbeddingTable
    """The first with those of the given words too that the second's lacks: what a list lost is named."""
    said: str | None = None
    """None where the populations are of the same tokens, but for rows that are broken in the second."""


def shared_population(old: EmbeddingTable, new: EmbeddingTable, words: Iterable[str]) -> Shared:
    """Leave what only one of two populations has out of it: tokens of one vocabulary, or usable in one of them only.

    A row that is broken in the second table stays in the first, since it is lost and not left out. Where both have the
    same tokens, words are looked up in both as by the vocabulary that lets fewer rows in: it knows more of its tokens.
    """
    pairing = pair_rows(old, new)
    try:
        first, second = old.in_population[pairing.first], new.in_population[pairing.second]
    except NotMeasurable:  # as every check of that table will say
        return Shared(old, new, old)
    only_first = pairing.first[first & ~second & ~is_broken(new)[pairing.second]]
    only_second = pairing.second[second & ~first & ~is_broken(old)[pairing.first]]
    went = pairing.went[old.in_population[pairing.went]]
    came = pairing.came[new.in_population[pairing.came]]
    out = np.concatenate([only_first, went]), np.concatenate([only_second, came])
    both = int((first & second).sum())
    if both < 2 or not any(map(len, out)):
        return Shared(old, new, old)
    rows, others = (np.setdiff1d(table.population, gone) for table, gone in zip((old, new), out, strict=True))
    known = np.array([row for row in old.rows(sorted(set(words))) if row is not None], dtype=np.int64)
    lost = np.intersect1d(known, out[0])
    sizes = len(old.population), len(new.population)
    said = f"populations differ: {sizes[0]:,} and {sizes[1]:,} rows; both are measured on the {both:,} that both have"
    reading = min((old, new), key=lambda table: len(table.population)).vocabulary
    if tuple(old.tokens) == tuple(new.tokens):
        old, new = (replace(table, vocabulary=reading, memo={}) for table in (old, new))
    shared = old.among(rows)
    return Shared(
        old=shared,
        new=new.among(others),
        with_words=old.among(np.union1d(rows, lost)) if len(lost) else shared,
        said=said,
    )


def _tokens(table: EmbeddingTable) -> islice[str]:
    return islice(table.tokens, len(table.vectors))


def is_broken(table: EmbeddingTable) -> Bools:
    """(V,) whether each row that the tokenizer names is zero or not finite."""
    return np.isin(table.status, (RowStatus.ZERO, RowStatus.NON_FINITE))


def _named(table: EmbeddingTable, rows: Ints) -> Json:
    return {
        "rows": len(rows),
        "first": [{"id": row, "token": table.token(row)} for row in rows[:NAMED].tolist()],
    }
