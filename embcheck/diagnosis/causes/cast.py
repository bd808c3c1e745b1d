"""Values rounded to a smaller float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cast", "cast_of", "half_ulp"]

_FLOATS = {  # fewest bits first: what one of few bits can hold, the wider ones can as well
    "float8_e5m2": (torch.float8_e5m2, 2.0**-3, 57_344.0),
    "float8_e4m3": (torch.float8_e4m3fn, 2.0**-4, 448.0),
    "bfloat16": (torch.bfloat16, 2.0**-9, None),
    "float16": (torch.float16, 2.0**-12, None),
    "float32": (torch.float32, 2.0**-25, None),
}


@dataclass(frozen=True, eq=False)
class Cast:
    """Values as one of the smaller floats holds them, times one scale of the tensor."""

    dtype: str
    scale: float = 1.0
    count: int = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows rounded."""
        return (rows / self.scale).float().to(_FLOATS[self.dtype][0]).double() * self.scale

    def explain(self, _width: int) -> Explanation:
        """Which float."""
        by = f", times one scale of {self.scale:.4g}" if self.scale != 1 else ""
        return Explanation(
            "cast",
            {"dtype": self.dtype, "scale": self.scale},
            sentence=f"values are rounded to {self.dtype}{by}",
            remedy="nothing to do if that precision was meant",
        )


def cast_of(values: Tensor, largest: float) -> Cast | None:
    """The smallest float that holds every value, as it is or by the scale that puts the largest at its end."""
    flat = values.flatten()
    for name, (dtype, _ulp, end) in _FLOATS.items():
        for scale in (1.0, *([largest / end] if end and largest > 0 else [])):
            scaled = (flat / scale).float()
            kept = scaled.to(dtype).float()
            tolerance = 0.0 if scale == 1 else 1e-5
            if bool(((kept - scaled).abs() <= tolerance * scaled.abs()).all()):
                return Cast(name, scale)
    return None


def half_ulp(dtype: str) -> float:
    """Largest relative error of rounding."""
    return _FLOATS[dtype][1]
