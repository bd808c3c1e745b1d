"""What a comparison and a diagnosis share in Python: how they are kept and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from embcheck.estimate import by_reports

if TYPE_CHECKING:
    from pathlib import Path


class Document(Struct, frozen=True):
    """A document that a command writes as JSON."""

    def save(self, path: str | Path) -> None:
        """Write it to a file as JSON, which ``embcheck report`` reads.

        Raises
        ------
        UsageError
            The name of the file ends in something else than ``.json``.
        EmbcheckError
            It can't be written.
        """
        by_reports("json_file.save", self, path)

    def save_html(self, path: str | Path) -> None:
        """Write it to a file as one HTML page.

        Raises
        ------
        UsageError
            The extra ``html`` is not installed, or the path is none for a file.
        EmbcheckError
            It can't be written.
        """
        by_reports("html.write", self, path)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(by_reports("html.notebook.document", self))
