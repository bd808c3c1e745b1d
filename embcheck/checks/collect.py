"""Find declared properties for the command line and the Python API: shipped ones, ``./properties``, and given paths.

Under pytest it is pytest that collects them. Loading a property file imports neither torch nor numpy by itself.
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck import files
from embcheck.checks.evaluate import checks_of
from embcheck.errors import EmbcheckError, UsageError
from embcheck.extensions import installed, package_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType

    from embcheck.checks.evaluate import Check
    from embcheck.spec import ModelSpec

_SHIPPED = "embcheck.properties"
_FOUND_BY_ITSELF = Path("properties")


def collect(
    paths: Sequence[Path] = (),
    *,
    globs: Sequence[str] = (),
    others: Sequence[str] = (),
    models: Sequence[ModelSpec] = (),
) -> list[Check]:
    """Checks of every property that can be found, those that the globs select, in order of file name and line."""
    chosen = select(checks_of(functions(paths, models), others), globs)
    refuse_pytest_only(chosen)
    return chosen


def functions(paths: Sequence[Path] = (), models: Sequence[ModelSpec] = ()) -> list[Callable[..., Any]]:
    """Every declared property function, in order of file name and line; none that came with one of the models."""
    came = shipped()
    files = _other_files(paths, [Path(_file(function)) for function in came], models)
    known = distinct([*came, *(function for file in files for function in declared(_load(file)))])
    return sorted(known, key=lambda f: (Path(_file(f)).name, f.__code__.co_firstlineno))


def shipped() -> list[Callable[..., Any]]:
    """The property functions that came with embcheck or with an installed package."""
    packs = (module for pack in installed("properties").values() for module in pack.modules())
    return [function for module in (*_shipped_modules(), *packs) for function in declared(module)]


def distinct(functions: Iterable[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Each property function once; `UsageError` where two share a name, whose results would replace each other."""
    by_name: dict[str, Callable[..., Any]] = {}
    for function in functions:
        first, name = by_name.setdefault(function.__name__, function), function.__name__
        if first is not function:
            both = " and ".join(f"{_file(f)}:{f.__code__.co_firstlineno}" for f in (first, function))
            raise UsageError(f"two properties are called {name!r}: {both}; rename one")
    return list(by_name.values())


def declared(module: ModuleType) -> list[Callable[..., Any]]:
    """The property functions that a module itself declares, leaving out those it imports."""
    return [f for f in vars(module).values() if hasattr(f, "__embcheck__") and f.__module__ == module.__name__]


def is_shipped(function: Callable[..., Any]) -> bool:
    """Whether a property came with embcheck or with an installed package."""
    shipped = {Path(folder) for folder in importlib.import_module(_SHIPPED).__path__}
    return Path(_file(function)).parent in shipped or package_of(function) is not None


def select(checks: Iterable[Check], globs: Sequence[str]) -> list[Check]:
    """The checks that the globs select, in their order; `UsageError` for a glob that matches none."""
    checks = list(checks)
    for glob in globs:
        if not any(matches(check, glob.removeprefix("!")) for check in checks):
            known = list(dict.fromkeys(name for check in checks for name in (check.declaration.id, check.label)))
            close = difflib.get_close_matches(glob.removeprefix("!"), known)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            unread = [str(file) for file in _files_in(_FOUND_BY_ITSELF) if b"embcheck" not in _read(file)]
            why = f"; {', '.join(unread[:3])} was not read, as it does not import embcheck" if unread else ""
            raise UsageError(f"no property matches {glob!r}; {hint}all {len(checks)} checks are in: embcheck list{why}")
    return [check for check in checks if is_selected(check, globs)]


def is_selected(check: Check, globs: Sequence[str]) -> bool:
    """Whether any of the globs matches, or there is none but those with a leading ``!``, of which none may match."""
    wanted = [glob for glob in globs if not glob.startswith("!")]
    unwanted = [glob[1:] for glob in globs if glob.startswith("!")]
    is_wanted = not wanted or any(matches(check, glob) for glob in wanted)
    return is_wanted and not any(matches(check, glob) for glob in unwanted)


def matches(check: Check, glob: str) -> bool:
    """Whether a glob matches the property's id or ``id[parameters]``. Brackets stand for themselves."""
    pattern = glob.replace("[", "[[]")
    return any(fnmatch.fnmatchcase(name, pattern) for name in (check.declaration.id, check.label))


def refuse_pytest_only(checks: Iterable[Check]) -> None:
    """Refuse properties that only pytest can run: those that take fixtures or carry marks."""
    for check in checks:
        if fixtures := check.declaration.fixtures:
            why = f"takes {_plural('argument', fixtures)} that only pytest supplies"
        elif marks := getattr(check.function, "pytestmark", ()):
            why = f"carries {_plural('pytest mark', [mark.name for mark in marks])}"
        else:
            continue
        raise UsageError(f"property {check.declaration.id} ({_file(check.function)}) {why}; run it under pytest")


def _plural(noun: str, names: Sequence[str]) -> str:
    return f"the {noun}{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _shipped_modules() -> Iterator[ModuleType]:
    package = importlib.import_module(_SHIPPED)
    for entry in pkgutil.iter_modules(package.__path__):
        if not entry.name.startswith("_"):
            yield importlib.import_module(f"{_SHIPPED}.{entry.name}")


def _other_files(paths: Sequence[Path], given: Sequence[Path], models: Sequence[ModelSpec]) -> Iterator[Path]:
    """Files not seen before. A byte-identical copy of a given file, as a checkout has it, is that file."""
    seen = {file.resolve() for file in given}
    copies = {_digest(file) for file in given}
    # A folder that nobody named may belong to something else: only files that speak of embcheck are run.
    unnamed = [file for file in _files_in(_FOUND_BY_ITSELF) if b"embcheck" in _read(file)]
    is_models = files.is_in_any(Path(), (model.target for model in models)) or files.holds_model(Path())
    if unnamed and is_models and _FOUND_BY_ITSELF.resolve() not in {path.resolve() for path in paths}:
        raise UsageError(
            f"{unnamed[0]} lies beside a model's weights, and is not run by itself; start embcheck elsewhere, or say "
            "--properties properties if it is yours"
        )
    for file in (*unnamed, *(file for path in paths for file in _named(path))):
        if file.resolve() not in seen and _digest(file) not in copies:
            seen.add(file.resolve())
            yield file


def _named(path: Path) -> list[Path]:
    try:
        is_folder, is_file = path.is_dir(), path.exists() and not path.is_dir()
    except OSError as error:  # a name that no system has
        raise UsageError(f"properties {str(path)!r}: {error.strerror or error}") from None
    if is_folder:
        return _files_in(path)
    if not is_file:
        raise UsageError(f"properties {str(path)!r}: no such file or folder")
    if path.suffix != ".py":
        raise UsageError(f"properties {str(path)!r}: not a Python file")
    return [path]


def _files_in(folder: Path) -> list[Path]:
    return sorted(f for f in folder.glob("*.py") if not f.name.startswith("_") and f.name != "conftest.py")


def _read(file: Path) -> bytes:
    try:
        return files.read(file)
    except OSError as error:
        raise UsageError(f"property file {file}: {error.strerror or error}") from error


def _digest(file: Path) -> bytes:
    return hashlib.sha256(_read(file)).digest()


def _load(file: Path) -> ModuleType:
    """Run a property file as a module of its own."""
    name = f"embcheck_properties_{hashlib.sha256(bytes(file.resolve())).hexdigest()[:8]}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"property file {file}: can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except EmbcheckError as error:
        raise UsageError(f"property file {file}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"property file {file}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return module


def _file(function: Callable[..., Any]) -> str:
    return function.__code__.co_filename
