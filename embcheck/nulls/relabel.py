"""Nulls that keep the table and break the labels: which words are paired, which tokens form a class.

Each is a uniform draw from a group of relabellings with fixed points allowed, so that permutation p-values are valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.errors import NotMeasurable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from embcheck.lexicons import Axis, Categories, OrderedWords, Relation
    from embcheck.table import EmbeddingTable

__all__ = [
    "axis_pool",
    "frequency_matched_pairs",
    "matched_pools",
    "random_axes",
    "shuffled_categories",
    "shuffled_labels",
    "shuffled_order",
    "shuffled_pairs",
]

POOL = 20
STEM = 4  # letters: words that share so many at the start count as related


def shuffled_pairs(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Permute the second words of ``parameters["relation"]`` among the pairs that resolve to single tokens."""
    relation: Relation = parameters["relation"]
    pairs = _resolved(table, relation)
    seconds = [pairs[i][1] for i in rng.permutation(len(pairs))]
    return table, {
        **parameters,
        "relation": _renamed(relation, [(a, b) for (a, _), b in zip(pairs, seconds, strict=True)]),
    }


def frequency_matched_pairs(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Replace each second word of ``parameters["relation"]`` by one drawn from its pool of words of like frequency."""
    import numpy as np

    relation: Relation = parameters["relation"]
    pairs = _resolved(table, relation)
    rows = np.array([table.rows(list(pair)) for pair in pairs], dtype=np.int64)
    pools = matched_pools(table, rows, pairs)
    picks = pools[np.arange(len(pools)), rng.integers(0, pools.shape[1], len(pools))]
    words = [table.token(int(row)).strip() for row in picks]
    return table, {
        **parameters,
        "relation": _renamed(relation, [(a, w) for (a, _), w in zip(pairs, words, strict=True)]),
    }


def shuffled_labels(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Permute the labels of ``parameters["token_class"]`` among tokens of the same length."""
    import numpy as np

    from embcheck.measures.classes import class_rows, strata

    token_class = parameters["token_class"]
    parts = strata(table, class_rows(table, token_class), by_length=token_class != "byte")
    drawn = [rng.permutation(np.concatenate([part.members, part.comparators]))[: len(part.members)] for part in parts]
    return table, dict(parameters, token_class=tuple(np.concatenate(drawn).tolist()) if drawn else ())


def shuffled_categories(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Permute the single-token words of ``parameters["categories"]`` among the categories, whose sizes stay."""
    from dataclasses import replace

    categories: Categories = parameters["categories"]
    words = [word for word, row in zip(categories.words, table.rows(categories.words), strict=True) if row is not None]
    known = frozenset(words)
    drawn = iter([words[i] for i in rng.permutation(len(words))])
    groups = tuple(
        replace(group, words=tuple(next(drawn) for word in group.words if word in known)) for group in categories.groups
    )
    return table, {**parameters, "categories": replace(categories, groups=groups)}


def shuffled_order(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Permute the single-token words of ``parameters["sequence"]`` among their places."""
    from dataclasses import replace

    sequence: OrderedWords = parameters["sequence"]
    words = list(sequence.words)
    places = [i for i, row in enumerate(table.rows(words)) if row is not None]
    for place, other in zip(places, rng.permutation(places), strict=True):
        words[place] = sequence.words[other]
    return table, {**parameters, "sequence": replace(sequence, words=tuple(words))}


def random_axes(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Replace the pairs of ``parameters["axis"]`` by as many drawn from the single-token words of all lexicons."""
    from dataclasses import replace

    axis: Axis = parameters["axis"]
    pool = axis_pool(axis)
    words = [word for word, row in zip(pool, table.rows(pool), strict=True) if row is not None]
    size = len(_resolved(table, axis.poles))
    drawn = [words[i] for i in rng.permutation(len(words))[: 2 * size]]
    poles = _renamed(axis.poles, list(zip(drawn[:size], drawn[size:], strict=True)))
    other = axis.orthogonal_to
    if other is not None:  # the same pairs as before, whatever words were drawn
        other = replace(other, poles=_renamed(other.poles, list(axis.away)))
    return table, {**parameters, "axis": replace(axis, poles=poles, orthogonal_to=other)}


def axis_pool(axis: Axis) -> list[str]:
    """Words that a random axis may be made of: this axis' own and those of all lexicons, but for what is projected out.

    Of case variants the first is kept.
    """
    from embcheck import lexicons

    taken = {word.casefold() for pair in axis.away for word in pair}
    known: dict[str, str] = {}
    for word in (*axis.poles.words, *lexicons.words()):
        known.setdefault(word.casefold(), word)
    return [word for folded, word in known.items() if folded not in taken]


def matched_pools(
    table: EmbeddingTable, rows: NDArray[np.int64], pairs: Sequence[tuple[str, str]]
) -> NDArray[np.int64]:
    """Pools of words of like frequency, one a pair: (n, m) rows, disjoint, the second word itself first.

    Frequency is read off the row id, which follows it in most vocabularies. A pool holds the words with the nearest ids
    that are of the second word's class, occur in no pair and do not begin like the pair's first word.

    Raises
    ------
    NotMeasurable
        The vocabulary has too few other words for pools of two.
    """
    import numpy as np

    from embcheck.vocabulary import TokenKind

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


def _nearest_first(candidates: NDArray[np.int64], free: NDArray[np.bool_], row: int, count: int) -> NDArray[np.int64]:
    """Positions of the free candidates with ids nearest to ``row``."""
    import numpy as np

    open_ = np.flatnonzero(free)
    middle = int(np.searchsorted(candidates[open_], row))
    window = open_[max(0, middle - count) : middle + count]
    nearest: NDArray[np.int64] = window[np.argsort(np.abs(candidates[window] - row), kind="stable")]
    return nearest


def _resolved(table: EmbeddingTable, relation: Relation) -> list[tuple[str, str]]:
    rows = table.rows([word for pair in relation.pairs for word in pair])
    return [pair for i, pair in enumerate(relation.pairs) if rows[2 * i] is not None and rows[2 * i + 1] is not None]


def _renamed(relation: Relation, pairs: list[tuple[str, str]]) -> Relation:
    from dataclasses import replace

    return replace(relation, strata={"null": tuple(pairs)})
