"""Which columns stand where: permuted, sliced, padded with zeros, shards merged in the wrong way, signs flipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.diagnosis.view import View
    from embcheck.stats import Ints

__all__ = ["columns_of"]

CLEAR = 0.8  # correlation of a column with the one that it is, in the median
BETTER = 0.15  # and how much better than if columns were where they are
_ROWS = 3_000


@dataclass(frozen=True, eq=False)
class _Match:
    """Of each candidate column the reference's that it is, and their correlation."""

    best: Ints
    correlation: torch.Tensor


def columns_of(view: View) -> tuple[View, Explanation | None] | None:
    """The view with its columns laid out as the candidate's, and what became of them; none where widths can't fit.

    Each column is the one of the reference that it correlates with most over rows that have a source.
    """
    before, after = view.reference.width, view.candidate.width
    rows = view.sample[0][:_ROWS]
    a = view.reference.gather(view.source[rows]).double().cpu()
    b = view.actual(rows)
    is_zero = (b == 0).all(0)
    live = np.flatnonzero(~is_zero.numpy())
    if not len(live) or len(rows) < 10:
        return None if before != after else (view, None)
    match = _match(a, b[:, live], live)
    columns, signs = np.full(after, -1, dtype=np.int64), torch.ones(after, dtype=torch.float64)
    is_clear = float(match.correlation.abs().median()) >= CLEAR and len(np.unique(match.best)) == len(live)
    if not is_clear:
        if before == after:
            return view, None
        if (live >= before).any():
            return None
        match = _Match(live, torch.ones(len(live)))
    columns[live] = match.best
    signs[live] = torch.where(match.correlation < 0, -1.0, 1.0).double()
    if bool((signs == -1).all()):  # one factor of -1
        signs = torch.ones_like(signs)
    flips = int((signs < 0).sum())
    if np.array_equal(columns, np.arange(before)) and before == after and not flips:
        return view, None
    laid_out = view.with_(columns=columns, signs=signs if flips else None)
    return laid_out, _explain(columns, live, before, flips)


def _match(a: torch.Tensor, b: torch.Tensor, live: Ints) -> _Match:
    """The column that correlates most; the one in its own place where that does about as well."""
    a, b = ((x - x.median(0).values).clamp(-4 * x.std(), 4 * x.std()) for x in (a, b))
    a, b = (x - x.mean(0) for x in (a, b))
    a, b = (x / torch.linalg.vector_norm(x, dim=0).clamp(min=1e-300) for x in (a, b))
    correlations = a.T @ b
    best = correlations.abs().argmax(0).numpy()
    ids = np.arange(len(live))
    own = np.minimum(live, len(correlations) - 1)
    size = correlations.abs().numpy()
    stays = (live < len(correlations)) & (size[own, ids] > size[best, ids] - BETTER)
    best = np.where(stays, live, best)
    return _Match(best, correlations[best, ids])


def _explain(columns: Ints, live: Ints, before: int, flips: int) -> Explanation:
    after, kept = len(columns), columns[live]
    if flips and np.array_equal(columns, np.arange(before)):
        return Explanation(
            "rotated",
            {"kind": "reflected", "columns": flips},
            sentence=f"the signs of {flips} of {after} columns are flipped: cosines stay, coordinates do not",
            remedy="flip them back, or fold the signs into what reads the rows",
        )
    if len(live) < after and np.array_equal(kept, np.arange(before)) and np.array_equal(live, np.arange(before)):
        return Explanation(
            "columns_padded",
            {"from": before, "to": after},
            sentence=f"{after - before} columns of zeros stand behind the reference's {before}",
            remedy="harmless for dot products and cosines; leave them out, or pad the layers that read them too",
        )
    if np.array_equal(kept, np.arange(len(kept))) and len(kept) == after < before:
        return Explanation(
            "columns_sliced",
            {"kept": after, "of": before},
            sentence=f"only the first {after} of {before} columns are left (as a Matryoshka prefix is)",
            remedy="ask for the whole width (truncate_dim, dimensions), or compare with a reference cut as short",
        )
    for name, order in _merges(before):
        if len(kept) == after == before and np.array_equal(kept, order):
            return Explanation(
                "columns_interleaved",
                {"order": name},
                sentence=f"columns are merged wrongly: {name}",
                remedy="merge the tensor-parallel shards by whole blocks of columns, in the order of their ranks",
            )
    moved = int((kept != live).sum())
    return Explanation(
        "columns_permuted",
        {"moved": moved, "of": after},
        sentence=f"{moved} of {after} columns stand in another place",
        remedy="cosines and lengths stay; permute them back, or permute the layers that read them likewise",
    )


def _merges(width: int) -> Iterator[tuple[str, Ints]]:
    """Orders that wrong merges leave: shards taken by turns, or joined in another order."""
    ids = np.arange(width)
    for shards in (2, 3, 4, 6, 8, 12, 16, 32):
        if width % shards == 0 and width > shards:
            parts = ids.reshape(shards, -1)
            yield f"{shards} shards taken by turns", parts.T.ravel()
            yield f"{shards} shards dealt out by turns", ids.reshape(-1, shards).T.ravel()
            yield f"{shards} shards in reverse order", parts[::-1].ravel()
            for k in range(1, shards):
                yield f"{shards} shards, turned by {k}", np.roll(parts, k, axis=0).ravel()
