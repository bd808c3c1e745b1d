"""What each table shows: its report, kept so that nothing is measured twice, and the numbers of it for the page."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from msgspec import structs

import embcheck
from embcheck import files
from embcheck.reports import json_file
from embcheck.reports.wording import bound_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from atlas.tables import Table
    from embcheck.checks.record import Json, ModelRecord, Report, ResultRecord

__all__ = [
    "OF_PAIRS",
    "SCHEMA",
    "dumps",
    "entry",
    "facts",
    "layer",
    "read",
    "report_of",
    "results_of",
    "results_of_pairs",
    "spec_of",
    "stated",
    "write",
]

SCHEMA = "embcheck-atlas/1"
OF_PAIRS = ["neighbor_overlap", "relative_orientation"]
_DIGITS = 6
_FLAT = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")


def spec_of(table: Table, folder: Path, *, hidden: bool = False) -> str:
    """The table's spec, under its name."""
    spec = table.hidden if hidden and table.hidden else table.spec
    return f"{table.name}={spec.replace('{}', str(folder))}"


def report_of(name: str, specs: Sequence[str], reports: Path, **options: Any) -> Report:
    """The report of a run, from its file where it has been measured before."""
    path = reports / f"{name}.json"
    if not path.exists():
        reports.mkdir(parents=True, exist_ok=True)
        begun = time.process_time()
        report = embcheck.check(list(specs), **options).report
        timing = report.timing | {"cpu_seconds": time.process_time() - begun}
        json_file.write(structs.replace(report, timing=timing), path)
    return json_file.read(path)


# --- what is kept of a report -----------------------------------------------------------------------------------------


def entry(table: Table, report: Report) -> Json:
    """A table as ``results.json`` has it."""
    (model,) = report.models
    return layer(model) | {
        "kind": table.kind,
        "about": table.about,
        "wheels": dict(table.wheels),
        "dtype": model.dtype,
        "weights_sha256": model.weights_sha256,
        "tokens_sha256": model.tokens_sha256,
        "cpu_seconds": round(report.timing["cpu_seconds"]),
        "facts": {name: _rounded(value) for name, value in facts(model).items()},
    }


def layer(model: ModelRecord) -> Json:
    """A model without where it is from, which the hidden states of a layer are given."""
    rows = None if model.population is None else model.population.rows
    return {"name": model.alias, "shape": model.shape, "known": rows, "results": results_of(model)}


def results_of_pairs(report: Report) -> list[Json]:
    """What is measured on each pair of tables."""
    return [
        {"property": result.id, "models": [model.alias, result.params["other"]], "result": _numbers(result)}
        for model in report.models
        for result in model.results
        if result.verdict != "not_applicable"
    ]


def results_of(model: ModelRecord) -> Json:
    """By check: verdict, value, low, high, n, the rung of the ladder that suffices, the value there, and a reason.

    What does not apply to a model is left out, and so is what is about two. Where an interval has no width the value is
    exact.
    """
    applying = [
        result for result in model.results if result.verdict != "not_applicable" and "other" not in result.params
    ]
    return {result.label: _numbers(result) for result in applying}


def _numbers(result: ResultRecord) -> list[Any]:
    estimate, ladder = result.estimate, result.ladder
    numbers: list[Any] = [None] * 4
    if estimate is not None:
        numbers = [*map(_rounded, (estimate.value, estimate.low, estimate.high)), estimate.n]
    rests_on = None if ladder is None else ladder.suffices or "more"
    rungs = {} if ladder is None else {rung.name: rung.value for rung in ladder.rungs}
    return [str(result.verdict), *numbers, rests_on, _rounded(rungs.get(rests_on or "")), result.reason]


def stated(models: Iterable[ModelRecord]) -> Json:
    """By check, of pairs by property: the bounds, what is measured, and of what n counts."""
    said: Json = {}
    for result in (result for model in models for result in model.results):
        check = result.id if "other" in result.params else result.label
        estimate = result.estimate
        if estimate is not None or check not in said:
            bounds = ", ".join(
                bound_text(claim) for claim in result.claims if not (claim.op == "within" and claim.null)
            )
            said[check] = [bounds, *((estimate.name, estimate.unit) if estimate else (None, None))]
    return dict(sorted(said.items()))


def facts(model: ModelRecord) -> Json:
    """Numbers beside the estimates that the source documents give too."""
    details = {result.label: result.details for result in model.results if result.estimate is not None}
    found: Json = {}
    if bias := details.get("positive_cosine_bias"):
        found |= {f"probe_{name}": bias["published_columns"][name] for name in ("min", "max", "mean", "median")}
        found["share_without_mean"] = bias["centred_share"]
        found["reaches_further_up"] = bias["published_columns"]["largest_positive_exceeds_largest_negative"]
    if background := details.get("background_similarity"):
        found["percent_above_0.2"] = 100 - background["probes"]["percentile"]["0.2"]
    if ascii_characters := details.get("ascii_anti_alignment[ascii]"):
        shares = [token["negative_share"] for token in ascii_characters["by_token"]]
        found |= {"ascii_tokens": len(shares), "ascii_mostly_negative": sum(share > 0.5 for share in shares)}
    if plurals := details.get("plural_direction_consistency[plural]"):
        found |= _of_ten_pairs(plurals["as_source"])
    if king := details.get("analogy_rank[king]"):
        found |= {f"king_rank_{name}": rank for name, rank in king["ranks"].items()}
        found["king_rank_with_sources_kept"] = king["rank_with_sources_kept"]
        found |= {f"king_rank_of_candidates_{how}": king["rank_among_candidates"][how] for how in ("raw", "unit")}
        found |= {f"king_cosine_{word}": king["cosines_raw"][word] for word in ("queen", "king")}
        found["king_angle_degrees"] = king["angle_degrees"]
        found["king_source_rows"] = [row["token"].strip() for row in king["nearest"] if row["role"] == "source"]
    return found


def _of_ten_pairs(cosines: Mapping[str, float]) -> Json:
    """The source's ten plural offsets: the mean cosine with their mean, which is |sum| / n, and to each other."""
    n = len(cosines)
    if n < 2:
        return {}
    mean = sum(cosines.values()) / n
    return {"ten_pairs": n, "ten_pairs_with_mean": mean, "ten_pairs_consistency": (n * mean**2 - 1) / (n - 1)}


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def dumps(document: Json) -> str:
    """The document as JSON with a line for each check of each table, so that a change of one is a line of a diff."""
    text = json.dumps(document, indent=1, allow_nan=False)
    return _FLAT.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def write(document: Json, path: Path) -> None:
    """Write the document, whole or not at all."""
    files.write(path, dumps(document))


def read(path: Path) -> Json:
    """The document from its file."""
    document: Json = json.loads(path.read_text(encoding="utf-8"))
    return document
