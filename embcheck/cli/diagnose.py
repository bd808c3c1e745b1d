"""The command ``diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from embcheck import sources
from embcheck.cli.common import FAILED, OK, options, show_lines
from embcheck.config.config import resolve
from embcheck.config.models import load, meant, named
from embcheck.config.values import closest
from embcheck.errors import UsageError
from embcheck.reports import outputs
from embcheck.reports.diagnosis import CAUSES, CAUSES_OF_ENCODERS, CAUSES_OF_TABLES
from embcheck.reports.terminal import diagnosis as view
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.config.config import Config
    from embcheck.reports.diagnosis import Diagnosis
    from embcheck.spec import ModelSpec


@click.command(short_help="Say what happened to a table or a served encoder.")
@click.argument("reference")
@click.argument("candidate")
@click.option("--parents", nargs=2, metavar="A B", help="Two models that CANDIDATE may be a merge of.")
@click.option("--allow", multiple=True, metavar="CAUSE", help="A cause that does not fail; may be given several times.")
@options("device", "matrix", "json", "html", "summary")
def diagnose(
    reference: str, candidate: str, parents: tuple[str, str] | None, allow: tuple[str, ...], **given: Any
) -> int:
    """Say what made CANDIDATE of REFERENCE: the causes, the evidence in numbers, and what to do.

    Both are model specs. Causes are tables cast, quantized, scaled, centred, whitened, rotated, with columns or rows
    moved, overwritten, fine-tuned, merged, or not related. Of REFERENCE st:PATH and CANDIDATE api:URL it says what
    the server does otherwise: pooling, prefix, truncation and so on.

    Exit code 0 where nothing happened but what is harmless or allowed, 1 otherwise, also where no cause fits.
    """
    config = resolve(given, root=Path.cwd())
    specs = [named(config, name) for name in (reference, candidate, *(parents or ()))]
    if unknown := [name for name in allow if name not in CAUSES]:
        known = CAUSES_OF_ENCODERS if _is_served(specs) else CAUSES_OF_TABLES
        raise UsageError(f"unknown cause {unknown[0]!r}; {closest(unknown[0], sorted(known))}")
    outputs.check(json=config.json, summary=config.summary, page=config.html)
    diagnosis = structs.replace(_found(config, specs, (reference, candidate)), allowed=allow)
    show_lines(lambda encoding: view.lines(diagnosis, encoding), *config.outputs())
    outputs.deliver(diagnosis, json=config.json, summary=config.summary, page=config.html)
    return OK if diagnosis.is_harmless() else FAILED


def _is_served(specs: Sequence[ModelSpec]) -> bool:
    """Whether an encoder is held against a server of it, and no table against a table."""
    return (specs[0].scheme, specs[1].scheme) == ("st", "api")


def _found(config: Config, specs: Sequence[ModelSpec], names: tuple[str, str]) -> Diagnosis:
    from embcheck.diagnosis.diagnose import of_encoder, of_tables

    for spec in specs:
        sources.check(spec)
    if _is_served(specs):
        return of_encoder(specs[0], load(config, specs[1]), names)
    before, after, *merged = (load(config, spec) for spec in specs)
    other = load(config, meant(config, parse(names[0]))) if config.matrix == "output" else None
    return of_tables(before, after, merged, names=names, other=other)


COMMANDS = (diagnose,)
