"""One run of the command line: what is checked before it, the checks themselves, and what is written after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import sources
from embcheck.baseline.gate import Gate, keys_of
from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of
from embcheck.cli.common import notice
from embcheck.config.config import check_exceptions
from embcheck.reports import github, html, outputs, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.evaluate import Check
    from embcheck.config.config import Config
    from embcheck.run.session import Run
    from embcheck.spec import ModelSpec

__all__ = ["chosen", "finish", "gate_of", "known_checks", "known_keys", "prepare", "run_checks", "write_entries"]


def gate_of(config: Config) -> Gate:
    """The gate that the options ask for."""
    return Gate(config.baseline_dir, config.gate, config.missing_baseline, config.update)


def prepare(config: Config, models: Sequence[ModelSpec]) -> None:
    """Check before any work what can be checked: paths, files to be written, baselines.

    Raises
    ------
    EmbcheckError
        Something is wrong with one of them.
    """
    for spec in models:
        sources.check(spec)
    for message in sources.announce(models):
        notice(message)
    outputs.check(json=config.json, summary=config.summary, page=config.html)
    gate = gate_of(config)
    for spec in () if gate.is_open else models:
        gate.baseline(spec.alias)


def known_checks(config: Config, models: Sequence[ModelSpec] = ()) -> list[Check]:
    """Every check that can be found, whatever is selected, and with whichever model second in a pair."""
    aliases = dict.fromkeys([*config.aliases, *(one.alias for one in models)])
    return checks_of(collect.functions(config.properties), aliases)


def known_keys(config: Config, alias: str) -> frozenset[str]:
    """The baseline keys of every check that runs on a model."""
    return keys_of(one for check in known_checks(config) if (one := config.adapt(alias, check)) is not None)


def chosen(config: Config, models: Sequence[ModelSpec]) -> list[Check]:
    """The selected checks, of the pairs of the given models too.

    Raises
    ------
    EmbcheckError
        A name in the configuration is unknown, a glob matches nothing, or a property runs under pytest only.
    """
    known = known_checks(config, models)
    seconds = {None, *(one.alias for one in models[1:])}
    check_exceptions(config, known)
    found = collect.select([check for check in known if check.other in seconds], config.property)
    collect.refuse_pytest_only(found)
    return found


def run_checks(
    config: Config,
    models: Sequence[ModelSpec],
    checks: Sequence[Check],
    *,
    keeps_entries: bool = False,
    only: str | None = None,
) -> Run:
    """Run the checks on the models; with ``only``, those of the model of that alias, alone or second in a pair."""
    from embcheck.run.session import Policy, execute, models_of

    def adapt(alias: str, check: Check) -> Check | None:
        return config.adapt(alias, check) if only in {None, alias, check.other} else None

    device = str(sources.resolve_device(config.device))
    policy = Policy(config.expected, adapt, gate_of(config), keeps_entries or bool(config.update))
    return execute(
        models_of(models, device=config.device_of, dtype=config.dtype_of, population=config.population),
        checks,
        settings=config.settings,
        device=device,
        control=config.control,
        policy=policy,
    )


def finish(config: Config, run: Run) -> int:
    """Write what the options ask for once a run is over; 1 where the baseline has entries that no check uses, in CI.

    Raises
    ------
    EmbcheckError
        A file can't be written.
    """
    unused = 0
    gate = gate_of(config)
    for model in run.document["models"]:
        known = known_keys(config, model["alias"])
        if config.update and model["shape"] is not None:
            write_entries(gate, model["alias"], run, known)
        left = [] if "prune" in config.update else gate.unused(model["alias"], known)
        if left:
            model["unused"] = left
            notice(f"{model['alias']}: unused baseline entries: {', '.join(left)}; see embcheck baseline prune")
            unused |= int(gate.fails_missing())
    if config.json:
        run.save(config.json)
    if config.html:
        html.write(run.document, config.html)
    summary.deliver(run.document, config.summary)
    github.annotate(run.document)
    return unused


def write_entries(gate: Gate, alias: str, run: Run, known: frozenset[str]) -> None:
    """Write a model's baseline as the gate's update asks for.

    Raises
    ------
    EmbcheckError
        It can't be written.
    """
    written = gate.write(alias, run.entries[alias], known)
    notice(f"{alias}: wrote {len(written.entries)} entries to {written.path}")
