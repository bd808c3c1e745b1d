"""Neighbors in the whole vocabulary: with surface forms merged and not, and whether a word's variants come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.measures.forms import forms_of
from embcheck.measures.kernels.nearest import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.lexicons import Category
    from embcheck.measures.forms import Forms
    from embcheck.table import EmbeddingTable

__all__ = ["in_vocabulary"]

NEIGHBORS = 10
DEPTH = 100  # rows looked through for 10 different forms
LISTED = 4


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


def in_vocabulary(table: EmbeddingTable, queries: Sequence[str], category: Category) -> dict[str, Any]:
    """What lies nearest to words, each a single token, among all rows of the population."""
    forms = forms_of(table)
    members = {form for word in category.words if (form := forms.find(word)) is not None}
    seeds = [row for row in table.rows(queries) if row is not None]
    spaceless = _spaceless(table, forms, queries[0], seeds[0])
    *ranked, first = _ranked(table, forms, [*seeds, spaceless])
    apart = [np.mean([form in members for form in r.forms[:NEIGHBORS]]) for r in ranked]
    merged = [np.mean([r.forms[i] in members for i in r.merged] or [False]) for r in ranked]
    return {
        "whole_vocabulary": {
            "share_merged": float(np.mean(merged)),
            "share_unmerged": float(np.mean(apart)),
            "expected_merged": (len(members) - 1) / max(1, forms.count - 1),
        },
        "variants": _variants(forms, queries, ranked),
        "neighbors": {word: _listed(table, r) for word, r in list(zip(queries, ranked, strict=True))[:LISTED]},
        "as_source": {"seed": table.token(spaceless), "neighbors": _listed(table, first)["unmerged"]},
    }


def _ranked(table: EmbeddingTable, forms: Forms, seeds: list[int]) -> list[_Ranked]:
    """The rows nearest to each seed."""
    rows = np.array(seeds, dtype=np.int64)
    near, cosines = top_k(table, table.units(rows), DEPTH + 1)
    position = np.searchsorted(table.population, near)
    found = []
    for i, seed in enumerate(seeds):
        kept = near[i] != seed
        form = int(forms.of_position[np.searchsorted(table.population, seed)])
        own_forms = tuple(forms.of_position[position[i][kept]].tolist())
        found.append(_Ranked(form, tuple(near[i][kept].tolist()), tuple(cosines[i][kept].tolist()), own_forms))
    return found


def _spaceless(table: EmbeddingTable, forms: Forms, word: str, seed: int) -> int:
    """The row that is the word and nothing else, as the source writes it; the word's own row where there is none."""
    form = forms.find(word)
    rows = [] if form is None else table.population[forms.positions([form])].tolist()
    return next((int(row) for row in rows if table.token(int(row)) == word), seed)


def _variants(forms: Forms, queries: Sequence[str], ranked: list[_Ranked]) -> dict[str, Any]:
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


def _listed(table: EmbeddingTable, ranked: _Ranked) -> dict[str, Any]:
    def named(places: Sequence[int]) -> list[list[Any]]:
        return [[table.token(ranked.rows[i]), round(ranked.cosines[i], 4)] for i in places]

    return {"merged": named(ranked.merged), "unmerged": named(range(min(NEIGHBORS, len(ranked.rows))))}
