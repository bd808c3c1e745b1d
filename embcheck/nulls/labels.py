"""Nulls that keep the table and break the labels: which words are paired, which tokens form a class.

Each is a uniform draw from a group of relabellings with fixed points allowed, so that permutation p-values are valid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from embcheck.lexicons import Axis, Categories, OrderedWords, Relation
    from embcheck.table import EmbeddingTable

    Parameters = Mapping[str, Any]
    Null = tuple[EmbeddingTable, Parameters]

__all__ = [
    "frequency_matched_pairs", "random_axes", "shuffled_categories", "shuffled_labels", "shuffled_order",
    "shuffled_pairs",
]  # fmt: skip


def shuffled_pairs(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the second words of ``parameters["relation"]`` among the pairs that resolve to single tokens."""
    relation: Relation = parameters["relation"]
    pairs = _resolved(table, relation)
    seconds = [pairs[i][1] for i in rng.permutation(len(pairs))]
    return table, {**parameters, "relation": _renamed(relation, zip([a for a, _ in pairs], seconds, strict=True))}


def frequency_matched_pairs(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Replace each second word of ``parameters["relation"]`` by one drawn from its pool of words of like frequency."""
    import numpy as np

    from embcheck.measures.pools import matched_pools

    relation: Relation = parameters["relation"]
    pairs = _resolved(table, relation)
    rows = np.array([table.rows(list(pair)) for pair in pairs], dtype=np.int64)
    pools = matched_pools(table, rows, pairs)
    picks = pools[np.arange(len(pools)), rng.integers(0, pools.shape[1], len(pools))]
    words = [table.token(int(row)).strip() for row in picks]
    return table, {**parameters, "relation": _renamed(relation, zip([a for a, _ in pairs], words, strict=True))}


def shuffled_labels(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the labels of ``parameters["token_class"]`` among tokens of the same length."""
    import numpy as np

    from embcheck.measures.cosines.negative_share_difference import class_rows, strata

    token_class = parameters["token_class"]
    parts = strata(table, class_rows(table, token_class), by_length=token_class != "byte")
    drawn = [rng.permutation(np.concatenate([part.members, part.comparators]))[: len(part.members)] for part in parts]
    return table, dict(parameters, token_class=tuple(np.concatenate(drawn).tolist()) if drawn else ())


def shuffled_categories(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the single-token words of ``parameters["categories"]`` among the categories, whose sizes stay."""
    categories: Categories = parameters["categories"]
    words = [word for word, row in zip(categories.words, table.rows(categories.words), strict=True) if row is not None]
    known = frozenset(words)
    drawn = iter([words[i] for i in rng.permutation(len(words))])
    groups = tuple(
        replace(group, words=tuple(next(drawn) for word in group.words if word in known)) for group in categories.groups
    )
    return table, {**parameters, "categories": replace(categories, groups=groups)}


def shuffled_order(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the single-token words of ``parameters["sequence"]`` among their places."""
    sequence: OrderedWords = parameters["sequence"]
    words = list(sequence.words)
    resolved = [i for i, row in enumerate(table.rows(words)) if row is not None]
    for i, other in zip(resolved, rng.permutation(resolved), strict=True):
        words[i] = sequence.words[other]
    return table, {**parameters, "sequence": replace(sequence, words=tuple(words))}


def random_axes(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Replace the pairs of ``parameters["axis"]`` by as many drawn from the single-token words of all lexicons."""
    from embcheck.measures.pools import axis_pool

    axis: Axis = parameters["axis"]
    pool = axis_pool(axis)
    words = [word for word, row in zip(pool, table.rows(pool), strict=True) if row is not None]
    size = len(_resolved(table, axis.poles))
    drawn = [words[i] for i in rng.permutation(len(words))[: 2 * size]]
    poles = _renamed(axis.poles, zip(drawn[:size], drawn[size:], strict=True))
    other = axis.orthogonal_to
    if other is not None:  # the same pairs as before, whatever words were drawn
        other = replace(other, poles=_renamed(other.poles, axis.away))
    return table, {**parameters, "axis": replace(axis, poles=poles, orthogonal_to=other)}


def _resolved(table: EmbeddingTable, relation: Relation) -> list[tuple[str, str]]:
    rows = table.rows([word for pair in relation.pairs for word in pair])
    return [pair for i, pair in enumerate(relation.pairs) if rows[2 * i] is not None and rows[2 * i + 1] is not None]


def _renamed(relation: Relation, pairs: Iterable[tuple[str, str]]) -> Relation:
    return replace(relation, strata={"null": tuple(pairs)})
