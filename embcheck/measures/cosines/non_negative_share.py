"""Share of non-negative cosines: how far from balanced the signs of cosines between rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from embcheck.estimate import KEPT, Details, Estimate, Reference, measure
from embcheck.measures import histograms
from embcheck.measures.kernels import all_pairs, blocks, probe_cosines
from embcheck.measures.resolve import lowest
from embcheck.settings import current
from embcheck.stats import betting
from embcheck.stats.intervals import Interval, Method, skewness_of

if TYPE_CHECKING:
    from embcheck.measures.kernels.probe_cosines import ProbeStatistics
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["non_negative_share", "rayleigh"]

ANCHORS = 200
DETAIL_PROBES = 1_000  # of a census by default: the other statistics of every row take five times as long as its share


@measure
def non_negative_share(table: EmbeddingTable) -> Estimate:
    r"""Mean over probe tokens of the share of other rows at a cosine of zero or more.

    :math:`s_i = \#\{j \ne i : \cos(x_i, x_j) \ge 0\} / (N - 1)`; the mean of :math:`s_i` over *all* rows is the share
    over all pairs, so probes drawn without replacement give an unbiased estimate of it. Unit: probe tokens; interval:
    Student t with the finite-population correction (betting where the shares are very skewed, in the sample or as seen
    by 200 anchors over the whole population); exact where every row
    is probed, which is the default up to 32,000 rows. With ``--probes auto``, drawn until the claims are decided.
    Details (published columns, centred share, histogram of the cosines) are of the same probes; only of the census that
    is the default are they of the first 1,000, as ``published_columns`` says. The effect is how much of the excess
    over one half goes when the mean of all rows is taken off, on the same probes: more than all of it where the centred
    share lies below one half. A bias that needs the mean is not yet given by it: that is what ``--explain`` measures.
    """
    population = table.population
    probes, shares, interval = _draw(table)
    sample = probes[: _detailed(len(probes))]
    statistics = probe_cosines.probe_statistics(table, sample, median=True, histogram=True)
    if shares is None:
        shares = statistics.share
    centred = float(probe_cosines.probe_statistics(table, sample, center=blocks.mean_vector(table)).share.mean())
    share = float(shares[: len(sample)].mean())  # of the same probes as the centred one
    explained = (share - centred) / (share - 0.5) if abs(share - 0.5) > 0.005 else None
    return Estimate.from_units(
        shares,
        unit="probe tokens",
        over_probes=True,
        labels=[table.token(int(row)) for row in probes[:KEPT]],
        population=len(population),
        bounds=(0.0, 1.0),
        skewness=0.0 if len(probes) == len(population) or interval else _skewness(table, probes[:ANCHORS]),
        interval=interval,
        name="share of non-negative cosines",
        effect={
            "name": "share of the effect that a mean shift explains",
            "value": explained,
        },
        references={"isotropic": Reference(0.5, 0.0)},
        details={
            "published_columns": _columns(statistics),
            "centred_share": centred,
            "cosine_histogram": histograms.coarse(statistics.histogram, -1.0, 1.0),
            **rayleigh(table),
            **({} if explained is None else _said(explained, centred)),
        },
        counterexamples=lowest(table, probes, shares),
    )


def _said(explained: float, centred: float) -> Details:
    """How much is left without the mean, as a person says it; none where the centred share changes sides."""
    percent = 100 - round(100 * explained)
    left = "none" if percent <= 0 else "all" if percent >= 100 else f"{percent}%"
    note = f"With the mean of all rows removed the share is {centred:.4f}: {left} of the bias is left."
    return {"remark": f"{left} of it is left without the mean", "summary": note}


def _draw(table: EmbeddingTable) -> tuple[Ints, Floats | None, Interval | None]:
    """Probe tokens, the share of each, and with ``--probes auto`` the interval that stopped the drawing.

    No shares where the statistics of the details give them.
    """
    population = table.population
    if current().probes == "auto":
        order = table.probes(len(population))
        shares, low, high = betting.draw(order, lambda rows: probe_cosines.probe_statistics(table, rows).share)
        note = f" confidence sequence, without replacement, stopped after {len(shares)}"
        return order[: len(shares)], shares, Interval(low, high, Method.BETTING, note)
    probes = table.probes()
    if len(probes) == _detailed(len(probes)):
        return probes, None, None
    if len(probes) == len(population):
        counts = all_pairs.all_pairs_counts(table)[np.searchsorted(population, probes)]
        return probes, counts / (len(population) - 1), None
    return probes, probe_cosines.probe_statistics(table, probes).share, None


def _detailed(probes: int) -> int:
    """Of how many of the probes there are details: of all that were asked for, where details are."""
    is_asked = current().probes is not None and current().details
    return probes if is_asked else min(probes, DETAIL_PROBES)


def _skewness(table: EmbeddingTable, anchors: Ints) -> float:
    """Skewness over the whole population of each row's share, as some anchors see it.

    A few probes may miss the rare rows that skew the shares; a few anchors see them all, from afar.
    """
    seen = 1 - probe_cosines.row_counts(table, anchors) / len(anchors)
    return skewness_of(seen)


def rayleigh(table: EmbeddingTable) -> Details:
    r"""Exact mean cosine over all pairs, and Rayleigh's test of uniformity on the sphere.

    With :math:`R = |\sum_i u_i|`, the mean cosine is :math:`(R^2 - N) / (N (N - 1))`, and under uniformity
    :math:`d R^2 / N` is asymptotically chi-squared with d degrees of freedom (Mardia and Jupp, Directional Statistics,
    2000, section 10.4.1). Needs O(N d) work.
    """
    size = len(table.population)
    squared = float((blocks.unit_sum(table) ** 2).sum())
    statistic = table.width * squared / size
    return {
        "mean_cosine": (squared - size) / (size * (size - 1)),
        "rayleigh": {
            "statistic": statistic,
            "df": table.width,
            "p_value": float(special.chdtrc(table.width, statistic)),
        },
    }


def _columns(statistics: ProbeStatistics) -> Details:
    """The published table's columns: each statistic averaged over the probes."""
    lowest, highest = float(statistics.minimum.mean()), float(statistics.maximum.mean())
    return {
        "probes": len(statistics.minimum),
        "min": lowest,
        "max": highest,
        "mean": float(statistics.mean.mean()),
        "median": float(statistics.median.mean()),
        "non_negative": float(statistics.non_negative.mean()),
        "negative": float(statistics.others - statistics.non_negative.mean()),
        "largest_positive_exceeds_largest_negative": bool(highest > -lowest),
    }
