"""One picture of a result, apart from the page: a notebook shows it, and it can be saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from embcheck.estimate import by_reports

if TYPE_CHECKING:
    from pathlib import Path

    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its title (check and model) and caption. Tokens in it are inert and short: it is for reading."""

    title: str
    caption: str
    """What it shows, and what its colours and lines mean."""
    body: Markup = field(repr=False)
    """An ``svg`` or ``img`` element whose colours are those of the page that it stands in."""
    claim: str = ""
    """The sentence that is claimed and, where that does not hold, the verdict with value and bound."""

    def save(self, path: str | Path, *, theme: Literal["light", "dark"] = "light") -> None:
        """Write the picture, with claim, title and caption, to a file whose name ends in ``.svg`` or ``.png``.

        Raises
        ------
        UsageError
            The name ends otherwise, or there is no such theme.
        EmbcheckError
            The file can't be written.
        """
        by_reports("html.drawing.save", self, path, theme)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(by_reports("html.notebook.picture", self))
