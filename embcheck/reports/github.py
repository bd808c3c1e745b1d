"""Annotations for GitHub Actions: one ``::error`` line for each check that fails."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from embcheck.reports.summary import statistics_line, why
from embcheck.reports.terminal import label
from embcheck.reports.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["annotate", "lines"]

_WIDTH = 400


def annotate(document: Mapping[str, Any]) -> None:
    """Print the annotations on stderr, where GitHub Actions runs this."""
    for line in lines(document):
        sys.stderr.write(line + "\n")


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The annotations; none anywhere else than in GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS", "").lower() != "true":
        return
    for model in document["models"]:
        for result in model["results"]:
            if result["outcome"] == "fail":
                title = _property(safe(f"{label(result)} on {model['alias']}", _WIDTH))
                said = "; ".join(part for part in (statistics_line(result), why(result)) if part)
                yield f"::error title={title}::{_data(safe(said, _WIDTH, encoding='utf-8'))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
