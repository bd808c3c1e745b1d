"""Untrained tokens: rows that look as if training never touched them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.kernels import blocks
from embcheck.measures.kernels.equal import equal_groups
from embcheck.measures.kernels.nearest import nearest
from embcheck.measures.kernels.probes import Probes
from embcheck.measures.resolve import listed, tokens_part
from embcheck.settings import is_decided
from embcheck.table.vocabulary import RowStatus, TokenKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Fingerprint", "fingerprints", "round_trip", "untrained_share"]

LISTED, EXAMPLES = 100, 20
SHORT, SHORT_FACTOR = 5.0, 4.0  # robust standard deviations below the median, and how many times shorter at least
MIN_REFERENCE, OWN_SHARE, APART = 5, 0.99, 0.5
CUTS = (0.5, 0.9, 0.95, OWN_SHARE, 0.995)  # shares of the unused rows that lie within: those from 0.9 up are sensible
_GRID, _VALLEY = 512, 0.5  # points of a density; how deep it falls between two kinds, of the lower peak
NEAR, NEAR_PROBES, NEAR_CENTRES, NEAR_MIN_WIDTH = 0.1, 500, 50, 16
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@measure
def untrained_share(table: EmbeddingTable) -> Estimate:
    """Share of the known rows that look untouched by training, found without any list of tokens.

    A row counts where one of five fingerprints fits: it is zero; it is far shorter than the others; it lies as near to
    the mean of rows that can't have been trained (reserved by name, or padding past the tokenizer; of two kinds of
    them, the nearer) as 99% of those do themselves; it equals another row bit for bit; it lies within a tenth of its
    length of another row. The last is searched around 500 sampled tokens, so a group of fewer than one row in 100 may
    be missed; the others see every row, and the share is exact in that sense. How near is near is a choice: details
    state the share at others, and where those from 90% to 99.5% of the unused rows lie on both sides of a bound, the
    share decides nothing. After Land and Bartolo, "Fishing for
    Magikarp: Automatically Detecting Under-trained Tokens in Large Language Models" (2024). Details list the rows, how
    many each fingerprint fits, and how tokens survive the round trip through text.

    Parameters
    ----------
    table
        Its population, and zero rows that the tokenizer names, are the known rows.
    """
    zero = np.flatnonzero(table.status == RowStatus.ZERO)
    if table.kind == "known":  # zero rows that would be in the population but for having no direction
        zero = zero[table.vocabulary.status[zero] == RowStatus.KNOWN]
    rows = np.union1d(table.population, zero)
    fitted = fingerprints(table, rows)
    fits = np.zeros(len(table.vectors), dtype=np.int64)
    for fingerprint in fitted:
        fits[fingerprint.rows] += 1
    cuts = _at_other_cuts(fitted, rows)
    norms = table.norms.cpu().double().numpy()
    flagged = np.flatnonzero(fits)
    flagged = flagged[np.lexsort((norms[flagged], -fits[flagged]))]
    why = [[fingerprint.name for fingerprint in fitted if row in fingerprint.rows] for row in flagged[:LISTED].tolist()]
    examples = listed(table, flagged[:LISTED], value=norms[flagged])
    examples = [{**example, "why": names} for example, names in zip(examples, why, strict=True)]
    return Estimate.exact(
        len(flagged) / len(rows),
        n=len(rows),
        unit="known rows",
        name="share of rows that look untrained",
        parts=(tokens_part(table, rows, fits[rows] > 0),),
        effect={"name": "rows that look untrained", "value": len(flagged)},
        details={
            "fingerprints": {f.name: {"rows": len(f.rows), **f.about} for f in fitted},
            **({"cuts": cuts} if cuts else {}),
            "listed": examples,
            "round_trip": round_trip(table),
        },
        counterexamples=examples[:10],
        reason=_undecided(cuts),
    )


def _at_other_cuts(fitted: list[Fingerprint], rows: Ints) -> list[Details]:
    """The share, were ``near_unused`` to reach as far as other shares of the unused rows do."""
    near = next(fingerprint for fingerprint in fitted if fingerprint.name == "near_unused")
    others = np.concatenate([fingerprint.rows for fingerprint in fitted if fingerprint is not near])
    return [
        {"unused_within": cut, "rows": len(known), "share": len(np.union1d(others, known)) / len(rows)}
        for cut, known in near.cuts.items()
    ]


def _undecided(cuts: list[Details]) -> str | None:
    """Why the share must not decide a claim; none where all sensible cuts decide those in force alike."""
    shares = [cut["share"] for cut in cuts if cut["unused_within"] >= 0.9]
    if len(set(shares)) < 2 or is_decided(min(shares), max(shares)):
        return None
    return (
        f"{min(shares):.2%} to {max(shares):.2%} of the rows look untrained, as near_unused reaches as far as 90% or "
        "99.5% of the unused rows do"
    )


def round_trip(table: EmbeddingTable) -> Details:
    """How many tokens come back from their own text, with examples of those that do not.

    Undecodable tokens are bytes that are no text by themselves; unreachable ones are text that the tokenizer never
    turns into them; the others are reachable, or special, unused or padding.
    """
    named = min(len(table.vectors), len(table.tokens))
    status, kinds = table.vocabulary.status[:named], table.vocabulary.kinds[:named]
    text = (status == RowStatus.KNOWN) | (status == RowStatus.UNREACHABLE)
    broken = np.fromiter((_REPLACEMENT in token for token in table.tokens[:named]), dtype=np.bool_, count=named)
    undecodable = text & ((kinds == TokenKind.BYTE) | broken)
    groups = {
        "reachable": text & ~undecodable & (status == RowStatus.KNOWN),
        "unreachable": text & ~undecodable & (status == RowStatus.UNREACHABLE),
        "undecodable": undecodable,
        "special": status == RowStatus.SPECIAL,
        "unused": status == RowStatus.UNUSED,
    }
    counts = {name: int(mask.sum()) for name, mask in groups.items()}
    return {
        **counts,
        "padding": len(table.vectors) - named,
        "examples": {
            name: listed(table, np.flatnonzero(groups[name])[:EXAMPLES]) for name in ("unreachable", "undecodable")
        },
    }


# --- fingerprints: each fits some rows, and says how it judged --------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """Rows (ids, ascending) that one fingerprint fits."""

    name: str
    rows: Ints
    about: Details = field(default_factory=dict)
    cuts: Mapping[float, Ints] = field(default_factory=dict)
    """The rows that it would fit if it were judged otherwise."""


def fingerprints(table: EmbeddingTable, rows: Ints) -> list[Fingerprint]:
    """Every fingerprint, on known rows given by ids: those of the population, and zero rows."""
    zero = np.setdiff1d(rows, table.population)
    return [Fingerprint("zero", zero), _short(table), _near_unused(table), _equal(table), _near_another(table)]


def _short(table: EmbeddingTable) -> Fingerprint:
    """Rows whose length is 5 robust standard deviations below the median, and less than a quarter of it.

    Judged on the logarithm of the length; the spread is 1.4826 times the median absolute deviation.
    """
    rows = table.population
    scaled = np.log(table.norms.cpu().double().numpy()[rows])
    middle = float(np.median(scaled))
    spread = 1.4826 * float(np.median(np.abs(scaled - middle)))
    limit = middle - max(SHORT * spread, math.log(SHORT_FACTOR))
    about = {"median_norm": math.exp(middle), "below": math.exp(limit)}
    return Fingerprint("short", rows[scaled < limit], about)


def _near_unused(table: EmbeddingTable) -> Fingerprint:
    """Rows as near to the mean of rows that can't have been trained as 99% of those are.

    Not used where fewer than 5 such rows exist, or where half of the known rows are as near: then the mean of unused
    rows tells nothing apart.
    """
    name, rows = "near_unused", table.population
    norms = table.norms.cpu().numpy()
    unused = np.isin(table.status, (RowStatus.UNUSED, RowStatus.PADDING)) & (norms > 0) & np.isfinite(norms)
    reference = np.flatnonzero(unused)
    if len(reference) < MIN_REFERENCE:
        note = f"{len(reference)} rows are reserved or padding; at least {MIN_REFERENCE} are needed"
        return Fingerprint(name, rows[:0], {"reference_rows": len(reference), "not_used": note})
    nearer = _nearer_kind(table, reference)
    center = blocks.mean_vector(table, nearer)
    own, distances = blocks.distances(table, nearer, center), blocks.distances(table, rows, center)
    limits = dict(zip(CUTS, np.quantile(own, CUTS).tolist(), strict=True))
    cuts = {cut: rows[distances <= limit] for cut, limit in limits.items()}
    about = {
        "reference_rows": len(nearer),
        "other_kind": len(reference) - len(nearer),
        "within": limits[OWN_SHARE],
        "median_distance": float(np.median(distances)),
    }
    if len(cuts[OWN_SHARE]) >= APART * len(rows):
        share = len(cuts[OWN_SHARE]) / len(rows)
        note = f"{share:.0%} of the known rows are as near to the mean of the unused rows as those are"
        return Fingerprint(name, rows[:0], {**about, "not_used": note})
    return Fingerprint(name, cuts[OWN_SHARE], about, cuts)


def _nearer_kind(table: EmbeddingTable, reference: Ints) -> Ints:
    """The unused rows up to the first valley of their distances, where these are of two kinds; otherwise all of them.

    Reserved rows that text reached after all, or that were copied from others, lie farther from the rest than it does
    from itself, and a quantile of all would be theirs. The distance is from the median of each coordinate, which half
    of the rows can't move far; its logarithm's density is a kernel's with Scott's bandwidth, too wide for two kinds
    rather than too narrow for one. A valley is no more than half as high as the peaks on either side, and has at least
    5 rows and 1 in 100 there; where it is, as a place between the kinds, plays no part in what is near.
    """
    from scipy import signal, stats  # not with the module: workers, whose memory is counted, have passes of it only

    center = table.gather(reference).median(dim=0).values
    distances = blocks.distances(table, reference, center)
    scaled = np.log(np.maximum(distances, 1e-6 * max(float(np.median(distances)), 1e-30)))
    if np.ptp(scaled) == 0:
        return reference
    places = np.linspace(scaled.min(), scaled.max(), _GRID)
    density = stats.gaussian_kde(scaled)(places)
    least = max(MIN_REFERENCE, (1 - OWN_SHARE) * len(scaled))
    for valley in signal.argrelmin(density)[0]:
        nearer = scaled < places[valley]
        peak = min(density[:valley].max(), density[valley:].max())
        if density[valley] <= _VALLEY * peak and least <= nearer.sum() <= len(scaled) - least:
            return np.asarray(reference[nearer])
    return reference


def _equal(table: EmbeddingTable) -> Fingerprint:
    """Rows that equal another row of the population, number for number."""
    groups = equal_groups(table)
    rows = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *groups]))
    return Fingerprint("equal", rows, {"groups": len(groups)})


def _near_another(table: EmbeddingTable) -> Fingerprint:
    """Rows within a tenth of its length of a sampled token that has such a neighbor; the sampled token too."""
    name, population = "near_another", table.population
    if table.width < NEAR_MIN_WIDTH:
        note = f"in {table.width} dimensions random rows come as near"
        return Fingerprint(name, population[:0], {"not_used": note})
    probes = table.probes(min(NEAR_PROBES, len(population)))
    closest = population[nearest(table, probes, 1, by="distance")[:, 0]]
    scale = blocks.lengths(table, probes)[:, None]  # in lengths of the token, since squares of short rows have no float
    apart = torch.linalg.vector_norm(table.gather(probes) / scale - table.gather(closest) / scale, dim=1)
    centres = probes[(apart <= NEAR).cpu().numpy()]
    near = np.zeros(len(population), dtype=np.bool_)
    if len(centres):
        chosen = centres[:NEAR_CENTRES]
        near = blocks.per_row(table, _is_near, Probes.of(table, chosen))
        near[np.searchsorted(population, chosen)] = True
    return Fingerprint(name, population[near], {"searched_around": len(probes), "sampled_with_neighbor": len(centres)})


def _is_near(part: EmbeddingTable, centres: Probes) -> NDArray[np.bool_]:
    """Whether each row of the population is within a tenth of the length of one of some rows from it."""
    near = np.zeros(len(part.population), dtype=np.bool_)
    with blocks.full_precision():
        length, own = blocks.lengths(part, part.population), centres.norms.float()[:, None].to(part.vectors.device)
        query = centres.units().to(length.device)
        for some, cosine in blocks.tiles(part, query, centres.places(part), own=-1.0):
            ratio = length[some] / own
            near[some] |= (1 + ratio**2 - 2 * ratio * cosine <= NEAR**2).any(0).cpu().numpy()
    return near
