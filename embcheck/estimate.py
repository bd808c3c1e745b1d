"""Estimates: a value with its uncertainty, and what was counted to get it."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import msgspec
from msgspec import Meta, Struct

from embcheck.errors import NotMeasurable, UsageError
from embcheck.settings import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from embcheck.stats.intervals import Interval

__all__ = ["KEPT", "Details", "Estimate", "Part", "Reference", "Snapshot", "distinct", "measure", "part"]

_P = ParamSpec("_P")
Details = dict[str, Any]
"""What is said beside a value: JSON by contract."""

KEPT = 1_000  # units of a part that are kept: the first ones in hash order


@dataclass(frozen=True, slots=True)
class Reference:
    """Mean and standard error that a null model predicts for an estimate in closed form."""

    mean: float
    standard_error: float


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """Units of one stratum; an estimate is the weighted sum of its parts' means.

    ``population`` is the size of the finite population that the units were drawn from without replacement, the kept
    ones being the first of them. ``pseudo`` marks jackknife pseudo-values, which mean something all together only.
    ``bounds`` are the smallest and largest value that a unit can have.
    """

    labels: tuple[str, ...]
    values: tuple[float, ...]
    weight: float = 1.0
    population: Annotated[int, Meta(ge=0)] | None = None
    pseudo: bool = False
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.values):
            raise ValueError(f"{len(self.values)} units have {len(self.labels)} labels")


class Snapshot(Struct, frozen=True, forbid_unknown_fields=True):
    """An estimate on the scale on which two of them are compared."""

    value: int | float
    low: int | float
    high: int | float
    confidence_level: Annotated[float, Meta(gt=0, lt=1)]
    is_exact: bool = msgspec.field(name="exact")
    scale: str
    unit: str
    n: Annotated[int, Meta(ge=0)]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A value, its interval, how it was got and from how many units of what.

    ``draws`` maps the name of a null to the values the estimate takes under it; ``references`` the name of a null to
    what it predicts in closed form. ``effect`` is an effect size beside the value. ``details`` and
    ``counterexamples`` say why: plain JSON types only. ``reason`` is set where the value may be read but must not
    decide a claim, and makes the verdict inconclusive. ``parts`` are the labelled units by which a later estimate is
    compared with this one; ``compared_as`` names the scale, and gives the value on it, where another checkpoint's is
    compared exactly: on a scale of its own, or because all rows or words of a list were measured.
    ``over_probes`` says that fewer probe tokens would do, for a wider interval; ``measure`` is the name of the measure
    of `embcheck.measures` that made it.
    """

    value: float
    low: float
    high: float
    confidence_level: float
    method: str
    n: int
    unit: str
    name: str = ""
    is_exact: bool = False
    effect: Mapping[str, Any] | None = None
    draws: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    references: Mapping[str, Reference] = field(default_factory=dict, repr=False)
    units: NDArray[np.float64] | None = field(default=None, repr=False)
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    counterexamples: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    reason: str | None = None
    parts: tuple[Part, ...] = field(default=(), repr=False)
    compared_as: tuple[str, float] | None = None
    over_probes: bool = False
    measure: str = ""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(by_reports("html.notebook.estimate", self))

    def snapshot(self) -> Snapshot:
        """What a baseline keeps of it, on the scale on which it is compared."""
        level = self.confidence_level
        if self.compared_as is not None:
            scale, value = self.compared_as
            return Snapshot(value, value, value, level, True, scale, self.unit, self.n, self.parts)  # noqa: FBT003
        ends = (float(self.value), float(self.low), float(self.high))
        return Snapshot(*ends, level, self.is_exact, self.name, self.unit, self.n, self.parts)

    @classmethod
    def exact(cls, value: float, *, n: int = 1, unit: str = "values", **about: Any) -> Estimate:
        """An estimate without uncertainty: every unit was measured.

        Raises
        ------
        NotMeasurable
            ``value`` is not finite.
        """
        if not math.isfinite(value):
            raise NotMeasurable(f"{about.get('name') or 'the estimate'} is not a finite number ({value})")
        level = current().confidence_level
        return cls(value, value, value, level, "exact", n, unit, is_exact=True, **about)

    @classmethod
    def from_units(  # noqa: PLR0913 - what an interval may need, all by keyword
        cls,
        values: Any,
        *,
        unit: str,
        rng: np.random.Generator | None = None,
        population: int | None = None,
        bounds: tuple[float, float] | None = None,
        skewness: float = 0.0,
        labels: Sequence[str] = (),
        interval: Interval | None = None,
        **about: Any,
    ) -> Estimate:
        """The mean of independent units, with its interval.

        Parameters
        ----------
        values
            One number a unit, shape (n,).
        unit
            What a unit is, in the plural: ``"probe tokens"``.
        rng
            Shuffles the order in which a betting interval sees the units; leave it out where they already stand in
            random order.
        population
            Size of the finite population that the units were drawn from without replacement; equal to n makes the
            estimate exact.
        bounds
            Smallest and largest value a unit can have. Bounded units may be skewed or all equal.
        skewness
            What is known of the population's skewness beside the sample's own, which may miss rare values.
        labels
            Names of the units, such as their tokens, by which a later checkpoint's units find theirs. The first
            1,000 serve. Without them a unit is what stands at its place among as many.
        interval
            An `embcheck.stats.intervals.Interval`, where the units were drawn in a way that needs one of its own.

        Raises
        ------
        NotMeasurable
            Fewer than two units, or one that is not finite.
        """
        import numpy as np

        from embcheck.stats.intervals import mean_interval

        units = np.asarray(values, dtype=np.float64)
        if units.ndim != 1 or len(units) < 2:
            raise NotMeasurable(f"an interval needs at least 2 {unit}, got an array of shape {units.shape}")
        if not np.isfinite(units).all():
            raise NotMeasurable(f"{int((~np.isfinite(units)).sum())} of {len(units)} {unit} have no finite value")
        value = math.fsum(units) / len(units)
        names = labels or [f"{place} of {len(units)}" for place in range(1, len(units) + 1)]
        about["parts"] = (part(names, units, population=population, bounds=bounds),)
        if population is not None and len(units) >= population:
            return cls.exact(value, n=len(units), unit=unit, units=units, **about)
        level = current().confidence_level
        ordered = units if rng is None else rng.permutation(units)
        interval = interval or mean_interval(ordered, level, population, bounds, skewness)
        low, high = interval.low, interval.high
        if math.isnan(low):
            why = f"all {len(units)} {unit} have the same value, so there is no spread to judge by"
            about.setdefault("reason", why)
            low = high = value
        return cls(value, low, high, level, interval.text, len(units), unit, units=units, **about)

    @classmethod
    def jackknife(
        cls,
        value: float,
        replicates: Any,
        *,
        unit: str,
        over: str,
        labels: Sequence[str] = (),
        interval: Callable[..., tuple[Interval, NDArray[np.float64]]] | None = None,
        **about: Any,
    ) -> Estimate:
        """A statistic of independent units, with the interval that its values without each of them give.

        Parameters
        ----------
        value
            The statistic of all n units.
        replicates
            Its value without each unit in turn, shape (n,).
        unit
            What a unit is, in the plural.
        over
            What the method is said to run over, such as ``"pairs"``.
        labels
            Names of the units, by which a later checkpoint's units find theirs.
        interval
            Of value, replicates and confidence level, what gives the interval and the pseudo-values; by default
            Student's t (`embcheck.stats.intervals.jackknife_interval`).
        """
        from embcheck.stats.intervals import jackknife_interval

        level = current().confidence_level
        around, pseudo = (interval or jackknife_interval)(value, replicates, level)
        if labels:
            about["parts"] = (part(labels, pseudo, pseudo=True),)
        method = f"{around.text} over {over}"
        return cls(value, around.low, around.high, level, method, len(pseudo), unit, units=pseudo, **about)


def measure(function: Callable[_P, Estimate]) -> Callable[_P, Estimate]:
    """The function, with its name in ``Estimate.measure`` of what it returns: pictures and plants know it by that."""

    @wraps(function)
    def stamped(*args: _P.args, **kwargs: _P.kwargs) -> Estimate:
        return replace(function(*args, **kwargs), measure=function.__name__)

    return stamped


def part(
    labels: Iterable[str],
    values: Iterable[Any],
    *,
    weight: float = 1.0,
    population: int | None = None,
    pseudo: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Part:
    """A part of the first 1,000 units; pseudo-values are kept whole, since they mean something all together only."""
    names, numbers = list(labels), [float(value) for value in values]
    count = len(numbers) if pseudo else min(len(numbers), KEPT)
    if len(names) < count:
        raise UsageError(f"{len(numbers)} units have only {len(names)} labels; give one a unit")
    return Part(distinct(names[:count]), tuple(numbers[:count]), float(weight), population, pseudo, bounds)


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, a repeated one told apart by a number: a vocabulary may have two rows of one text."""
    seen: Counter[str] = Counter()
    names = []
    for label in labels:
        seen[label] += 1
        names.append(label if seen[label] == 1 else f"{label}\0{seen[label]}")
    return tuple(names)


def by_reports(function: str, *values: object) -> Any:
    """What a function of the report layer makes of values: the one place where something below reports calls them."""
    module, _, name = function.rpartition(".")
    return getattr(importlib.import_module(f"embcheck.reports.{module}"), name)(*values)
