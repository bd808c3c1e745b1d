"""The ``embcheck`` program: ``check`` and ``list``, and the one place where errors become exit codes.

======  ==========================================================
0       every check passed
1       a check failed
2       interrupted
3       internal error
4       wrong usage, model spec, file or configuration
5       nothing ran
======  ==========================================================
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of
from embcheck.cli import baselines, compare, explore, report, selftest, sweeps
from embcheck.cli.common import notice, options, show_lines
from embcheck.cli.running import chosen, finish, prepare, run_checks
from embcheck.config.config import resolve
from embcheck.config.options import OPTIONS
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports import terminal
from embcheck.reports.terminal.published import listed
from embcheck.reports.text import safe, wrap
from embcheck.settings import in_ci, prepare_process
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.evaluate import Check
    from embcheck.config.config import Config
    from embcheck.run.session import Run
    from embcheck.spec import ModelSpec

__all__ = ["main"]

OK, FAILED, INTERRUPTED, INTERNAL, USAGE, NOTHING_RAN = range(6)
_TRACEBACK = "--traceback"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    prepare_process()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries' warnings are no news to who asked about a model
        return _guarded(given)


def _guarded(arguments: list[str]) -> int:
    try:
        return int(program.main(arguments, "embcheck", standalone_mode=False) or OK)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        notice(f"error: {error.format_message()}")
        return USAGE
    except EmbcheckError as error:
        notice(f"error: {error}")
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        notice("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost boundary: whatever it is, the exit code must be 3
        if _TRACEBACK in arguments:
            traceback.print_exc()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        notice(f"internal error: {type(error).__name__}: {error} ({where}); {_TRACEBACK} shows more")
        return INTERNAL


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="embcheck", message="%(prog)s %(version)s")
def program() -> None:
    """Property tests for embedding matrices."""


@program.command(short_help="Check properties on models.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options(*(option.name for option in OPTIONS if option.name != "model"))
def check(specs: tuple[str, ...], **given: Any) -> int:
    """Check properties on models.

    A SPEC is a path, org/name[@revision] on the hub, gguf:FILE, npy:FILE,vocab=FILE, word2vec:FILE, glove:FILE,
    random:VxD or demo; alias= in front names it.
    Without one, the models of [tool.embcheck] are checked, or demo.
    """
    config = resolve({**given, "model": specs}, root=Path.cwd())
    models = config.models or _demo()
    prepare(config, models)
    checks = chosen(config, models)
    if not any(check.is_whole for check in checks):
        pairs = ", ".join(check.label for check in checks)
        notice(f"nothing to check: {f'{pairs}: needs two models' if pairs else 'no properties were found'}")
        return NOTHING_RAN
    run = run_checks(config, models, checks)
    for message in run.notes:
        notice(message)
    lacking = finish(config, run)
    show_lines(lambda encoding: terminal.lines(run.document, show=config.show, encoding=encoding))
    for message in run.load_errors:
        notice(f"error: {message}")
    return max(_exit_code(run), lacking)


@program.command("list", short_help="List properties and models.")
@click.option("--published", is_flag=True, help="List the published figures that models are compared with instead.")
@options("property", "properties")
def list_(*, published: bool, **given: Any) -> int:
    """List the properties that can be found, what each claims, and the configured models."""
    if published:
        show_lines(lambda _: listed())
        return OK
    config = resolve(given, root=Path.cwd())
    known = checks_of(collect.functions(config.properties), [one.alias for one in config.models[1:]])
    checks = collect.select(known, config.property)
    show_lines(lambda _: [*_properties(checks), *_models(config)])
    return OK


def _demo() -> tuple[ModelSpec, ...]:
    if in_ci():
        raise UsageError("no model given; name one, or configure models in [tool.embcheck] (in CI none is assumed)")
    notice("no model given: checking demo (a SPEC names another, see embcheck check --help)")
    return (parse("demo"),)


def _exit_code(run: Run) -> int:
    if run.load_errors:
        return USAGE
    if all(result.verdict == "skipped" and (result.change is None or result.passed) for result in run.results):
        return NOTHING_RAN
    return OK if run.passed else FAILED


# --- list -------------------------------------------------------------------------------------------------------


def _properties(checks: Sequence[Check]) -> Iterator[terminal.Line]:
    by_id = {check.declaration.id: check.declaration for check in checks}
    for name, declaration in by_id.items():
        yield terminal.Line(name, "title")
        bounds = [terminal.bound_text(bound.record(None)) for bound in declaration.claims]
        yield from _indented("", [declaration.sentence])
        yield from _indented("claims: ", bounds)
        for parameter, values in declaration.parameters.items():
            yield from _indented(f"{parameter}: ", [str(value) for value in values])
        if declaration.of_pairs:
            yield from _indented("runs for: ", ["each pair of models"])
        if declaration.applies is not None:
            yield from _indented("", ["only for the models that it is about"])
        if declaration.fixtures:
            yield from _indented("runs under pytest only: ", [f"takes {', '.join(declaration.fixtures)}"])
    yield terminal.Line("")


def _models(config: Config) -> Iterator[terminal.Line]:
    yield terminal.Line("models", "title")
    for spec in config.models:
        yield from _indented("", [f"{spec.alias} = {spec.text}"])
        if exceptions := config.exceptions(spec.alias):
            yield from _indented("expected not to hold: ", exceptions)
    if not config.models:
        yield from _indented("", ["none configured; embcheck check takes demo"])


def _indented(name: str, pieces: Sequence[str]) -> list[terminal.Line]:
    shown = [safe(piece, 10 * terminal.WIDTH) for piece in pieces]
    return [terminal.Line(text) for text in wrap(shown, width=terminal.WIDTH, first=f"  {name}", indent="    ")]


_GROUPS = (explore, baselines, compare, report, sweeps, selftest)
for _command in (command for group in _GROUPS for command in group.COMMANDS):
    program.add_command(_command)
