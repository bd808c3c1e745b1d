"""What installed packages add by entry point: sources, and packs of properties."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

__all__ = ["Extension", "installed", "package_of"]


@dataclass(frozen=True, slots=True)
class Extension:
    """A module or package that an installed distribution offers under a name."""

    name: str
    module: str
    package: str
    """The distribution and its version, such as ``toy-vectors 1.0``."""

    def load(self) -> ModuleType:
        """Import it; `UsageError` that names the distribution where that fails."""
        return self._import(self.module)

    def modules(self) -> list[ModuleType]:
        """It and, of a package, all modules directly in it whose names don't begin with an underscore."""
        top = self.load()
        below = pkgutil.iter_modules(getattr(top, "__path__", ()))
        names = sorted(entry.name for entry in below if not entry.name.startswith("_"))
        return [top, *(self._import(f"{self.module}.{name}") for name in names)]

    def places(self) -> list[Path]:
        """Its file, or the folders of a package."""
        try:
            found = importlib.util.find_spec(self.module)
        except (ImportError, ValueError) as error:
            raise self._broken(error) from error
        if found is None:
            raise self._broken(ModuleNotFoundError(f"No module named {self.module!r}"))
        folders = found.submodule_search_locations
        return [Path(place) for place in (folders or [found.origin or ""])]

    def _import(self, module: str) -> ModuleType:
        try:
            return importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise self._broken(error) from error

    def _broken(self, error: BaseException) -> UsageError:
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return UsageError(
            f"{self.package} offers {self.name!r} to embcheck, but it can't be imported ({why}); mend or uninstall it"
        )


@cache
def installed(kind: Literal["sources", "properties"]) -> Mapping[str, Extension]:
    """What is installed of a kind, by name; `UsageError` where two distributions offer one name."""
    found: dict[str, Extension] = {}
    for point in entry_points(group=f"embcheck.{kind}"):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"
        extension = Extension(point.name, point.value, package)
        first = found.setdefault(point.name, extension)
        if first != extension:
            raise UsageError(
                f"{first.package} and {package} both offer {kind} called {point.name!r} to embcheck; uninstall one"
            )
    return dict(sorted(found.items()))


@cache
def package_of(file: str) -> str | None:
    """The distribution whose pack of properties a file belongs to; ``None`` for embcheck's own files and yours."""
    path = Path(file)
    for extension in installed("properties").values():
        if path in (places := extension.places()) or path.parent in places:
            return extension.package
    return None
