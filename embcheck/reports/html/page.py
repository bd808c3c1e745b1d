"""The page of a report: templates with everything escaped, one style sheet, one script allowed by its hash."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from embcheck.checks.record import parameters_of
from embcheck.reports import json_file, wording
from embcheck.reports.html import asset
from embcheck.reports.html.details import laid_out
from embcheck.reports.html.pictures.generic import moved
from embcheck.reports.html.rows import GLYPHS, parameter, worst
from embcheck.reports.html.sections import kinds_of, problems, sections
from embcheck.reports.html.vega import token
from embcheck.reports.text import inert, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jinja2 import Environment

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.reports.html.rows import Row


def render(report: Report) -> str:
    """The page of a report: the same from a run as from the JSON that was written of it."""
    report = json_file.reread(report)
    parts = sections(report)
    return fill(
        "page.html.jinja",
        run=report.run,
        models=report.models,
        sections=parts,
        problems=problems(parts),
        changes=[
            figure
            for model in report.models
            for figure in moved(model.alias, ((result.label, result.change) for result in model.results))
        ],
        level=levels(report.results),
        results=report.results,
        libs=", ".join(f"{name} {version}" for name, version in sorted(report.run.libs.items())),
    )


def fill(template: str, **values: Any) -> str:
    """A page's template with its values, the style sheet, and the one script, which a policy allows by its hash."""
    script = asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    style = Markup(asset("palette.css") + asset("plots.css") + asset("style.css"))  # noqa: S704 - ours, as the script
    page = environment().get_template(template)
    return page.render(style=style, script=Markup(script), policy=policy, **values)  # noqa: S704


@cache
def environment() -> Environment:
    """The templates' environment: every value that is no markup is made inert, then escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader(__package__, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "bound": wording.bound_text,
        "chance": lambda p: "none" if p is None else f"{p:.2g}",
        "change": wording.change_of,
        "applying": lambda shown: [one for one in shown if not wording.is_aside(getattr(one, "result", one))],
        "claimed": lambda results: [result for result in results if not wording.is_description(result)],
        "control": wording.control_text,
        "describes": wording.is_description,
        "held": lambda results: sum(result.passes and result.verdict == "holds" for result in results),
        "excused": lambda results: sum(map(wording.is_known_exception, results)),
        "facts": facts,
        "kinds": lambda results: Counter(kind for result in results for kind in kinds_of(result)),
        "marks": _marks,
        "laid_out": laid_out,
        "ladder": wording.ladder_text,
        "number": number,
        "parameter": parameter,
        "shape": shape,
        "shortfalls": wording.shortfalls,
        "soft": _soft,
        "spoken": lambda verdict: "n/a" if verdict == "not_applicable" else verdict,
        "tally": tally,
        "token": lambda text: Markup("<bdi>{}</bdi>").format("" if text is None else token(text, 40)),
        "values": lambda result: parameters_of(result.params),
        "words": lambda text: str(text).replace("_", " "),
        "worst": worst,
    }
    templates.globals["glyphs"] = GLYPHS
    return templates


def _soft(text: str) -> Markup:
    """An identifier that may be broken after its underscores."""
    return Markup("<wbr>").join(escape(inert(part)) for part in str(text).replace("_", "_\n").split("\n"))


def _marks(rows: Iterable[Row]) -> str:
    """What a reader may filter rows by: what they are, and that they fail."""
    rows = list(rows)
    marks = {kind for row in rows for kind in kinds_of(row.result)}
    return " ".join(sorted(marks | ({"fails"} if any(not row.result.passes for row in rows) else set())))


# --- its parts --------------------------------------------------------------------------------------------------------


def levels(results: Iterable[ResultRecord]) -> str:
    """Confidence level of the intervals, such as ``95%``."""
    each = {result.estimate.confidence_level for result in results if result.estimate}
    return " or ".join(f"{number(100 * level)}%" for level in sorted(each)) or "95%"


_CLASSES = {"undecided": "inconclusive", "new": "skipped", "described": "quiet", "known": "quiet"}


def tally(results: Iterable[ResultRecord]) -> Iterator[tuple[str, str, int]]:
    """What results come to: the class that colours it, in words, and how many."""
    for kind, words, n in wording.tally(results):
        said = wording.FAILURES[kind] if kind in {"undecided", "new"} else words
        yield _CLASSES.get(kind, kind if kind in GLYPHS else "refuted"), said, n


def facts(model: ModelRecord) -> Iterator[tuple[str, str]]:
    """What was read, name by name."""
    yield "named", model.spec
    yield "revision", model.revision or ""
    yield "matrix", shape(model)
    if population := model.population:
        yield "claims are about", f"{population.rows:,} rows ({population.kind})"
        out = (f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(population.excluded.items()))
        yield "left out", ", ".join(out)
    yield "sha256 of the weights", model.weights_sha256 or ""
    yield "sha256 of the tokens", model.tokens_sha256 or ""
    yield "unused baseline entries", ", ".join(model.unused)


def shape(model: ModelRecord) -> str:
    """Rows, width and type of the matrix."""
    return "not loaded" if model.shape is None else "{:,} rows x {} {}".format(*model.shape, model.dtype)
