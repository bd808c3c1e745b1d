"""The page's tables, each made of the results; the text around them is in ``page.md``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from atlas.view import NONE, Cell, table, trend
from embcheck import published
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atlas.view import Atlas, Claim, Tally
    from embcheck.checks.record import Json

__all__ = [
    "by_kind",
    "every_check",
    "five_claims",
    "hidden_states",
    "king_and_plurals",
    "needs",
    "needs_of_properties",
    "pairs",
    "provenance",
    "shares",
    "statements",
    "trends",
]

COLUMNS = ("min", "max", "mean", "median")
RUNGS = {
    "gaussian": "noise",
    "mean": "the mean",
    "covariance": "the covariance",
    "marginals": "column values",
    "lengths": "row lengths",
    "frequency": "frequency",
    "spelling": "spelling",
    "more": "more than all",
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([BM])\b", re.IGNORECASE)


# --- the five claims --------------------------------------------------------------------------------------------------


def by_kind(atlas: Atlas, tallies: Mapping[Claim, Tally]) -> str:
    """Claims by kinds of tables: on how many of them each holds, and the range of its values."""
    rows = []
    for claim, tally in tallies.items():
        of_kinds = [tally.among(names) for names in atlas.by_kind.values()]
        cells = [f"{of.count}<br>{of.range}" if of.measured else NONE for of in of_kinds]
        rows.append([f"**{claim.words}**<br>{claim.value}", f"**{tally.count}**", *cells])
    heads = [f"{len(names)} {kind}{'s' * (len(names) > 1)}" for kind, names in atlas.by_kind.items()]
    return table(["claim, and what is measured", "holds on", *heads], rows)


def five_claims(atlas: Atlas, tallies: Mapping[Claim, Tally]) -> str:
    """Tables by claims: verdict, value, interval."""
    rows = []
    for each in atlas.tables:
        cells = [tally.cells.get(each["name"]) for tally in tallies.values()]
        shape = "{:,} x {}".format(*each["shape"])
        stated = [NONE if cell is None else f"{cell.verdict}<br>{cell.text}" for cell in cells]
        rows.append([f"**{each['name']}**<br>{each['kind']}, {shape}", *stated])
    return table(["table", *(claim.short for claim in tallies)], rows)


def needs(atlas: Atlas, tallies: Mapping[Claim, Tally]) -> str:
    """Claims by tables: the rung of the ladder that suffices."""
    rows = [
        [claim.words, *(_rung(tally.cells.get(name)) for name in atlas.names)]
        for claim, tally in tallies.items()
        if any(cell.rests_on for cell in tally.cells.values())
    ]
    return table(["claim", *atlas.names], rows)


def _rung(cell: Cell | None) -> str:
    if cell is None or cell.rests_on is None:
        return NONE
    return RUNGS[cell.rests_on] + ("" if cell.there is None else f" ({number(cell.there)})")


def needs_of_properties(atlas: Atlas) -> str:
    """Properties by rungs: how many checks rest on each."""
    counts = [(name, atlas.rungs(name)) for name in atlas.properties]
    rows = [[_linked(name), *(str(rungs[rung] or "") for rung in RUNGS)] for name, rungs in counts if rungs]
    return table(["property", *RUNGS.values()], rows)


# --- what the documents say -------------------------------------------------------------------------------------------


def shares(atlas: Atlas) -> str:
    """The published shares and the measured ones, by share."""
    rows = sorted([*_measured(atlas), *_published()], key=lambda row: -row["value"])
    cells = [[row["name"], row["from"], f"{row['rows']:,}", row["share"], *row["columns"]] for row in rows]
    return table(["table", "", "rows", "share at zero or above", *COLUMNS], cells)


def trends(atlas: Atlas) -> dict[str, str]:
    """Whether the share rises with the number of rows, and the published one with that of parameters."""
    ours, theirs = _measured(atlas), list(_published())
    sized = [row for row in theirs if row["size"] is not None]
    of = {"measured": (ours, "rows"), "published": (theirs, "rows"), "parameters": (sized, "size")}
    return {name: trend([row[key] for row in rows], [row["value"] for row in rows]) for name, (rows, key) in of.items()}


def _measured(atlas: Atlas) -> list[dict[str, Any]]:
    rows = []
    for each in atlas.tables:
        cell = Cell(*each["results"]["positive_cosine_bias"])
        columns = [number(each["facts"][f"probe_{name}"]) for name in COLUMNS]
        about = {"name": f"**{each['name']}**", "from": "here", "rows": each["shape"][0], "columns": columns}
        rows.append(about | {"share": cell.text, "value": cell.value})
    return rows


def _published() -> Iterable[dict[str, Any]]:
    for entry in published.entries():
        figures = {figure.name: figure for figure in entry.figures}
        if entry.model and entry.property == "positive_cosine_bias" and "share" in figures:
            about = {"name": entry.model, "from": "published", "rows": entry.rows, "size": _size(entry.model)}
            columns = [str(figures[name]) for name in COLUMNS]
            yield about | {"columns": columns, "share": str(figures["share"]), "value": figures["share"].value}


def _size(name: str) -> float | None:
    """Millions of parameters, where a model's name tells."""
    match = _SIZE.search(name)
    return float(match[1]) * (1_000 if match[2].upper() == "B" else 1) if match else None


def king_and_plurals(atlas: Atlas) -> str:
    """Ranks of queen, cosines and angles, the ten plurals; published figures below."""
    columns = {
        "king_rank_3cosadd": "rank of queen",
        "king_rank_with_sources_kept": "with the question's words kept",
        "king_rank_a_plus_c": "*king + woman* alone",
        "king_rank_nearest_to_a": "nearest to king",
        "king_cosine_queen": "cosine to queen",
        "king_cosine_king": "cosine to king",
        "king_angle_degrees": "angle, degrees",
        "ten_pairs_with_mean": "ten plurals",
    }
    facts = {column: atlas.facts(column) for column in columns}
    rows = [[name, *(number(facts[c][name]) if name in facts[c] else NONE for c in columns)] for name in atlas.names]
    told: dict[str, dict[str, str]] = {}
    for entry in published.entries():
        figures = {f"king_{figure.name}": str(figure) for figure in entry.figures}
        if entry.property == "plural_direction_consistency":
            mean = sum(figure.value for figure in entry.figures) / len(entry.figures)
            figures = {"ten_pairs_with_mean": number(mean)}
        if entry.model and figures.keys() & columns.keys():
            told.setdefault(entry.model, {}).update(figures)
    for model, figures in told.items():
        rows.append([f"{model} (published)", *(figures.get(column, NONE) for column in columns)])
    return table(["table", *columns.values()], rows)


def statements(atlas: Atlas, said: Mapping[str, str]) -> str:
    """Statements by on how many tables they hold, and where not."""
    rows = []
    for check, statement in said.items():
        tally = atlas.tally(check)
        rows.append([statement, f"`{check}`", tally.count, ", ".join(tally.failing)])
    return table(["statement", "check", "holds on", "not on"], rows)


# --- the whole catalogue ----------------------------------------------------------------------------------------------


def every_check(atlas: Atlas) -> str:
    """Checks by tables."""
    tallies = {check: atlas.tally(check) for check in atlas.checks()}
    rows = [[_linked(check), *(_short(t.cells.get(name)) for name in atlas.names)] for check, t in tallies.items()]
    return table(["check", *atlas.names], rows)


def hidden_states(atlas: Atlas) -> str:
    """Checks by layers of hidden states."""
    layers = atlas.document["hidden"]
    cells = [{check: Cell(*numbers) for check, numbers in layer["results"].items()} for layer in layers]
    measured = {check for layer in cells for check, cell in layer.items() if cell.value is not None}
    checks = [check for check in atlas.document["checks"] if check in measured]
    rows = [[_linked(check), *(_short(layer.get(check)) for layer in cells)] for check in checks]
    return table(["check", *(layer["name"].partition("@")[2] for layer in layers)], rows)


def pairs(atlas: Atlas) -> str:
    """Tables by tables: one measure above the diagonal, another below."""
    names = atlas.names
    cells = {(each["property"], *sorted(each["models"])): Cell(*each["result"]) for each in atlas.document["pairs"]}

    def cell(row: int, column: int) -> str:
        measure = "neighbor_overlap" if row < column else "relative_orientation"
        return "" if row == column else _short(cells.get((measure, *sorted((names[row], names[column])))))

    return table(["", *names], [[name, *(cell(i, j) for j in range(len(names)))] for i, name in enumerate(names)])


def provenance(atlas: Atlas) -> str:
    """Where the tables are from."""
    return table(
        ["table", "what it is", "packages", "what was read, and seconds of a processor"], map(_origin, atlas.tables)
    )


def _origin(each: Json) -> list[str]:
    first, *others = (f"`{name}`" for name in each["wheels"])
    packages = first + (f" and {len(others)} more" if others else "")
    rows = f"{each['known']:,} of {each['shape'][0]:,} rows known, {each['dtype']}"
    return [
        each["name"],
        each["about"],
        packages,
        f"{rows}, SHA-256 {each['weights_sha256'][:12]}, {each['cpu_seconds']} s",
    ]


def _short(cell: Cell | None) -> str:
    return NONE if cell is None else cell.short


def _linked(check: str) -> str:
    name, _, parameters = check.partition("[")
    return f"[{name}](properties.md#{name}) {parameters.rstrip(']')}".strip()
