"""Sums and parts of words: is small + dog near Chihuahua, and are the pieces of one word near each other?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck import lexicons
from embcheck.measures.forms import forms_of
from embcheck.measures.resolve import resolve, scores, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.lexicons import Comparisons
    from embcheck.measures.resolve import RandomPairs
    from embcheck.table import EmbeddingTable

__all__ = ["pieces", "sums"]

SHOWN = 20


def sums(table: EmbeddingTable, lists: Comparisons) -> list[dict[str, Any]]:
    """Rank of each target by cosine with the sum of two unit vectors, among all forms but the two words'.

    A target of several tokens is the mean of them, which shares no row; its rank is what it would be as a row.
    """
    words = resolve(table, list(dict.fromkeys(word for parts in lists.compositions for word in parts[:2])))
    asked = [parts for parts in lists.compositions if parts[0] in words.place and parts[1] in words.place]
    targets = table.embed(list(dict.fromkeys(parts[2] for parts in asked)), "mean")
    place = {word: i for i, word in enumerate(targets.words)}
    asked = [parts for parts in asked if parts[2] in place]
    if not asked:
        return []
    units = words.units
    queries = np.stack([units[words.place[a]] + units[words.place[b]] for a, b, _ in asked])
    forms = forms_of(table)
    best = forms.best(scores(table, queries))
    goals = unit(targets.vectors.cpu().double().numpy())
    found = []
    for query, row, (a, b, target) in zip(unit(queries), best, asked, strict=True):
        single = len(targets.rows[place[target]]) == 1
        own = forms.find(target) if single else None
        cosine = float(query @ goals[place[target]]) if own is None else float(row[own])
        ahead = row >= cosine
        ahead[[form for word in (a, b) if (form := forms.find(word)) is not None]] = False
        if own is not None:
            ahead[own] = False
        rank = 1 + int(ahead.sum())
        found.append({"sum": f"{a} + {b}", "target": target, "rank": rank, "cosine": cosine, "pooled": not single})
    return found


def pieces(table: EmbeddingTable, lists: Comparisons, background: RandomPairs) -> list[dict[str, Any]]:
    """Cosine of neighbouring pieces: those the source looks at, then the lexicon's words that this table splits."""
    found = []
    for whole, first, second in lists.pieces:
        rows = table.rows([first, second])
        if None not in rows:
            found.append(_pieces(table, whole, np.array(rows, dtype=np.int64), background))
    words = [word for word in lexicons.words() if word.isalpha()]
    for word, ids in zip(words, table.vocabulary.encode(words), strict=True):
        if len(found) == SHOWN:
            break
        if len(ids) > 1 and all(i < len(table.in_population) and table.in_population[i] for i in ids):
            found.append(_pieces(table, word, np.array(ids, dtype=np.int64), background))
    return found


def _pieces(table: EmbeddingTable, word: str, rows: NDArray[np.int64], background: RandomPairs) -> dict[str, Any]:
    units = table.units(rows)
    cosines = torch.linalg.vecdot(units[:-1], units[1:]).cpu().double().tolist()
    return {
        "word": word,
        "pieces": [table.token(int(row)) for row in rows],
        "cosines": cosines,
        "percentiles": [round(background.percentile(cosine), 2) for cosine in cosines],
    }
