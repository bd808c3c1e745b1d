"""Neighbors of a kind: are the nearest words of a name names, of a city cities?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.kernels.nearest import top_k
from embcheck.measures.resolve import forms_of, resolve, undecided
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import share_jackknife_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.lexicons import Categories, Category
    from embcheck.measures.resolve import Forms, Words
    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["neighbor_category_share"]

NEIGHBORS = 10
MIN_WORDS = 3
DEPTH = 100  # rows of the whole vocabulary looked through for 10 different forms
LISTED = 4  # words whose neighbors in the whole vocabulary are listed


@measure
def neighbor_category_share(
    table: EmbeddingTable, categories: Categories, category: str, *, rng: np.random.Generator
) -> Estimate:
    r"""Share of a word's 10 nearest words that are of its category, minus the share expected by chance.

    Neighbors are looked for by cosine among the L words of all categories that are single tokens, the word itself left
    out; with m of them in the category,
    :math:`\frac{1}{10 m} \sum_{i \in C} |N_{10}(i) \cap C| - \frac{m - 1}{L - 1}`, where the second term is the mean
    of the hypergeometric distribution of 10 words drawn from the L - 1 others. Unit: the category's words; interval:
    Wilson's score with the variance of a jackknife that leaves out a word as query and as neighbor, at most one answer
    a word, since words hit and miss together. The other categories are fixed. Null:
    ``shuffled_categories`` permutes the labels of all L words. Details give the share among the neighbors in the
    *whole* vocabulary, with surface forms merged and not, say whether case and space variants of the word come first,
    and list neighbors; "Mike" is the example of the lesson "Measuring Similarity in GPT-2".

    Parameters
    ----------
    categories
        Groups of words, one of them ``category``.
    category
        The name of the group whose words are the queries.

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
    (group,) = (group for group in categories.groups if group.name == category)
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
    near = nearest(cosines)
    value = _excess(near, inside)
    expected = (m - 1) / (len(inside) - 1)
    return Estimate.jackknife(
        value,
        _left_out(cosines, inside),
        unit="query words",
        over="words of the category",
        labels=queries,
        interval=partial(share_jackknife_interval, answers=1, chance=expected),
        name=f"excess share of {category} among {NEIGHBORS} neighbors",
        effect={"name": f"share of {category} among the neighbors", "value": value + expected, "expected": expected},
        draws={"shuffled_categories": _shuffled(near, m, rng)},
        details={
            "coverage": words.coverage.record(),
            "words": len(inside),
            **(in_vocabulary(table, queries, group) if current().details else {}),
        },
        counterexamples=_fewest(words, near, inside),
        reason=undecided(m, "words are single tokens"),
    )


def nearest(cosines: Floats) -> Bools:
    """(L, L) whether the second word is among the first one's 10 nearest."""
    others = cosines - 3 * np.eye(len(cosines))
    near = np.zeros(cosines.shape, dtype=np.bool_)
    np.put_along_axis(near, np.argsort(-others, axis=1, kind="stable")[:, :NEIGHBORS], values=True, axis=1)
    return near


def _left_out(cosines: Floats, inside: Bools) -> Floats:
    """The excess without each word inside in turn: where it was a neighbor, the eleventh nearest takes its place."""
    m, size = int(inside.sum()), len(inside)
    others = (cosines - 3 * np.eye(size))[inside]
    hits = inside[np.argsort(-others, axis=1, kind="stable")[:, : NEIGHBORS + 1]].astype(np.int64)
    own, eleventh = hits[:, :NEIGHBORS].sum(1), hits[:, NEIGHBORS]
    near = nearest(cosines)[np.ix_(inside, inside)].astype(np.int64)
    shares = (own.sum() - own + near.T @ (eleventh - 1)) / (NEIGHBORS * (m - 1))
    return np.asarray(shares - (m - 2) / (size - 2))


def _excess(near: Bools, inside: Bools) -> float:
    """Share of the neighbors of words inside that are inside too, minus its expectation."""
    m = int(inside.sum())
    return int(near[np.ix_(inside, inside)].sum()) / (NEIGHBORS * m) - (m - 1) / (len(inside) - 1)


def _shuffled(near: Bools, m: int, rng: np.random.Generator) -> Floats:
    """The excess of m words drawn at random: permuted labels, with the same neighbors."""
    size, counts = len(near), near.astype(np.float32)

    def excess(members: Ints) -> Floats:
        chosen = np.zeros((len(members), size), dtype=np.float32)
        np.put_along_axis(chosen, members, 1.0, axis=1)
        hits = ((chosen @ counts) * chosen).sum(1).astype(np.int64)  # whole numbers: equal values stay equal
        return np.asarray(hits / (NEIGHBORS * m) - (m - 1) / (size - 1))

    return permutations.draw(excess, lambda count: permutations.orders(size, count, rng)[:, :m])


def _fewest(words: Words, near: Bools, inside: Bools) -> list[Details]:
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


# --- in the whole vocabulary, with surface forms merged and not -------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The rows nearest to one word's row, itself left out, nearest first."""

    form: int
    rows: tuple[int, ...]
    cosines: tuple[float, ...]
    forms: tuple[int, ...]

    @property
    def merged(self) -> list[int]:
        """Places of the nearest row of each other form, at most 10."""
        first = {form: i for i, form in reversed(list(enumerate(self.forms))) if form != self.form}
        return sorted(first.values())[:NEIGHBORS]


def in_vocabulary(table: EmbeddingTable, queries: Sequence[str], category: Category) -> Details:
    """What lies nearest to words, each a single token, among all rows of the population."""
    forms = forms_of(table)
    members = {form for word in category.words if (form := forms.find(word)) is not None}
    seeds = [row for row in table.rows(queries) if row is not None]
    spaceless = _spaceless(table, forms, queries[0], seeds[0])
    *ranked, first = _rank(table, forms, [*seeds, spaceless])
    apart = [np.mean([form in members for form in r.forms[:NEIGHBORS]]) for r in ranked]
    merged = [np.mean([r.forms[i] in members for i in r.merged] or [False]) for r in ranked]
    return {
        "whole_vocabulary": {
            "share_merged": float(np.mean(merged)),
            "share_unmerged": float(np.mean(apart)),
            "expected_merged": (len(members) - 1) / max(1, forms.count - 1),
        },
        "variants": _variants(forms, queries, ranked),
        "neighbors": {word: _list(table, r) for word, r in list(zip(queries, ranked, strict=True))[:LISTED]},
        "as_source": {"seed": table.token(spaceless), "neighbors": _list(table, first)["unmerged"]},
    }


def _rank(table: EmbeddingTable, forms: Forms, seeds: list[int]) -> list[_Ranked]:
    """The rows nearest to each seed."""
    rows = np.array(seeds, dtype=np.int64)
    near, cosines = top_k(table, table.units(rows), DEPTH + 1)
    position = np.searchsorted(table.population, near)
    ranked = []
    for i, seed in enumerate(seeds):
        kept = near[i] != seed
        form = int(forms.of_position[np.searchsorted(table.population, seed)])
        own_forms = tuple(forms.of_position[position[i][kept]].tolist())
        ranked.append(_Ranked(form, tuple(near[i][kept].tolist()), tuple(cosines[i][kept].tolist()), own_forms))
    return ranked


def _spaceless(table: EmbeddingTable, forms: Forms, word: str, seed: int) -> int:
    """The row that is the word and nothing else, as the source writes it; the word's own row where there is none."""
    form = forms.find(word)
    rows = [] if form is None else table.population[forms.positions([form])].tolist()
    return next((int(row) for row in rows if table.token(int(row)) == word), seed)


def _variants(forms: Forms, queries: Sequence[str], ranked: list[_Ranked]) -> Details:
    """Of the words with case or space variants: how often one of them, and all of them, come before other words."""
    sizes = {r.form: len(forms.positions([r.form])) - 1 for r in ranked}
    asked = [(word, r) for word, r in zip(queries, ranked, strict=True) if sizes[r.form]]
    first = [r.forms[0] == r.form for _, r in asked]
    every = [all(form == r.form for form in r.forms[: sizes[r.form]]) for _, r in asked]
    return {
        "words_with_variants": len(asked),
        "one_ranks_first": float(np.mean(first)) if asked else None,
        "all_rank_first": float(np.mean(every)) if asked else None,
        "not_first": [word for (word, _), is_first in zip(asked, first, strict=True) if not is_first],
    }


def _list(table: EmbeddingTable, ranked: _Ranked) -> Details:
    def named(places: Sequence[int]) -> list[list[Any]]:
        return [[table.token(ranked.rows[i]), round(ranked.cosines[i], 4)] for i in places]

    return {"merged": named(ranked.merged), "unmerged": named(range(min(NEIGHBORS, len(ranked.rows))))}
