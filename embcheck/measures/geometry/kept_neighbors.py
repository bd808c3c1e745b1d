"""Compression: which neighbors stay when rows are stored in fewer bits or columns?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import KEPT, Details, Estimate, measure
from embcheck.measures.kernels.nearest import Encode, nearest
from embcheck.measures.resolve import lowest
from embcheck.settings import current
from embcheck.table.table import row_norms

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["WAYS", "encoder", "kept_neighbors"]

WAYS = ("int8", "signs", "prefix", "random columns")
NEIGHBORS, PROBES = 10, 200
_SHARE = 4  # one column in so many is kept
_LARGEST = 127  # of a signed byte, both ways


@measure
def kept_neighbors(table: EmbeddingTable, *, by: str = "int8", rng: np.random.Generator) -> Estimate:
    r"""Share of a token's ten nearest rows that are still among its ten nearest once all rows are compressed.

    The mean over probe tokens of :math:`|N(i) \cap N'(i)| / 10`, :math:`N(i)` the ten rows of the population nearest to
    row i by cosine, i left out, and :math:`N'(i)` those of the compressed rows. ``int8`` rounds
    :math:`127 x / \max |x|` of each row; ``signs`` keeps whether each number is negative; ``prefix`` keeps the first
    quarter of the columns, as Matryoshka embeddings are cut (Kusupati et al. 2022), and ``random columns`` as many
    drawn at random, beside which a prefix means something. Rows that compress to zero are near nothing; equal cosines,
    as signs have many, go by row id. Unit: probe tokens, 200 in hash order; interval: Student t with the
    finite-population correction, or betting; exact where all are probed. The details have the other ways, over the
    first 100 probes, unless the settings say to leave them out.

    Parameters
    ----------
    by
        One of ``WAYS``.

    Raises
    ------
    NotMeasurable
        At most 11 rows in the population; fewer than 4 columns, where columns are left out.
    UsageError
        An unknown way.
    """
    if by not in WAYS:
        raise UsageError(f"unknown way to compress {by!r}; choose one of {', '.join(WAYS)}")
    size = len(table.population)
    if size <= NEIGHBORS + 1:
        raise NotMeasurable(f"the population has {size} rows; more than {NEIGHBORS + 1} are needed")
    probes = table.probes(size if current().probes == "all" else current().sampled(PROBES))
    before = table.population[nearest(table, probes, NEIGHBORS)]
    kept = _kept(table, probes, before, by, rng)
    first = slice(0, PROBES // 2)
    others = [way for way in WAYS if way != by and (table.width >= _SHARE or way in {"int8", "signs"})]
    about: Details = {}
    if current().details:
        about = {way: float(_kept(table, probes[first], before[first], way, rng).mean()) for way in others}
    return Estimate.from_units(
        kept,
        unit="probe tokens",
        over_probes=True,
        labels=[table.token(int(row)) for row in probes[:KEPT]],
        population=size,
        bounds=(0.0, 1.0),
        name=f"share of the {NEIGHBORS} nearest rows kept by {by}",
        details={"by": by, "neighbors": NEIGHBORS, "kept_by_others": about, "probes_of_others": len(probes[first])},
        counterexamples=lowest(table, probes, kept),
    )


def _kept(table: EmbeddingTable, probes: Ints, before: Ints, by: str, rng: np.random.Generator) -> Floats:
    """(n,) share of each probe's neighbors that the compressed table has too."""
    compress = encoder(by, table.width, rng)
    kept = np.zeros(len(probes))
    known = np.flatnonzero(row_norms(compress(table.stored(probes)), table.accumulator).cpu().numpy())
    after = table.population[nearest(table, probes[known], NEIGHBORS, encode=compress)]
    kept[known] = [len(np.intersect1d(a, b)) / NEIGHBORS for a, b in zip(before[known], after, strict=True)]
    return kept


def encoder(by: str, width: int, rng: np.random.Generator) -> Encode:
    """What compresses rows of so many columns: to whole numbers as bytes, or to columns as they are stored."""
    if by in {"prefix", "random columns"}:
        count = width // _SHARE
        if not count:
            raise NotMeasurable(f"the table has {width} columns; at least {_SHARE} are needed")
        drawn = np.arange(count) if by == "prefix" else np.sort(rng.permutation(width)[:count])
        return partial(_to_columns, torch.from_numpy(drawn))
    return _to_int8 if by == "int8" else _to_signs


def _to_columns(columns: Tensor, rows: Tensor) -> Tensor:
    return rows[:, columns.to(rows.device)]


def _to_int8(rows: Tensor) -> Tensor:
    scaled = rows.to(torch.float32, copy=True)
    largest = scaled.abs().amax(1, keepdim=True)
    scaled.div_(torch.where(largest > 0, largest, 1.0)).mul_(_LARGEST)
    return scaled.nan_to_num_(0.0, 0.0, 0.0).round_().to(torch.int8)


def _to_signs(rows: Tensor) -> Tensor:
    return (rows < 0).view(torch.int8).mul(-2).add_(1)  # torch.where makes numbers of 64 bits first
