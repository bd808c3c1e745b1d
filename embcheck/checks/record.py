"""The report document: plain JSON types, made from results. Reports, baselines and pytest see nothing else."""

from __future__ import annotations

import json
import math
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from embcheck.errors import EmbcheckError, NotMeasurable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from embcheck.estimate import Estimate
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["SCHEMA", "document", "estimate_record", "model_record", "plain", "version"]

SCHEMA = "embcheck-report/1"


def plain(value: Any) -> Any:
    """The value in builtin JSON types: NumPy scalars and arrays unwrapped, numbers that are not finite as null.

    Raises
    ------
    EmbcheckError
        A type that JSON does not have.
    """
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, and tensors, without importing either library
        return plain(value.tolist())
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | int):  # enumerations of either become the builtin type
        return str(value) if isinstance(value, str) else int(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "items"):
        return {str(k): plain(v) for k, v in value.items()}
    raise EmbcheckError(f"details must be JSON types; got {type(value).__name__}")


def estimate_record(estimate: Estimate) -> dict[str, Any]:
    """The estimate's place in the report."""
    return {
        "name": estimate.name,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "confidence_level": estimate.confidence_level,
        "method": estimate.method,
        "n": estimate.n,
        "unit": estimate.unit,
        "exact": estimate.is_exact,
        "effect": estimate.effect,
    }


def model_record(spec: ModelSpec, table: EmbeddingTable | None, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A model's place in the report: provenance, population, results in order of property and parameters."""
    ordered = sorted(results, key=lambda r: (r["property"], json.dumps(r["params"], sort_keys=True)))
    record: dict[str, Any] = {
        "alias": spec.alias,
        "spec": spec.text,
        "revision": spec.revision,
        "weights_sha256": None,
        "tokens_sha256": None,
        "shape": None,
        "dtype": None,
        "population": None,
        "results": ordered,
    }
    if table is None:
        return record
    origin = table.provenance
    return record | {
        "revision": origin.revision or spec.revision,
        "weights_sha256": origin.weights_sha256,
        "tokens_sha256": table.tokens_sha256,
        "shape": list(origin.shape),
        "dtype": origin.dtype,
        "population": _population(table),
    }


def _population(table: EmbeddingTable) -> dict[str, Any]:
    excluded = table.excluded()
    try:
        rows = len(table.population)
    except NotMeasurable:  # every check is skipped for want of rows, which is worth a report too
        rows = len(table.vectors) - sum(excluded.values())
    return {"kind": table.kind, "rows": rows, "excluded": excluded}


def document(
    models: Sequence[dict[str, Any]], *, settings: Settings, device: str, timing: Mapping[str, Any]
) -> dict[str, Any]:
    """The report document, ``embcheck-report/1``: adjusted p-values filled in, models in the order given."""
    for model in models:
        _adjust(model["results"])
    run = {"embcheck": version("embcheck"), "seed": settings.seed, "device": device, "libs": _libraries()}
    return {"schema": SCHEMA, "run": run, "timing": dict(timing), "models": list(models)}


def _adjust(results: Sequence[dict[str, Any]]) -> None:
    """Holm-adjusted p-values over all permutation tests of one model. They are reported, and gate nothing."""
    rows = [null for result in results for null in result["nulls"] if null["p_value"] is not None]
    rows.sort(key=lambda null: null["p_value"])
    worst = 0.0
    for i, null in enumerate(rows):
        worst = max(worst, min(1.0, (len(rows) - i) * null["p_value"]))
        null["p_adjusted"] = worst


def _libraries() -> dict[str, str]:
    found = {name: version(name) for name in ("numpy", "scipy", "tokenizers", "torch")}
    return {"python": platform.python_version(), **found}


def version(package: str) -> str:
    """The installed version of a package, or ``unknown`` where it runs from a bare folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
