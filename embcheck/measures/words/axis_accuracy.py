"""Semantic axes: does the direction between two poles tell on which side a word lies that it was not built from?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from embcheck import lexicons
from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.resolve import axis_pool, resolve, resolved_pairs, undecided, unit
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import score_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from embcheck.lexicons import Axis
    from embcheck.stats import Floats, Ints
    from embcheck.table import Coverage, EmbeddingTable

    Vectors = Mapping[str, Floats]
    Pairs = Iterable[tuple[str, str]]

__all__ = ["axis_accuracy"]

RANDOM_AXES = 1_999
_FLIPS = 0.1  # of what leaving out a pair does to the others' words
_NO_DISTANCE = 1e-12  # between means of unit vectors: rounding
_CHUNK_CELLS = 2**18  # of the Gram matrices looked at together: 2 MB


@dataclass(frozen=True, slots=True, eq=False)
class _Poles:
    """n pairs that resolved; all first poles, then all second ones: rows (2n,), vectors (2n, d) as stored."""

    pairs: list[tuple[str, str]]
    rows: Ints
    vectors: Floats
    away: Floats | None
    """(d,) unit direction of the axis that this one is orthogonal to."""
    coverage: Coverage

    @property
    def words(self) -> list[str]:
        """All first poles, then all second ones."""
        return [pair[k] for k in (0, 1) for pair in self.pairs]


@measure
def axis_accuracy(table: EmbeddingTable, axis: Axis, *, rng: np.random.Generator) -> Estimate:
    r"""Share of pole words that an axis built without them puts on the right side.

    From n pairs of unit vectors :math:`(a_i, b_i)`, each word one token, the axis without pair i is
    :math:`s_i = \sum_{j \ne i} (b_j - a_j)`, its middle :math:`c_i` the mean of the other pairs' words; right are
    :math:`(b_i - c_i) \cdot s_i > 0` and :math:`(a_i - c_i) \cdot s_i < 0`. An axis that is orthogonal to another
    one is so by Gram and Schmidt: the direction of those of the other axis' pairs that share no word with this one is
    taken out. Unit: word pairs, of whose words 0, half or all are right; interval: Wilson's score
    with their variance (``_variance``); checkpoints are compared on the list's own words, exactly. Null:
    ``random_axes``, the same share for as many pairs of words drawn from all lexicons. The effect is the share for
    vectors as stored. Details give projections of the poles, and, as the notebook "Word Embeddings: From Tokens to
    Geometry" (2026) draws them, of its own words and negative controls, raw and scaled to length 1.

    Parameters
    ----------
    axis
        Word-disjoint pairs, each read from one pole to the other.

    Raises
    ------
    NotMeasurable
        Fewer than 3 pairs resolve to single tokens, or no pair of the axis that this one is orthogonal to. From 3 to
        19 the estimate is given, and decides nothing.
    """
    poles = _resolve(table, axis)
    n = len(poles.pairs)
    units = project_out(unit(poles.vectors), poles.away)
    raw = project_out(poles.vectors / np.abs(poles.vectors).max(), poles.away)
    gram = units @ units.T
    level, share = current().confidence_level, float(accuracy(gram))
    name = f"share of words on their side of the {axis.name} axis"
    return Estimate.from_units(
        _right(gram),
        unit="word pairs",
        labels=[">".join(pair) for pair in poles.pairs],
        bounds=(0.0, 1.0),
        interval=replace(score_interval(share, _variance(gram), 2 * n, n - 1, level), note=" over pairs"),
        name=name,
        compared_as=(name, share),
        effect={"name": "the same for vectors as stored", "value": float(accuracy(raw @ raw.T))},
        draws={"random_axes": _random_axes(table, axis, poles, rng)},
        details={
            "coverage": poles.coverage.record(),
            **_positions(table, axis, units, poles),
            "as_source": _as_source(table, axis),
        },
        counterexamples=_farthest_wrong(poles, gram),
        reason=undecided(n, "pairs are single tokens"),
    )


def _resolve(table: EmbeddingTable, axis: Axis) -> _Poles:
    words, pairs = resolved_pairs(table, axis.poles, axis.name)
    away = None if axis.orthogonal_to is None else _direction(table, axis, axis.orthogonal_to)
    index = words.index
    kept = [index[pair[k]] for k in (0, 1) for pair in pairs]
    return _Poles(pairs, words.rows[kept], words.vectors[kept], away, words.coverage)


def _direction(table: EmbeddingTable, axis: Axis, other: Axis) -> Floats:
    """(d,) unit mean difference of the other axis' pairs that share no word with this one."""
    words = resolve(table, [word for pair in axis.away for word in pair])
    index, units = words.index, words.units
    kept = [pair for pair in axis.away if set(pair) <= set(index)]
    if not kept:
        raise NotMeasurable(f"no {other.name} pair is two single tokens here, so {axis.name} can't be orthogonal to it")
    return unit(np.sum([units[index[b]] - units[index[a]] for a, b in kept], axis=0))


def project_out(vectors: Floats, away: Floats | None) -> Floats:
    """Vectors without what lies along a unit direction."""
    return vectors if away is None else vectors - np.outer(vectors @ away, away)


def accuracy(gram: Floats) -> Floats:
    """Share of words on their side of the axis of the other pairs, from the (..., 2n, 2n) Gram matrix of the words."""
    return np.asarray((_margins(gram) > 0).mean(-1))


def _margins(gram: Floats) -> Floats:
    """(..., 2n) how far each word lies on its side: products with the axis of the other pairs, from their middle.

    With D the sum of all n differences d and M that of all middles m, the axis without pair i is D - d_i and its
    middle (M - m_i) / (n - 1); every product of them is a sum over the Gram matrix.
    """
    n = gram.shape[-1] // 2
    first, second = np.arange(n), np.arange(n, 2 * n)
    side = np.repeat(np.eye(2), n, axis=0)
    halves = gram @ side  # w with the sum of all first poles, and of all second ones
    with_axis, sums = halves[..., 1] - halves[..., 0], halves.sum(-1)  # w . D, and w . 2M
    pair = np.concatenate([first, first])
    words = np.arange(2 * n)
    without_own = with_axis - (gram[..., words, n + pair] - gram[..., words, pair])  # w . (D - d_i)
    own = (gram[..., second, second] - gram[..., first, first]) / 2  # m_i . d_i
    whole = with_axis.sum(-1, keepdims=True) / 2  # M . D
    mixed = (sums[..., n:] - sums[..., :n]) / 2 + (with_axis[..., :n] + with_axis[..., n:]) / 2  # M . d_i + m_i . D
    middle = (whole - mixed + own) / (n - 1)
    return np.concatenate([middle - without_own[..., :n], without_own[..., n:] - middle], axis=-1)


def _right(gram: Floats) -> Floats:
    """(n,) share of each pair's two words that are on their side."""
    right = _margins(gram) > 0
    n = len(gram) // 2
    return np.asarray((right[:n].astype(np.float64) + right[n:]) / 2)


def _variance(gram: Floats) -> float:
    """Variance of the accuracy: that of a mean of pairs, and more, because all pairs share most of their axis.

    The accuracies of single pairs, taken as independent, leave out what they have in common (Bengio and Grandvalet
    2004): on noise, half of the variance. A jackknife over pairs counts the words that change sides once for each
    pair that makes them, several times the variance. A tenth of what it adds to the first makes 95% intervals cover in
    92 to 98.5% of redraws of real words, at every accuracy from 0.5 to 0.99 (tests/simulations/test_word_lists.py);
    with as few as 12 pairs, and next to an accuracy of 1, in up to 99.5%.
    """
    n, right = len(gram) // 2, _right(gram)
    of_pairs, left_out = float(np.var(right, ddof=1)) / n, _left_out(gram)
    jackknifed = (n - 1) * float(np.var(left_out))
    return of_pairs + _FLIPS * max(0.0, jackknifed - of_pairs)


def _left_out(gram: Floats) -> Floats:
    """The accuracy without each pair in turn."""
    n = len(gram) // 2
    kept = [np.delete(np.arange(2 * n), [i, n + i]) for i in range(n)]
    return np.array([float(accuracy(gram[np.ix_(k, k)])) for k in kept])


def _random_axes(table: EmbeddingTable, axis: Axis, poles: _Poles, rng: np.random.Generator) -> Floats:
    """The accuracy of as many pairs drawn from the words of all lexicons, this axis' own among them."""
    units = project_out(resolve(table, axis_pool(axis)).units, poles.away)
    gram, size = units @ units.T, 2 * len(poles.pairs)
    return permutations.draw(
        lambda words: accuracy(gram[words[:, :, None], words[:, None, :]]),
        lambda count: permutations.orders(len(gram), count, rng)[:, :size],
        most=RANDOM_AXES,
        chunk=max(1, _CHUNK_CELLS // size**2),
    )


def _farthest_wrong(poles: _Poles, gram: Floats) -> list[Details]:
    """The words farthest on the wrong side, then those nearest to the middle: margins relative to the mean margin."""
    margins = _margins(gram)
    margins = margins / max(float(np.abs(margins).mean()), 1e-300)
    return [
        {"id": int(poles.rows[i]), "token": poles.words[i], "value": float(margins[i])}
        for i in np.argsort(margins, kind="stable")[:10]
    ]


# --- where words lie on an axis ---------------------------------------------------------------------------------


def _positions(table: EmbeddingTable, axis: Axis, units: Floats, poles: _Poles) -> Details:
    """Positions on the axis of all pairs: -1 and 1 are the poles' means. Negative controls should have a cosine near 0.

    ``units`` are those of the poles without what lies along ``away``.
    """
    n = len(poles.pairs)
    first, second = units[:n].mean(0), units[n:].mean(0)
    direction = unit(second - first)
    middle, half = float((first + second) @ direction) / 2, float((second - first) @ direction) / 2
    if abs(half) < _NO_DISTANCE:
        raise NotMeasurable(f"both poles of {axis.name} have one mean, so no direction leads from one to the other")
    controls = resolve(table, axis.controls)
    positions = ((units @ direction - middle) / half).round(4).tolist()
    cosines = (project_out(controls.units, poles.away) @ direction).tolist()
    return {
        "poles": {"first": float(first @ direction), "second": float(second @ direction)},
        "positions": dict(zip(poles.words, positions, strict=True)),
        "controls": {
            word: {"cosine": round(cosine, 4), "position": round((cosine - middle) / half, 4)}
            for word, cosine in zip(controls.words, cosines, strict=True)
        },
    }


def _as_source(table: EmbeddingTable, axis: Axis) -> Details | None:
    """Projections as the source has them: its own words, pooled where they are several tokens; none where one lacks.

    Both axes are differences of raw vectors scaled to length 1; ``raw`` projects vectors as stored, ``unit`` scaled
    ones. The star is the source's king - man + woman.
    """
    (king,) = lexicons.analogies("king")
    away = () if axis.orthogonal_to is None else axis.orthogonal_to.source
    needed = dict.fromkeys(word for pair in (*axis.source, *away, (king.a, king.b), (king.c, king.c)) for word in pair)
    words = table.embed(list(dict.fromkeys((*needed, *axis.focus, *axis.controls))), "mean")
    if not axis.source or not set(needed) <= set(words.words):
        return None
    vectors = dict(zip(words.words, words.vectors.cpu().double().numpy(), strict=True))
    difference = _difference(vectors, axis.source)
    if away:
        other = unit(_difference(vectors, away))
        difference = difference - (difference @ other) * other
    direction = unit(difference)
    shown = {word: vectors[word] for word in (*axis.focus, *axis.controls) if word in vectors}
    shown[f"{king.a} - {king.b} + {king.c}"] = vectors[king.a] - vectors[king.b] + vectors[king.c]
    return {
        word: {"raw": round(float(v @ direction), 6), "unit": round(float(unit(v) @ direction), 4)}
        for word, v in shown.items()
    }


def _difference(vectors: Vectors, pairs: Pairs) -> Floats:
    return np.asarray(np.mean([vectors[b] - vectors[a] for a, b in pairs], axis=0))
