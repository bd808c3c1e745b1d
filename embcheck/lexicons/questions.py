"""Files of analogy questions, in the format of Google's ``questions-words.txt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embcheck.errors import UsageError

__all__ = ["Question", "Questions", "Section", "questions"]

Question = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Section:
    """Questions of one kind: ``(a, b, c, target)`` asks what is to c as b is to a."""

    name: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Questions:
    """The sections of a file, in its order."""

    name: str
    sections: tuple[Section, ...]

    def __str__(self) -> str:
        return self.name


def questions(path: str | Path) -> Questions:
    """Read analogy questions: four words a line, below ``: name`` where a section begins.

    Empty lines and those that begin with ``//`` are passed over.

    Raises
    ------
    UsageError
        The file can't be read, or a line is neither a section nor four words, or comes before any section.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"questions {str(file)!r}: {getattr(error, 'strerror', None) or error}") from error
    sections: list[tuple[str, list[Question]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or line.startswith("//"):
            continue
        if words[0].startswith(":"):
            sections.append((line.lstrip(": ").strip(), []))
            continue
        if not sections or len(words) != 4:
            wanted = "four words: a b c target" if sections else "a section's name, such as ': capitals'"
            raise UsageError(f"questions {str(file)!r}, line {number}: expected {wanted}, got {line.strip()[:80]!r}")
        a, b, c, target = words
        sections[-1][1].append((a, b, c, target))
    if not any(asked for _, asked in sections):
        raise UsageError(f"questions {str(file)!r}: there are no questions in it; write ': name', then a b c target")
    return Questions(file.name, tuple(Section(name, tuple(asked)) for name, asked in sections))
