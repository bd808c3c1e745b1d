"""A section for a model card: a badge, what holds and what does not, between two comments that mark its place."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from embcheck import files
from embcheck.errors import EmbcheckError
from embcheck.reports.markdown import code, inert, table
from embcheck.reports.summary import folded, value_text
from embcheck.reports.wording import bound_text, counts, is_aside, is_description

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from embcheck.checks.record import ModelRecord, Report, ResultRecord

BEGIN, END = "<!-- embcheck: begin -->", "<!-- embcheck: end -->"
_LARGEST = 2**24


def write(report: Report, path: Path) -> None:
    """Write the section to a file: in the place of the one that it has, behind what it says, or as a new file.

    Raises `EmbcheckError` where the file has one of the two comments only, or can't be read as text.
    """
    section = markdown(report)
    try:
        text = "" if path == files.STDOUT else files.read(path, most=_LARGEST).decode("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, ValueError) as error:
        raise EmbcheckError(f"can't read {str(path)!r}: {error}") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if bool(begin) != bool(end) or (not begin and END in text):
        raise EmbcheckError(f"{str(path)!r} has one of {BEGIN} and {END}; it needs both, or none")
    if not begin and before:
        before = before.rstrip("\n") + "\n\n"
    files.write(path, before + section + (after or "\n"))


def markdown(report: Report) -> str:
    """The section, without a newline at its end."""
    parts = [BEGIN, "## Embedding geometry"]
    for model in report.models:
        parts += _model(model, is_only=len(report.models) == 1)
    parts.append(
        f"Measured by embcheck {inert(report.run.embcheck)} with seed {report.run.seed}; only *holds* is a pass."
    )
    return "\n\n".join([*parts, END])


def _model(model: ModelRecord, *, is_only: bool) -> list[str]:
    applying = [result for result in model.results if not is_aside(result)]
    claims = [result for result in applying if not is_description(result)]
    held = [result for result in claims if result.verdict == "holds"]
    others = [result for result in claims if result.verdict != "holds"]
    shape = "not loaded" if model.shape is None else "{:,} x {:,}".format(*model.shape)
    parts = [] if is_only else [f"### {inert(model.alias)}"]
    badge = _badge(len(held), len(claims), failed=not all(result.passes for result in model.results))
    parts.append(f"{badge}\n{code(model.spec)}, {shape}: {counts(model.results).text}.")
    parts += [_table(others)] if others else []
    parts += (
        [folded("1 claim that holds" if len(held) == 1 else f"{len(held)} claims that hold", _table(held))]
        if held
        else []
    )
    return parts


def _badge(held: int, claims: int, *, failed: bool) -> str:
    """An image of fixed words and two counts: nothing that a model names goes into its address."""
    said = f"{held} of {claims} claims hold"
    colour = "lightgrey" if not claims else "red" if failed else "brightgreen" if held == claims else "green"
    return f"![embcheck: {said}](https://img.shields.io/badge/embcheck-{quote(said)}-{colour})"


def _table(results: Sequence[ResultRecord]) -> str:
    rows = []
    for result in results:
        known = "" if result.expected else " (known)"
        bounds = ", ".join(map(bound_text, result.claims))
        value = inert(value_text(result) or result.reason or "")
        rows.append([code(result.label), f"{result.verdict}{known}", value, inert(bounds), inert(result.sentence, 300)])
    return table(["Check", "Verdict", "Value", "Claim", "What is claimed"], rows)
