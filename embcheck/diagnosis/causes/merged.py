"""Rows between those of two parents: a linear mean, or one along the arc (slerp, Shoemake 1985)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Merge", "merge_of"]


@dataclass(frozen=True, slots=True)
class Merge:
    """How two parents are mixed, and how far rows lie from that."""

    kind: str
    share: float
    apart: Tensor

    def explain(self, residual: float) -> Explanation:
        """The kind, and the share of the second parent."""
        word = {"linear": "linear mean", "slerp": "spherical mean (slerp)"}[self.kind]
        return Explanation(
            "merged",
            {"kind": self.kind, "share": self.share},
            residual,
            sentence=f"every row is the {word} of the two parents, {self.share:.1%} of it the second's",
            remedy="expected of a merge of these two; check it against each parent with embcheck compare",
        )


def merge_of(a: Tensor, b: Tensor, mixed: Tensor) -> Merge:
    """The mean of (n, d) rows of two parents that comes nearest to a third's: its share is fitted on them."""
    apart = b - a
    linear = float(((mixed - a) * apart).sum() / apart.square().sum().clamp(min=1e-300))
    fits = [Merge("linear", linear, mixed - (a + linear * apart))]
    low, high = 0.0, 1.0
    for _ in range(40):  # ternary search: distance along an arc has one minimum
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if _distance(a, b, mixed, left) < _distance(a, b, mixed, right):
            high = right
        else:
            low = left
    share = (low + high) / 2
    fits.append(Merge("slerp", share, mixed - _slerp(a, b, share)))
    return min(fits, key=lambda fit: float(fit.apart.square().sum()))


def _distance(a: Tensor, b: Tensor, mixed: Tensor, share: float) -> float:
    return float((mixed - _slerp(a, b, share)).square().sum())


def _slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Row by row, with the parents' own lengths, as merging tools do: sin((1-t)w)/sin(w) a + sin(tw)/sin(w) b."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)[:, None]
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    is_near = sine < 1e-6
    weights = [torch.where(is_near, t, torch.sin(t * angle) / sine.clamp(min=1e-12)) for t in (1 - share, share)]
    return weights[0] * a + weights[1] * b
