"""Properties watched during training, in any loop: checked, logged, warned of, and held against the first checkpoint.

Every process of a distributed run calls ``observe`` at the same steps. Rank 0 measures, logs and writes; all of them
learn from it whether to stop.
"""

from __future__ import annotations

import logging
import math
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from embcheck.api import select
from embcheck.baseline.gate import Gate
from embcheck.claims import Verdict
from embcheck.errors import UsageError
from embcheck.reports import html as pages
from embcheck.reports import json_file
from embcheck.run.budget import Budget
from embcheck.run.document import row_of
from embcheck.run.session import Model, Policy, Session
from embcheck.settings import DEFAULT_PROBES, Settings
from embcheck.spec import ModelSpec
from embcheck.training.ranks import agreed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from embcheck.baseline.file import Entry
    from embcheck.checks.record import Change, EstimateRecord, ResultRecord
    from embcheck.run.document import Row, Run
    from embcheck.run.session import Population
    from embcheck.table import EmbeddingTable
    from embcheck.table.vocabulary import Vocabulary

__all__ = ["Monitor", "Observation", "Reaction"]

Reaction = Literal["log", "warn", "stop"]
DEFAULT = ("positive_cosine_bias", "background_similarity", "untrained_tokens")
_NOT_IN_NAMES = re.compile(r"[^\w./ -]+")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What was seen at one step."""

    step: int
    stop: bool
    """Whether training should stop: the same in every process."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What was logged; empty on other ranks than 0."""
    problems: tuple[str, ...] = ()
    """What was warned of, a line each; empty on other ranks than 0."""
    run: Run | None = None
    """The whole run; none on other ranks than 0."""


class Monitor:
    """Checks properties of a model's input embedding while it is trained.

    Parameters
    ----------
    tokenizer
        As for ``embcheck.check``; it is read once.
    properties
        Globs over property ids, or functions declared with ``@claim``.
    log
        Called with a step and a dictionary of numbers; on rank 0 only.
    on_failed
        What to do when a claim is refuted or its property fails to run: ``log`` only, ``warn`` also, or ``stop`` also.
        A claim that can't be decided is logged as not passing, and no reason to stop. Nor is one that is refuted at the
        first observation, as many are of random weights, until it has held.
    on_regressed
        The same, when an estimate moved against the run's first observation by more than its property allows. Training
        from random weights moves everything that training is for: there, ``log``.
    report
        Where ``finish`` writes a JSON report with one model for each observation, called ``step-N``.
    html
        Where ``finish`` writes a page that shows each property over the steps (extra ``html``).
    seed, confidence_level, population
        As for ``embcheck.check``.
    probes
        As for ``embcheck.check``, but 1,000 by default whatever the size.
    max_seconds
        How long one observation may take: fewer probes, or fewer checks, where it would take longer. From the second
        observation on it is known what each costs.

    Raises
    ------
    UsageError
        An argument is wrong, or a report can't be written there.
    """

    def __init__(  # noqa: PLR0913 - options by keyword
        self,
        tokenizer: Any = None,
        *,
        properties: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] = DEFAULT,
        log: Callable[[int, dict[str, float]], None] | None = None,
        on_failed: Reaction = "warn",
        on_regressed: Reaction = "log",
        report: str | Path | None = None,
        html: str | Path | None = None,
        seed: int = 0,
        confidence_level: float = 0.95,
        probes: int | Literal["all"] = DEFAULT_PROBES,
        population: Population = "known",
        max_seconds: float | None = None,
    ) -> None:
        for name, reaction in (("on_failed", on_failed), ("on_regressed", on_regressed)):
            if reaction not in {"log", "warn", "stop"}:
                raise UsageError(f"{name} must be 'log', 'warn' or 'stop', got {reaction!r}")
        if population not in {"known", "all"}:
            raise UsageError(f"population must be 'known' or 'all', got {population!r}")
        self.tokenizer = tokenizer
        self.log = log
        self.observations: list[Observation] = []
        self._checks = [check for check in select(properties) if not check.declaration.of_pairs]
        self._settings = Settings(seed=seed, confidence_level=confidence_level, probes=probes)
        self._reactions: dict[str, Reaction] = {"failed": on_failed, "regressed": on_regressed}
        self._population = population
        self._report = None if report is None else Path(report)
        if self._report is not None:
            json_file.check_writable(self._report)
        self._html = None if html is None else Path(html)
        if self._html is not None:
            pages.check_ready(self._html)
        self._max_seconds = max_seconds
        self._budget = None if max_seconds is None else Budget(max_seconds)
        self._vocabularies: dict[int, Vocabulary] = {}
        self._first: tuple[Entry, ...] | None = None
        self._never_held: set[str] = set()

    def observe(self, model: Any, step: int) -> Observation:
        """Check the model as it is now. A step that was observed already is not observed again.

        Parameters
        ----------
        model
            As for ``embcheck.check``: a module in memory, wrapped or not.
        step
            The training step that the numbers belong to.

        Raises
        ------
        UsageError
            The model has no input embedding that fits the tokenizer.
        RuntimeError
            Rank 0 failed, and this is another one.
        """
        if self.observations and self.observations[-1].step == step:
            return self.observations[-1]
        from embcheck.sources.models.live import from_module

        started = time.perf_counter()
        # on all ranks, for each may hold a part of it; the host needs none of it, so it isn't hashed
        table = from_module(model, self.tokenizer, vocabularies=self._vocabularies, hashed=False)
        found: list[Observation] = []

        def decide() -> int:
            found.append(self._observed(table.with_population(self._population), step, started))
            return int(found[0].stop)

        stop = bool(agreed(decide))
        self.observations.append(found[0] if found else Observation(step, stop))
        return self.observations[-1]

    def finish(self) -> None:
        """Write the reports, on rank 0, if any was asked for and something was observed.

        Raises
        ------
        EmbcheckError
            One can't be written.
        """
        reports = [seen.run.report for seen in self.observations if seen.run is not None]
        if not reports:
            return
        if self._report is not None:
            timing = {alias: seconds for report in reports for alias, seconds in report.timing["models"].items()}
            models = tuple(model for report in reports for model in report.models)
            json_file.write(structs.replace(reports[-1], models=models, timing={"models": timing}), self._report)
        if self._html is not None:
            pages.write_trends(list(self._rows()), self._html)

    def _rows(self) -> Iterator[Row]:
        """The observations as a sweep over steps has them."""
        for seen in self.observations:
            for result in seen.run.results if seen.run is not None else ():
                yield {**row_of(result), "model": "this run", "step": seen.step, "label": result.check.label}

    def _observed(self, table: EmbeddingTable, step: int, started: float) -> Observation:
        alias = f"step-{step}"
        spec = ModelSpec("memory", alias, "memory", alias)
        gate = None if self._first is None else Gate.in_memory(alias, self._first)
        if self._budget is not None and self._max_seconds is not None:
            self._budget.seconds = self._max_seconds - (time.perf_counter() - started)
        policy = Policy(gate=gate, keeps_entries=self._first is None)
        run = Session([Model(spec, lambda: table)], self._settings, policy).run(self._checks, budget=self._budget)
        if self._first is None:
            self._first = tuple(entry for entry, _ in run.entries[alias])
        results = run.report.results
        values = {name: number for result in results for name, number in _numbers(result)}
        values["embcheck/seconds"] = time.perf_counter() - started
        self._keep_in_mind(results)
        said = {"failed": dict(_failed(results)), "regressed": dict(_regressed(results))}
        stop = any(
            self._reactions[kind] == "stop" and (kind == "regressed" or label not in self._never_held)
            for kind, lines in said.items()
            for label in lines
        )
        for kind, lines in said.items():
            for line in lines.values() if self._reactions[kind] != "log" else ():
                _logger.warning("step %d: %s%s", step, line, "; training stops" if stop else "")
        problems = tuple(f"step {step}: {line}" for lines in said.values() for line in lines.values())
        if self.log is not None:
            self.log(step, dict(values))
        return Observation(step, stop, values, problems, run)

    def _keep_in_mind(self, results: Sequence[ResultRecord]) -> None:
        """Note which claims did not hold when the run began, and have not held since."""
        if not self.observations:
            self._never_held = {result.label for result in results if result.verdict is Verdict.REFUTED}
        self._never_held -= {result.label for result in results if result.verdict is Verdict.HOLDS}


def _numbers(result: ResultRecord) -> Iterator[tuple[str, float]]:
    """The numbers of a result as loggers take them: finite, under names that all of them accept."""
    estimate, change = result.estimate, result.change
    if estimate is None:
        return
    name = "embcheck/" + _NOT_IN_NAMES.sub("_", "/".join([result.id, *map(str, result.params.values())]))
    numbers = {
        name: estimate.value,
        f"{name}/low": estimate.low,
        f"{name}/high": estimate.high,
        f"{name}/pass": float(result.verdict is Verdict.HOLDS),
    }
    if change is not None:
        numbers |= {
            f"{name}/change": change.value,
            f"{name}/change_low": change.low,
            f"{name}/change_high": change.high,
        }
    yield from ((k, float(v)) for k, v in numbers.items() if v is not None and math.isfinite(v))


def _failed(results: Sequence[ResultRecord]) -> Iterator[tuple[str, str]]:
    """By label, what to say of checks that failed."""
    for result in results:
        if result.verdict is Verdict.ERROR:
            yield result.label, f"{result.label} failed to run: {result.reason}"
        elif result.verdict is Verdict.REFUTED and result.estimate is not None:
            estimate = result.estimate
            yield result.label, f"{result.label} is refuted: {estimate.value:.4g} {_interval(estimate)}"


def _regressed(results: Sequence[ResultRecord]) -> Iterator[tuple[str, str]]:
    """By label, what to say of checks that regressed."""
    for result in results:
        label, change = result.label, result.change
        if change is not None and change.state == "regressed":
            moved = f"{change.before:.4g} to {change.after:.4g}, by {change.value:.4g} {_interval(change)}"
            yield label, f"{label} regressed since the first observation: {moved}, margin {change.margin:.4g}"


def _interval(numbers: EstimateRecord | Change) -> str:
    return f"[{numbers.low:.4g}, {numbers.high:.4g}]"
