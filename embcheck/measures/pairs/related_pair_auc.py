"""Related pairs: is a word nearer to its partner than words of different pairs are to each other?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy import stats

from embcheck import lexicons
from embcheck.estimate import Details, measure
from embcheck.measures import histograms
from embcheck.measures.cells import area, area_estimate, centred, compared, off_diagonal, weakest
from embcheck.measures.resolve import forms_of, random_pairs, resolve, resolved_pairs, scores, unit, word_rows
from embcheck.settings import current
from embcheck.stats.permutations import p_value
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.estimate import Estimate
    from embcheck.lexicons import Comparisons, Relation
    from embcheck.measures.resolve import RandomPairs
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["beside", "of_pairs", "related_pair_auc"]

BACKGROUND = 5_000  # random pairs, as many as the source draws
RANDOM_TOKENS = 300
SHOWN = 20  # words that the vocabulary splits
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@measure
def related_pair_auc(table: EmbeddingTable, relation: Relation, *, rng: np.random.Generator) -> Estimate:
    r"""Area under the ROC curve that tells related pairs from unrelated ones by their cosine.

    With n word-disjoint pairs :math:`(a_i, b_i)` and cosines :math:`c_{ij} = \cos(a_i, b_j)`, related are the n
    cells :math:`c_{ii}` and unrelated the n(n - 1) cross pairs. The area is Mann and Whitney's
    :math:`U / (n \cdot n (n - 1))`, the probability that a related pair has the larger cosine, ties counting one half.
    Unit: word pairs, each word one token; interval: Wilson's score with the variance of a delete-one-pair jackknife,
    since cells that share a word are not independent and areas are often near 1. A pair counts for at most three
    yes-or-no answers, as a uniform percentile does. Null: ``shuffled_pairs`` permutes the partners, fixed points
    allowed. The effect is the same area for dot products, which, unlike cosines, depend on the length of each row.
    Eleven of the pairs in the details are those of the notebook "Word Embeddings: From Tokens to Geometry" (2026);
    antonyms, pieces of a word, sums of words and synonyms of size are asked about in other source documents.

    Parameters
    ----------
    relation
        Word-disjoint pairs (a, b) of related words.

    Raises
    ------
    NotMeasurable
        Fewer than 3 pairs resolve to single tokens. From 3 to 19 the estimate is given, and decides nothing.
    """
    words, pairs = resolved_pairs(table, relation)
    first, second = words.of_pairs(pairs)
    cosines = unit(first) @ unit(second).T
    estimate = area_estimate(cosines, rng, ["-".join(pair) for pair in pairs])
    n = len(pairs)
    details: Details = {
        "coverage": words.coverage.record(),
        "mann_whitney": {  # cells share words, so the usual tables of U don't apply: p is that of permuted words
            "u": round(2 * estimate.value * n * n * (n - 1)) / 2,
            "related": n,
            "unrelated": n * (n - 1),
            "p_value": p_value(estimate.draws["shuffled_pairs"], estimate.value),
        },
    }
    if current().details:
        details |= of_pairs(relation, pairs, first, second)
        details |= beside(table, rng)
    return replace(
        estimate,
        name="AUC of related against unrelated cosines",
        effect={"name": "AUC of dot products", "value": area(first @ second.T)},
        details=details,
        counterexamples=weakest(words, pairs, cosines),
    )


# --- beside it: other comparisons, antonyms, synonyms of size, the background -----------------------------------------


def of_pairs(relation: Relation, pairs: list[tuple[str, str]], first: Floats, second: Floats) -> Details:
    """Each pair's cosine, the strata's means, and every other comparison of two vectors."""
    cosines = (unit(first) * unit(second)).sum(1)
    by_pair = dict(zip(pairs, cosines.tolist(), strict=True))
    strata = {}
    for name, members in relation.strata.items():
        inside = [by_pair[pair] for pair in members if pair in by_pair]
        if inside:
            strata[name] = {"pairs": len(inside), "mean_cosine": float(np.mean(inside))}
    return {
        "pairs": {"-".join(pair): round(cosine, 4) for pair, cosine in by_pair.items()},
        "strata": strata,
        "comparisons": _comparisons(first, second),
    }


def _comparisons(first: Floats, second: Floats) -> Details:
    """Pearson, Spearman, Kendall, Euclid, cosine and dot product of the two vectors of related and cross pairs.

    Kendall's tau takes O(d log d) a cell, so its cross pairs are only each first word with the next pair's second.
    """
    n = len(first)
    ranks = [stats.rankdata(vectors, axis=1) for vectors in (first, second)]
    dots = first @ second.T
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * dots
    cells = {
        "cosine": unit(first) @ unit(second).T,
        "dot": dots,
        "pearson": centred(first) @ centred(second).T,
        "spearman": (centred(ranks[0]) @ centred(ranks[1]).T).round(12),  # equal sums of ranks stay equal
        "euclidean": np.sqrt(np.maximum(squares, 0)),
    }
    auc = {name: compared(np.diag(c), off_diagonal(c), nearer_is_less=name == "euclidean") for name, c in cells.items()}
    kendall = [np.array([stats.kendalltau(first[i], second[(i + k) % n]).statistic for i in range(n)]) for k in (0, 1)]
    finite = [tau[np.isfinite(tau)] for tau in kendall]  # a constant vector has no ranks
    return auc if not all(map(len, finite)) else {**auc, "kendall": compared(*finite)}


def beside(table: EmbeddingTable, rng: np.random.Generator) -> Details:
    """Everything about words outside the relation: the background first, since the others are held against it."""
    background = random_pairs(table, word_rows(table), BACKGROUND, rng)
    lists = lexicons.comparisons()
    return {
        "background": _background(table, background, rng),
        "source_pairs": _pairs(table, lists.source_pairs, background)["pairs"],
        "antonyms": _pairs(table, lists.antonyms, background),
        "sizes": {how: _sizes(table, lists.sizes, how, rng) for how in ("single", "mean")},
        "pieces": _split_words(table, lists, background),
        "piece_coordinates": _coordinates(table, lists.pieces[0][1:]) if lists.pieces else None,
        "compositions": _sums(table, lists),
    }


def _background(table: EmbeddingTable, drawn: RandomPairs, rng: np.random.Generator) -> Details:
    """Random pairs of words; of tokens without a leading space, as one source compares; of mean-pooled words."""
    inside = table.of_kind(TokenKind.WORD_INSIDE)
    spaceless = random_pairs(table, inside, BACKGROUND, rng).dots if len(inside) > 1 else None
    return {
        "pairs": len(drawn.cosines),
        "mean_cosine": float(drawn.cosines.mean()),
        "cosine_quantiles": {str(q): float(np.quantile(drawn.cosines, q)) for q in LEVELS},
        "mean_dot": float(drawn.dots.mean()),
        "dot_quantiles": {str(q): float(np.quantile(drawn.dots, q)) for q in LEVELS},
        "mean_dot_without_space": None if spaceless is None else float(spaceless.mean()),
        "pooled": _pooled(table),
    }


def _pooled(table: EmbeddingTable) -> Details:
    """Mean dot product and cosine between different words of several tokens, each the mean of its tokens."""
    words = table.embed(lexicons.words(), "mean")
    several = [i for i, ids in enumerate(words.rows) if len(ids) > 1]
    n = len(several)
    if n < 2:
        return {"words": n, "mean_dot": None, "mean_cosine": None}
    vectors = words.vectors[several].cpu().double().numpy()
    means = [float((v.sum(0) ** 2).sum() - (v**2).sum()) / (n * (n - 1)) for v in (vectors, unit(vectors))]
    return {"words": n, "mean_dot": means[0], "mean_cosine": means[1]}


def _pairs(table: EmbeddingTable, pairs: Sequence[tuple[str, str]], background: RandomPairs) -> Details:
    """Cosine, dot product and percentile in the background of each pair; words of several tokens pooled, and marked."""
    words = table.embed(list(dict.fromkeys(word for pair in pairs for word in pair)), "mean")
    vectors = dict(zip(words.words, words.vectors.cpu().double().numpy(), strict=True))
    single = {word for word, ids in zip(words.words, words.rows, strict=True) if len(ids) == 1}
    rows: list[Details] = []
    measured: list[float] = []
    for a, b in pairs:
        if a in vectors and b in vectors:
            cosine = float(unit(vectors[a]) @ unit(vectors[b]))
            percentile = round(background.percentile(cosine), 2)
            about = {"cosine": cosine, "dot": float(vectors[a] @ vectors[b]), "percentile": percentile}
            rows.append({"pair": f"{a}-{b}", **about, "pooled": not {a, b} <= single})
            measured += [cosine] if {a, b} <= single else []
    return {
        "pairs": rows,
        "single": len(measured),
        "mean_cosine": float(np.mean(measured)) if measured else None,
        "negative": sum(cosine < 0 for cosine in measured),
    }


def _sizes(
    table: EmbeddingTable, sizes: Sequence[str], how: Literal["single", "mean"], rng: np.random.Generator
) -> Details | None:
    """Synonyms of size with each other and with random words; none where fewer than two resolve."""
    words = table.embed(sizes, how)
    n = len(words.words)
    if n < 2:
        return None
    own, rows = words.vectors.cpu().double().numpy(), word_rows(table)
    drawn = rng.choice(rows, min(RANDOM_TOKENS, len(rows)), replace=False)
    drawn = drawn[~np.isin(drawn, [i for ids in words.rows for i in ids])]
    others = table.gather(drawn).cpu().double().numpy()
    upper = np.triu_indices(n, 1)
    related, unrelated = (unit(own) @ unit(own).T)[upper], (unit(own) @ unit(others).T).ravel()
    return {
        "words": list(words.words),
        "cosine": compared(related, unrelated),
        "related": histograms.of_values(related),
        "unrelated": histograms.of_values(unrelated),
        "dot": compared((own @ own.T)[upper], (own @ others.T).ravel()),
    }


# --- sums and parts of words ------------------------------------------------------------------------------------


def _sums(table: EmbeddingTable, lists: Comparisons) -> list[Details]:
    """Rank of each target by cosine with the sum of two unit vectors, among all forms but the two words'.

    A target of several tokens is the mean of them, which shares no row; its rank is what it would be as a row.
    """
    words = resolve(table, list(dict.fromkeys(word for parts in lists.compositions for word in parts[:2])))
    asked = [parts for parts in lists.compositions if parts[0] in words.index and parts[1] in words.index]
    targets = table.embed(list(dict.fromkeys(parts[2] for parts in asked)), "mean")
    index = {word: i for i, word in enumerate(targets.words)}
    asked = [parts for parts in asked if parts[2] in index]
    if not asked:
        return []
    units = words.units
    queries = np.stack([units[words.index[a]] + units[words.index[b]] for a, b, _ in asked])
    forms = forms_of(table)
    best = forms.best(scores(table, queries))
    goals = unit(targets.vectors.cpu().double().numpy())
    sums = []
    for query, row, (a, b, target) in zip(unit(queries), best, asked, strict=True):
        single = len(targets.rows[index[target]]) == 1
        own = forms.find(target) if single else None
        cosine = float(query @ goals[index[target]])
        ahead = row >= (cosine if own is None else row[own])
        ahead[[form for word in (a, b) if (form := forms.find(word)) is not None]] = False
        if own is not None:
            ahead[own] = False
        rank = 1 + int(ahead.sum())
        sums.append({"sum": f"{a} + {b}", "target": target, "rank": rank, "cosine": cosine, "pooled": not single})
    return sums


def _split_words(table: EmbeddingTable, lists: Comparisons, background: RandomPairs) -> list[Details]:
    """Cosine of neighbouring pieces: those the source looks at, then the lexicon's words that this table splits."""
    split = []
    for whole, first, second in lists.pieces:
        rows = table.rows([first, second])
        if None not in rows:
            split.append(_pieces(table, whole, np.array(rows, dtype=np.int64), background))
    words = [word for word in lexicons.words() if word.isalpha()]
    for word, ids in zip(words, table.vocabulary.encode(words), strict=True):
        if len(split) == SHOWN:
            break
        if len(ids) > 1 and all(i < len(table.in_population) and table.in_population[i] for i in ids):
            split.append(_pieces(table, word, np.array(ids, dtype=np.int64), background))
    return split


def _pieces(table: EmbeddingTable, word: str, rows: Ints, background: RandomPairs) -> Details:
    units = table.units(rows)
    cosines = torch.linalg.vecdot(units[:-1], units[1:]).cpu().double().tolist()
    return {
        "word": word,
        "pieces": [table.token(int(row)) for row in rows],
        "cosines": cosines,
        "percentiles": [round(background.percentile(cosine), 2) for cosine in cosines],
    }


def _coordinates(table: EmbeddingTable, parts: Sequence[str]) -> Details | None:
    """The coordinates of two pieces of a word, as they are stored."""
    rows = table.rows(parts)
    if None in rows:
        return None
    vectors = table.gather(np.array(rows, dtype=np.int64)).cpu().double().numpy()
    return {part: histograms.rounded(vector, 3) for part, vector in zip(parts, vectors, strict=True)}
