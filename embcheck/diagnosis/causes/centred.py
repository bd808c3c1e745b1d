"""Taken away or added: the mean row, each row's own mean, one number or vector, the mean and top components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.diagnosis.view import Moments

__all__ = ["ComponentsRemoved", "Constant", "MeanRemoved", "Offset", "RowsCentred"]

REMOVED = 0.01  # of a component's variance may be left: rows are rounded
_SOME = 1e-3  # of the distance of rows from their mean: less is no mean


@dataclass(frozen=True, eq=False)
class MeanRemoved:
    r""":math:`b = a - \mu` with the mean row of the reference."""

    mean: Tensor
    share: float
    count: int = 0

    @classmethod
    def fit(cls, _a: Tensor, _b: Tensor, moments: Moments) -> MeanRemoved | None:
        """The mean, unless there is none to speak of."""
        share = float(moments.mean.norm()) / max(moments.spread, 1e-300)
        return cls(moments.mean, share) if share > _SOME else None

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows less the mean."""
        return rows - self.mean

    def explain(self, _width: int) -> Explanation:
        """How long the mean was."""
        return Explanation(
            "mean_removed",
            {"length": float(self.mean.norm())},
            sentence=f"the mean row, {self.share:.2g} of the typical distance from it, is taken away",
            remedy="add the reference's mean row again, or compare with a reference that is centred as well",
        )


@dataclass(frozen=True, eq=False)
class RowsCentred:
    r""":math:`b = a - \bar a 1` with the mean of each row's own values, which layer normalisation does not see."""

    count: int = 0

    @classmethod
    def fit(cls, _a: Tensor, _b: Tensor, _moments: Moments) -> RowsCentred:
        """Nothing is fitted."""
        return cls()

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows whose values have the mean 0."""
        return rows - rows.mean(1, keepdim=True)

    def explain(self, _width: int) -> Explanation:
        """That it is each row's own."""
        return Explanation(
            "mean_removed",
            {"of": "each row"},
            sentence="each row has lost the mean of its own values",
            remedy="a layer normalisation behind it does not see that (TransformerLens and QuaRot do it on purpose): "
            "load the weights unprocessed, or centre the reference as well",
        )


@dataclass(frozen=True, eq=False)
class Offset:
    r""":math:`b = a + c`, with the median of each coordinate of :math:`b - a`."""

    vector: Tensor
    share: float

    @property
    def count(self) -> int:
        """One a column."""
        return len(self.vector)

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, moments: Moments) -> Offset | None:
        """The vector."""
        vector = (b - a).median(0).values
        return cls(vector, float(vector.norm()) / max(moments.spread, 1e-300))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows plus the vector."""
        return rows + self.vector

    def explain(self, _width: int) -> Explanation:
        """How long it is."""
        return Explanation(
            "mean_added",
            {"length": float(self.vector.norm())},
            sentence=f"one vector, {self.share:.2g} of the typical distance from the mean, is added to every row",
            remedy="subtract it: cosines of all pairs move with it; look for a bias or a position or type embedding "
            "that was folded in, or for a reference that is centred",
        )


@dataclass(frozen=True, eq=False)
class Constant:
    r""":math:`b = a + c 1`, with the median over rows of the mean of :math:`b - a`, which rounding leaves alone."""

    number: float
    count: int = 1

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, _moments: Moments) -> Constant:
        """The number."""
        return cls(float((b - a).mean(1).median()))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows plus the number."""
        return rows + self.number

    def explain(self, width: int) -> Explanation:
        """The number, and how long the vector of it is."""
        return Explanation(
            "mean_added",
            {"length": abs(self.number) * width**0.5, "constant": self.number},
            sentence=f"{self.number:.4g} is added to every value",
            remedy="subtract it; where values are quantized, a zero point was not taken off before the scale",
        )


@dataclass(frozen=True, eq=False)
class ComponentsRemoved:
    r"""All-but-the-top (Mu and Viswanath 2018): :math:`b = (a - \mu)(I - U_k U_k')`; the mean may stay."""

    mean: Tensor
    axes: Tensor
    keeps_mean: bool = False

    @property
    def count(self) -> int:
        """How many components, and which mean."""
        return 2

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, moments: Moments) -> ComponentsRemoved | None:
        """As many leading components of the reference as have hardly any variance in the candidate."""
        values, axes = moments.axes
        before = ((a - moments.mean) @ axes).var(0)
        after = ((b - b.median(0).values) @ axes).var(0)
        total = after.sum() / before[len(values) // 2 :].sum().clamp(min=1e-300) if len(values) > 1 else after.sum()
        is_gone = after < REMOVED * before * min(1.0, float(total))
        k = int((~is_gone).to(torch.int8).argmax()) if not bool(is_gone.all()) else 0
        if not 0 < k < len(values):
            return None
        fits = [cls(moments.mean, axes[:, :k], keeps) for keeps in (False, True)]
        return max(fits, key=lambda fit: float(torch.nn.functional.cosine_similarity(b, fit(a), dim=1).median()))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows without the components."""
        apart = rows - self.mean
        kept = apart - (apart @ self.axes) @ self.axes.T
        return kept + self.mean if self.keeps_mean else kept

    def explain(self, _width: int) -> Explanation:
        """How many components."""
        k, too = self.axes.shape[1], "" if self.keeps_mean else "the mean and "
        noun = "component is" if k == 1 and not too else "components are"
        return Explanation(
            "components_removed",
            {"components": k},
            sentence=f"{too}the top {k} principal {noun} taken away (all-but-the-top)",
            remedy="they can't be had back from the candidate; use the table as it was before that post-processing",
        )
