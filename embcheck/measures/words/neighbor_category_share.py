"""Neighbors of a kind: are the nearest words of a name names, of a city cities?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Estimate, part
from embcheck.measures.resolve import resolve
from embcheck.measures.words import neighbor_lists
from embcheck.settings import current
from embcheck.stats.intervals import bounded_jackknife_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.lexicons import Categories
    from embcheck.measures.resolve import Words
    from embcheck.table import EmbeddingTable

__all__ = ["neighbor_category_share"]

PERMUTATIONS = 9_999
NEIGHBORS = 10
MIN_WORDS, ENOUGH_WORDS = 3, 20
_CHUNK = 1_000


def neighbor_category_share(
    table: EmbeddingTable, categories: Categories, category: str, *, rng: np.random.Generator
) -> Estimate:
    r"""Share of a word's 10 nearest words that are of its category, minus the share expected by chance.

    Neighbors are looked for by cosine among the L words of all categories that are single tokens, the word itself left
    out; with m of them in the category,
    :math:`\frac{1}{10 m} \sum_{i \in C} |N_{10}(i) \cap C| - \frac{m - 1}{L - 1}`, where the second term is the mean
    of the hypergeometric distribution of 10 words drawn from the L - 1 others. Unit: the category's words; interval:
    jackknife-t that leaves out a word as query and as neighbor. The other categories are fixed. Null:
    ``shuffled_categories`` permutes the labels of all L words. Details give the share among the neighbors in the
    *whole* vocabulary, with surface forms merged and not, say whether case and space variants of the word come first,
    and list neighbors; "Mike" is the example of the lesson "Measuring Similarity in GPT-2".

    Parameters
    ----------
    categories
        Groups of words, one of them ``category``.
    category
        The name of the group whose words are the queries.
    rng
        Draws the null.

    Raises
    ------
    NotMeasurable
        Fewer than 3 of the category's words are single tokens, or not more other words than neighbors. From 3 to 19
        words the estimate is given, and decides nothing.
    UsageError
        There is no such category.
    """
    if category not in categories.names:
        raise UsageError(f"no category is named {category!r}; {categories.name} has {', '.join(categories.names)}")
    (group,) = (found for found in categories.groups if found.name == category)
    words = resolve(table, categories.words)
    inside = np.array([word in group.words for word in words.words], dtype=np.bool_)
    queries = [words.words[i] for i in np.flatnonzero(inside)]
    m, others = int(inside.sum()), int((~inside).sum())
    if m < MIN_WORDS or others <= NEIGHBORS:
        raise NotMeasurable(
            f"{m} of {len(group.words)} words for {category} and {others} other words are single tokens here; at least "
            f"{MIN_WORDS} and {NEIGHBORS + 1} are needed"
        )
    cosines = words.units @ words.units.T
    near, level = nearest(cosines), current().confidence_level
    value = _excess(near, inside)
    expected = (m - 1) / (len(inside) - 1)
    low, high, pseudo, method = bounded_jackknife_interval(
        value, _left_out(cosines, inside), level, (-expected, 1 - expected)
    )
    return Estimate(
        value,
        low,
        high,
        level,
        f"{method} over words of the category",
        m,
        "query words",
        name=f"excess share of {category} among {NEIGHBORS} neighbors",
        effect={"name": f"share of {category} among the neighbors", "value": value + expected, "expected": expected},
        draws={"shuffled_categories": _shuffled(near, m, rng)},
        units=pseudo,
        parts=(part(queries, pseudo, pseudo=True),),
        details={
            "coverage": words.coverage.record(),
            "words": len(inside),
            **(neighbor_lists.in_vocabulary(table, queries, group) if current().details else {}),
        },
        counterexamples=_against(words, near, inside),
        reason=f"only {m} words are single tokens; {ENOUGH_WORDS} are needed to decide" if m < ENOUGH_WORDS else None,
    )


def nearest(cosines: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(L, L) whether the second word is among the first one's 10 nearest."""
    others = cosines - 3 * np.eye(len(cosines))
    found = np.zeros(cosines.shape, dtype=np.bool_)
    np.put_along_axis(found, np.argsort(-others, axis=1, kind="stable")[:, :NEIGHBORS], values=True, axis=1)
    return found


def _left_out(cosines: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The excess without each word inside in turn: where it was a neighbor, the eleventh nearest takes its place."""
    m, size = int(inside.sum()), len(inside)
    others = (cosines - 3 * np.eye(size))[inside]
    hits = inside[np.argsort(-others, axis=1, kind="stable")[:, : NEIGHBORS + 1]].astype(np.int64)
    own, eleventh = hits[:, :NEIGHBORS].sum(1), hits[:, NEIGHBORS]
    near = nearest(cosines)[np.ix_(inside, inside)].astype(np.int64)
    found: NDArray[np.float64] = (own.sum() - own + near.T @ (eleventh - 1)) / (NEIGHBORS * (m - 1))
    return found - (m - 2) / (size - 2)


def _excess(near: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    """Share of the neighbors of words inside that are inside too, minus its expectation."""
    m = int(inside.sum())
    return int(near[np.ix_(inside, inside)].sum()) / (NEIGHBORS * m) - (m - 1) / (len(inside) - 1)


def _shuffled(near: NDArray[np.bool_], m: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The excess of m words drawn at random: permuted labels, with the same neighbors."""
    size, counts = len(near), near.astype(np.float32)
    permutations = current().drawn(PERMUTATIONS)
    draws = np.empty(permutations)
    for start in range(0, permutations, _CHUNK):
        count = min(_CHUNK, permutations - start)
        order = rng.permuted(np.broadcast_to(np.arange(size), (count, size)), axis=1)[:, :m]
        chosen = np.zeros((count, size), dtype=np.float32)
        np.put_along_axis(chosen, order, 1.0, axis=1)
        hits = ((chosen @ counts) * chosen).sum(1).astype(np.int64)  # whole numbers: equal values stay equal
        draws[start : start + count] = hits / (NEIGHBORS * m) - (m - 1) / (size - 1)
    return draws


def _against(words: Words, near: NDArray[np.bool_], inside: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The category's words with the fewest neighbors in it, and which words come instead."""
    shares = near[:, inside].sum(1) / NEIGHBORS
    queries = np.flatnonzero(inside & (shares < 1))
    return [
        {
            "id": int(words.rows[i]),
            "token": words.words[i],
            "value": float(shares[i]),
            "instead": [words.words[j] for j in np.flatnonzero(near[i] & ~inside)],
        }
        for i in queries[np.argsort(shares[queries], kind="stable")[:10]]
    ]
