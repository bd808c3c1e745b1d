"""Do related words have profiles over a layer's neurons that agree more than those of unrelated words?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, measure
from embcheck.measures.cells import area, area_estimate, areas_left_out, centred, compared, off_diagonal, weakest
from embcheck.measures.kernels import blocks
from embcheck.measures.resolve import listed, resolved_pairs, scores, unit, word_rows
from embcheck.settings import current
from embcheck.stats.intervals import jackknife_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.estimate import Estimate
    from embcheck.lexicons import Relation
    from embcheck.measures.resolve import Words
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = [
    "Profiles", "agreements", "log_effective", "profile_agreement", "profiles_of", "profiles_of_pairs", "strongest",
]  # fmt: skip

SHOWN, TOP = 5, 10
_NEURONS_SHOWN = 5
RANDOM_PAIRS = 200
_FLAT = 1e-10  # of a profile's largest number: a spread below it is rounding


@measure
def profile_agreement(
    table: EmbeddingTable, relation: Relation, *, weights: str, layer: int, rng: np.random.Generator
) -> Estimate:
    r"""Area under the ROC curve that tells related pairs from unrelated ones by how their profiles agree.

    The profile of a word x is :math:`p = W x`, W the (m, d) ``weights`` of a layer, without norms, biases and
    positions. With n word-disjoint pairs :math:`(a_i, b_i)` and Pearson's correlations :math:`r_{ij}` of the profiles
    of :math:`a_i` and :math:`b_j`, the area is that of ``related_pair_auc`` with r in place of the cosine.
    Unit: word pairs, each word one token; interval: Wilson's score by a delete-one-pair jackknife.

    What a null says. ``shuffled_pairs`` permutes the partners: what the table or the weights give *any* two words, such
    as a neuron that fires for all, is in it. A random rotation of the neurons' basis is no null here. It takes W to QW,
    and cosine, dot product and distance of profiles depend on :math:`W^\top W` alone, which stays; Pearson loses only
    the direction of the mean neuron, and on profiles as broad as these ranks follow. So agreement is a property of the
    subspace and metric that the layer reads, not of single neurons; what does depend on them is ``middle_men``.

    The details hold five measures of agreement against pairs of random words; the area of the embedding's own cosines
    and the difference, paired, since a table whose related words are near gives agreement under random weights too; the
    neurons that carry most of a few pairs; for ``value``, the tokens favoured once it is carried to the vocabulary.
    Asked for by the notes "Size Comparison Congruence".

    Parameters
    ----------
    relation
        Word-disjoint pairs (a, b) of related words.
    weights
        A role of `EmbeddingTable.tensor`.
    layer
        Number of the layer; -1 is the last.

    Raises
    ------
    NotMeasurable
        Fewer than 3 pairs resolve to single tokens, or the table has no such weights.
    """
    profiles = profiles_of_pairs(table, relation, weights, layer)
    cells = centred(profiles.first) @ centred(profiles.second).T
    estimate = area_estimate(cells, rng, [f"{a}>{b}" for a, b in profiles.pairs])
    details: Details = {
        "coverage": profiles.words.coverage.record(),
        "weights": {"role": weights, "layer": layer, "rows": profiles.first.shape[1]},
    }
    if current().details:
        details |= {
            "agreement": agreements(table, profiles, weights, layer, rng),
            "embedding": _beside_the_embedding(profiles, cells),
            "middle_men": strongest(profiles, SHOWN),
        }
    if current().details and weights == "value":
        details["favoured"] = _favoured(table, profiles, layer)
    return replace(
        estimate,
        name=f"AUC of related against unrelated {weights} profiles",
        effect={
            "name": "mean correlation above unrelated",
            "value": float(np.diag(cells).mean() - off_diagonal(cells).mean()),
        },
        details=details,
        counterexamples=weakest(profiles.words, profiles.pairs, cells),
    )


def _beside_the_embedding(profiles: Profiles, cells: Floats) -> Details:
    """The area of the embedding's own cosines, and the profiles' area less it, over the same pairs."""
    first, second = profiles.words.of_pairs(profiles.pairs)
    own = unit(first) @ unit(second).T
    areas = [area(cells), area(own)]
    difference, left_out = areas[0] - areas[1], areas_left_out(cells) - areas_left_out(own)
    interval, _ = jackknife_interval(difference, left_out, current().confidence_level)
    return {"auc": areas[1], "difference": difference, "low": interval.low, "high": interval.high}


def _favoured(table: EmbeddingTable, profiles: Profiles, layer: int) -> Details:
    """What attention to one word alone would add to the residual stream, and the tokens of this table nearest to it.

    No attention pattern, norm or bias takes part: W_o W_v x for the first words of a few pairs, heads that share values
    repeated, against the rows of the table that is checked (``matrix=output`` makes those the unembedding's).
    """
    words = [pair[0] for pair in profiles.pairs[:SHOWN]]
    vectors = profiles.words.vectors[[profiles.words.index[word] for word in words]]
    try:
        values = profiles_of(table, vectors, "value", layer)
        carried = _carry(table, values, layer)
    except NotMeasurable as why:
        return {"words": None, "reason": str(why)}
    cosines = scores(table, carried).cpu().double().numpy()
    dots = cosines * table.norms.cpu().double().numpy()[table.population]
    return {
        "words": {
            word: {"by_cosine": _top(table, cosines[i]), "by_dot": _top(table, dots[i])} for i, word in enumerate(words)
        },
        "reason": None,
    }


def _carry(table: EmbeddingTable, values: Floats, layer: int) -> Floats:
    """(n, d) values through the output projection; heads of keys and values serve several of queries, in a row."""
    out = table.tensor("attention_out", layer).cpu().double().numpy()
    if len(out) != values.shape[1]:
        heads = 0 if table.layers is None else table.layers.kv_heads or 0
        if not heads or values.shape[1] % heads or len(out) % values.shape[1]:
            raise NotMeasurable(
                f"attention_out of layer {layer} takes {len(out)} numbers, but value gives {values.shape[1]}"
            )
        by_head = values.reshape(len(values), heads, -1)
        values = by_head.repeat(len(out) // values.shape[1], axis=1).reshape(len(values), -1)
    return np.asarray(values @ out)


def _top(table: EmbeddingTable, values: Floats) -> list[Details]:
    """The ten tokens of largest value; values of dot products are up to the length of what is carried."""
    top = np.argsort(-values, kind="stable")[:TOP]
    return listed(table, table.population[top], value=values[top])


def strongest(profiles: Profiles, count: int) -> list[Details]:
    """For some pairs the neurons that contribute most, each with its share of all contributions' sizes."""
    first, second = centred(profiles.first), centred(profiles.second)
    effective = np.exp(np.diag(log_effective(profiles.first[:count], profiles.second[:count])))
    rows = []
    for i, pair in enumerate(profiles.pairs[:count]):
        parts = first[i] * second[i]
        top = np.argsort(-parts, kind="stable")[:_NEURONS_SHOWN]
        shares = parts / np.abs(parts).sum()
        rows.append(
            {
                "pair": "-".join(pair),
                "correlation": float(parts.sum()),
                "effective_neurons": float(effective[i]),
                "neurons": [
                    {
                        "neuron": int(k),
                        "share": float(shares[k]),
                        "products": [float(profiles.first[i, k]), float(profiles.second[i, k])],
                    }
                    for k in top
                ],
            }
        )
    return rows


def log_effective(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """(n, n) logarithms of the effective number of neurons, of every first profile with every second."""
    a, b = centred(first), centred(second)
    return np.asarray(2 * np.log(np.abs(a) @ np.abs(b).T) - np.log((a * a) @ (b * b).T))


# --- profiles: a word's dot products with the rows of a layer's weights -----------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """Profiles of both words of n pairs, (n, m) each, for m rows of weights."""

    words: Words
    pairs: list[tuple[str, str]]
    first: Floats
    second: Floats


def profiles_of(table: EmbeddingTable, vectors: Floats, weights: str, layer: int) -> Floats:
    """(n, m) dot products of (n, d) vectors with the m rows of a layer's weights, a block of rows after the other."""
    rows = table.tensor(weights, layer)
    words = torch.from_numpy(vectors).to(table.vectors.device, table.accumulator)
    with blocks.full_precision():
        parts = [rows[part].to(table.accumulator) @ words.T for part in table.slices(len(rows))]
        profiles: Floats = torch.cat(parts).T.cpu().double().numpy()
    if not np.isfinite(profiles).all():
        raise NotMeasurable(f"{weights} of layer {layer} holds numbers that are not finite")
    return profiles


def profiles_of_pairs(table: EmbeddingTable, relation: Relation, weights: str, layer: int) -> Profiles:
    """The profiles of a relation's pairs of single tokens."""
    words, pairs = resolved_pairs(table, relation)
    profiles = profiles_of(table, words.vectors, weights, layer)
    flat = np.ptp(profiles, axis=1) <= _FLAT * np.abs(profiles).max(axis=1)
    if flat.any():
        word = words.words[int(np.argmax(flat))]
        raise NotMeasurable(
            f"{word!r} has the same product with all {profiles.shape[1]} rows of {weights}, layer {layer}"
        )
    first, second = (profiles[[words.index[pair[k]] for pair in pairs]] for k in (0, 1))
    return Profiles(words, pairs, first, second)


def agreements(
    table: EmbeddingTable, profiles: Profiles, weights: str, layer: int, rng: np.random.Generator
) -> Details:
    """Five measures of agreement, for related pairs and for 200 pairs of random words."""
    rows = word_rows(table)
    drawn = rng.permutation(rows)[: 2 * min(RANDOM_PAIRS, len(rows) // 2)]
    vectors = table.gather(drawn).cpu().double().numpy()
    others = np.split(profiles_of(table, vectors, weights, layer), 2)
    related, random = _by_measure(profiles.first, profiles.second), _by_measure(others[0], others[1])
    return {
        name: compared(values, random[name], nearer_is_less=name == "euclidean") for name, values in related.items()
    }


def _by_measure(first: Floats, second: Floats) -> dict[str, Floats]:
    """(n,) agreements of row i of one with row i of the other."""
    ranks = [centred(stats.rankdata(rows, axis=1)) for rows in (first, second)]
    tau = [stats.kendalltau(a, b).statistic for a, b in zip(first, second, strict=True)]
    return {
        "pearson": (centred(first) * centred(second)).sum(1),
        "spearman": (ranks[0] * ranks[1]).sum(1),
        "kendall": np.nan_to_num(np.array(tau)),  # a flat profile of a random word has no order
        "cosine": (unit(first) * unit(second)).sum(1),
        "euclidean": np.linalg.norm(first - second, axis=1),
    }
