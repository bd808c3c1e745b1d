"""Category separation: are words of one category nearer to each other than to words of the others?"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.histograms import rounded
from embcheck.measures.resolve import resolve, undecided, unit
from embcheck.stats import permutations
from embcheck.stats.intervals import stratified_jackknife_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.lexicons import Categories
    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["category_separation"]

MIN_EACH = 3
NEIGHBORS = 5


@measure
def category_separation(
    table: EmbeddingTable, categories: Categories, *, rng: np.random.Generator, umap: bool = False
) -> Estimate:
    r"""Mean cosine between words of one category, minus that between words of different ones.

    Over all pairs of the n words, each one token: with unit vectors :math:`u_i` and labels :math:`l_i`,
    :math:`\overline{u_i \cdot u_j}` over :math:`i < j` with :math:`l_i = l_j`, minus the same mean over
    :math:`l_i \ne l_j`. Unit: words; interval: jackknife-t that leaves out a word with every pair it is in, the
    categories being strata, less what it counts twice (``_excess``). Null: ``shuffled_categories`` permutes the labels.
    The effect is the mean silhouette at the distance 1 - cosine (Rousseeuw 1987). Details give it by category, the
    share of each word's 5 nearest words that are of its category, and the category-by-category matrix of the notebook
    "Word Embeddings: From Tokens to Geometry" (2026), which also names the eight categories; and the words on their
    first two principal components.

    Parameters
    ----------
    categories
        Groups of words. Those with fewer than 3 single tokens are left out.
    umap
        Also place the words by UMAP (McInnes, Healy and Melville 2018), at the distance 1 - cosine. That takes the
        extra ``umap``, and its library half a minute to load and compile. No number of the estimate hangs on it.

    Raises
    ------
    UsageError
        ``umap`` without the extra.
    NotMeasurable
        Fewer than two categories have 3 words that are single tokens. With fewer than 20 words in all the estimate
        is given, and decides nothing.
    """
    words = resolve(table, categories.words)
    labels = np.array([_group(categories, word) for word in words.words], dtype=np.int64)
    kept = np.isin(labels, np.flatnonzero(np.bincount(labels, minlength=len(categories.groups)) >= MIN_EACH))
    names, rows, labels = np.array(words.words)[kept], words.rows[kept], labels[kept]
    if len(np.unique(labels)) < 2:
        raise NotMeasurable(
            f"{len(np.unique(labels))} of {len(categories.groups)} categories have at least {MIN_EACH} words that are "
            "single tokens here; at least 2 are needed"
        )
    n, cosines = len(labels), words.units[kept] @ words.units[kept].T
    silhouette = silhouettes(cosines, labels)
    estimate = Estimate.jackknife(
        separation(cosines, labels),
        _left_out(cosines, labels),
        unit="words",
        over="words",
        labels=names.tolist(),
        interval=partial(stratified_jackknife_interval, strata=labels, excess=_excess(cosines, labels)),
        name="within minus between categories, mean cosine",
        effect={"name": "mean silhouette", "value": float(silhouette.mean())},
        draws={"shuffled_categories": _shuffled(cosines, labels, rng)},
        details={
            "coverage": words.coverage.record(),
            "categories": _by_category(categories, cosines, labels, silhouette),
            "neighbors_of_own_category": _purity(cosines, labels),
            "matrix": _matrix(cosines, labels).round(4).tolist(),
            "matrix_labels": [categories.groups[label].name for label in np.unique(labels)],
            "projection": _projection(categories, names, labels, words.units[kept]),
            "projection_as_stored": _projection(categories, names, labels, words.vectors[kept]),
            **({"umap": _umap(categories, names, labels, words.units[kept])} if umap else {}),
            "as_source": _as_source(table, categories),
        },
        counterexamples=_smallest(categories, names, rows, labels, silhouette),
        reason=undecided(n, "words are single tokens"),
    )
    if estimate.reason is None and estimate.high - estimate.low <= 1e-12:
        why = f"no one of the {n} words changes the value, so there is no spread to judge by"
        estimate = replace(estimate, reason=why)
    return estimate


def _group(categories: Categories, word: str) -> int:
    return next(i for i, group in enumerate(categories.groups) if word in group.words)


def _same(labels: Ints) -> Bools:
    """(n, n) whether two different words are of one category."""
    same: Bools = labels[:, None] == labels[None]
    np.fill_diagonal(same, val=False)
    return same


def separation(cosines: Floats, labels: Ints) -> float:
    """Mean of the cells within categories minus mean of those between them."""
    same = _same(labels)
    other = labels[:, None] != labels[None]
    return float(cosines[same].mean() - cosines[other].mean())


def _left_out(cosines: Floats, labels: Ints) -> Floats:
    r"""The separation without each word in turn, the weight of every category as it was.

    It is :math:`\sum_g m_g (m_g - 1) \bar c_{gg} / S - \sum_{g \ne h} m_g m_h \bar c_{gh} / T`, S and T the numbers of
    cells within and between categories. A word of g that is left out leaves the means of its category to the m_g - 1
    others; the factors stay. Were they to shrink with it, a word would seem to count for less than it does:
    intervals then cover 91% instead of 95% where categories lie apart.
    """
    same, other = _same(labels), labels[:, None] != labels[None]
    within, between = (cosines * same).sum(1), (cosines * other).sum(1)
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    m, all_within, all_between = (v[group] for v in (sizes, *(np.bincount(group, w) for w in (within, between))))
    change_within = m / (m - 2) * (all_within - 2 * within) - all_within
    change_between = 2 * (m / (m - 1) * (all_between - between) - all_between)
    return np.asarray(separation(cosines, labels) + change_within / same.sum() - change_between / other.sum())


def _excess(cosines: Floats, labels: Ints) -> float:
    r"""What the jackknife's variance counts beyond the variance, in expectation.

    The separation is a sum over pairs of words, :math:`\sum_{i<j} 2 w_{ij} u_i \cdot u_j`. Beyond what single words
    vary by, a pair of categories g, h with covariances :math:`\Sigma` varies by :math:`4 w^2 t_{gh}`,
    :math:`t_{gh} = \mathrm{tr}\, \Sigma_g \Sigma_h`; leaving out either word counts it: between categories twice,
    :math:`4 m_g m_h t_{gh} / T^2` too much; within one, whose mean grows by :math:`m / (m - 2)`, by
    :math:`2 m^2 (m - 1) t_{gg} / ((m - 2) S^2)` too much.
    """
    same = _same(labels)
    within, between = int(same.sum()), int((labels[:, None] != labels[None]).sum())
    excess = 0.0
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for i, own in enumerate(members):
        m = len(own)
        excess += 2 * m**2 * (m - 1) / ((m - 2) * within**2) * _squared_covariance(_centred(cosines, own, own))
        for other in members[:i]:
            crossed = float((_centred(cosines, own, other) ** 2).sum()) / ((m - 1) * (len(other) - 1))
            excess += 4 * m * len(other) / between**2 * crossed
    return excess


def _centred(cosines: Floats, own: Ints, other: Ints) -> Floats:
    """Products of the words of two categories, each from the mean of its own."""
    block = cosines[np.ix_(own, other)]
    return np.asarray(block - block.mean(0) - block.mean(1, keepdims=True) + block.mean())


def _squared_covariance(gram: Floats) -> float:
    r"""Estimate of :math:`\mathrm{tr}\, \Sigma^2` without bias from the centred Gram matrix of m rows, 0 if m < 4.

    :math:`\frac{m-1}{m(m-2)(m-3)} ((m-1)(m-2)\, \mathrm{tr}\, S^2 + (\mathrm{tr}\, S)^2 - m Q)` with S the sample
    covariance and Q the sum of the fourth powers of the rows' lengths over m - 1 (Himeno and Yamada 2014).
    """
    m = len(gram)
    if m < 4:
        return 0.0
    squares, trace = float((gram**2).sum()) / (m - 1) ** 2, float(np.trace(gram)) / (m - 1)
    fourth = float((np.diag(gram) ** 2).sum()) / (m - 1)
    return (m - 1) / (m * (m - 2) * (m - 3)) * ((m - 1) * (m - 2) * squares + trace**2 - m * fourth)


def _shuffled(cosines: Floats, labels: Ints, rng: np.random.Generator) -> Floats:
    """The separation under permuted labels: only the sum within categories changes."""
    n, same = len(labels), _same(labels)
    total, pairs, inside = float(cosines.sum() - np.trace(cosines)), n * (n - 1), int(same.sum())
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    diagonal = np.diag(cosines)

    def shuffled(orders: Ints) -> Floats:
        within = np.zeros(len(orders))
        for group in members:
            chosen = orders[:, group]
            within += cosines[chosen[:, :, None], chosen[:, None, :]].sum((1, 2)) - diagonal[chosen].sum(1)
        return within / inside - (total - within) / (pairs - inside)

    return permutations.draw(shuffled, lambda count: permutations.orders(n, count, rng))


def silhouettes(cosines: Floats, labels: Ints) -> Floats:
    """(n,) silhouette of each word at the distance 1 - cosine; 0 where both distances are."""
    distance = 1 - cosines
    known = np.unique(labels)
    means = np.stack([distance[:, labels == label].mean(1) for label in known], axis=1)
    sizes = np.array([(labels == label).sum() for label in known])
    own = np.searchsorted(known, labels)
    rows = np.arange(len(labels))
    inside = (means[rows, own] * sizes[own] - np.diag(distance)) / (sizes[own] - 1)
    means[rows, own] = np.inf
    nearest = means.min(1)
    larger = np.maximum(inside, nearest)
    return np.where(larger > 0, (nearest - inside) / np.where(larger > 0, larger, 1), 0)


def _purity(cosines: Floats, labels: Ints) -> Details:
    """Share of the nearest words that are of the word's category, and what chance would give."""
    k = min(NEIGHBORS, len(labels) - 1)
    others = cosines - 3 * np.eye(len(labels))
    nearest = np.argsort(-others, axis=1, kind="stable")[:, :k]
    same = _same(labels)
    return {
        "k": k,
        "share": float((labels[nearest] == labels[:, None]).mean()),
        "expected": float(same.sum() / (len(labels) * (len(labels) - 1))),
    }


def _matrix(cosines: Floats, labels: Ints) -> Floats:
    """Mean cosine of the words of each two categories, no word with itself."""
    known = np.unique(labels)
    hot = (labels[:, None] == known[None]).astype(np.float64)
    cells = np.outer(hot.sum(0), hot.sum(0)) - np.diag(hot.sum(0))
    return np.asarray((hot.T @ (cosines - np.diag(np.diag(cosines))) @ hot) / cells)


def _by_category(categories: Categories, cosines: Floats, labels: Ints, silhouette: Floats) -> Details:
    matrix = _matrix(cosines, labels)
    return {
        categories.groups[label].name: {
            "words": int((labels == label).sum()),
            "mean_cosine": float(matrix[i, i]),
            "silhouette": float(silhouette[labels == label].mean()),
        }
        for i, label in enumerate(np.unique(labels))
    }


def _projection(categories: Categories, names: NDArray[np.str_], labels: Ints, vectors: Floats) -> Details:
    """The vectors on their first two principal components; each points to where its largest entry is positive."""
    left, scale, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    places = left[:, :2] * scale[:2]
    places *= np.where(places[np.abs(places).argmax(0), np.arange(places.shape[1])] < 0, -1, 1)
    explained = rounded(scale[:2] ** 2 / ((scale**2).sum() or 1.0))
    return _placed(categories, names, labels, places) | {"explained": explained}


def _placed(categories: Categories, names: NDArray[np.str_], labels: Ints, places: Floats) -> Details:
    return {
        "words": names.tolist(),
        "category": [categories.groups[label].name for label in labels],
        "x": rounded(places[:, 0]),
        "y": rounded(places[:, -1]),
    }


def _umap(categories: Categories, names: NDArray[np.str_], labels: Ints, units: Floats) -> Details:
    """The words where UMAP places them, with a seed of its own: the same on one machine."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of the part of it that takes Tensorflow
            from umap import UMAP
    except ImportError:
        raise UsageError("umap=True needs the extra umap: pip install 'embcheck[umap]'") from None
    near = min(15, len(names) - 1)
    places = UMAP(n_neighbors=near, metric="cosine", random_state=0, n_jobs=1).fit_transform(units.astype(np.float32))
    return _placed(categories, names, labels, np.asarray(places, dtype=np.float64))


def _as_source(table: EmbeddingTable, categories: Categories) -> Details:
    """The matrix as the source has it: words of several tokens pooled, each word with itself among the cells."""
    means = {}
    for group in categories.groups:
        vectors = table.embed(group.words, "mean").vectors.cpu().double().numpy()
        if len(vectors):
            means[group.name] = unit(vectors).mean(0)
    stacked = np.array(list(means.values()))
    return {"categories": list(means), "matrix": (stacked @ stacked.T).round(4).tolist() if means else []}


def _smallest(
    categories: Categories, words: NDArray[np.str_], rows: Ints, labels: Ints, silhouette: Floats
) -> list[Details]:
    """The words with the smallest silhouette: those nearest to another category."""
    return [
        {
            "id": int(rows[i]),
            "token": str(words[i]),
            "value": float(silhouette[i]),
            "category": categories.groups[labels[i]].name,
        }
        for i in np.argsort(silhouette, kind="stable")[:10]
    ]
