"""Values of options, as text or as TOML gives them, checked and turned into their own types."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from embcheck.config.options import UPDATES
from embcheck.errors import ConfigError
from embcheck.spec import parse_all

if TYPE_CHECKING:
    from embcheck.config.options import Option
    from embcheck.spec import ModelSpec

_MOST, _FEW = 40, 5  # known names that are listed all, and of more
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|mps")
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was given, for messages, and the folder that its relative paths start from."""

    name: str
    folder: Path | None = None

    def path(self, text: str) -> Path:
        """A path given there; relative to the file that names it, or to the working directory."""
        path = Path(text).expanduser()
        return path if self.folder is None else self.folder / path


def convert(option: Option, value: object, origin: Origin) -> Any:
    """The value in its own type, checked."""
    if not option.multiple:
        return _single(option, value, origin)
    items = [value] if isinstance(value, str | Path) else value
    if not isinstance(items, Sequence):
        wrong(origin, option, value)
    converted = tuple(_single(option, item, origin) for item in items)
    if option.name == "model":
        return tuple(_rebase(spec, origin) for spec in parse_all(converted))
    return converted


def _single(option: Option, value: object, origin: Origin) -> Any:
    if option.kind == "path":
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            wrong(origin, option, value)
        return origin.path(str(value))
    try:
        converted = _CONVERTERS[option.kind](value)
    except (ValueError, TypeError, OverflowError):
        wrong(origin, option, value)
    if option.choices and converted not in option.choices:
        close = difflib.get_close_matches(str(value), option.choices, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(f"{origin.name}: expected {_listed(option.choices)}, got {value!r}{hint}")
    return converted


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(value: object) -> bool:
    if isinstance(value, str):
        if value.lower() not in _SWITCH:
            raise ValueError
        return _SWITCH[value.lower()]
    if not isinstance(value, bool):
        raise TypeError
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def _probes(value: object) -> int | Literal["all", "auto"]:
    return value if value in ("all", "auto") else _integer(value)


def _device(value: object) -> str:
    text = _text(value)
    if not _DEVICE.fullmatch(text):
        raise ValueError
    return text


def _updates(value: object) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not words:
        raise TypeError
    updates = tuple(_text(word).strip() for word in words)
    if not set(updates) <= set(UPDATES):
        raise ValueError
    return updates


_CONVERTERS: Mapping[str, Callable[[object], Any]] = {
    "text": _text,
    "flag": _flag,
    "integer": _integer,
    "number": _number,
    "probes": _probes,
    "device": _device,
    "updates": _updates,
}
_EXPECTED = {
    "text": "text",
    "path": "a path",
    "flag": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "probes": "a whole number, 'all' or 'auto'",
    "device": "auto, cpu, cuda, cuda:N or mps",
    "updates": "new, changed or prune, or several of them parted by commas",
}


def _rebase(spec: ModelSpec, origin: Origin) -> ModelSpec:
    """The spec with the paths that exist beside the file naming them made independent of the working directory."""
    if origin.folder is None or spec.scheme in {"demo", "random"} or spec.target == "demo":
        return spec

    def rebased(text: str) -> str:
        path = origin.path(text)
        return str(path) if path.exists() else text

    options = tuple((key, rebased(value) if (key, value) in spec.paths else value) for key, value in spec.options)
    return replace(spec, target=rebased(spec.target), options=options)


# --- messages ---------------------------------------------------------------------------------------------------


def wrong(origin: Origin, option: Option, value: object) -> NoReturn:
    """Report a value of the wrong kind."""
    expected = _EXPECTED[option.kind] + (", or a list of them" if option.multiple else "")
    raise ConfigError(f"{origin.name}: expected {expected}, got {value!r}")


def closest(name: str, known: Sequence[str]) -> str:
    """What to say of an unknown name: the known one most like it, or all of them; of many the first few."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[close[0]]!r}?" if close else f"known: {_listed(known)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST:
        return f"{', '.join(names[:_FEW])} and {len(names) - _FEW} more"
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else ", ".join(names)
