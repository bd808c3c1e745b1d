"""What a calibrated property stays within, as far as so many simulations can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KS", "POWER", "coverage_limits", "faults", "most_passes"]

FALSE_PASSES, MISSES = 0.05, 0.01
COVERED, LOW, HIGH = 0.95, 0.92, 0.98
KS, POWER = 0.001, 0.8


def most_passes(tables: int, rate: float = FALSE_PASSES) -> int:
    """The most passes of so many tables that a true rate may give in 99 of 100 runs: 18 of 200 for 5%."""
    return int(stats.binom.ppf(0.99, tables, rate))


def coverage_limits(redraws: int) -> tuple[float, float]:
    """92% and 98%; wider where a true coverage of 95% would leave them in one of 1,000 runs of so many redraws."""
    low, high = (float(stats.binom.ppf(level, redraws, COVERED)) / redraws for level in (0.001, 0.999))
    return min(LOW, low), max(HIGH, high)


def faults(row: Mapping[str, Any]) -> Iterator[str]:
    """In which ways the simulations of one property left their limits."""
    for case in row["cases"]:
        where = f"[{case['name']}] " if case["name"] else ""
        tables, holds = case["noise"]["tables"], case["noise"]["holds"]
        if row["on_noise"] == "fails" and holds > (limit := most_passes(tables)):
            yield f"{where}holds on {holds} of {tables} tables of noise, more than {limit}"
        if row["on_noise"] == "holds" and tables - holds > (limit := most_passes(tables, MISSES)):
            yield f"{where}fails on {tables - holds} of {tables} tables of noise, more than {limit}"
        planted, seen = case["planted"]["tables"], case["planted"]["found"]
        if planted and seen < POWER * planted:
            yield f"{where}finds what was planted on {seen} of {planted} tables, less than {POWER:.0%}"
    if row["uniform"] is not None and row["uniform"] <= KS:
        yield f"p-values on noise are not uniform: Kolmogorov-Smirnov p = {row['uniform']:.2g}"
    coverage = row["coverage"]
    if coverage["share"] is not None and coverage["share"] < (low := coverage_limits(coverage["redraws"])[0]):
        yield f"intervals cover {coverage['share']:.1%} of {coverage['redraws']} redraws, less than {low:.1%}"
