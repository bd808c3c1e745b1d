"""The commands ``check``, ``list`` and ``selftest``, and what every command that checks models does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck import files
from embcheck.checks import collect
from embcheck.checks.check import checks_of
from embcheck.checks.record import version
from embcheck.claims import Verdict
from embcheck.cli.common import (
    FAILED,
    INTERRUPTED,
    NOTHING_RAN,
    OK,
    USAGE,
    notice,
    options,
    show_lines,
    without_interruption,
)
from embcheck.config.config import resolve
from embcheck.config.models import needed
from embcheck.config.options import OPTIONS
from embcheck.errors import UsageError
from embcheck.extensions import installed, package_of
from embcheck.reports import calibration, json_file, outputs, summary, terminal
from embcheck.reports.published import listed
from embcheck.reports.text import safe, wrap
from embcheck.reports.wording import WIDTH, Line, bound_text, is_aside
from embcheck.run import session
from embcheck.run.update import what_next, write_baseline
from embcheck.settings import in_ci
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.check import Check
    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.config.config import Config
    from embcheck.run.run import Run
    from embcheck.spec import ModelSpec


@click.command(short_help="Check properties on models.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options(*(option.name for option in OPTIONS if option.name != "model"))
def check(specs: tuple[str, ...], **given: Any) -> int:
    """Check properties on models.

    A SPEC is a path, org/name[@revision] on the hub, gguf:FILE, npy:FILE,vocab=FILE, word2vec:FILE, glove:FILE,
    random:VxD, demo or demo:lm; alias= in front names it. The alias of a configured model means that model.
    Without one, the models of [tool.embcheck] are checked, or demo.
    """
    config = resolve({**given, "model": specs}, root=Path.cwd())
    return check_and_deliver(config, needed(config) or _demo())


def _demo() -> tuple[ModelSpec, ...]:
    if in_ci():
        raise UsageError("no model given; name one, or configure models in [tool.embcheck] (in CI none is assumed)")
    notice("no model given: checking demo (a SPEC names another, see embcheck check --help)")
    return (parse("demo"),)


def prepared(config: Config, models: Sequence[ModelSpec]) -> list[Check]:
    """The selected checks, once all is seen to be right that can be without work."""
    for message in session.prepare(config, models):
        notice(message)
    checks = session.checks_for(config, models)
    for message in session.left_out(config, models, checks):
        notice(message)
    return checks


def check_and_deliver(config: Config, models: Sequence[ModelSpec], *, changes_to: Path | None = None) -> int:
    """Check models, show each result as it comes, write what is asked for, and the changes as Markdown; the exit code.

    Of an interrupted run what was measured is shown and written, marked as partial, and no baseline.
    """
    watch = watching(config, models)
    try:
        checks = prepared(config, models)
        if not any(check.is_whole for check in checks):
            pairs = ", ".join(check.label for check in checks)
            notice(f"nothing to check: {f'{pairs}: needs two models' if pairs else 'no properties were found'}")
            return NOTHING_RAN
        run = session.run_configured(config, models, checks, watch=watch)
    except KeyboardInterrupt as interrupted:
        run = interrupted.run if isinstance(interrupted, session.Interrupted) else session.nothing_of(config)
    with without_interruption():
        return _finished(config, run, changes_to, streamed=watch is not None)


def _finished(config: Config, run: Run, changes_to: Path | None, *, streamed: bool) -> int:
    """Show the report, write it and the baselines, and return the exit code."""
    is_partial = run.report.run.partial
    if is_partial:
        notice("interrupted")
    for message in run.notes:
        notice(message)
    for model in run.report.models:
        if config.update and model.shape is not None and not is_partial:
            for message in write_baseline(config, model.alias, run.entries[model.alias]):
                notice(message)
        if model.unused and not model.unused_fails:  # which the report says
            notice(f"{model.alias}: {model.unused_text}")
    outputs.annotate(run.report)
    show_report(config, run.report, changes_to, streamed=streamed)
    for error in run.load_errors:
        notice(f"error: {error}")
    if changes_to is not None:
        files.write(changes_to, summary.changed(run.report))
    for message in filter(None, map(what_next, run.report.models if config.update else ())):
        notice(message)
    session.deliver(config, run.report)  # last: what was measured is on the screen whatever a disk does
    return INTERRUPTED if is_partial else _exit_code(run)


def watching(config: Config, models: Sequence[ModelSpec]) -> session.Watch | None:
    """Prints each result as it comes; none where rows are not asked for, or no result is settled before the last is."""
    if config.show != "rows" or config.settings.family_wise:
        return None
    is_short = len(models) > 1

    def watch(model: ModelRecord, result: ResultRecord | None) -> None:
        if result is None:
            gap = [Line("")] if model.alias != models[0].alias else []
            show_lines(lambda encoding: [*gap, *terminal.header(model, encoding)], *config.outputs())
        elif not is_aside(result):
            show_lines(lambda encoding: terminal.row(result, is_short=is_short, encoding=encoding), *config.outputs())

    return watch


def show_report(config: Config, report: Report, *written: Path | None, streamed: bool) -> None:
    """Show the report at the end of a run, of which each result may have been shown as it came.

    ``written`` are files that are written beside those of the configuration.
    """
    show_lines(
        lambda encoding: terminal.lines(report, show=config.show, encoding=encoding, streamed=streamed),
        *config.outputs(),
        *written,
    )


def _exit_code(run: Run) -> int:
    if run.load_errors:
        return USAGE
    if run.is_unmeasured:
        return NOTHING_RAN
    return OK if run.passed else FAILED


# --- list -------------------------------------------------------------------------------------------------------


@click.command("list", short_help="List properties and models.")
@click.option("--published", is_flag=True, help="List the published figures that models are compared with instead.")
@options("property", "properties")
def list_(*, published: bool, **given: Any) -> int:
    """List the properties that can be found, what each claims, and the configured models."""
    if published:
        show_lines(lambda _: listed())
        return OK
    config = resolve(given, root=Path.cwd())
    known = checks_of(collect.functions(config.properties), [spec.alias for spec in config.models[1:]])
    checks = collect.select(known, config.property)
    show_lines(lambda _: [*_properties(checks), *_models(config), *_sources()])
    return OK


def _properties(checks: Sequence[Check]) -> Iterator[Line]:
    by_id = {check.declaration.id: check.declaration for check in checks}
    functions = {check.declaration.id: check.function for check in checks}
    for name, declaration in by_id.items():
        yield Line(name, "title")
        bounds = [bound_text(bound.outcome(None, Verdict.SKIPPED)) for bound in declaration.claims]
        yield from _indented("", [declaration.sentence])
        yield from _indented("claims: ", bounds)
        for parameter, values in declaration.parameters.items():
            yield from _indented(f"{parameter}: ", [str(value) for value in values])
        if declaration.kind == "description":
            yield from _indented("", ["a description, of which no verdict fails, only a change from the baseline"])
        if declaration.of_pairs:
            yield from _indented("runs for: ", ["each pair of models"])
        if declaration.applies is not None:
            yield from _indented("", ["only for the models that it is about"])
        if package := package_of(functions[name]):
            yield from _indented("from: ", [package])
        if declaration.fixtures:
            yield from _indented("runs under pytest only: ", [f"takes {', '.join(declaration.fixtures)}"])
    yield Line("")


def _models(config: Config) -> Iterator[Line]:
    yield Line("models", "title")
    for spec in config.models:
        yield from _indented("", [f"{spec.alias} = {spec.text}"])
        if exceptions := config.of(spec.alias).exceptions:
            yield from _indented("expected not to hold: ", exceptions)
    if not config.models:
        yield from _indented("", ["none configured; embcheck check takes demo"])


def _sources() -> Iterator[Line]:
    """Those that installed packages add, where there are any."""
    if added := installed("sources"):
        yield Line("")
        yield Line("added sources", "title")
    for name, extension in added.items():
        yield from _indented("", [f"{name}: from {extension.package}"])


def _indented(name: str, pieces: Sequence[str]) -> list[Line]:
    shown = [safe(piece, 10 * WIDTH) for piece in pieces]
    return [Line(text) for text in wrap(shown, width=WIDTH, first=f"  {name}", indent="    ")]


# --- selftest ---------------------------------------------------------------------------------------------------------


@click.command(short_help="Check that the properties are calibrated.")
@options("property", "properties", "seed", "json")
@click.option(
    "--tables",
    type=click.IntRange(min=20),
    default=200,
    metavar="N",
    help="Tables of noise for each check. [default: 200]",
)
@click.option(
    "--redraws",
    type=click.IntRange(min=20),
    default=2_000,
    metavar="N",
    help="Redraws for the coverage of intervals. [default: 2000]",
)
@click.option(
    "--shapes",
    is_flag=True,
    help="Measure on heterogeneous, heavy-length, clustered and shifted tables too, a tenth as many.",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write the table and what it means to this file; - for standard output.",
)
def selftest(tables: int, redraws: int, *, shapes: bool, markdown: Path | None, **given: Any) -> int:
    """Measure properties on tables of known structure: noise, planted structure, redraws.

    Shows how often each property holds on noise, how often its interval covers, whether its p-values are uniform and
    whether it sees planted structure; and, where no property is named, whether the ladder of --explain names the
    structure that was planted. Exit code 1 where one of them leaves its limits. No model is read. All defaults
    take about a quarter of an hour; --tables 20 --redraws 50 takes one minute, and sees only gross faults.
    """
    from embcheck import lexicons
    from embcheck.selftest import Plan, examine, examine_ladder

    config = resolve(given, root=Path.cwd())
    outputs.check(json=config.json, summary=markdown)
    checks = collect.select(checks_of(collect.functions(config.properties)), config.property)
    if not config.property:  # other languages are the same measures of other words
        checks = [c for c in checks if all(lexicons.language_of(value) == "en" for value in c.params.values())]
    document = examine(checks, Plan(tables, redraws, config.settings.seed, shapes))
    if not config.property:
        document["ladder"] = examine_ladder(tables // 2, config.settings.seed)
    if config.json:
        json_file.write(document, config.json)
    if markdown:
        files.write(markdown, calibration.markdown(document, version("embcheck")))
    show_lines(lambda encoding: calibration.lines(document, encoding=encoding), *config.outputs(), markdown)
    return int(not all(row["calibrated"] for row in (*document["properties"], *document.get("ladder", ()))))


COMMANDS = (check, list_, selftest)
