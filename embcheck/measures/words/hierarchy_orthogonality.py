"""Kinds of things: is what sets a kind apart at right angles to what it is a kind of?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Estimate, measure, part
from embcheck.measures.kernels.spectrum import spectrum_of
from embcheck.measures.resolve import resolve, unit, word_rows
from embcheck.stats import permutations

if TYPE_CHECKING:
    from embcheck.lexicons import Taxonomy
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["INNER", "hierarchy_orthogonality"]

INNER = ("euclidean", "causal")
MEMBERS, KINDS = 3, 6  # words of a kind, and kinds, below which nothing is said
DRAWS, CHUNK = 999, 100
FLAT = 1e-6  # of the largest variance: what float32 products know of a direction


@dataclass(frozen=True, slots=True, eq=False)
class _Kinds:
    """Of k kinds in trees, all of whose n words are listed one after the other: names and averaging weights."""

    names: list[str]
    parents: list[str]
    means: Floats
    """(k, n): a kind is the mean of its words."""
    over: Floats
    """(k, n): and what it is a kind of, the mean of all words of its tree."""

    def cosines(self, vectors: Floats, mean: Floats, white: Floats | None) -> Floats:
        """(..., k) of (..., n, d) vectors of the words, about the mean and, where there is one, under a linear map."""
        parents = self.over @ vectors - mean
        contrasts = self.means @ vectors - mean - parents
        if white is not None:
            parents, contrasts = parents @ white, contrasts @ white
        return np.asarray((unit(contrasts) * unit(parents)).sum(-1))


@measure
def hierarchy_orthogonality(
    table: EmbeddingTable, taxonomy: Taxonomy, inner: str = "euclidean", *, rng: np.random.Generator
) -> Estimate:
    r"""Mean absolute cosine between what a kind is a kind of, and what sets the kind apart.

    For a tree of words (animals) with kinds in it (mammals, birds), let :math:`l_w` be the mean of the vectors of the
    words of w, less the mean of the population; of a tree, of all words of its kinds. The statistic is the mean over
    all kinds z of trees w of :math:`|\cos(l_w, l_z - l_w)|`. Park, Choe, Jiang and Veitch, "The Geometry of Categorical
    and Hierarchical Concepts in Large Language Models" (2024) say that it is zero in the causal inner product, and
    show small values; they take :math:`l_w` along the linear discriminant of w, which 3 to 12 words do not tell.
    With ``inner="causal"`` vectors are multiplied by :math:`\Sigma^{-1/2}` first, of the covariance of the population's
    rows (Park et al. mean the rows of the output matrix: ``--matrix output``); directions with less than a millionth of
    the largest variance are left out.

    In many dimensions random directions are nearly orthogonal too, and the words of the kinds, being those of the tree,
    make it sure that :math:`l_w` and :math:`l_z - l_w` share no noise. So the value says something only beside
    ``random_words``: the same kinds of as many words, drawn 999 times from all words of the vocabulary. The words are
    the whole list, so the value is exact.

    Parameters
    ----------
    taxonomy
        Trees of kinds. Words that are no single token are left out, then kinds of fewer than 3 words, then trees of one
        kind.
    inner
        ``euclidean``, or ``causal``, under which an invertible linear map of all rows changes nothing.

    Raises
    ------
    NotMeasurable
        Fewer than 6 kinds are left; the vocabulary has fewer words than they have; all rows are equal; or, for
        ``causal``, there are no more rows than columns.
    UsageError
        There is no such inner product.
    """
    if inner not in INNER:
        raise UsageError(f"inner is {inner!r}; choose one of {', '.join(INNER)}")
    words = resolve(table, taxonomy.words)
    kinds, used = _kinds(taxonomy, words.index)
    rows, pool = words.rows[used], word_rows(table)
    if len(pool) < len(rows):
        raise NotMeasurable(f"the vocabulary has {len(pool)} words, fewer than the {len(rows)} of the kinds")
    spectrum = spectrum_of(table)
    if spectrum.centred[0] <= FLAT**2 * spectrum.raw[0]:
        raise NotMeasurable("all rows are equal, or differ by rounding only")
    mean, white = spectrum.mean, _whitening(table) if inner == "causal" else None

    def cosines(drawn: Ints) -> Floats:
        vectors = table.gather(drawn.ravel()).cpu().double().numpy()
        return kinds.cosines(vectors.reshape(*drawn.shape, -1), mean, white)

    own = cosines(rows)
    draws = permutations.draw(
        lambda drawn: np.abs(cosines(drawn)).mean(1),
        lambda count: np.stack([rng.choice(pool, len(rows), replace=False) for _ in range(count)]),
        most=DRAWS,
        chunk=CHUNK,
    )
    value, labels = float(np.abs(own).mean()), [f"{z} < {w}" for z, w in zip(kinds.names, kinds.parents, strict=True)]
    order = np.argsort(-np.abs(own), kind="stable")
    return Estimate.exact(
        value,
        n=len(own),
        unit="kinds",
        name="absolute cosine of a kind's contrast with its parent",
        effect={"name": "random words' minus the hierarchy's", "value": float(draws.mean()) - value},
        draws={"random_words": draws},
        parts=(part(labels, np.abs(own), population=len(own)),),
        details={
            "coverage": words.coverage.record(),
            "inner": inner,
            "words": len(rows),
            "kinds": [{"token": label, "cosine": float(cosine)} for label, cosine in zip(labels, own, strict=True)],
        },
        counterexamples=[{"token": labels[i], "value": float(own[i])} for i in order[:10]],
    )


def _kinds(taxonomy: Taxonomy, index: dict[str, int]) -> tuple[_Kinds, Ints]:
    """The kinds that have enough words among those known by place, and the places of their words."""
    trees = [
        (tree.name, [(g.name, [index[w] for w in g.words if w in index]) for g in tree.groups])
        for tree in taxonomy.trees
    ]
    kept = [(name, [group for group in groups if len(group[1]) >= MEMBERS]) for name, groups in trees]
    listed = [(name, groups) for name, groups in kept if len(groups) > 1]
    edges = [(kind, name, places, groups) for name, groups in listed for kind, places in groups]
    if len(edges) < KINDS:
        raise NotMeasurable(
            f"{len(edges)} kinds have {MEMBERS} words that are single tokens; at least {KINDS} are needed"
        )
    used = np.array([place for _, _, places, _ in edges for place in places], dtype=np.int64)
    means = np.array([np.isin(used, places) / len(places) for _, _, places, _ in edges])
    under = [[place for _, places in groups for place in places] for _, _, _, groups in edges]
    over = np.array([np.isin(used, places) / len(places) for places in under])
    return _Kinds([kind for kind, *_ in edges], [name for _, name, *_ in edges], means, over), used


def _whitening(table: EmbeddingTable) -> Floats:
    """(d, r) map under which the population's rows have the identity as their covariance."""
    if len(table.population) <= table.width:
        raise NotMeasurable(
            f"{len(table.population)} rows do not tell the covariance of {table.width} columns; more rows are needed"
        )
    values, axes = np.linalg.eigh(spectrum_of(table).covariance.numpy())
    wide = values > FLAT * values[-1]
    return np.asarray(axes[:, wide] / np.sqrt(values[wide]))
