"""Laying out the page: templates with everything escaped, one style sheet, one script allowed by its hash."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from embcheck.reports import json_file, wording
from embcheck.reports.html import asset, rows, sections
from embcheck.reports.html.pictures.changes import moved
from embcheck.reports.html.vega import token
from embcheck.reports.text import inert, number

if TYPE_CHECKING:
    from jinja2 import Environment

    from embcheck.checks.record import Report

__all__ = ["environment", "fill", "render"]


def render(report: Report) -> str:
    """The page of a report: the same from a run as from the JSON that was written of it."""
    report = json_file.reread(report)
    return fill(
        "page.html.jinja",
        run=report.run,
        models=report.models,
        sections=sections.sections(report),
        changes=[figure for model in report.models for figure in moved(model)],
        level=sections.levels(report.results),
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
        "change": wording.change_text,
        "control": wording.control_text,
        "excused": lambda results: sum(map(wording.is_known_exception, results)),
        "facts": sections.facts,
        "number": number,
        "parameter": rows.parameter,
        "shape": sections.shape,
        "soft": _soft,
        "tally": sections.tally,
        "token": lambda text: Markup("<bdi>{}</bdi>").format(token(text, 40)),
        "words": lambda text: str(text).replace("_", " "),
        "worst": rows.worst,
    }
    templates.globals["glyphs"] = rows.GLYPHS
    return templates


def _soft(text: str) -> Markup:
    """An identifier that may be broken after its underscores."""
    return Markup("<wbr>").join(escape(inert(part)) for part in str(text).replace("_", "_\n").split("\n"))
