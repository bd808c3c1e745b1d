"""A candidate beside what is predicted of it: rows, columns and values of a reference under the causes found so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Map", "Moments", "Rows", "View", "moments_of", "sampled"]

HELD, FITTED, MOST = 1_000, 1_500, 6_000
_GOLDEN = np.uint64(
    0x9E3779B97F4A7C15
)  # Knuth's multiplicative hash: which rows are looked at hangs on their ids alone


class Map(Protocol):
    """What happened to values: (n, d) rows before to (n, d) rows after."""

    @property
    def count(self) -> int:
        """Numbers that were fitted."""

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows after it."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Of every candidate row how it lies beside its prediction; NaN where either is missing or broken."""

    cosine: Floats
    """(V,) cosine of the two, each from the mean of its own table."""
    distance: Floats
    """(V,) length of their difference in units of the typical distance of a candidate row from the mean."""
    is_equal: Bools


@dataclass(frozen=True, eq=False)
class Moments:
    """(d,) mean and (d, d) covariance of all finite rows of a table, float64."""

    mean: Tensor
    covariance: Tensor
    rows: int

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor]:
        """(d,) eigenvalues, largest first, and (d, d) eigenvectors in columns."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return values.flip(0).clamp(min=0), vectors.flip(1)

    @property
    def spread(self) -> float:
        """Root mean square distance of a row from the mean."""
        return float(self.covariance.trace().clamp(min=0).sqrt())


def moments_of(table: EmbeddingTable) -> Moments:
    """In one pass, float64, of rows less a first guess of their mean: no digits are lost to a long mean."""
    if "diagnose moments" not in table.memo:
        guess = _finite(table.gather(sampled(np.arange(len(table.vectors)), FITTED)).double()).mean(0)
        total, scatter, count = torch.zeros_like(guess), guess.new_zeros((table.width, table.width)), 0
        for part in table.slices(len(table.vectors)):
            rows = _finite(table.gather(part)).double() - guess
            total += rows.sum(0)
            scatter += rows.T @ rows
            count += len(rows)
        apart = total / max(count, 1)
        covariance = scatter / max(count, 1) - torch.outer(apart, apart)
        table.memo["diagnose moments"] = Moments((guess + apart).cpu(), covariance.cpu(), count)
    moments: Moments = table.memo["diagnose moments"]
    return moments


def sampled(ids: Ints, most: int) -> Ints:
    """At most so many of some ids, by a hash of each: the same ones whatever else there is."""
    if len(ids) <= most:
        return ids
    mixed = ids.astype(np.uint64) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _GOLDEN
    return np.sort(ids[np.argpartition(mixed, most)[:most]])


@dataclass(frozen=True, eq=False)
class View:
    """A reference as some causes would have changed it, row by row beside the candidate."""

    reference: EmbeddingTable
    candidate: EmbeddingTable
    source: Ints
    """(V,) reference row under each candidate row; -1 where there is none."""
    columns: Ints | None = None
    """(d',) reference column under each candidate column, -1 for columns of zeros; none where they are the same."""
    signs: Tensor | None = None
    maps: tuple[Map, ...] = ()
    memo: dict[str, object] = field(default_factory=dict, repr=False)

    def with_(self, **changes: object) -> View:
        """Another prediction of the same candidate."""
        return replace(self, memo={}, **changes)  # type: ignore[arg-type]

    def actual(self, rows: Ints | slice, dtype: torch.dtype = torch.float64) -> Tensor:
        """(n, d') candidate rows."""
        return self.candidate.gather(rows).to("cpu", dtype)

    def laid_out(self, source: Ints, dtype: torch.dtype = torch.float64) -> Tensor:
        """(n, d') reference rows in the candidate's columns."""
        rows = self.reference.gather(source).to("cpu", dtype)
        if self.columns is not None:
            rows = rows[:, torch.from_numpy(np.maximum(self.columns, 0))]
            rows[:, torch.from_numpy(self.columns < 0)] = 0
        return rows if self.signs is None else rows * self.signs.to(dtype)

    def predicted(self, rows: Ints) -> Tensor:
        """(n, d') what the candidate's rows would be; all of them need a source."""
        return self.through(self.source[rows])

    def through(self, source: Ints, dtype: torch.dtype = torch.float64) -> Tensor:
        """(n, d') reference rows after all changes."""
        values = self.laid_out(source, dtype)
        for change in self.maps:
            values = change(values)
        return values

    @cached_property
    def sample(self) -> tuple[Ints, Ints]:
        """Candidate rows with a source, finite in both: some to fit on, others to score on."""
        most = min(MOST, max(FITTED, 4 * self.candidate.width)) + HELD
        rows = sampled(np.flatnonzero(self.source >= 0), 2 * most)
        is_whole = torch.isfinite(self.actual(rows)).all(1) & torch.isfinite(self.laid_out(self.source[rows])).all(1)
        rows = rows[is_whole.numpy()][:]
        rows = sampled(rows, most)
        held = sampled(rows, min(HELD, len(rows) // 2))
        return np.setdiff1d(rows, held), held

    def compared(self) -> Rows:
        """Every row beside its prediction, in one pass over both."""
        if "rows" not in self.memo:
            size = len(self.candidate.vectors)
            cosine, distance = np.full(size, np.nan), np.full(size, np.nan)
            is_equal = np.zeros(size, dtype=np.bool_)
            fitted = self.sample[0]
            actual, predicted = self.actual(fitted), self.predicted(fitted)
            centers = actual.median(0).values.float(), predicted.median(0).values.float()
            scale = max(float(torch.linalg.vector_norm(actual - centers[0], dim=1).median()), 1e-30)
            dtype = torch.float64 if self.maps else torch.float32  # as they are stored, unless they are worked out
            for rows in self._parts():
                a, b = self.through(self.source[rows], dtype), self.actual(rows, dtype)
                is_equal[rows] = (a == b).all(1).numpy()
                distance[rows] = (torch.linalg.vector_norm(b - a, dim=1) / scale).numpy()
                cosine[rows] = torch.nn.functional.cosine_similarity(a - centers[1], b - centers[0], dim=1).numpy()
            self.memo["rows"] = Rows(cosine, distance, is_equal)
        return cast("Rows", self.memo["rows"])

    def _parts(self) -> Iterator[Ints]:
        for part in self.candidate.slices(len(self.source)):
            rows = np.arange(part.start, part.stop)
            if len(rows := rows[self.source[rows] >= 0]):
                yield rows


def _finite(rows: Tensor) -> Tensor:
    return rows[torch.isfinite(rows).all(1)]
