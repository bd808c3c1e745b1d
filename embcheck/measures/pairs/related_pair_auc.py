"""Related pairs: is a word nearer to its partner than words of different pairs are to each other?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embcheck.measures.cells import area, area_estimate, weakest
from embcheck.measures.measure import measure
from embcheck.measures.pairs import comparisons
from embcheck.measures.resolve import resolved_pairs, unit
from embcheck.settings import current
from embcheck.stats.permutations import p_value

if TYPE_CHECKING:
    import numpy as np

    from embcheck.estimate import Estimate
    from embcheck.lexicons import Relation
    from embcheck.table import EmbeddingTable

__all__ = ["related_pair_auc"]


@measure
def related_pair_auc(table: EmbeddingTable, relation: Relation, *, rng: np.random.Generator) -> Estimate:
    r"""Area under the ROC curve that tells related pairs from unrelated ones by their cosine.

    With n word-disjoint pairs :math:`(a_i, b_i)` and cosines :math:`c_{ij} = \cos(a_i, b_j)`, related are the n
    cells :math:`c_{ii}` and unrelated the n(n - 1) cross pairs. The area is Mann and Whitney's
    :math:`U / (n \cdot n (n - 1))`, the probability that a related pair has the larger cosine, ties counting one half.
    Unit: word pairs, each word one token; interval: delete-one-pair jackknife-t, since cells that share a word are not
    independent, for the logit, since areas are often near 1. Null: ``shuffled_pairs`` permutes the partners, fixed
    points allowed. The effect is the same area for dot products, which, unlike cosines, depend on the length of each
    row. Eleven of the pairs in the details are those of the notebook "Word Embeddings: From Tokens to Geometry"
    (2026); antonyms, pieces of a word, sums of words and synonyms of size are asked about in other source documents.

    Parameters
    ----------
    relation
        Word-disjoint pairs (a, b) of related words.
    rng
        Draws the null and the random pairs of the details.

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
    details: dict[str, Any] = {
        "coverage": words.coverage.record(),
        "mann_whitney": {  # cells share words, so the usual tables of U don't apply: p is that of permuted words
            "u": round(2 * estimate.value * n * n * (n - 1)) / 2,
            "related": n,
            "unrelated": n * (n - 1),
            "p_value": p_value(estimate.draws["shuffled_pairs"], estimate.value),
        },
    }
    if current().details:
        details |= comparisons.of_pairs(relation, pairs, first, second)
        details |= comparisons.beside(table, rng)
    return replace(
        estimate,
        name="AUC of related against unrelated cosines",
        effect={"name": "AUC of dot products", "value": area(first @ second.T)},
        details=details,
        counterexamples=weakest(words, pairs, cosines),
    )
