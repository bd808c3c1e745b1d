"""A model on the Hugging Face hub: of its weights only the embedding tensor is moved, and its tokenizer."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from embcheck.errors import SourceError
from embcheck.sources.files import LocalBytes, one_line
from embcheck.sources.gguf.source import describe_from, read_from
from embcheck.sources.hub.cache import COMMIT, RepoCache, keeping
from embcheck.sources.hub.errors import (
    UnreachableError,
    check_endpoint,
    offline_error,
    translate_errors,
    within,
)
from embcheck.sources.hub.names import hub_name
from embcheck.sources.models.directory import describe_model, export_scheme, read_model
from embcheck.sources.tokenizers.load import tokenizer_files
from embcheck.sources.weights.checkpoint import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from embcheck.sources.assemble import Description
    from embcheck.sources.files import Folder, RandomAccess
    from embcheck.sources.hub.ranges import Remote
    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_GGUF = ".gguf"
_ASKS_AGAIN = re.compile(r"(get|download) (it|the file|the model) again")
_ANSWER_SECONDS = 5.0  # unless HF_HUB_ETAG_TIMEOUT says otherwise
_LONGEST_ANSWER = 30.0
_LARGEST_SMALL_FILE = 256 * 2**20
_LARGEST_LISTING = 64 * 2**20  # of 100,000 files, the most that the hub takes


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model on the hub, at the commit that its revision is now.

    The parts of weights that are read are kept (in ``EMBCHECK_CACHE``, by default ``HF_HOME/embcheck``), whole files
    and the tokenizer's are shared with other programs in the ordinary hub cache. ``HF_TOKEN``, ``HF_ENDPOINT``,
    ``HF_HUB_OFFLINE`` and ``HF_HOME`` mean what they mean everywhere.
    """
    folder, file, spec = _find(spec)
    with folder.naming_cache():
        if file is not None and file.endswith(_GGUF):
            table = read_from(spec, folder.open(file), partial(_part_of, folder, file))
        else:
            table = read_model(spec, folder, file)
    origin = replace(table.provenance, notes=(*table.provenance.notes, *folder.notes))
    return replace(table, provenance=origin)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read; only headers are moved."""
    folder, file, spec = _find(spec)
    with folder.naming_cache():
        if file is not None and file.endswith(_GGUF):
            description = describe_from(spec, folder.open(file), partial(_part_of, folder, file))
        else:
            description = describe_model(spec, folder, file)
    return replace(description, revision=folder.commit)


def open_model(spec: ModelSpec) -> tuple[Folder, Checkpoint]:
    """The files and the weights of a model that another spec names."""
    folder, file, _ = _find(spec)
    return folder, open_checkpoint(folder, file)


def _part_of(folder: HubFolder, file: str, _: RandomAccess, name: str) -> RandomAccess | None:
    """Another part of a GGUF model that was split, which lies beside the one that is named."""
    beside = f"{file.rpartition('/')[0]}/{name}".lstrip("/")
    return folder.open(beside) if beside in folder.names() else None


def _find(spec: ModelSpec) -> tuple[HubFolder, str | None, ModelSpec]:
    """The repository at a commit, the one file of weights that is meant if any, and the spec at that commit."""
    name = hub_name(spec)
    folder = resolve(name.repo, spec.revision)
    file = name.file
    if file is None:
        if (scheme := export_scheme(folder.names())) is not None:
            raise SourceError(
                f"{name.repo} holds no weights as Hugging Face has them; read its export from disk: "
                f"hf download {name.repo} --local-dir DIR, then {scheme}:DIR"
            )
        weights = [n for n in folder.names() if n.endswith((_GGUF, ".safetensors", ".bin", ".pt", ".pth"))]
        file = weights[0] if len(weights) == 1 and weights[0].endswith(_GGUF) else None
    return folder, file, replace(spec, revision=folder.commit)


class HubFolder:
    """The files of a repository at one commit."""

    def __init__(self, repo: str, commit: str, files: dict[str, int | None], *, online: bool = True) -> None:
        self.origin = repo
        self.commit = commit
        self.notes: tuple[str, ...] = ()
        self._files = {name: size for name, size in files.items() if _is_safe(name)}
        self._online = online and not _is_offline()
        self._cache = RepoCache(repo)

    @contextmanager
    def naming_cache(self) -> Iterator[None]:
        """Add to an error where files are kept, since what came wrong once is read again from there."""
        try:
            yield
        except UnreachableError:
            raise
        except SourceError as error:
            kept = [path for path in self._cache.folders(self.commit) if path.is_dir()]
            if not kept or not _ASKS_AGAIN.search(str(error)):
                raise
            where = " and ".join(map(str, kept))
            raise SourceError(
                f"{error} (what came from the hub is kept in {where}; delete that to ask again)"
            ) from None

    def names(self) -> tuple[str, ...]:
        """Its files, those in folders inside it as ``folder/file``."""
        return tuple(sorted(self._files))

    def size(self, name: str) -> int | None:
        """Bytes of a file, ``None`` where the hub does not say."""
        return self._files.get(name)

    def open(self, name: str) -> RandomAccess:
        """A large file: whole from the ordinary hub cache if it is there, else by byte ranges."""
        from embcheck.sources.hub.ranges import HttpBytes

        if (path := self._find_cached(name)) is not None:
            return LocalBytes(path, final=True)
        remote = self._look_up(name)
        return HttpBytes(remote, self._cache.ranges(self.commit, name, remote.etag))

    def fetch(self, name: str) -> Path:
        """A small file, in the ordinary hub cache, where other programs find it too.

        The hub's client would make paths of what a server says, such as its ETag; here only names that were checked
        become paths, and no more bytes are written than were announced.
        """
        from embcheck.sources.hub.ranges import download_whole

        if (path := self._find_cached(name)) is not None:
            return path
        remote = self._look_up(name)
        if max(self.size(name) or 0, remote.size) > _LARGEST_SMALL_FILE:
            raise SourceError(f"{remote.name} has {remote.size} bytes, more than any such file should")
        path = self._cache.snapshot(self.commit) / name
        with keeping(path, cache="HF_HOME") as file:
            for piece in download_whole(remote):
                file.write(piece)
        return path

    def fetch_tokenizer(self) -> Path:
        """A directory with the files of the tokenizer."""
        names = tokenizer_files(self.names())
        if not names:
            raise SourceError(f"{self.origin} holds no tokenizer (tokenizer.json); say where one is: ,tokenizer=DIR")
        wanted = ["tokenizer.json"] if "tokenizer.json" in names else [*names, "config.json"]
        fetched = [self.fetch(name) for name in wanted if name in self._files]
        return fetched[0].parent

    def _find_cached(self, name: str) -> Path | None:
        """A file of the ordinary hub cache; refuses names that were not listed, so that none leads out of it."""
        from pathlib import Path

        from huggingface_hub import try_to_load_from_cache

        if name not in self._files:
            raise SourceError(f"{self.origin} has no file {name}; it has {', '.join(self.names()[:8]) or 'none'}")
        path = try_to_load_from_cache(self.origin, name, revision=self.commit)
        return Path(path) if isinstance(path, str) else None

    def _look_up(self, name: str) -> Remote:
        """A file, with its ETag, which names it in our cache once it is hashed."""
        from embcheck.sources.hub.ranges import Remote

        size, etag = self._cache.about(self.commit, name) or self._ask_about(name)
        return Remote(self.origin, name, self._url(name), size, etag, self._online)

    def _ask_about(self, name: str) -> tuple[int, str]:
        """Size and ETag of a file, which are kept."""
        from huggingface_hub import get_hf_file_metadata

        if not self._online:
            raise offline_error(f"{self.origin}/{name}")
        with translate_errors(self.origin, file=name):
            about = within(_LONGEST_ANSWER, partial(get_hf_file_metadata, self._url(name)), f"{self.origin}/{name}")
        if about.size is None or about.etag is None:
            raise SourceError(
                f"{self.origin}/{name}: the server does not say how long it is; set HF_ENDPOINT to another"
            )
        self._cache.keep_about(self.commit, name, about.size, about.etag)
        return about.size, about.etag

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.origin, name, revision=self.commit)


def resolve(repo: str, revision: str | None = None) -> HubFolder:
    """Find a repository at a commit. Where the hub can't be asked, what was last seen of it counts."""
    check_endpoint()
    wanted = revision or "main"
    cache = RepoCache(repo)
    if COMMIT.fullmatch(wanted) and (files := cache.files(wanted)) is not None:
        return HubFolder(repo, wanted, files)
    try:
        commit, files = _ask(repo, revision)
    except UnreachableError as error:
        return _last_seen(repo, wanted, cache, error)
    cache.keep_files(commit, files)
    cache.keep_commit(wanted, commit)
    return HubFolder(repo, commit, files)


def _last_seen(repo: str, revision: str, cache: RepoCache, error: UnreachableError) -> HubFolder:
    commit = cache.commit(revision)
    files = None if commit is None else cache.files(commit) or cache.hub_files(commit)
    if commit is None or not files:
        raise error
    folder = HubFolder(repo, commit, files, online=False)
    folder.notes = (f"the hub was not asked: {revision} is as last seen",)
    return folder


def _ask(repo: str, revision: str | None) -> tuple[str, dict[str, int | None]]:
    """The commit of a revision, and names and sizes of its files."""
    seconds = _patience()
    listing = within(seconds + 0.5, partial(_listing, repo, revision, seconds), repo)
    try:
        told = json.loads(listing)
        commit, files = told["sha"], {file["rfilename"]: file.get("size") for file in told["siblings"]}
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise SourceError(f"{repo}: the hub's answer makes no sense ({one_line(error)}); check HF_ENDPOINT") from None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise SourceError(f"{repo}: the hub names no commit for {revision or 'main'}; check HF_ENDPOINT")
    sizes = {name: size if type(size) is int and size >= 0 else None for name, size in files.items()}
    return commit, {name: size for name, size in sizes.items() if isinstance(name, str)}


def _listing(repo: str, revision: str | None, seconds: float) -> bytearray:
    """What the hub says of a repository at a revision: `HfApi.model_info` would take an answer without an end."""
    from huggingface_hub import constants

    from embcheck.sources.hub.ranges import get

    at = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    url, listing = f"{constants.ENDPOINT}/api/models/{repo}{at}?blobs=true", bytearray()
    with translate_errors(repo, revision), get(url, seconds=seconds) as (_, _, body):
        for piece in body:
            listing += piece
            if len(listing) > _LARGEST_LISTING:
                raise SourceError(f"{repo}: the hub's list of files has no end; check HF_ENDPOINT")
    return listing


def _patience() -> float:
    """Seconds that the hub has for its first answer."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_ETAG_TIMEOUT) if "HF_HUB_ETAG_TIMEOUT" in os.environ else _ANSWER_SECONDS


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _is_safe(name: str) -> bool:
    """Whether a name that a server gave stays inside a directory, on any operating system."""
    parts = name.split("/")
    return name.isprintable() and not any(part in {"", ".", ".."} or set(part) & set("\\:") for part in parts)
