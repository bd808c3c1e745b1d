"""The session engine, which command line, pytest, Python, training and sweeps call: they only format.

A check is adapted to its model, evaluated, gated, and kept as a baseline entry; what the baseline has beyond that is
unused. One model or pair is in memory at a time. One failing check or model leaves the others.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import structs

from embcheck import files, sources
from embcheck.baseline.gate import Gate
from embcheck.baseline.tokens import entry_of
from embcheck.checks import collect
from embcheck.checks.check import Result, checks_of, error_result
from embcheck.checks.evaluate import evaluate
from embcheck.checks.ladder import climb
from embcheck.config import models as named_models
from embcheck.config import per_model
from embcheck.errors import ConfigError, EmbcheckError, UsageError
from embcheck.extensions import package_of
from embcheck.progress import track
from embcheck.reports import outputs
from embcheck.run.document import model_record, population_of, report
from embcheck.run.likely import since_baseline
from embcheck.run.rows import note_of_broken
from embcheck.run.run import ModelRun, Run, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from embcheck.baseline.file import Entry
    from embcheck.checks.check import Check, GateMode
    from embcheck.checks.record import Json, ModelRecord, Report, ResultRecord, State
    from embcheck.config.config import Config
    from embcheck.run.budget import Budget
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

Population = Literal["known", "all"]
Watch: TypeAlias = "Callable[[ModelRecord, ResultRecord | None], None]"
"""Is told of a model once it is read, and then of each of its results, before the family's adjustments."""


def _ignore(_model: ModelRecord, _result: ResultRecord | None) -> None:
    """Watches nothing."""


class Interrupted(KeyboardInterrupt):
    """The user interrupted a run; ``run`` is what was measured until then, and says that it is partial."""

    def __init__(self, run: Run, during: str = "") -> None:
        super().__init__(f"interrupted{during}; its .run is what was measured until then")
        self.run = run


@dataclass(frozen=True, slots=True)
class Model:
    """A model to check: its name, and how to get its table once its turn has come."""

    spec: ModelSpec
    load: Callable[[], EmbeddingTable]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model's table, and what loading it took."""

    spec: ModelSpec
    table: EmbeddingTable
    seconds: float

    @property
    def record(self) -> ModelRecord:
        """Its place in the report, without results."""
        return model_record(self.spec, self.table)

    @property
    def note(self) -> str | None:
        """What is to be said first, of a table with broken rows."""
        population = population_of(self.table)
        return note_of_broken(population.rows, population.excluded)

    @property
    def timing(self) -> Json:
        """Seconds and bytes."""
        return {"load_seconds": self.seconds, "bytes_read": self.table.bytes_read}


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What is known of single models, by alias."""

    expected: Callable[[str, Check], bool] = lambda _alias, _check: True
    """Whether a check is expected to hold."""
    adapt: Callable[[str, Check], Check | None] = lambda _alias, check: check
    """The check with the model's own bounds; none where it is not run on that model."""
    gate: Gate | None = None
    keeps_entries: bool = False
    """Whether the run keeps what a baseline would."""

    @classmethod
    def of(cls, config: Config, *, keeps_entries: bool = False) -> Policy:
        """What a project's configuration says."""

        def adapt(alias: str, check: Check) -> Check | None:
            return per_model.adapt(config.of(alias), check)

        return cls(config.expected, adapt, gate_of(config), keeps_entries or bool(config.update))


class Session:
    """Runs checks on models; keeps in memory the tables of the last check, and no others."""

    def __init__(
        self,
        models: Iterable[Model],
        settings: Settings,
        policy: Policy | None = None,
        *,
        control: bool = False,
        explain: bool = False,
        isolates: bool = True,
        keeps_all: bool = False,
    ) -> None:
        self.models = tuple(models)
        self.settings = settings
        self.policy = policy or Policy()
        self._control, self._explain = control, explain
        self._isolates = isolates
        self._keeps_all = keeps_all
        self._tables: dict[Model, Loaded] = {}
        self._failed: dict[Model, EmbcheckError] = {}
        self._during = ""  # what it is at, for who interrupts it

    @property
    def _family_wise(self) -> GateMode | None:
        """What decides which results pass, where permutation tests are judged as one family."""
        gate = self.policy.gate
        return None if not self.settings.family_wise else "claims" if gate is None else gate.mode

    def loaded(self, *models: Model) -> tuple[Loaded, ...]:
        """The tables of some models, after all others were let go. One that failed to load is not tried again."""
        for model in models:
            if model in self._failed:
                raise self._failed[model].with_traceback(None)
        if not self._keeps_all:
            self._tables = {model: loaded for model, loaded in self._tables.items() if model in models}
        for model in models:
            if model not in self._tables:
                self._during = f" while {model.spec.alias} was read"
                started = time.perf_counter()
                try:
                    table = model.load()
                except EmbcheckError as error:
                    self._failed[model] = error
                    raise
                self._tables[model] = Loaded(model.spec, table, time.perf_counter() - started)
        return tuple(self._tables[model] for model in models)

    def record(self, loaded: Loaded) -> ModelRecord:
        """A model's place in the report, without results, and what its baseline knew of its rows and they lost."""
        gate = self.policy.gate
        lost = None if gate is None else gate.lost(loaded.spec.alias, loaded.table)
        return structs.replace(loaded.record, lost=lost)

    def known(self, model: Model) -> Loaded | None:
        """A table that is in memory; loads nothing."""
        return self._tables.get(model)

    def measure(self, check: Check, *models: Model, settings: Settings | None = None) -> Result:
        """Evaluate an adapted check on its model, or its two, and hold it against the baseline.

        A property that is written wrongly, or whose second model fails to load, gives an error result. So does one that
        raises anything else, unless the session does not isolate: pytest shows that better.
        """
        alias, gate = models[0].spec.alias, self.policy.gate
        settings = self._settings_for(alias, check, settings or self.settings)
        expected = self.policy.expected(alias, check)
        try:
            tables = tuple(loaded.table for loaded in self.loaded(*models))
            self._during = f" in {check.label} of {alias}"
            files.refuse_changed()
            subject = tables if check.declaration.of_pairs else tables[0]
            result = evaluate(check, subject, settings, control=self._control, expected=expected)
            if self._explain:
                result = climb(result, tables[0], settings)
            _ = result.record  # what JSON can't hold is the property's fault, and is to be heard of here
            files.refuse_changed()
            return result if gate is None else gate.apply(alias, result, tables[0], settings)
        except EmbcheckError as error:
            return error_result(check, str(error), expected=expected)
        except (Exception, SystemExit) as error:
            if not self._isolates:
                raise
            return error_result(check, _blame(error, check), expected=expected)

    def entry(self, result: Result, model: Model) -> tuple[Entry, State] | None:
        """What a baseline would keep of a result, and its state; none where it keeps nothing, or is not asked to."""
        loaded = self.known(model)
        if loaded is None or not self.policy.keeps_entries:
            return None
        return entry_of(result, loaded.table, self._settings_for(model.spec.alias, result.check, self.settings))

    def _settings_for(self, alias: str, check: Check, settings: Settings) -> Settings:
        gate = self.policy.gate
        return settings if gate is None else gate.settings_for(alias, check, settings)

    def run(
        self,
        checks: Sequence[Check],
        *,
        device: str | None = None,
        budget: Budget | None = None,
        watch: Watch | None = None,
    ) -> Run:
        """Run every check on every model, and every one of pairs on each pair, as a report.

        ``device`` is what the report calls it, by default that of the first table; ``budget`` how many seconds the
        checks of each model may take, reading it included; ``watch`` is told of each result once there is one. Raises
        `EmbcheckError` where the only model fails to load; one of several gives error results, and the others run.
        Raises `Interrupted`, with what was measured, where the user interrupts.
        """
        runs: list[ModelRun] = []
        try:
            for index in range(len(self.models)):
                self._run_model(index, checks, budget, runs, watch or _ignore)
            if len(self.models) == 1 and runs[0].error is not None:
                raise runs[0].error
            return self._made(runs, device)
        except KeyboardInterrupt:
            raise Interrupted(self._made(runs, device, partial=True), self._during) from None

    def _made(self, runs: Sequence[ModelRun], device: str | None, *, partial: bool = False) -> Run:
        return run_of(runs, self.settings, device=device, family_wise=self._family_wise, partial=partial)

    def _run_model(
        self, index: int, checks: Sequence[Check], budget: Budget | None, runs: list[ModelRun], watch: Watch
    ) -> None:
        """Everything about one model: the checks of it alone, then those of it and each later one.

        What is known is among the ``runs`` as soon as it is: an interruption leaves it there.
        """
        model, alias = self.models[index], self.models[index].spec.alias
        later = {other.spec.alias: other for other in self.models[index + 1 :]}
        about = _about(checks, model.spec, later)
        adapted = [own for check in about if (own := self.policy.adapt(alias, check)) is not None]
        try:
            (loaded,) = self.loaded(model)
            if loaded.table.parts is not None:
                loaded.table.parts.tolerates = True  # the run reports what is left, and fails
            record = self.record(loaded)
        except EmbcheckError as error:
            failed = [error_result(c, str(error), expected=self.policy.expected(alias, c)) for c in adapted]
            results = {result.check.key: result for result in failed}
            runs.append(ModelRun(model_record(model.spec, None), results=results, error=error))
            return
        gate = self.policy.gate
        of_rows = None if gate is None else gate.on_rows(alias, loaded.table)
        run = ModelRun(
            record,
            timing=loaded.timing,
            device=str(loaded.table.vectors.device),
            notes=tuple(filter(None, [loaded.note, of_rows, *record.damaged.values(), *loaded.table.provenance.notes])),
        )
        runs.append(run)
        watch(run.record, None)
        by_place = [c for other in (None, *later) for c in adapted if c.other == other]

        def measured(check: Check, settings: Settings) -> Result:
            others = [] if check.other is None else [later[check.other]]
            result = self.measure(check, model, *others, settings=settings)
            if entry := self.entry(result, model):
                run.entries[check.key] = entry
            run.results[check.key] = result
            watch(run.record, result.record)
            return result

        if budget is None:
            for check in track(by_place, alias, naming=lambda check: check.label):
                measured(check, self.settings)
        else:
            rows = max(2, population_of(loaded.table).rows)
            spent = budget.spend(by_place, measured, self.settings, rows=rows, spent=loaded.seconds)
            run.results = {result.check.key: result for result in spent}
        if gate is not None:
            said = since_baseline(gate, run.settled(self._family_wise), lambda: loaded.table)
            run.record = structs.replace(run.record, likely=said)


def _blame(error: BaseException, check: Check) -> str:
    """What a property raised, and the line of its own file that it came from."""
    own = check.function.__code__.co_filename if hasattr(check.function, "__code__") else None
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return f"{said} ({Path(frame.filename).name}:{frame.lineno}: {frame.line})"


# --- runs of a project: what every front end does with its configuration ---------------------------------------------


def gate_of(config: Config) -> Gate:
    """The gate that the options ask for."""
    known = [spec.alias for spec in config.configured_models]
    return Gate(config.baseline_dir, config.gate, config.missing_baseline, config.update, known)


def model_of(config: Config, spec: ModelSpec) -> Model:
    """A configured model, read when its turn comes."""
    return Model(spec, partial(named_models.load, config, spec))


def prepare(config: Config, specs: Sequence[ModelSpec]) -> list[str]:
    """Check before any work paths, files to be written and baselines; returns what a user should know first."""
    for spec in specs:
        sources.check(spec)
    outputs.check(json=config.json, summary=config.summary, page=config.html)
    gate = gate_of(config)
    for spec in () if gate.is_open else specs:
        if gate.baseline(spec.alias) is None and gate.mode == "regressions" and not gate.says_what_is_missing:
            raise UsageError(
                f"--gate regressions: {spec.alias} has no baseline in {str(config.baseline_dir)!r}; make one with "
                "embcheck baseline update, or say what a missing one does with --missing-baseline"
            )
    if config.asks_for_baselines and not config.update and not config.baseline_dir.is_dir():
        raise UsageError(
            f"baseline-dir {str(config.baseline_dir)!r}: no such folder; make baselines with: embcheck baseline update"
        )
    on_seeds = (gate.on_seeds(spec.alias, config.settings.seed) for spec in specs)
    return [*sources.announce(specs), *filter(None, on_seeds)]


def all_checks(config: Config, specs: Sequence[ModelSpec] = ()) -> list[Check]:
    """Every check that can be found, whatever is selected, and with whichever model second in a pair."""
    aliases = dict.fromkeys([*config.known_aliases(), *(spec.alias for spec in specs)])
    return checks_of(collect.functions(config.properties, [*config.models, *specs]), aliases)


def check_names(config: Config, checks: Iterable[Check]) -> None:
    """Check that whatever the configuration says of single models is about one of the models, and of these checks."""
    aliases = dict.fromkeys(spec.alias for spec in (*config.configured_models, *config.models))
    per_model.check_aliases(config.file, config.per_model, list(aliases))
    per_model.check_names(config.file, config.per_model, checks)


def checks_for(config: Config, specs: Sequence[ModelSpec]) -> list[Check]:
    """The selected checks, of the pairs of the given models too, once all names and globs are seen to be known."""
    known = all_checks(config, specs)
    seconds = {None, *(spec.alias for spec in specs[1:])}
    check_names(config, known)
    checks = collect.select([check for check in known if check.other in seconds], config.property)
    collect.refuse_pytest_only(checks)
    for index, spec in enumerate(specs):
        own, about = config.of(spec.alias), _about(checks, spec, {other.alias for other in specs[index + 1 :]})
        if about and all(per_model.adapt(own, check) is None for check in about):
            named = f"[tool.embcheck.model.{spec.alias}] leaves no check of those that are selected"
            said = per_model.left_out(spec.alias, own, about)
            raise ConfigError(f"{config.file}: {named}" + (f": {said}" if said else ""))
    return checks


def left_out(
    config: Config, specs: Sequence[ModelSpec], checks: Iterable[Check], *, shipped: bool = False
) -> list[str]:
    """Which of the project's own properties, or of the shipped ones too, the models' ``property`` lists leave out."""
    own = [check for check in checks if shipped or not collect.is_shipped(check.function)]
    by_model = {
        spec.alias: [check for check in own if check.declaration.applies_to(spec)] for spec in dict.fromkeys(specs)
    }
    said = (per_model.left_out(alias, config.of(alias), about) for alias, about in by_model.items())
    return list(filter(None, said))


def not_run(config: Config, specs: Sequence[ModelSpec], ran: Collection[tuple[str, str]]) -> tuple[int, int]:
    """Of the checks that ``property`` lists or baselines name: how many of embcheck's own did not run, and of all.

    ``ran`` has the model's alias and the key of each check that did.
    """
    gate, known = gate_of(config), [c for c in all_checks(config, specs) if collect.is_selected(c, config.property)]
    named: dict[tuple[str, str], Check] = {}
    for index, spec in enumerate(specs):
        own, baseline = config.of(spec.alias), None if gate.is_open else gate.baseline(spec.alias)
        is_listed, entries = bool(config.property or own.property), baseline.entries if baseline else {}
        for check in _about(known, spec, {other.alias for other in specs[index + 1 :]}):
            if (is_listed or check.key in entries) and per_model.adapt(own, check) is not None:
                named[spec.alias, check.key] = check
    missing = [check.function for name, check in named.items() if name not in ran]
    ours = [f for f in missing if collect.is_shipped(f) and package_of(f) is None]
    return len(ours), len(named)


def _about(checks: Iterable[Check], spec: ModelSpec, later: Collection[str]) -> list[Check]:
    """The checks that stand under a model: of it alone, and of it and a later one."""
    applying = [check for check in checks if check.declaration.applies_to(spec)]
    return [check for check in applying if not check.declaration.of_pairs or check.other in later]


def run_configured(
    config: Config,
    specs: Sequence[ModelSpec],
    checks: Sequence[Check],
    *,
    keeps_entries: bool = False,
    only: str | None = None,
    watch: Watch | None = None,
) -> Run:
    """Run checks as a project configures them; with ``only``, those of the model of that alias, alone or in a pair."""
    policy = Policy.of(config, keeps_entries=keeps_entries)
    if only is not None:
        adapt = policy.adapt
        policy = replace(
            policy, adapt=lambda alias, check: adapt(alias, check) if only in {alias, check.other} else None
        )
    models = [model_of(config, spec) for spec in specs]
    session = Session(models, config.settings, policy, control=config.control, explain=config.explain)
    run = session.run(checks, device=str(sources.resolve_device(config.device)), watch=watch)
    try:
        records = tuple(with_unused(config, model, specs=specs) for model in run.report.models)
    except KeyboardInterrupt:
        raise Interrupted(run) from None
    return replace(run, report=structs.replace(run.report, models=records))


def nothing_of(config: Config) -> Run:
    """The run of one who interrupted before anything was measured."""
    return Run(report((), settings=config.settings, device="none", timing={}, partial=True), ())


def known_keys(
    config: Config, alias: str, ran: Collection[str] = (), *, specs: Sequence[ModelSpec] = ()
) -> frozenset[str]:
    """The baseline keys of every check that the files leave in for a model, run or not, and of those that ran."""
    configured = [c for c in all_checks(config, specs) if collect.is_selected(c, config.configured_property)]
    adapted = (per_model.adapt(config.of(alias), check) for check in configured)
    return frozenset(ran) | {check.key for check in adapted if check is not None}


def with_unused(
    config: Config, model: ModelRecord, ran: Collection[str] = (), *, specs: Sequence[ModelSpec] = ()
) -> ModelRecord:
    """A model's record with what its baseline has and no check uses; nothing where it is about to be pruned.

    Such entries fail the run in continuous integration, and where configured.
    """
    gate = gate_of(config)
    if gate.is_open or "prune" in config.update:
        return model
    labels = {check.key: check.label for check in all_checks(config, specs)}
    unused = gate.unused(model.alias, known_keys(config, model.alias, ran, specs=specs), labels)
    return structs.replace(model, unused=unused, unused_fails=bool(unused) and gate.fails_missing)


def deliver(config: Config, written: Report) -> None:
    """Write the files that the options ask for."""
    outputs.deliver(written, json=config.json, summary=config.summary, page=config.html)
