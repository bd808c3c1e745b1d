"""The page of a report: templates with everything escaped, one style sheet, one script allowed by its hash."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from embcheck.progress import track
from embcheck.reports import json_file, wording
from embcheck.reports.html import asset, pictures
from embcheck.reports.html.pictures.generic import moved
from embcheck.reports.html.rows import GLYPHS, Axis, Row, axis_of, command, describe, parameter, worst
from embcheck.reports.html.vega import token
from embcheck.reports.text import inert, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jinja2 import Environment

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.reports.html.pictures import Figure, Shown


def render(report: Report) -> str:
    """The page of a report: the same from a run as from the JSON that was written of it."""
    report = json_file.reread(report)
    return fill(
        "page.html.jinja",
        run=report.run,
        models=report.models,
        sections=sections(report),
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
        "change": wording.change_text,
        "applying": lambda results: [result for result in results if result.verdict != "not_applicable"],
        "claimed": lambda results: [result for result in results if not wording.is_description(result)],
        "control": wording.control_text,
        "described": _described,
        "excused": lambda results: sum(map(wording.is_known_exception, results)),
        "facts": facts,
        "ladder": wording.ladder_text,
        "number": number,
        "parameter": parameter,
        "shape": shape,
        "soft": _soft,
        "spoken": lambda verdict: "n/a" if verdict == "not_applicable" else verdict,
        "tally": tally,
        "token": lambda text: Markup("<bdi>{}</bdi>").format(token(text, 40)),
        "words": lambda text: str(text).replace("_", " "),
        "worst": worst,
    }
    templates.globals["glyphs"] = GLYPHS
    return templates


def _soft(text: str) -> Markup:
    """An identifier that may be broken after its underscores."""
    return Markup("<wbr>").join(escape(inert(part)) for part in str(text).replace("_", "_\n").split("\n"))


def _described(results: Sequence[ResultRecord]) -> str:
    """How many descriptions stand beside the claims."""
    count = sum(map(wording.is_description, results))
    claimed = ", " if count < len(results) else ""
    return f"{claimed}{count} described" if count else ""


# --- its parts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """The results of one property and parameter, on all models, largest value first."""

    title: str
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """All results of one property."""

    anchor: str
    property: str
    sentence: str
    axis: Axis | None
    groups: tuple[Group, ...]
    cells: tuple[tuple[Row, ...], ...]
    """For each model, its results, in order of the parameters."""
    figures: tuple[Figure, ...]
    """Of all its results together."""
    measured: str
    """What was measured, where all results measure the same."""
    is_description: bool
    """Whether nothing is claimed of any model."""


def levels(results: Iterable[ResultRecord]) -> str:
    """Confidence level of the intervals, such as ``95%``."""
    each = {result.estimate.confidence_level for result in results if result.estimate}
    return " or ".join(f"{number(100 * level)}%" for level in sorted(each)) or "95%"


def tally(results: Iterable[ResultRecord]) -> tuple[tuple[str, int], ...]:
    """How many results have each verdict, those there are."""
    counts = Counter(str(result.verdict) for result in results)
    return tuple((verdict, counts[verdict]) for verdict in GLYPHS if counts[verdict])


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


def sections(report: Report) -> list[Section]:
    """The properties of a report, in order of their ids, what is claimed first."""
    by_property: dict[str, list[Shown]] = defaultdict(list)
    for index, model in enumerate(report.models):
        for result in model.results:
            by_property[result.id].append(pictures.Shown(model.alias, index, model.shape or (0, 1), result))
    work = track(sorted(by_property.items()), "pictures", len(by_property), lambda entry: entry[0])
    made = [_section(report, f"p{index}", shown) for index, (_, shown) in enumerate(work)]
    return sorted(made, key=lambda section: section.is_description)


def _section(report: Report, anchor: str, shown: Sequence[Shown]) -> Section:
    """The results of one property."""
    first = shown[0].result
    axis = axis_of(entry.result for entry in shown)
    rows = []
    for entry in shown:
        again = command(report, report.models[entry.index], entry.result)
        rows.append(describe(entry.result, axis, alias=entry.alias, model=entry.index, command=again))
    values = [_value_of(entry.result) for entry in shown]
    groups = []
    titles = [parameter(entry.result) for entry in shown]
    for title in dict.fromkeys(titles):
        chosen = [i for i, each in enumerate(titles) if each == title]
        kinds = zip_longest(*(pictures.draw_each(shown[i]) for i in chosen))  # one beside the other, model by model
        figures = tuple(figure for kind in kinds for figure in kind if figure is not None)
        chosen.sort(key=lambda i: -values[i])
        groups.append(Group(title, tuple(rows[i] for i in chosen), figures))
    names = {entry.result.estimate.name for entry in shown if entry.result.estimate} - {""}
    return Section(
        anchor,
        first.id,
        first.sentence,
        axis,
        tuple(groups),
        tuple(tuple(row for row in rows if row.model == index) for index in range(len(report.models))),
        tuple(pictures.draw_together(shown)),
        names.pop() if len(names) == 1 else "",
        all(entry.result.kind == "description" for entry in shown),
    )


def _value_of(result: ResultRecord) -> float:
    estimate = result.estimate
    return float("-inf") if estimate is None or estimate.value is None else float(estimate.value)
