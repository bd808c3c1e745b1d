"""Read the README's examples: files it shows, commands it runs, and what it says they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_FENCE = re.compile(r"(?:^`(?P<file>[\w./]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """One fenced block. ``file`` is set where the text above names a file that the block is the content of."""

    kind: str
    body: str
    file: str | None

    @property
    def command(self) -> str:
        """The command of a console block."""
        return self.body.partition("\n")[0].removeprefix("$ ")

    @property
    def output(self) -> str:
        """What a console block says the command prints."""
        return self.body.partition("\n")[2]


def examples() -> list[Example]:
    """All fenced blocks, in order."""
    return [Example(m["kind"], m["body"], m["file"]) for m in _FENCE.finditer(README.read_text(encoding="utf-8"))]
