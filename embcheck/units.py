"""What of an estimate a later one is compared with: its value, interval, and the units behind it with their labels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["KEPT", "Part", "Snapshot", "distinct", "part"]

KEPT = 1_000  # units of a part that are kept: the first ones in hash order


@dataclass(frozen=True, slots=True)
class Part:
    """Units of one stratum; an estimate is the weighted sum of its parts' means.

    ``population`` is the size of the finite population that the units were drawn from without replacement, the kept
    ones being the first of them. ``pseudo`` marks jackknife pseudo-values, which mean something all together only.
    ``bounds`` are the smallest and largest value that a unit can have.
    """

    labels: tuple[str, ...]
    values: tuple[float, ...]
    weight: float = 1.0
    population: int | None = None
    pseudo: bool = False
    bounds: tuple[float, float] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The part as JSON types."""
        return {
            "labels": list(self.labels),
            "values": list(self.values),
            "weight": self.weight,
            "population": self.population,
            "pseudo": self.pseudo,
            "bounds": None if self.bounds is None else list(self.bounds),
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An estimate on the scale on which two of them are compared."""

    value: float
    low: float
    high: float
    confidence_level: float
    is_exact: bool
    scale: str
    unit: str
    n: int
    parts: tuple[Part, ...] = ()

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Snapshot:
        """The snapshot of its JSON types.

        Raises
        ------
        KeyError, TypeError, ValueError
            They are not those of a snapshot.
        """
        fields = {key: record[key] for key in ("value", "low", "high", "confidence_level", "scale", "unit", "n")}
        for key in ("value", "low", "high", "confidence_level"):
            if not math.isfinite(fields[key]):
                raise ValueError(f"{key} is not a finite number")
        return cls(**fields, is_exact=bool(record["exact"]), parts=tuple(map(_read_part, record["parts"])))

    @property
    def record(self) -> dict[str, Any]:
        """The snapshot as JSON types."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "confidence_level": self.confidence_level,
            "exact": self.is_exact,
            "scale": self.scale,
            "unit": self.unit,
            "n": self.n,
            "parts": [one.record for one in self.parts],
        }


def part(
    labels: Iterable[str],
    values: Iterable[Any],
    *,
    weight: float = 1.0,
    population: int | None = None,
    pseudo: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Part:
    """A part of the first 1,000 units; pseudo-values are kept whole, since they mean something all together only.

    Raises
    ------
    UsageError
        There are fewer labels than units to keep.
    """
    names, numbers = list(labels), [float(value) for value in values]
    count = len(numbers) if pseudo else min(len(numbers), KEPT)
    if len(names) < count:
        raise UsageError(f"{len(numbers)} units have only {len(names)} labels; give one a unit")
    return Part(distinct(names[:count]), tuple(numbers[:count]), float(weight), population, pseudo, bounds)


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, a repeated one told apart by a number: a vocabulary may have two rows of one text."""
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        seen[label] += 1
        found.append(label if seen[label] == 1 else f"{label}\0{seen[label]}")
    return tuple(found)


def _read_part(record: Mapping[str, Any]) -> Part:
    labels, values = tuple(record["labels"]), tuple(record["values"])
    if len(labels) != len(values) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{len(values)} units have {len(labels)} labels")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ValueError("a unit has no finite value")
    bounds = record["bounds"]
    return Part(
        labels,
        values,
        float(record["weight"]),
        record["population"],
        bool(record["pseudo"]),
        None if bounds is None else (float(bounds[0]), float(bounds[1])),
    )
