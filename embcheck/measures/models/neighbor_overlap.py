"""Neighbor overlap: do two tables have the same tokens near a token?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from embcheck import lexicons
from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.kernels.nearest import nearest
from embcheck.measures.models.alignment import align, linear_cka
from embcheck.progress import track
from embcheck.settings import DEFAULT_PROBES, current

if TYPE_CHECKING:
    from embcheck.measures.models.alignment import Alignment
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["neighbor_overlap", "shuffled_overlaps"]

DRAWS = 999
_NAMED, _NEIGHBORS = 10, 3


@measure
def neighbor_overlap(tables: tuple[EmbeddingTable, ...], k: int = 20, *, rng: np.random.Generator) -> Estimate:
    r"""Mean Jaccard index of a token's k nearest tokens in one table and in the other.

    Over the N tokens that both populations have with identical text (``embcheck.measures.models.alignment``), with
    :math:`N_k(i)` the k shared tokens nearest to i by cosine, i left out:
    :math:`\frac{1}{n} \sum_i |N_k^A(i) \cap N_k^B(i)| / |N_k^A(i) \cup N_k^B(i)|`. Unit: probe tokens, in hash order,
    each against all shared tokens: 1,000, or what ``--probes`` says; all of them is exact. Interval: Student t with the
    finite-population correction, or betting. Null: ``shuffled_alignment``, 999 times. Details: how much of either
    vocabulary is shared, the tokens with the largest overlap, that of two words of each category, and linear CKA of the
    shared rows with its null.

    Widths, dtypes and devices may differ: lists are compared, never vectors. Memory beyond the tables is one block of
    rows and the probes' lists.

    Parameters
    ----------
    k
        Length of a neighbor list.

    Raises
    ------
    NotMeasurable
        Not more than 3 k tokens are shared.
    UsageError
        ``k`` is not positive.
    """
    if k < 1:
        raise UsageError(f"neighbor lists need k >= 1, got {k}")
    shared = align(tables)
    size = len(shared)
    if size <= 3 * k:
        raise NotMeasurable(
            f"{size} shared tokens are too few for lists of {k} neighbors; more than {3 * k} are needed"
        )
    asked = current().probes
    count = asked if isinstance(asked, int) else size if asked == "all" else DEFAULT_PROBES
    probes = np.searchsorted(shared.first, tables[0].probes(count, among=shared.first))
    queried = _query_words(tables[0], shared) if current().details else {}
    places = np.concatenate([probes, np.array(list(queried.values()), dtype=np.int64)])
    lists = []  # for either table (m, k) places among the shared tokens of those nearest to each probe and query word
    for table, rows in zip(tables, (shared.first, shared.second), strict=True):
        order = np.argsort(rows)  # neighbors are found as places among ascending rows
        lists.append(order[nearest(table.among(rows), rows[places], k)])
    of_words = [near[len(probes) :] for near in lists]
    lists = [near[: len(probes)] for near in lists]
    units = _jaccard(_keys(lists[0], size), lists[1], size)
    draws = shuffled_overlaps(lists, probes, size, rng)
    order = np.argsort(units, kind="stable")
    lowest, highest = (
        [_about(tables, shared, int(probes[i]), float(units[i]), [near[i] for near in lists]) for i in some]
        for some in (order[:_NAMED], order[: -_NAMED - 1 : -1])
    )
    return Estimate.from_units(
        units,
        unit="probe tokens",
        over_probes=True,
        population=size,
        bounds=(0.0, 1.0),
        name=f"Jaccard index of the {k} nearest tokens",
        effect={"name": "overlap above the shuffled alignment", "value": float(units.mean() - draws.mean())},
        draws={"shuffled_alignment": draws},
        details={
            "neighbors": k,
            **shared.record,
            "quantiles": dict(zip(("5%", "50%", "95%"), np.quantile(units, (0.05, 0.5, 0.95)).tolist(), strict=True)),
            "cka": asdict(linear_cka(tables, shared)),
            "highest": highest,
            "words": dict(zip(queried, _jaccard(_keys(of_words[0], size), of_words[1], size).tolist(), strict=True)),
        },
        counterexamples=lowest,
    )


def _query_words(table: EmbeddingTable, shared: Alignment) -> dict[str, int]:
    """The first two words of each of the eight categories that are shared tokens, and their places among these."""
    (eight,) = lexicons.categories("eight")
    words = [word for group in eight.groups for word in group.words[:2]]
    place_of = {int(row): place for place, row in enumerate(shared.first)}
    return {w: place_of[row] for w, row in zip(words, table.rows(words), strict=True) if row in place_of}


def _keys(lists: Ints, size: int) -> Ints:
    """Sorted numbers, one for each row of (m, k) numbers below ``size`` and each entry in it."""
    return np.sort((np.arange(len(lists))[:, None] * size + lists).ravel())


def _jaccard(keys: Ints, lists: Ints, size: int) -> Floats:
    """(m,) Jaccard index of each row and the same row of the lists that the keys were made of."""
    wanted = np.arange(len(lists))[:, None] * size + np.sort(lists, axis=1)
    at = np.searchsorted(keys, wanted)
    common = (keys[np.minimum(at, len(keys) - 1)] == wanted).sum(1)
    return np.asarray(common / (2 * lists.shape[1] - common))


def shuffled_overlaps(lists: list[Ints], probes: Ints, size: int, rng: np.random.Generator) -> Floats:
    r"""The mean Jaccard index under 999 shuffled alignments, from the probes' lists alone.

    An alignment :math:`\sigma` gives the second table's token :math:`\sigma(i)` the name i. Its list under the new
    names is :math:`\sigma^{-1}(N_k^B(\sigma(i)))`, which is known where :math:`\sigma(i)` is a probe. The shuffles
    therefore permute probes among probes and the other tokens among themselves, both uniformly, with fixed points.
    These form a group, which is all that valid p-values need: were the second table's rows given to the shared tokens
    at random, each of its elements would leave the distribution as it is. Where all tokens are probes it is the group
    of all permutations. ``lists`` are two (m, k) arrays: neighbors of the probes, which are given by their (m,) places
    among the ``size`` shared tokens, as such places too.
    """
    keys, other_lists = _keys(lists[0], size), lists[1]
    others = np.setdiff1d(np.arange(size), probes)
    renamed, draws = np.empty(size, dtype=np.int64), np.empty(DRAWS)
    for i in track(range(DRAWS), "shuffled alignments"):
        order = rng.permutation(len(probes))
        renamed[probes[order]] = probes
        renamed[rng.permutation(others)] = others
        draws[i] = _jaccard(keys, renamed[other_lists[order]], size).mean()
    return draws


def _about(
    tables: tuple[EmbeddingTable, ...], shared: Alignment, position: int, value: float, lists: list[Ints]
) -> Details:
    """A probe, its overlap, and what is nearest to it in either table."""
    first, second = ([tables[0].token(int(shared.first[p])) for p in near[:_NEIGHBORS]] for near in lists)
    row = int(shared.first[position])
    return {
        "id": row,
        "other_id": int(shared.second[position]),
        "token": tables[0].token(row),
        "value": value,
        "near": first,
        "near_in_other": second,
    }
