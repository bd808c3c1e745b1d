"""Middle men: is what two related words have in common carried by fewer neurons than what unrelated ones have?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_triangular

from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.cells import enough_pairs, off_diagonal, shuffled_traces, without_each_pair
from embcheck.measures.kernels.spectrum import haar
from embcheck.measures.neurons.profile_agreement import Profiles, log_effective, profiles_of_pairs, strongest
from embcheck.settings import current

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from embcheck.lexicons import Relation
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["middle_men"]

ROTATIONS = 199
MOST_PAIRS = 100
_TALL = 4


@measure
def middle_men(
    table: EmbeddingTable, relation: Relation, *, weights: str, layer: int, rng: np.random.Generator
) -> Estimate:
    r"""By what factor fewer neurons carry the agreement of related words than that of unrelated ones, as a logarithm.

    With centred profiles p and q of two words, neuron k contributes :math:`c_k = p_k q_k` to their covariance. The
    effective number of neurons is the participation ratio :math:`N = (\sum_k |c_k|)^2 / \sum_k c_k^2`: 1 where one
    neuron carries all, m where all carry alike. With n word-disjoint pairs the estimate is the mean of
    :math:`\log N_{ij}` over the n(n - 1) cross pairs less its mean over the n related ones. Unit: word pairs, at most
    100, evenly from the list; interval: delete-one-pair jackknife-t.

    What a null says. ``shuffled_pairs`` permutes the partners: neurons that are strong for all words, or of large
    norm, concentrate any pair. ``rotated_neurons`` turns the basis of the neurons by a uniform orthogonal matrix, the
    same for all words, which keeps every cosine and distance of profiles: pairs that agree more are more concentrated
    in *any* basis, and only what goes beyond that speaks of neurons. Profiles are turned, not weights:
    :math:`P = Q_0 S` is equal in law to U S under rotation, U a uniform frame of as many columns as there are words.
    Asked for by the notes "Size Comparison Congruence", which look for the neuron that is the "middle man".

    It takes, and raises, what ``profile_agreement`` does.
    """
    profiles = _few(profiles_of_pairs(table, relation, weights, layer))
    cells = log_effective(profiles.first, profiles.second)
    value, n = contrast(cells), len(cells)
    traces = shuffled_traces(cells, rng)
    turned = [log_effective(first, second) for first, second in rotations(profiles, rng)]
    return Estimate.jackknife(
        value,
        without_each_pair(cells, contrast),
        unit="word pairs",
        over="word-disjoint pairs",
        labels=[f"{a}>{b}" for a, b in profiles.pairs],
        name=f"log ratio of effective {weights} neurons, unrelated to related",
        effect={"name": "times fewer neurons", "value": float(np.exp(value))},
        draws={
            "shuffled_pairs": (cells.sum() - traces) / (n * (n - 1)) - traces / n,
            "rotated_neurons": np.array([contrast(rotated) for rotated in turned]),
        },
        details={
            "coverage": profiles.words.coverage.record(),
            "weights": {"role": weights, "layer": layer, "rows": profiles.first.shape[1]},
            "effective_neurons": {
                "related": float(np.exp(np.diag(cells).mean())),
                "unrelated": float(np.exp(off_diagonal(cells).mean())),
                "related_rotated": float(np.exp(np.mean([np.diag(rotated).mean() for rotated in turned]))),
                "unrelated_rotated": float(np.exp(np.mean([off_diagonal(rotated).mean() for rotated in turned]))),
            },
            "middle_men": strongest(profiles, n),
        },
        counterexamples=_most_neurons(profiles, cells),
        reason=enough_pairs(n),
    )


def contrast(cells: Floats) -> float:
    """Mean of the cells off the diagonal less that of those on it."""
    n, trace = len(cells), float(np.trace(cells))
    return (float(cells.sum()) - trace) / (n * (n - 1)) - trace / n


def rotations(profiles: Profiles, rng: np.random.Generator) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Both words' profiles in a basis drawn at random, 199 times, or as often as asked for."""
    n, neurons = profiles.first.shape
    _, small = np.linalg.qr(np.concatenate([profiles.first, profiles.second]).T)
    for _ in range(current().drawn(ROTATIONS)):
        turned = _turn_at_random(small, neurons, rng).T
        yield turned[:n], turned[n:]


def _turn_at_random(small: Floats, rows: int, rng: np.random.Generator) -> NDArray[Any]:
    """U S for a uniform (rows, r) frame U; where G of that shape is well-conditioned, as G L^-T S with G'G = LL'."""
    r = len(small)
    if rows < _TALL * r:
        return haar(rows, r, rng) @ small
    noise = rng.standard_normal((rows, r), dtype=np.float32)
    lower = np.linalg.cholesky(noise.T @ noise)
    inner: NDArray[Any] = solve_triangular(lower, small.astype(np.float32), trans="T", lower=True, check_finite=False)
    return np.asarray(noise @ inner)


def _few(profiles: Profiles) -> Profiles:
    """At most 100 pairs, evenly from the list: no seed has a say in which."""
    known = len(profiles.pairs)
    chosen = [i * known // MOST_PAIRS for i in range(MOST_PAIRS)] if known > MOST_PAIRS else list(range(known))
    return Profiles(
        profiles.words, [profiles.pairs[i] for i in chosen], profiles.first[chosen], profiles.second[chosen]
    )


def _most_neurons(profiles: Profiles, cells: Floats) -> list[Details]:
    """The related pairs whose agreement most neurons carry."""
    order = np.argsort(-np.diag(cells), kind="stable")[:10]
    return profiles.words.listed([profiles.pairs[i] for i in order], value=np.exp(np.diag(cells)[order]))
