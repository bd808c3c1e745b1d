"""Rows turned as one: rotated, reflected, or whitened first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.diagnosis.view import Moments

__all__ = ["Rotated", "Whitened", "procrustes"]

_RANK = 1e-8  # of the largest variance: directions below it can't be whitened
_TRIMMED = 3.0  # medians: rows farther off were overwritten, and are left out of a second fit


def procrustes(a: Tensor, b: Tensor) -> Tensor:
    r"""(d, d) orthogonal Q that brings aQ nearest to b, up to one factor (Schoenemann 1966), some rows being wrong."""
    for _ in range(2):
        left, _values, right = torch.linalg.svd(a.T @ b)
        turn: Tensor = left @ right
        turned = a @ turn
        scale = (turned * b).sum() / (turned * turned).sum().clamp(min=1e-300)
        apart = torch.linalg.vector_norm(b - scale * turned, dim=1)
        is_near = apart <= _TRIMMED * apart.median()
        if bool(is_near.all()) or int(is_near.sum()) <= a.shape[1]:
            break
        a, b = a[is_near], b[is_near]
    return turn


@dataclass(frozen=True, eq=False)
class Rotated:
    """b = aQ."""

    turn: Tensor

    @property
    def count(self) -> int:
        """Angles of a rotation."""
        return len(self.turn) * (len(self.turn) - 1) // 2

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, _moments: Moments) -> Rotated | None:
        """The nearest orthogonal matrix, where rows are enough to fit one."""
        if len(a) < 2 * a.shape[1]:
            return None
        return cls(procrustes(a, b))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows turned."""
        return rows @ self.turn

    def explain(self, width: int) -> Explanation:
        """Whether it reflects, and how far it turns."""
        is_reflection = float(torch.linalg.det(self.turn)) < 0
        word = "reflected" if is_reflection else "rotated"
        return Explanation(
            "rotated",
            {"kind": word, "trace": float(self.turn.trace()) / width},
            sentence=f"all rows are {word} by one orthogonal matrix: cosines and lengths stay, coordinates do not",
            remedy="layers trained on the reference's coordinates no longer fit: undo the rotation (Procrustes), or "
            "fold it into what reads the rows; QuaRot-like quantization does this on purpose",
        )


@dataclass(frozen=True, eq=False)
class Whitened:
    r""":math:`b = (a - \mu) U \Lambda^{-1/2} Q`: covariance the identity; Q = U' for ZCA, orthogonal otherwise."""

    mean: Tensor
    matrix: Tensor
    count: int

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, moments: Moments) -> Whitened | None:
        """ZCA, the coordinates of PCA up to signs, or turned otherwise: whichever leaves least."""
        values, axes = moments.axes
        if bool((values <= _RANK * values[0]).any()) or len(a) < 2 * len(values):
            return None
        to_axes = axes / values.sqrt()
        fits = [cls(moments.mean, to_axes @ axes.T, 0)]
        scores = (a - moments.mean) @ to_axes
        signs = (scores * b).sum(0).sign()
        fits.append(cls(moments.mean, to_axes * signs, 1))
        fits.append(cls(moments.mean, to_axes @ procrustes(scores, b), len(values) * (len(values) - 1) // 2))
        left = [_left(fit(a), b) for fit in fits]
        return next(fit for fit, rest in zip(fits, left, strict=True) if rest <= 1.5 * min(left))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows whitened."""
        return (rows - self.mean) @ self.matrix

    def explain(self, _width: int) -> Explanation:
        """Which whitening."""
        kind = {0: "ZCA", 1: "PCA"}.get(self.count, "turned")
        return Explanation(
            "whitened",
            {"kind": kind},
            sentence=f"rows are centred and whitened ({kind}): their covariance is the identity",
            remedy="lengths and angles are new; use the table as it was before that post-processing",
        )


def _left(a: Tensor, b: Tensor) -> float:
    """Median distance of rows once one factor is allowed for."""
    scale = float(((a * b).sum(1) / (a * a).sum(1)).median())
    return float(torch.linalg.vector_norm(b - scale * a, dim=1).median())
