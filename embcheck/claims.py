"""Claims: bounds on an estimate, the verdicts they give, and ``@claim``, which declares a property.

This module imports neither torch nor numpy, so that declaring and collecting properties stays cheap.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import UNSET, Struct, UnsetType

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from embcheck.estimate import Estimate
    from embcheck.needs import Need
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = [
    "UNMEASURED", "Bound", "ClaimOutcome", "Declaration", "Direction", "Verdict", "above", "agrees", "beats", "below",
    "check_margin", "claim", "combine", "decides", "within",
]  # fmt: skip

SIGNIFICANCE = 0.01
Direction = Literal["both", "down", "up"]
Kind = Literal["claim", "description"]
_SUPPLIED = frozenset({"table", "tables", "rng"})


class Verdict(StrEnum):
    """What a check found. Only ``HOLDS`` passes."""

    HOLDS = "holds"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"
    NOT_APPLICABLE = "not_applicable"
    ERROR = "error"


UNMEASURED = frozenset({Verdict.SKIPPED, Verdict.NOT_APPLICABLE})


class ClaimOutcome(Struct, frozen=True):
    """One claim as a report states it: its bound, or low and high, and whether it holds."""

    op: Literal["above", "below", "within", "beats"]
    verdict: Verdict
    null: str | None = None
    bound: int | float | UnsetType = UNSET
    low: int | float | UnsetType | None = UNSET
    high: int | float | UnsetType | None = UNSET
    side: Literal["below"] | UnsetType = UNSET
    """``below`` where a null is beaten by being smaller."""

    def __post_init__(self) -> None:
        """Refuse what no claim states, also in a report that is read."""
        is_range = self.op == "within"
        stated = [number is not UNSET for number in (self.bound, self.low, self.high)]
        if stated != [not is_range, is_range, is_range]:
            raise ValueError(f"a claim {self.op!r} states {'low and high' if is_range else 'its bound'}")


class Bound(Protocol):
    """One claim about an estimate."""

    def verdict(self, estimate: Estimate) -> Verdict:
        """Hold the bound against the estimate's interval."""
        ...

    def outcome(self, estimate: Estimate | None, verdict: Verdict) -> ClaimOutcome:
        """The bound with a verdict, and with numbers from the estimate where that states them."""
        ...


def _require_finite(bound: float, name: str) -> None:
    if not math.isfinite(bound):
        raise UsageError(f"{name}() needs a finite number, got {bound}")


@dataclass(frozen=True, slots=True)
class above:  # noqa: N801 - reads as a word in a claim: @claim(above(0.05))
    """The estimate lies above ``bound``: holds where low > bound, refuted where high <= bound."""

    bound: float

    def __post_init__(self) -> None:
        _require_finite(self.bound, "above")

    def verdict(self, estimate: Estimate) -> Verdict:
        """Hold the bound against the estimate's interval."""
        if estimate.low > self.bound:
            return Verdict.HOLDS
        return Verdict.REFUTED if estimate.high <= self.bound else Verdict.INCONCLUSIVE

    def outcome(self, estimate: Estimate | None, verdict: Verdict) -> ClaimOutcome:  # noqa: ARG002 - the protocol's
        """The bound with a verdict."""
        return ClaimOutcome("above", verdict, bound=self.bound)


@dataclass(frozen=True, slots=True)
class below:  # noqa: N801 - reads as a word in a claim
    """The estimate lies below ``bound``: holds where high < bound, refuted where low >= bound."""

    bound: float

    def __post_init__(self) -> None:
        _require_finite(self.bound, "below")

    def verdict(self, estimate: Estimate) -> Verdict:
        """Hold the bound against the estimate's interval."""
        if estimate.high < self.bound:
            return Verdict.HOLDS
        return Verdict.REFUTED if estimate.low >= self.bound else Verdict.INCONCLUSIVE

    def outcome(self, estimate: Estimate | None, verdict: Verdict) -> ClaimOutcome:  # noqa: ARG002 - the protocol's
        """The bound with a verdict."""
        return ClaimOutcome("below", verdict, bound=self.bound)


@dataclass(frozen=True, slots=True)
class within:  # noqa: N801 - reads as a word in a claim
    """The estimate lies inside ``[low, high]``: holds where its interval does, refuted where that lies outside."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require_finite(self.low, "within")
        _require_finite(self.high, "within")
        if self.low >= self.high:
            raise UsageError(f"within() needs low < high, got {self.low} and {self.high}")

    def verdict(self, estimate: Estimate) -> Verdict:
        """Hold the bound against the estimate's interval."""
        if estimate.low >= self.low and estimate.high <= self.high:
            return Verdict.HOLDS
        outside = estimate.high < self.low or estimate.low > self.high
        return Verdict.REFUTED if outside else Verdict.INCONCLUSIVE

    def outcome(self, estimate: Estimate | None, verdict: Verdict) -> ClaimOutcome:  # noqa: ARG002 - the protocol's
        """The bound with a verdict."""
        return ClaimOutcome("within", verdict, low=self.low, high=self.high)


@dataclass(frozen=True, slots=True)
class agrees:  # noqa: N801 - reads as a word in a claim
    """The value lies within so many standard errors of what a null predicts in closed form.

    The standard error is the null's own, so the value is compared, not its interval. The measure states the
    prediction in ``Estimate.references``.
    """

    null: str
    standard_errors: float = 5.0

    def _range(self, estimate: Estimate) -> tuple[float, float]:
        reference = estimate.references.get(self.null)
        if reference is None:
            raise UsageError(f"agrees({self.null!r}): the measure states no such reference")
        half = self.standard_errors * reference.standard_error
        return reference.mean - half, reference.mean + half

    def verdict(self, estimate: Estimate) -> Verdict:
        """Hold the value against the null's range."""
        low, high = self._range(estimate)
        return Verdict.HOLDS if low <= estimate.value <= high else Verdict.REFUTED

    def outcome(self, estimate: Estimate | None, verdict: Verdict) -> ClaimOutcome:
        """The range with a verdict; empty where there is no estimate."""
        low, high = (None, None) if estimate is None else self._range(estimate)
        return ClaimOutcome("within", verdict, self.null, low=low, high=high)


@dataclass(frozen=True, slots=True)
class beats:  # noqa: N801 - reads as a word in a claim
    """The estimate is larger than under a null: one-sided permutation p = (r + 1)/(B + 1) <= 0.01.

    Refuted where the value does not even exceed the null's median (p >= 0.5); inconclusive in between. With
    ``side="below"`` it is smaller than under the null, and r counts the draws that are as small.
    """

    null: Callable[..., Any]
    side: Literal["above", "below"] = "above"

    def __post_init__(self) -> None:
        if not callable(self.null):
            raise UsageError(f"beats() needs a null such as nulls.shuffled_pairs, got {self.null!r}")
        if self.side not in {"above", "below"}:
            raise UsageError(f"beats() needs side='above' or 'below', got {self.side!r}")

    @property
    def name(self) -> str:
        """Name of the null."""
        return str(getattr(self.null, "__name__", self.null))

    def p_value(self, estimate: Estimate) -> float:
        """Share of the null's draws, the estimate counted among them, that reach the value."""
        from embcheck.stats.permutations import p_value

        return p_value(estimate.draws[self.name], estimate.value, self.side)

    def verdict(self, estimate: Estimate) -> Verdict:
        """Hold the value against the null's draws."""
        return self.verdict_of(self.p_value(estimate))

    def verdict_of(self, p_value: float) -> Verdict:
        """What a p-value says."""
        if p_value <= SIGNIFICANCE:
            return Verdict.HOLDS
        return Verdict.REFUTED if p_value >= 0.5 else Verdict.INCONCLUSIVE

    def outcome(self, estimate: Estimate | None, verdict: Verdict) -> ClaimOutcome:  # noqa: ARG002 - the protocol's
        """The largest p-value that holds, with a verdict."""
        return ClaimOutcome("beats", verdict, self.name, SIGNIFICANCE, side="below" if self.side == "below" else UNSET)


def combine(verdicts: list[Verdict]) -> Verdict:
    """A property holds when all its claims do, and is refuted when one is."""
    if any(v is Verdict.REFUTED for v in verdicts):
        return Verdict.REFUTED
    return Verdict.HOLDS if all(v is Verdict.HOLDS for v in verdicts) else Verdict.INCONCLUSIVE


def ends(claims: Iterable[ClaimOutcome]) -> list[float]:
    """The numbers that claims state, onto which no estimate may be rounded."""
    return [end for claim in claims for end in (claim.bound, claim.low, claim.high) if isinstance(end, int | float)]


def decides(claims: Iterable[Bound], low: float, high: float) -> bool:
    """Whether an interval decides all claims that are about an interval."""
    from embcheck.estimate import Estimate

    seen = Estimate((low + high) / 2, low, high, math.nan, "", 0, "")
    about = [bound for bound in claims if isinstance(bound, above | below | within)]
    return all(bound.verdict(seen) is not Verdict.INCONCLUSIVE for bound in about)


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """What ``@claim`` says about a property. The function carries it as ``__embcheck__``."""

    id: str
    sentence: str
    claims: tuple[Bound, ...]
    parameters: Mapping[str, tuple[Any, ...]]
    on_noise: Literal["fails", "holds", "any"]
    version: int
    fixtures: tuple[str, ...]
    """Arguments that only pytest can supply."""
    margin: float | None = None
    """How far the estimate may move from one checkpoint to the next; none where that is not compared."""
    bad: Direction = "both"
    """In which direction such a move is a regression."""
    of_pairs: bool = False
    """Whether it is about two models: it takes ``tables`` instead of ``table``."""
    applies: Callable[[ModelSpec], bool] | None = None
    """Tells of a model's spec whether it has the property's checks at all; every model has them where it is not set."""
    needs: tuple[Need, ...] = ()
    """What a table must have for the property to be asked of it (`embcheck.needs`)."""
    ladder: tuple[str, ...] | None = None
    """Rungs on which ``--explain`` measures it; all that make sense where it is not set."""
    planted: Callable[..., Any] | None = None
    """``(table, parameters, rng) -> table`` with the structure that the property looks for."""
    kind: Kind = "claim"
    """A ``description`` has its verdict, and fails on none: only a change against the baseline fails."""

    def applies_to(self, spec: ModelSpec) -> bool:
        """Whether a model has this property's checks."""
        return self.applies is None or self.applies(spec)

    def lacking(self, tables: Iterable[EmbeddingTable], parameters: Mapping[str, Any]) -> str | None:
        """What the first of the tables that can't have the property lacks; none where all have what it needs."""
        reasons = (need(table, parameters) for table in tables for need in self.needs)
        return next((reason for reason in reasons if reason is not None), None)

    def cases(self) -> Iterator[dict[str, Any]]:
        """Every combination of parameter values, the last parameter varying fastest."""
        for values in product(*self.parameters.values()):
            yield dict(zip(self.parameters, values, strict=True))


def check_margin(margin: float | None, bad: str) -> None:
    """Raise `UsageError` where a property's margin is not a positive number, or its direction is unknown."""
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise UsageError(f"margin must be a positive number, got {margin}")
    if bad not in {"both", "down", "up"}:
        raise UsageError(f"bad must be 'both', 'down' or 'up', got {bad!r}")


def _check_claims(claims: tuple[Bound, ...], on_noise: str, kind: str) -> None:
    if not claims or not all(hasattr(c, "verdict") for c in claims):
        raise UsageError(
            "@claim needs at least one of above(), below(), within(), agrees() or beats() before its parameters"
        )
    if on_noise not in {"fails", "holds", "any"}:
        raise UsageError(f"on_noise must be 'fails', 'holds' or 'any', got {on_noise!r}")
    if kind not in ("claim", "description"):
        raise UsageError(f"kind must be 'claim' or 'description', got {kind!r}")


def claim(  # noqa: PLR0913 - what a property may declare, all by keyword
    *claims: Bound,
    kind: Kind = "claim",
    on_noise: Literal["fails", "holds", "any"] = "fails",
    version: int = 1,
    margin: float | None = None,
    bad: Direction = "both",
    applies: Callable[[ModelSpec], bool] | None = None,
    needs: Need | Sequence[Need] = (),
    ladder: Sequence[str] | None = None,
    planted: Callable[..., Any] | None = None,
    **parameters: Any,
) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Declare a function ``(table, [parameters], rng) -> Estimate`` as a property.

    With ``tables`` instead of ``table`` it is about two models, and runs for each pair of those that are checked. It
    gets a tuple of two tables in the order in which the models were given; the result stands in the report under the
    first, with the alias of the second as its parameter ``other``.

    Parameters
    ----------
    claims
        Bounds that must all hold.
    kind
        ``description`` for what says how a table is, rather than how it should be. Its verdict is stated and fails no
        check, which only a change against the baseline does, until a project sets bounds of its own for a model.
    on_noise
        What the property must do on random tables: most should fail there; some should hold.
    version
        Raise it when the definition changes, so that older baselines are not compared silently.
    margin
        How far the estimate may move from one checkpoint to the next. Without one, it is not compared with a baseline,
        and neither is what is about two models.
    bad
        ``down`` or ``up`` where only a move that way is a regression, and the other an improvement.
    applies
        Given a model's spec, whether the property is about that model. The others don't have its checks, rather than
        skipped ones.
    needs
        What a table must have for the claim to be about it, one of `embcheck.needs` or several: layers, a class of
        tokens, words of a list. What lacks it is ``not_applicable``: not measured, and no failure.
    ladder
        The rungs of `embcheck.nulls.rungs` on which ``--explain`` measures the claim again; none for what no simpler
        table could explain. By default all, those about tokens only where it matters which token has which row.
    planted
        ``(table, parameters, rng) -> table``: puts the structure that is claimed into a table of noise, for `embcheck
        selftest`. What ``rng`` draws is the same for every table.
    parameters
        Values for further arguments. A list or tuple makes one check a value; several make their product.

    Raises
    ------
    UsageError
        No claim, an argument too many or too few, no docstring to say what is claimed, or a margin that is no positive
        number.
    """
    _check_claims(claims, on_noise, kind)
    check_margin(margin, bad)

    def declare(function: Callable[..., Estimate]) -> Callable[..., Estimate]:
        arguments = tuple(inspect.signature(function).parameters)
        of_pairs = _takes_pairs(function.__name__, arguments, parameters, margin)
        sentence = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ").strip()
        if not sentence:
            raise UsageError(f"property {function.__name__} needs a docstring: one sentence saying what is claimed")
        declaration = Declaration(
            id=function.__name__,
            sentence=sentence,
            claims=claims,
            parameters={k: tuple(v) if isinstance(v, list | tuple) else (v,) for k, v in parameters.items()},
            on_noise=on_noise,
            version=version,
            fixtures=tuple(a for a in arguments if a not in _SUPPLIED and a not in parameters),
            margin=margin,
            bad=bad,
            of_pairs=of_pairs,
            applies=applies,
            needs=(needs,) if callable(needs) else tuple(needs),
            ladder=None if ladder is None else tuple(ladder),
            planted=planted,
            kind=kind,
        )
        function.__embcheck__ = declaration  # type: ignore[attr-defined]
        function.__test__ = True  # type: ignore[attr-defined]
        return function

    return declare


def _takes_pairs(name: str, arguments: tuple[str, ...], parameters: Mapping[str, Any], margin: float | None) -> bool:
    """Whether a property is about two models, by its arguments, which are checked."""
    if unknown := sorted(set(parameters) - set(arguments)):
        raise UsageError(f"property {name} does not take the parameter {unknown[0]!r}")
    given = [argument for argument in ("table", "tables") if argument in arguments]
    if len(given) != 1:
        raise UsageError(f"property {name} must take 'table', or 'tables' for two of them, and not both")
    if given == ["tables"] and "other" in arguments:
        raise UsageError(f"property {name} takes 'other', which names the second model in the report; rename it")
    if given == ["tables"] and margin is not None:
        raise UsageError(f"property {name} is about two models, and is not compared with a baseline; leave out margin")
    return given == ["tables"]
