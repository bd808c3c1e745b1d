"""The commands that keep baselines: ``init`` and ``baseline update|diff|prune``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck import sources
from embcheck.baseline.file import path_of
from embcheck.baseline.gate import Gate
from embcheck.cli.common import notice, options, show_lines
from embcheck.cli.running import chosen, finish, gate_of, known_keys, prepare, run_checks
from embcheck.config.config import resolve
from embcheck.config.project import add_model, read_project
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports import terminal
from embcheck.settings import in_ci
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from embcheck.config.config import Config
    from embcheck.run.session import Run
    from embcheck.spec import ModelSpec

__all__ = ["COMMANDS"]

_MEASURING = ("property", "properties", "device", "dtype", "seed", "confidence", "probes", "population")


@click.command(short_help="Take a model into the project, with its baseline.")
@click.argument("spec")
@options(*(name for name in _MEASURING if name != "property"), "baseline_dir", "update", "show")
def init(spec: str, **given: Any) -> int:
    """Measure SPEC once, and write it into the project so that the same checkpoint passes from then on.

    The model, and the checks that do not hold on it as expected exceptions, go to [tool.embcheck] in pyproject.toml;
    its estimates to embcheck-baselines/. Commit both.
    Pairs of it with the models that are there already are measured too.
    """
    config = resolve({**given, "model": (spec,)}, root=Path.cwd())
    _refuse_in_ci(given, "init")
    one = config.models[0]
    file = config.file or config.root / "pyproject.toml"
    project = read_project(file)
    if path_of(config.baseline_dir, one.alias).exists() and one.alias in resolve({}, root=Path.cwd()).per_model:
        raise UsageError(
            f"model {one.alias!r} is there already; measure it anew with: embcheck baseline update {one.alias}"
        )
    fresh = replace(
        config, gate="claims", update=(), per_model={k: v for k, v in config.per_model.items() if k != one.alias}
    )
    there = {model.alias: model for model in resolve({}, root=Path.cwd()).models}
    models = tuple((there | {one.alias: one}).values())
    prepare(fresh, models)
    run = run_checks(fresh, models, chosen(fresh, models), keeps_entries=True, only=one.alias)
    exceptions = _exceptions(run)
    text = add_model(project, file, one, exceptions, _own_options(config))
    gate = Gate(config.baseline_dir, "both", "fail", ("new", "changed"))
    written = gate.write(one.alias, [(entry, "new") for entry, _ in run.entries[one.alias]])
    text.write()
    document = {**run.document, "models": [model for model in run.document["models"] if model["results"]]}
    show_lines(lambda encoding: terminal.lines(document, show=config.show, encoding=encoding))
    count = sum(map(len, exceptions.values()))
    notice(f"wrote {one.alias} to {file} ({count} expected exceptions) and {written.path}; commit both")
    return 0


def _exceptions(run: Run) -> dict[str, dict[str, str]]:
    """By the model that they stand under: the checks that do not hold and are not excused yet, and why.

    Raises
    ------
    EmbcheckError
        One can't be run.
    """
    found: dict[str, dict[str, str]] = {}
    for model in run.document["models"]:
        for result in model["results"]:
            name = terminal.label(result)
            if result["verdict"] == "error":
                raise EmbcheckError(f"{name} can't be run: {result['reason']}; nothing was written")
            if result["verdict"] != "holds" and result.get("expected", True):
                why = " ".join((result["reason"] or result["verdict"]).split())
                found.setdefault(model["alias"], {})[name] = why
    return found


def _own_options(config: Config) -> dict[str, Any]:
    """Options of this measurement that later ones need too, where they are not the defaults."""
    default = resolve({}, root=config.root)
    found = {
        "device": config.device if config.device != default.device else None,
        "dtype": config.dtype if config.dtype != default.dtype else None,
    }
    return {key: value for key, value in found.items() if value is not None}


@click.group(short_help="Keep the baselines that checkpoints are compared with.")
def baseline() -> None:
    """Keep the baselines that checkpoints are compared with."""


@baseline.command(short_help="Measure models and write their baselines.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options(*_MEASURING, "baseline_dir", "update", "show")
def update(specs: tuple[str, ...], **given: Any) -> int:
    """Measure models (by default all that are configured) and write what is new or changed to their baselines.

    A claim that does not hold fails as ever: updating adopts changes, it excuses nothing.
    """
    _refuse_in_ci(given, "baseline update")
    config = _resolved(specs, {**given, "update": given["update"] or "new,changed"})
    return _measured(config)


@baseline.command(short_help="Show how models differ from their baselines.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options(*_MEASURING, "baseline_dir", "json")
def diff(specs: tuple[str, ...], **given: Any) -> int:
    """Measure models (by default all that are configured) and show every change against their baselines."""
    config = replace(_resolved(specs, given), gate="regressions", show="all")
    return _measured(config)


@baseline.command(short_help="Remove what no check uses from the baselines.")
@click.argument("aliases", nargs=-1, metavar="[ALIAS]...")
@options("properties", "baseline_dir", "update")
def prune(aliases: tuple[str, ...], **given: Any) -> int:
    """Remove the entries that no check uses any more, from the baselines of all models or of those named."""
    _refuse_in_ci(given, "baseline prune")
    config = _resolved((), {**given, "update": "prune"})
    names = aliases or sorted(path.stem for path in config.baseline_dir.glob("*.json"))
    gate = gate_of(config)
    for alias in names:
        found = gate.baseline(alias)
        if found is None:
            raise UsageError(f"there is no baseline {str(path_of(config.baseline_dir, alias))!r}")
        known = known_keys(config, alias)
        left = gate.unused(alias, known)
        gate.write(alias, (), known)
        notice(f"{alias}: removed {len(left)} entries{': ' if left else ''}{', '.join(left)}")
    return 0


def _measured(config: Config) -> int:
    models = config.models
    if not models:
        raise UsageError("no model given; name one, or take one into the project with: embcheck init SPEC")
    prepare(config, models)
    run = run_checks(config, models, chosen(config, models))
    lacking = finish(config, run)
    show_lines(lambda encoding: terminal.lines(run.document, show=config.show, encoding=encoding))
    for message in run.load_errors:
        notice(f"error: {message}")
    return 4 if run.load_errors else max(lacking, int(not run.passed))


def _resolved(specs: Sequence[str], given: Mapping[str, Any]) -> Config:
    """The options; a spec that is an alias of a configured model means that model."""
    configured = {model.alias: model for model in resolve({}, root=Path.cwd()).models}
    config = resolve({k: v for k, v in given.items() if k != "model"}, root=Path.cwd())
    models: list[ModelSpec] = [configured.get(spec) or parse(spec) for spec in specs]
    for spec in models:
        sources.check(spec)
    return replace(config, models=tuple(models)) if models else config


def _refuse_in_ci(given: Mapping[str, Any], command: str) -> None:
    if in_ci() and not given.get("update"):
        raise UsageError(f"in CI, {command} needs --update new,changed,prune (or some of them) on the command line")


COMMANDS = (init, baseline)
