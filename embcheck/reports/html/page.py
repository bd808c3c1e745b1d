"""Laying out the page: templates with everything escaped, one style sheet, one script allowed by its hash."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from functools import cache
from importlib import resources
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from embcheck.progress import track
from embcheck.reports import json_file
from embcheck.reports.html import pictures, view
from embcheck.reports.html.draw.inert import inert
from embcheck.reports.html.draw.vega import token
from embcheck.reports.html.pictures.changes import moved
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from embcheck.reports.html.pictures import Figure, Shown

__all__ = ["asset", "environment", "filled", "render"]


def render(document: Mapping[str, Any]) -> str:
    """The page of a report document: the same from a run as from the JSON that was written of it."""
    document = json.loads(json_file.dumps(document))
    results = [result for model in document["models"] for result in model["results"]]
    return filled(
        "page.html.jinja",
        run=document["run"],
        models=view.models(document),
        sections=view.sections(document, _figures(document)),
        changes=[one for model in document["models"] for one in moved(model)],
        counts=view.verdict_counts(results),
        level=view.levels(results),
        results=results,
        libs=", ".join(f"{name} {version}" for name, version in sorted(document["run"]["libs"].items())),
    )


def filled(template: str, **values: Any) -> str:
    """A page's template with its values, the style sheet, and the one script, which a policy allows by its hash."""
    script = asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment()
        .get_template(template)
        .render(
            style=Markup(asset("palette.css") + asset("plots.css") + asset("style.css")),  # noqa: S704 - ours, as the script
            script=Markup(script),  # noqa: S704
            policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'",
            **values,
        )
    )


@cache
def environment() -> Environment:
    """The templates' environment: every value that is no markup is made inert, then escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader(__package__, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["token"] = lambda text: Markup("<bdi>{}</bdi>").format(token(text, 40))
    found.filters["number"] = number
    found.filters["words"] = lambda text: str(text).replace("_", " ")
    found.filters["soft"] = _soft
    found.globals["glyphs"] = view.GLYPHS
    return found


def _soft(text: str) -> Markup:
    """An identifier that may be broken after its underscores."""
    return Markup("<wbr>").join(escape(inert(part)) for part in str(text).replace("_", "_\n").split("\n"))


def asset(name: str) -> str:
    """A file that ships with the page."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _figures(document: Mapping[str, Any]) -> dict[str, dict[str, tuple[Figure, ...]]]:
    """By property and parameter, the pictures; those of all its results together under an empty key."""
    shown: dict[str, list[Shown]] = defaultdict(list)
    for index, model in enumerate(document["models"]):
        for result in model["results"]:
            rows, width = model["shape"] or (0, 1)
            shown[result["property"]].append(pictures.Shown(model["alias"], index, (rows, width), result))
    found: dict[str, dict[str, tuple[Figure, ...]]] = {}
    for name, each in track(shown.items(), "pictures", len(shown), lambda one: one[0]):
        groups: dict[str, list[Figure]] = defaultdict(list)
        groups[""] = pictures.drawn_together(each)
        for title, drawn in _by_parameter(each).items():
            groups[f"={title}"] += drawn
        found[name] = {key: tuple(drawn) for key, drawn in groups.items()}
    return found


def _by_parameter(each: Sequence[Shown]) -> dict[str, list[Figure]]:
    """By parameter, the pictures of each result: those of one kind beside each other, model by model."""
    drawn: dict[str, list[list[Figure]]] = defaultdict(list)
    for one in each:
        drawn[view.parameter(one.result)].append(pictures.drawn_each(one))
    return {title: [f for kind in zip_longest(*lists) for f in kind if f is not None] for title, lists in drawn.items()}
