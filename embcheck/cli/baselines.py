"""The commands that keep baselines: ``init`` and ``baseline update|diff|prune``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from embcheck.baseline.file import path_of
from embcheck.baseline.gate import Gate
from embcheck.claims import Verdict
from embcheck.cli.check import check_and_deliver, prepared, show_report, watching
from embcheck.cli.common import MEASURING, OK, notice, options
from embcheck.config.config import resolve
from embcheck.config.models import needed
from embcheck.config.project import add_model, read_project
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports import outputs
from embcheck.run import session
from embcheck.run.update import write_baseline
from embcheck.settings import in_ci

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embcheck.checks.record import Report
    from embcheck.config.config import Config


@click.command(short_help="Take a model into the project, with its baseline.")
@click.argument("spec")
@options(*MEASURING, "baseline_dir", "update", "show")
def init(spec: str, **given: Any) -> int:
    """Measure SPEC once, and write it into the project so that the same checkpoint passes from then on.

    The model, and the checks that do not hold on it as expected exceptions, go to [tool.embcheck] in pyproject.toml;
    its estimates to embcheck-baselines/. Commit both.
    Pairs of it with the models that are there already are measured too. With --property, these checks alone are taken
    in, and later ones of the model are of these.
    """
    config = resolve({**given, "model": (spec,)}, root=Path.cwd())
    _refuse_in_ci(given, "init")
    (new,) = config.models
    file = config.file or config.root / "pyproject.toml"
    project = read_project(file)
    if path_of(config.baseline_dir, new.alias).exists() and new.alias in config.per_model:
        raise UsageError(
            f"model {new.alias!r} is there already; measure it anew with: embcheck baseline update {new.alias}"
        )
    others = {alias: own for alias, own in config.per_model.items() if alias != new.alias}
    there = {model.alias: model for model in config.configured_models}
    fresh = replace(
        config,
        gate="claims",
        update=(),
        asks_for_baselines=False,
        per_model=others,
        models=tuple((there | {new.alias: new}).values()),
    )
    models = needed(fresh)
    if new.alias not in {model.alias for model in models}:
        raise UsageError(f"{new.text!r} stands for several models; take them in one by one, such as by layer")
    checks, watch = prepared(fresh, models), watching(fresh, models)
    run = session.run_configured(fresh, models, checks, keeps_entries=True, only=new.alias, watch=watch)
    exceptions = _exceptions(run.report)
    selected = {"property": list(given["property"])} if given["property"] else {}
    text = add_model(project, file, new, exceptions, selected | _own_options(config))
    gate = Gate(config.baseline_dir, "both", "fail", ("new", "changed"))
    _, written = gate.write(new.alias, [(entry, "new") for entry, _ in run.entries[new.alias]], frozenset())
    text.write()
    shown = structs.replace(run.report, models=tuple(model for model in run.report.models if model.results))
    show_report(config, shown, streamed=watch is not None)
    count = sum(map(len, exceptions.values()))
    excused = f"{count} expected exception{'' if count == 1 else 's'}"
    notice(f"wrote {new.alias} to {file} ({excused}) and {written.path} ({len(written.entries)} entries); commit both")
    notice("next: embcheck check, or: pytest --pyargs embcheck.properties")
    return OK


_NO_EXCEPTION = {Verdict.HOLDS, Verdict.NOT_APPLICABLE}


def _exceptions(report: Report) -> dict[str, dict[str, str]]:
    """By the model that they stand under: the checks that do not hold and are not excused yet, and why."""
    exceptions: dict[str, dict[str, str]] = {}
    for model in report.models:
        for result in model.results:
            if result.verdict is Verdict.ERROR:
                raise EmbcheckError(f"{result.label} can't be run: {result.reason}; nothing was written")
            if result.expected and result.kind == "claim" and result.verdict not in _NO_EXCEPTION:
                why = " ".join((result.reason or result.verdict).split())
                exceptions.setdefault(model.alias, {})[result.label] = why
    return exceptions


def _own_options(config: Config) -> dict[str, Any]:
    """Options of this measurement that later ones need too, where they are not the defaults."""
    default = resolve({}, root=config.root)
    own = {"device": config.device, "dtype": config.dtype}
    return {key: value for key, value in own.items() if value is not None and value != getattr(default, key)}


@click.group(short_help="Keep the baselines that checkpoints are compared with.")
def baseline() -> None:
    """Keep the baselines that checkpoints are compared with."""


@baseline.command(short_help="Measure models and write their baselines.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options(*MEASURING, "baseline_dir", "update", "show")
def update(specs: tuple[str, ...], **given: Any) -> int:
    """Measure models (by default all that are configured) and write what is new or changed to their baselines.

    A claim that does not hold fails as ever: updating adopts changes, it excuses nothing.
    """
    _refuse_in_ci(given, "baseline update")
    return _check(resolve({**given, "model": specs, "update": given["update"] or "new,changed"}, root=Path.cwd()))


@baseline.command(short_help="Show how models differ from their baselines.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write the changes to this file as Markdown, for a review; - for standard output.",
)
@options(*MEASURING, "baseline_dir", "json")
def diff(specs: tuple[str, ...], markdown: Path | None, **given: Any) -> int:
    """Measure models (by default all that are configured) and show every change against their baselines."""
    config = resolve({**given, "model": specs}, root=Path.cwd())
    outputs.check(json=config.json, summary=markdown)
    config = replace(config, gate="regressions", show="all", missing_baseline=config.missing_baseline or "warn")
    return _check(config, changes_to=markdown)


@baseline.command(short_help="Remove what no check uses from the baselines.")
@click.argument("aliases", nargs=-1, metavar="[ALIAS]...")
@options("properties", "baseline_dir", "update")
def prune(aliases: tuple[str, ...], **given: Any) -> int:
    """Remove the entries that no check uses any more, from the baselines of all models or of those named."""
    _refuse_in_ci(given, "baseline prune")
    config = resolve({**given, "update": "prune"}, root=Path.cwd())
    for alias in aliases or sorted(path.stem for path in config.baseline_dir.glob("*.json")):
        if session.gate_of(config).baseline(alias) is None:
            raise UsageError(f"there is no baseline {str(path_of(config.baseline_dir, alias))!r}")
        for message in write_baseline(config, alias, ()):
            notice(message)
    return OK


def _check(config: Config, **also: Any) -> int:
    models = needed(config)
    if not models:
        raise UsageError("no model given; name one, or take one into the project with: embcheck init SPEC")
    return check_and_deliver(config, models, **also)


def _refuse_in_ci(given: Mapping[str, Any], command: str) -> None:
    if in_ci() and not given.get("update"):
        raise UsageError(f"in CI, {command} needs --update new,changed,prune (or some of them) on the command line")


COMMANDS = (init, baseline)
