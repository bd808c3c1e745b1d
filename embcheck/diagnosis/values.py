"""Which changes of values, one or two after the other, are tried, and how far each leaves held-out rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.causes.centred import ComponentsRemoved, Constant, MeanRemoved, Offset, RowsCentred
from embcheck.diagnosis.causes.rotated import Rotated, Whitened
from embcheck.diagnosis.causes.scaled import ColumnsScaled, Normalised, Scaled
from embcheck.diagnosis.view import Moments, moments_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from embcheck.diagnosis.view import Map, View

__all__ = ["ROUGH", "Trial", "laid_out", "trial", "tried"]

CHEAP = (Scaled, ColumnsScaled, MeanRemoved, RowsCentred, Constant, Offset, Normalised, ComponentsRemoved)
DEAR = (Whitened, Rotated)
SECOND = (Scaled, ColumnsScaled, Constant, Offset, Normalised)
TURNABLE = (MeanRemoved, RowsCentred, ComponentsRemoved, Normalised)
ROUGH = 4.0  # times the rounding: what is below is explained


@dataclass(frozen=True, eq=False)
class Trial:
    """Changes of values one after the other, and how far held-out rows are from where they lead."""

    maps: tuple[Map, ...]
    left: float
    cosine: float

    @property
    def count(self) -> int:
        """Numbers that were fitted."""
        return sum(change.count for change in self.maps)

    @property
    def name(self) -> str:
        """The changes, in order."""
        return " + ".join(change.explain(1).cause for change in self.maps) or "no change"  # type: ignore[attr-defined]

    def score(self, cells: int, error: float) -> float:
        """Schwarz's criterion: lower is better; nothing is gained below the rounding."""
        return 2 * cells * math.log(max(self.left, error)) + self.count * math.log(cells)


def trial(maps: tuple[Map, ...], ah: Tensor, bh: Tensor) -> Trial:
    """How far (n, d) rows are from where changes lead, as a share of the spread, in the median."""
    spread = max(float(bh.var(0, correction=0).sum().sqrt()), 1e-300)
    left = float(torch.linalg.vector_norm(bh - ah, dim=1).median()) / spread
    centers = ah.median(0).values, bh.median(0).values
    cosine = torch.nn.functional.cosine_similarity(ah - centers[0], bh - centers[1], dim=1).median()
    return Trial(maps, left if math.isfinite(left) else math.inf, float(cosine))


def tried(a: Tensor, b: Tensor, ah: Tensor, bh: Tensor, about: Callable[[], Moments], error: float) -> Iterator[Trial]:
    """Every change, and every two, from cheap ones on: dear ones where those leave more than rounding."""
    none = trial((), ah, bh)
    yield none
    if none.left <= ROUGH * error:
        return
    least, moments = none.left, about()
    for kinds, seconds, firsts in ((CHEAP, SECOND, CHEAP), (DEAR, SECOND, DEAR), ((), (Rotated,), TURNABLE)):
        for kind in dict.fromkeys((*kinds, *firsts)):
            if (first := kind.fit(a, b, moments)) is None:
                continue
            single = trial((first,), first(ah), bh)
            if kinds:
                yield single
                least = min(least, single.left)
            for other in seconds:
                if other is kind or single.left <= ROUGH * error:
                    continue
                if (second := other.fit(first(a), b, moments)) is not None:
                    both = trial((first, second), second(first(ah)), bh)
                    yield both
                    least = min(least, both.left)
        if least <= ROUGH * error:
            return


def laid_out(view: View) -> Moments:
    """The moments of the reference's columns where the candidate has them."""
    moments = moments_of(view.reference)
    if view.columns is None and view.signs is None:
        return moments
    columns = view.columns if view.columns is not None else np.arange(len(moments.mean))
    keep = torch.from_numpy(np.maximum(columns, 0))
    signs = view.signs if view.signs is not None else torch.ones(len(columns), dtype=torch.float64)
    signs = torch.where(torch.from_numpy(columns < 0), 0.0, signs)
    covariance = moments.covariance[keep][:, keep] * torch.outer(signs, signs)
    return Moments(moments.mean[keep] * signs, covariance, moments.rows)
