"""Properties watched during training, in any loop: checked, logged, warned of, and held against the first checkpoint.

Every process of a distributed run calls ``observe`` at the same steps. Rank 0 measures, logs and writes; all of them
learn from it whether to stop.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import MsgspecError, convert, structs

from embcheck import files
from embcheck.api import select
from embcheck.baseline.file import Entry
from embcheck.baseline.gate import Gate
from embcheck.checks.record import builtins
from embcheck.claims import UNMEASURED, Verdict
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports import html as pages
from embcheck.reports import json_file
from embcheck.run.budget import Budget
from embcheck.run.rows import row_of
from embcheck.run.session import Model, Policy, Session
from embcheck.settings import DEFAULT_PROBES, Settings
from embcheck.spec import ModelSpec
from embcheck.table.vocabulary import RowStatus
from embcheck.training.ranks import agreed, is_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from embcheck.checks.record import Change, EstimateRecord, ModelRecord, Report, ResultRecord
    from embcheck.run.rows import Row
    from embcheck.run.run import Run
    from embcheck.run.session import Population
    from embcheck.table import EmbeddingTable
    from embcheck.table.vocabulary import Vocabulary

__all__ = ["Monitor", "Observation", "Reaction"]

Reaction = Literal["log", "warn", "stop"]
DEFAULT = ("positive_cosine_bias", "background_similarity", "untrained_tokens")
_NOT_IN_NAMES = re.compile(r"[^\w./ -]+")
_STATE = "embcheck-monitor/1"
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
        from random weights moves everything that training is for: there, ``log``. Where a check had a value and can't
        be measured any more, the stronger of the two reactions counts.
    report
        Where each observation writes a JSON report with one model for each so far, called ``step-N``.
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
        if not self._checks:
            raise UsageError(f"nothing to watch: {properties!r} selects only properties of two models")
        self._settings = Settings(seed=seed, confidence_level=confidence_level, probes=probes)
        stronger = max(on_failed, on_regressed, key=("log", "warn", "stop").index)
        self._reactions: dict[str, Reaction] = {"failed": on_failed, "regressed": on_regressed, "lost": stronger}
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
        self._had_value: set[str] = set()
        self._broken_rows = 0
        self._earlier: Report | None = None
        self._rows: list[Row] = []
        self._next_report = 0.0  # a report that has grown long to write is written seldom, and by `finish`

    def observe(self, model: Any, step: int, *, name: str | None = None) -> Observation:
        """Check the model as it is now. A step that was observed already is not observed again, unless it has a name.

        Parameters
        ----------
        model
            As for ``embcheck.check``: a module in memory, wrapped or not.
        step
            The training step that the numbers belong to.
        name
            What the report calls it, by default ``step-N``: another one where other weights have come to that step.

        Raises
        ------
        UsageError
            The model has no input embedding that fits the tokenizer.
        RuntimeError
            Rank 0 failed, and this is another one.
        """
        if name is None and self.observations and self.observations[-1].step == step:
            return self.observations[-1]
        from embcheck.sources.models.live import from_module

        started = time.perf_counter()
        # on all ranks, for each may hold a part of it; the host needs none of it, so it isn't hashed
        table = from_module(model, self.tokenizer, vocabularies=self._vocabularies, hashed=False)
        found: list[Observation] = []

        def decide() -> int:
            found.append(self._observed(table.with_population(self._population), step, started, name))
            return int(found[0].stop)

        stop = bool(agreed(decide))
        self.observations.append(found[0] if found else Observation(step, stop))
        if time.perf_counter() >= self._next_report:
            started = time.perf_counter()
            try:
                self._write_report()
            except EmbcheckError as error:  # training is worth more; `finish` tries again
                _logger.warning("step %d: %s", step, error)
            ended = time.perf_counter()
            self._next_report = ended if ended - started < 1 else ended + 20 * (ended - started)
        return self.observations[-1]

    def finish(self) -> None:
        """Write the reports, on rank 0, if any was asked for and something was observed.

        Raises
        ------
        EmbcheckError
            One can't be written.
        """
        self._write_report()
        if self._html is not None and self._rows:
            pages.write_trends(self._rows, self._html)

    def _write_report(self) -> None:
        reports = [seen.run.report for seen in self.observations if seen.run is not None]
        reports = reports if self._earlier is None else [self._earlier, *reports]
        if self._report is not None and reports:
            timing = {alias: seconds for report in reports for alias, seconds in report.timing["models"].items()}
            models = tuple(model for report in reports for model in report.models)
            json_file.write(structs.replace(reports[-1], models=models, timing={"models": timing}), self._report)

    # --- a run that goes on in another process ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on as this one would, as JSON types. Accelerate saves it, and ``save``."""
        last = self.observations[-1] if self.observations else None
        return {
            "schema": _STATE,
            "last": None if last is None else [last.step, last.stop],
            "first": None if self._first is None else [builtins(entry) for entry in self._first],
            "never_held": sorted(self._never_held),
            "had_value": sorted(self._had_value),
            "broken_rows": self._broken_rows,
            "rows": self._rows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. Earlier steps stay in the report, as far as its file still has them."""
        if state.get("schema") != _STATE:
            raise UsageError(f"this is no state of a monitor: it has schema {state.get('schema')!r}, not {_STATE!r}")
        last, first = state["last"], state["first"]
        self.observations = [] if last is None else [Observation(int(last[0]), bool(last[1]))]
        self._first = None if first is None else convert(first, tuple[Entry, ...])
        self._never_held, self._had_value = set(state["never_held"]), set(state["had_value"])
        self._rows, self._broken_rows = list(state["rows"]), int(state["broken_rows"])
        if last is not None and self._report is not None and self._report.is_file():
            report = json_file.read(self._report)
            kept = tuple(model for model in report.models if _step_of(model.alias) <= last[0])
            self._earlier = structs.replace(report, models=kept) if kept else None

    def save(self, path: str | Path) -> None:
        """Write the state to a file, on rank 0, such as beside a checkpoint; ``resume`` reads it."""
        if is_first():
            files.write(Path(path), json.dumps(self.state_dict(), sort_keys=True))

    def resume(self, path: str | Path) -> bool:
        """Go on from a state that was saved; whether there is one. Every process calls it, and rank 0 reads."""

        def read() -> int:
            if not Path(path).is_file():
                return 0
            try:
                self.load_state_dict(json.loads(files.read(Path(path))))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, MsgspecError) as error:
                raise UsageError(f"{str(path)!r} is no state of a monitor: {error}") from error
            last = self.observations[-1:]
            return 1 + (2 * last[0].step + last[0].stop + 1 if last else 0)

        answer = agreed(read)
        if answer > 1 and not is_first():
            self.observations = [Observation((answer - 2) // 2, bool((answer - 2) % 2))]
        return answer > 0

    def _observed(self, table: EmbeddingTable, step: int, started: float, name: str | None) -> Observation:
        alias = name or f"step-{step}"
        spec = ModelSpec("memory", alias, "memory", alias)
        gate = None if self._first is None else Gate.in_memory(alias, self._first)
        if self._budget is not None and self._max_seconds is not None:
            self._budget.seconds = self._max_seconds - (time.perf_counter() - started)
        policy = Policy(gate=gate, keeps_entries=self._first is None)
        run = Session([Model(spec, lambda: table)], self._settings, policy).run(self._checks, budget=self._budget)
        results, (record,) = run.report.results, run.report.models
        lost = {**dict(self._broken(table)), **dict(self._lost(record))}
        if self._first is None:
            self._first = tuple(entry for entry, _ in run.entries[alias])
        self._keep_in_mind(run, step, name)
        values = {key: number for result in results for key, number in _numbers(result, is_lost=result.label in lost)}
        values["embcheck/population"] = float(record.population.rows if record.population is not None else 0)
        values["embcheck/seconds"] = time.perf_counter() - started
        said = {"lost": lost, "failed": dict(_failed(results)), "regressed": dict(_regressed(results))}
        stop = any(
            self._reactions[kind] == "stop" and (kind != "failed" or label not in self._never_held)
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

    def _lost(self, model: ModelRecord) -> Iterator[tuple[str, str]]:
        """By label, what to say of checks that can't be measured any more, or of all of them at first."""
        gone = [result for result in model.results if _has_no_value(result)]
        for result in gone:
            if result.label in self._had_value:
                why = result.reason or "it is no finite number"
                yield result.label, f"{result.label} had a value, and can't be measured any more: {why}"
        if not self._had_value and gone and len(gone) == len(model.results):
            yield "everything", f"nothing can be measured: {gone[0].reason}"

    def _broken(self, table: EmbeddingTable) -> Iterator[tuple[str, str]]:
        """What to say of ordinary tokens' rows that broke; rows that were zero from the start may be meant so."""
        status = table.status[table.ordinary]
        zero, broken = int((status == RowStatus.ZERO).sum()), int((status != RowStatus.KNOWN).sum())
        if not self.observations:
            self._broken_rows = zero
        if broken > self._broken_rows:
            yield (
                "rows",
                f"{broken} {'row is' if broken == 1 else 'rows are'} zero or not finite, {self._broken_rows} were",
            )
        self._broken_rows = max(broken, self._broken_rows)

    def _keep_in_mind(self, run: Run, step: int, name: str | None) -> None:
        """Note what has had a value, and which claims did not hold when the run began, and have not held since."""
        results = run.report.results
        if not self.observations:
            self._never_held = {result.label for result in results if result.verdict is Verdict.REFUTED}
        self._never_held -= {result.label for result in results if result.verdict is Verdict.HOLDS}
        self._had_value |= {r.label for r in results if r.estimate is not None and r.estimate.value is not None}
        model = "this run" if name is None else f"this run, {name}"
        for result in run.results:
            level = {"confidence_level": self._settings.confidence_level}  # of what has no estimate too: one series
            self._rows.append({**row_of(result), **level, "model": model, "step": step, "label": result.check.label})


def _has_no_value(result: ResultRecord) -> bool:
    """Whether a check could not be measured, for another reason than want of time."""
    if result.estimate is not None:
        return result.estimate.value is None
    return result.verdict in UNMEASURED and not (result.reason or "").startswith("budget:")


def _step_of(alias: str) -> float:
    """The step that a report calls ``step-N``; that of other names is past any."""
    number = alias.removeprefix("step-")
    return int(number) if number.isdecimal() else math.inf


def _numbers(result: ResultRecord, *, is_lost: bool) -> Iterator[tuple[str, float]]:
    """The numbers of a result as loggers take them: finite, under names that all of them accept."""
    estimate, change = result.estimate, result.change
    name = "embcheck/" + _loggable("/".join([result.id, *map(str, result.params.values())]))
    if estimate is None or estimate.value is None:
        if is_lost or result.verdict is Verdict.ERROR:
            yield f"{name}/pass", 0.0
        return
    numbers = {
        name: estimate.value,
        f"{name}/low": estimate.low,
        f"{name}/high": estimate.high,
        f"{name}/pass": float(result.verdict is Verdict.HOLDS),
    }
    if change is not None:
        is_own = change.scale in {None, estimate.name}
        moved = f"{name}/change" if is_own else f"{name}/change_of_{_loggable(str(change.scale)).replace(' ', '_')}"
        numbers |= {moved: change.value, f"{moved}_low": change.low, f"{moved}_high": change.high}
    yield from ((k, float(v)) for k, v in numbers.items() if v is not None and math.isfinite(v))


def _loggable(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)


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
            moved = (
                f"{change.scale} {change.before:.4g} to {change.after:.4g}, by {change.value:.4g} {_interval(change)}"
            )
            yield label, f"{label} regressed since the first observation: {moved}, margin {change.margin:.4g}"


def _interval(numbers: EstimateRecord | Change) -> str:
    return f"[{numbers.low:.4g}, {numbers.high:.4g}]"
