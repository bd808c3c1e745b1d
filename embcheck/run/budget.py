"""A budget of seconds for the checks of one model: fewer probes where that saves time, else a check less.

Checks run in the order of what they cost when they last ran, the cheapest first. One whose cost is unknown runs with
few probes first, which is an honest estimate with a wide interval; where time is left it runs again with as many probes
as fit. Only estimates over probes can be had for less: any other check runs whole, or is skipped with the reason
``budget``. A check that has begun is not interrupted, so that one of unknown cost can overrun.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from embcheck.checks.evaluate import skipped_result
from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.checks.evaluate import Check, Result
    from embcheck.settings import Settings

FIRST_PROBES, FEWEST_PROBES = 100, 50
_CAREFUL = 0.8  # part of the time that is left which a check with fewer probes is given: costs are estimates


@dataclass(frozen=True, slots=True)
class _Cost:
    seconds: float
    probes: int | None
    """How many it ran with; none where it does not depend on probes."""

    def of(self, probes: int) -> float:
        """What it would cost with so many, in proportion."""
        return self.seconds if self.probes is None else self.seconds * probes / self.probes


@dataclass(slots=True)
class Budget:
    """Seconds that the checks of a model may take, and what each cost when it last ran."""

    seconds: float
    _costs: dict[str, _Cost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(f"max_seconds must be a positive number, got {self.seconds}")

    def spend(
        self,
        checks: Sequence[Check],
        run: Callable[[Check, Settings], Result],
        settings: Settings,
        *,
        rows: int,
        spent: float = 0.0,
    ) -> tuple[Result, ...]:
        """Run checks within the budget."""
        end = time.perf_counter() + self.seconds - spent
        most = settings.probe_count(rows)
        results: dict[str, Result] = {}
        for check in sorted(checks, key=lambda check: self._expected(check, most)):
            probes = self._affordable(check, most, end - time.perf_counter())
            results[check.label] = (
                skipped_result(check, f"budget: it does not fit into what is left of {self.seconds:.3g} seconds")
                if probes is None
                else self._run(check, run, settings, probes=probes, most=most)
            )
        for check in sorted((c for c in checks if self._shortened(c, most)), key=lambda c: self._expected(c, most)):
            before = self._costs[check.label].probes or most
            probes = self._affordable(check, most, end - time.perf_counter())
            if results[check.label].estimate is not None and probes is not None and probes >= 2 * before:
                results[check.label] = self._run(check, run, settings, probes=probes, most=most)
        return tuple(results[check.label] for check in checks)

    def _expected(self, check: Check, most: int) -> float:
        cost = self._costs.get(check.label)
        return 0.0 if cost is None else cost.of(most)

    def _shortened(self, check: Check, most: int) -> bool:
        cost = self._costs.get(check.label)
        return cost is not None and cost.probes is not None and cost.probes < most

    def _affordable(self, check: Check, most: int, left: float) -> int | None:
        """How many probes there is time for; none where there is none for the check at all."""
        cost = self._costs.get(check.label)
        if left <= 0:
            return None
        if cost is None:
            return min(FIRST_PROBES, most)
        if cost.of(most) <= left:
            return most
        if cost.probes is None:
            return None
        probes = int(cost.probes * _CAREFUL * left / cost.seconds)
        return probes if probes >= min(FEWEST_PROBES, most) else None

    def _run(
        self, check: Check, run: Callable[[Check, Settings], Result], settings: Settings, *, probes: int, most: int
    ) -> Result:
        result = run(check, settings if probes == most else replace(settings, probes=probes))
        over_probes = result.estimate is not None and result.estimate.over_probes
        self._costs[check.label] = _Cost(result.seconds, probes if over_probes else None)
        return result
