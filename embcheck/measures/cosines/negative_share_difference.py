"""Token classes: do the tokens of one class have more negative cosines than comparable tokens outside it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Details, Estimate, measure, part
from embcheck.measures.kernels import probe_cosines
from embcheck.measures.resolve import listed, lowest
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import Method, mean_interval, skewness_of, student_t
from embcheck.stats.permutations import area_over
from embcheck.table.vocabulary import CONTINUATION, TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.estimate import Part
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Stratum", "class_rows", "comparable", "negative_share_difference", "strata"]

KINDS = {"ascii": TokenKind.ASCII_CHARACTER, "byte": TokenKind.BYTE, "control": TokenKind.CONTROL}
MIN_CLASS, MIN_COMPARATORS = 5, 5
DETAIL_COMPARATORS = 1_000  # of the difference without strata, a detail
_GAP = 2  # ids of other rows inside a run
ANCHORS = 200


@dataclass(frozen=True, slots=True)
class Stratum:
    """Class tokens and comparators of one length, of which ``size`` exist in all."""

    length: int
    members: Ints
    comparators: Ints
    size: int


@measure
def negative_share_difference(
    table: EmbeddingTable, token_class: str | Sequence[int], *, rng: np.random.Generator
) -> Estimate:
    r"""Mean negative share of a token class minus that of other tokens of the same length.

    A token's negative share is the share of the other population rows at a cosine below zero. With class tokens in
    strata h by length in characters, the estimate is :math:`\sum_h w_h (\bar x_h - \bar y_h)`, weights in proportion to
    the class tokens. The class is enumerated, and so are the comparators in a population that is probed whole, as those
    up to 32,000 rows are; of larger ones 1,000 a stratum are drawn without replacement, and the interval is theirs:
    stratified Student t with finite-population correction and Welch-Satterthwaite degrees of freedom (Cochran, Sampling
    Techniques, 1977, section 5.4), or, where a stratum's shares are very skewed, in the sample or as 200 anchors see
    all of them, the strata's betting intervals, added by MOVER. Strata of fewer than 5 comparators are dropped. Byte
    tokens have no length as text and stand in one stratum. The null ``shuffled_labels`` permutes class labels within
    strata. Comparators are neither ASCII characters, bytes nor control characters, which the source names together.

    Parameters
    ----------
    token_class
        ``"ascii"``, ``"byte"`` or ``"control"`` (only white space and control characters), or the rows of
        a class of one's own.

    Raises
    ------
    NotMeasurable
        Fewer than 5 tokens in the class, or no stratum with 5 comparators.
    UsageError
        An unknown class.
    """
    members = class_rows(table, token_class)
    name = token_class if isinstance(token_class, str) else "given"
    if len(members) < MIN_CLASS:
        raise NotMeasurable(f"the population has {len(members)} {name} tokens; at least {MIN_CLASS} are needed")
    parts = strata(table, members, by_length=name != "byte")
    if not parts:
        raise NotMeasurable(f"no {MIN_COMPARATORS} other tokens of the same length to compare {name} tokens with")
    rest = table.probes(current().sampled(DETAIL_COMPARATORS), among=comparable(table, members))
    share = _negative_shares(table, np.concatenate([members, rest, *(part.comparators for part in parts)]))
    samples = [(share[part.members], share[part.comparators]) for part in parts]
    value = float(np.dot(_weights(samples), [own.mean() - other.mean() for own, other in samples]))
    weighted = zip(_weights(samples), samples, strict=True)
    about: Details = {
        "name": f"difference of negative shares, {name} tokens minus others",
        "effect": _effect(samples, len(table.population) - 1),
        "parts": _parts(table, parts, samples),
        "draws": {"shuffled_labels": sum(w * _permute_labels(own, other, rng) for w, (own, other) in weighted)},
        "details": {
            "class_tokens": len(members),
            "compared": sum(len(part.members) for part in parts),
            "strata": [{"length": p.length, "class": len(p.members), "others": p.size} for p in parts],
            "class_mean": float(share[members].mean()),
            "unstratified_difference": float(share[members].mean() - share[rest].mean()),
            "by_token": listed(table, members, negative_share=share[members]),
            "negative_id_runs": negative_runs(table),
        },
        "counterexamples": lowest(table, members, share[members]),
    }
    return _estimate(value, samples, parts, _skewness(table, members, parts), about)


def class_rows(table: EmbeddingTable, token_class: str | Sequence[int]) -> Ints:
    """Population rows of a class given by name or by its rows, ascending."""
    if not isinstance(token_class, str):
        return np.intersect1d(np.asarray(token_class, dtype=np.int64), table.population)
    if token_class not in KINDS:
        raise UsageError(f"unknown token class {token_class!r}; choose one of {', '.join(KINDS)}, or give its rows")
    return table.of_kind(KINDS[token_class])


def comparable(table: EmbeddingTable, members: Ints) -> Ints:
    """Population rows outside the class that are neither single ASCII characters, bytes nor control characters."""
    apart = [table.of_kind(kind) for kind in KINDS.values()]
    return np.setdiff1d(table.population, np.concatenate([members, *apart]))


def strata(table: EmbeddingTable, members: Ints, *, by_length: bool) -> list[Stratum]:
    """Class tokens beside comparators, one stratum a length; strata without enough comparators are left out."""
    rest = comparable(table, members)
    own = _lengths(table, members) if by_length else np.zeros(len(members), dtype=np.int64)
    other = _lengths(table, rest) if by_length else np.zeros(len(rest), dtype=np.int64)
    kept = []
    for length in np.unique(own):
        candidates = rest[other == length]
        if len(candidates) >= MIN_COMPARATORS:
            drawn = table.probes(current().probe_count(len(table.population)), among=candidates)
            kept.append(Stratum(int(length), members[own == length], drawn, len(candidates)))
    return kept


def _lengths(table: EmbeddingTable, rows: Ints) -> Ints:
    """Characters of each token, a leading space counted; ``##`` is not where it marks continuations."""
    inside = table.of_kind(TokenKind.WORD_INSIDE)
    mark = CONTINUATION if any(text.startswith(CONTINUATION) for text in table.texts(inside)) else ""
    lengths = (len(text.removeprefix(mark) or text) for text in table.texts(rows))
    return np.fromiter(lengths, dtype=np.int64, count=len(rows))


def _negative_shares(table: EmbeddingTable, rows: Ints) -> Floats:
    """(V,) negative share of the given rows, NaN for the others."""
    distinct = np.unique(rows)
    seen = probe_cosines.probe_statistics(table, distinct)
    shares = np.full(len(table.vectors), np.nan)
    shares[distinct] = (seen.others - seen.non_negative) / seen.others
    return shares


_Samples = list[tuple["Floats", "Floats"]]


def _weights(samples: _Samples) -> Floats:
    sizes = np.array([len(own) for own, _ in samples], dtype=np.float64)
    return np.asarray(sizes / sizes.sum())


def _estimate(
    value: float, samples: _Samples, parts: list[Stratum], skewness: Sequence[float], about: Details
) -> Estimate:
    """Interval from the sampled comparators; exact where every stratum was enumerated."""
    n = sum(len(p.members) + len(p.comparators) for p in parts)
    level, weights = current().confidence_level, _weights(samples)
    if all(len(part.comparators) == part.size for part in parts):
        return Estimate.exact(value, n=n, unit="tokens", **about)
    intervals = [
        mean_interval(other, level, part.size, (0.0, 1.0), known)
        for (_, other), part, known in zip(samples, parts, skewness, strict=True)
    ]
    if any(interval.method is Method.BETTING for interval in intervals):
        means = [float(other.mean()) for _, other in samples]
        below = math.hypot(*(w * (i.high - mean) for w, i, mean in zip(weights, intervals, means, strict=True)))
        above = math.hypot(*(w * (mean - i.low) for w, i, mean in zip(weights, intervals, means, strict=True)))
        method = "betting, without replacement, strata by MOVER"
        return Estimate(value, value - below, value + above, level, method, n, "tokens", **about)
    variances = np.array(
        [
            w**2 * (1 - len(other) / part.size) * other.var(ddof=1) / len(other)
            for w, (_, other), part in zip(weights, samples, parts, strict=True)
        ]
    )
    total = float(variances.sum())
    degrees = np.array([len(p.comparators) - 1 for p in parts])
    half = student_t((1 + level) / 2, total**2 / float((variances**2 / degrees).sum())) * math.sqrt(total)
    method = "stratified Student t, finite-population correction"
    return Estimate(value, value - half, value + half, level, method, n, "tokens", **about)


def _skewness(table: EmbeddingTable, members: Ints, parts: list[Stratum]) -> list[float]:
    """Skewness of the shares of all of a stratum's comparators, as some anchors see them: a sample may miss odd ones.

    A share seen by few anchors varies by chance as well, which hides skewness: it counts where it shows.
    """
    if all(len(part.comparators) == part.size for part in parts):
        return [0.0] * len(parts)
    rest, anchors = comparable(table, members), table.probes(ANCHORS)
    seen = probe_cosines.row_counts(table, anchors)[np.searchsorted(table.population, rest)] / len(anchors)
    lengths = _lengths(table, rest)
    return [skewness_of(seen[lengths == part.length] if part.length else seen) for part in parts]


def _parts(table: EmbeddingTable, parts: list[Stratum], samples: _Samples) -> tuple[Part, ...]:
    """What a later checkpoint is compared with: class tokens, which are all there, and comparators, a sample."""
    units = []
    for weight, stratum, (own, other) in zip(_weights(samples), parts, samples, strict=True):
        for sign, rows, shares, size in (
            (1, stratum.members, own, len(stratum.members)),
            (-1, stratum.comparators, other, stratum.size),
        ):
            labels = [table.token(int(row)) for row in rows]
            units.append(part(labels, shares, weight=sign * weight, population=size, bounds=(0.0, 1.0)))
    return tuple(units)


def _permute_labels(own: Floats, other: Floats, rng: np.random.Generator) -> Floats:
    """The difference of means under labels permuted within a stratum."""
    pooled, n, m = np.concatenate([own, other]), len(own), len(other)
    total = pooled.sum()

    def difference(orders: Ints) -> Floats:
        drawn = pooled[orders[:, :n]].sum(1)
        return np.asarray(drawn / n - (total - drawn) / m)

    chunk = max(1, 4_000_000 // len(pooled))
    return permutations.draw(difference, lambda count: permutations.orders(len(pooled), count, rng), chunk=chunk)


def _effect(samples: _Samples, others: int) -> Details:
    """Cliff's delta, weighted over strata, and the Mantel-Haenszel odds ratio of a negative cosine."""
    deltas, above, below = [], 0.0, 0.0
    for own, other in samples:
        deltas.append(2 * area_over(own, other) - 1)
        cells = (len(own) + len(other)) * others
        a, b, c, d = (v.sum() * others for v in (own, 1 - own, other, 1 - other))
        above, below = above + a * d / cells, below + b * c / cells
    odds = above / below if below else None
    return {"name": "Cliff's delta", "value": float(np.dot(_weights(samples), deltas)), "odds_ratio": odds}


def negative_runs(table: EmbeddingTable) -> list[Details]:
    """Runs of ids whose rows are negative to most others, as 200 anchors see them; the longest ten.

    Most are more than half of the anchors, and five standard errors more than of a median row: on noise that is none.
    Up to two ids in between may be others, such as reserved ones.
    """
    anchors = table.probes(ANCHORS)
    share = probe_cosines.row_counts(table, anchors) / len(anchors)
    usual = float(np.median(share))
    least = max(0.5, usual + 5 * math.sqrt(usual * (1 - usual) / len(anchors)))
    chosen = np.flatnonzero(share > least)
    ids = table.population[chosen]
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > _GAP + 1) + 1)
    runs = sorted((run for run in runs if len(run) >= 3), key=lambda run: (-len(run), int(run[0])))[:10]
    of = {int(row): float(value) for row, value in zip(table.population[chosen], share[chosen], strict=True)}
    return [
        {
            "first": int(run[0]),
            "last": int(run[-1]),
            "anchors": len(anchors),  # that the share is of; `by_token` has those of all rows
            "mean_negative_share": math.fsum(of[int(row)] for row in run) / len(run),
            "tokens": [table.token(int(row)) for row in run[:12]],
        }
        for run in runs
    ]
