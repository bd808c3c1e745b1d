"""A comparison of two models as a page: what changed, how far the rows drifted, and which moved most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.comparison import ORDER
from embcheck.reports.html import page
from embcheck.reports.html.pictures.generic import moved
from embcheck.reports.text import number
from embcheck.reports.wording import moved_most

if TYPE_CHECKING:
    from embcheck.reports.comparison import Compared, Comparison

_VERDICTS = {
    "match": "holds",
    "improved": "holds",
    "new": "skipped",
    "not compared": "skipped",
    "undecided": "inconclusive",
}
_MOVED = 5
_FATES = {
    "died": "zero or not finite in the second only",
    "went": "of the first only",
    "came": "of the second only",
    "moved_id": "under another id",
    "ambiguous": "left out: several rows have the text",
}


def render(compared: Comparison) -> str:
    """The page of a comparison."""
    drift, (first, second) = compared.drift, compared.models
    changes = ((row.check, row.change) for row in compared.by_urgency)
    return page.fill(
        "comparison.html.jinja",
        compared=compared,
        first=first,
        second=second,
        verdicts=_VERDICTS,
        figures=tuple(moved(f"{second} against {first}", changes, since="the first model")),
        fates=[(said, getattr(drift.tokens, name)) for name, said in _FATES.items()] if drift.tokens else [],
        ranked=[
            (said, [(token, number(token.value)) for token in tokens])
            for said, tokens in (
                ("moved farthest, in lengths", drift.farthest),
                ("turned most, by cosine", drift.moved),
            )
            if tokens
        ],
        order=ORDER,
        moved=_moved,
    )


def _moved(row: Compared) -> tuple[list[tuple[object, str]], str]:
    """The units of a check that moved most, each with how far, and how many more moved as far as the last."""
    units, more = moved_most(row.change, _MOVED) if row.change else ([], "")
    return [(unit.get("token"), number(unit.get("value"))) for unit in units], more
