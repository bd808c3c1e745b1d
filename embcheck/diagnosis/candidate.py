"""Somebody else's vectors of known texts: what their numbers say of the precision, and how far they are from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

_DECIMALS = range(2, 7)
_ROUNDING = 1.5  # how many times what rounding leaves may be left over
_DISAGREEING_BITS = 0.003
_WIDE = 20


@dataclass(frozen=True, slots=True)
class Match:
    """How far vectors are from the candidate's. Every other row is for fitting, the rest for scoring."""

    fitted: float
    residual: float
    rows: Matrix
    """(n,) of each row."""
    tolerance: float
    """What noise and the candidate's own precision leave over."""

    @property
    def explains(self) -> bool:
        """Whether no more is left over than noise would."""
        return self.residual <= self.tolerance


class Candidate:
    """The vectors that are to be explained."""

    def __init__(self, vectors: Matrix, width: int) -> None:
        self.precision = _precision(vectors, width)
        packed = self.precision == "packed bits"
        self.vectors = _unpacked(vectors) if packed else vectors
        self.width = self.vectors.shape[1]
        self.largest = float(np.abs(vectors).max())

    def match(self, at: NDArray[np.int64], vectors: Matrix, noise: float) -> Match:
        """Hold vectors against the candidate's rows ``at``; ``noise`` is what the reference differs from itself by."""
        mine = self.vectors[at]
        lengths = np.maximum((vectors**2).sum(1), 1e-300)
        if self.precision in {"binary", "packed bits"}:
            squares, lengths = 4 * ((mine > 0) != (vectors > 0)).mean(1), np.ones(len(mine))
            tolerance = float(np.sqrt(4 * _DISAGREEING_BITS))
        elif self.precision in {"int8", "uint8"}:
            slope, offset = _line(vectors[::2], mine[::2])
            squares = ((mine - slope * vectors - offset) ** 2).sum(1)  # as steps, which rounding leaves half of at most
            lengths = np.full(len(mine), ((mine - mine.mean(0)) ** 2).sum() / len(mine))
            tolerance = _ROUNDING * float(np.sqrt(self.width / 12 / max(lengths[0], 1e-300))) + noise
        else:
            squares = ((mine - vectors) ** 2).sum(1)
            rounded = self._rounded(vectors)
            tolerance = _ROUNDING * float(np.sqrt(((rounded - vectors) ** 2).sum() / lengths.sum())) + noise
        fit, score = slice(0, None, 2), slice(1, None, 2) if len(vectors) > 1 else slice(0, None)
        return Match(
            float(np.sqrt(squares[fit].sum() / lengths[fit].sum())),
            float(np.sqrt(squares[score].sum() / lengths[score].sum())),
            np.sqrt(squares / lengths),
            tolerance,
        )

    def _rounded(self, vectors: Matrix) -> Matrix:
        rounding = _roundings(self.largest).get(self.precision)
        return vectors if rounding is None else rounding(vectors)


def _line(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    """Slope and offset, column by column, of the line through y over x."""
    center, height = x.mean(0), y.mean(0)
    spread = ((x - center) ** 2).sum(0)
    slope = ((x - center) * (y - height)).sum(0) / np.where(spread > 0, spread, 1.0)
    return slope, height - slope * center


def _roundings(largest: float) -> dict[str, Callable[[Matrix], Matrix]]:
    """What each precision keeps of numbers, coarsest last."""

    def of_row(vectors: Matrix) -> Matrix:
        step = np.abs(vectors).max(1, keepdims=True) / 127
        return np.asarray(np.round(vectors / step) * step)

    def of_all(vectors: Matrix) -> Matrix:
        return np.asarray(np.round(vectors * 127 / largest) * largest / 127)

    decimals = {f"{n} decimals": lambda v, n=n: np.round(v, n) for n in reversed(_DECIMALS)}
    return {
        "float32": lambda v: v.astype(np.float32).astype(np.float64),
        "float16": lambda v: v.astype(np.float16).astype(np.float64),
        "bfloat16": _to_bfloat16,
        **decimals,
        "int8 by vector": of_row,
        "int8 by matrix": of_all,
    }


def _to_bfloat16(vectors: Matrix) -> Matrix:
    """Eight bits of significand: float32 without its lower half, rounded to even."""
    bits = vectors.astype(np.float32).view(np.uint32).astype(np.uint64)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return kept.astype(np.uint32).view(np.float32).astype(np.float64)


def _precision(vectors: Matrix, width: int) -> str:
    """The coarsest grid that all numbers lie on."""
    is_whole = bool((vectors == np.round(vectors)).all())
    low, high = float(vectors.min()), float(vectors.max())
    if is_whole and vectors.shape[1] * 8 == width and -128 <= low <= high <= 255:
        return "packed bits"
    if is_whole and len(np.unique(vectors)) == 2:
        return "binary"
    if is_whole and -128 <= low <= high <= 255:
        return "int8" if low < 0 else "uint8"
    largest = max(abs(low), abs(high))
    exact = np.float64(largest) * np.finfo(np.float32).eps  # as near to a decimal as float32 comes
    for name, rounding in reversed(_roundings(largest).items()):
        is_grid = "by" in name or "decimals" in name
        if "decimals" in name and 10.0 ** -int(name.split()[0]) < _WIDE * exact:
            continue  # numbers so long that all of them would be near one
        if np.abs(rounding(vectors) - vectors).max() <= (exact if is_grid else 0.0):
            return name
    return "float32"


def _unpacked(vectors: Matrix) -> Matrix:
    """The bits of bytes, as -1 and 1; signed ones have 128 taken off, as sentence-transformers does."""
    signed = 128 if vectors.min() < 0 else 0
    return np.unpackbits((vectors + signed).astype(np.uint8), axis=1).astype(np.float64) * 2 - 1
