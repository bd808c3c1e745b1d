"""A random table to compare with: ``random:VxD``, independent standard normal numbers under plausible words."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import SpecError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import refuse_unknown_options
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_SHAPE = re.compile(r"([0-9]{1,12})x([0-9]{1,12})")
_SEED = re.compile(r"[0-9]{1,18}")
_LARGEST_BYTES = 64 * 2**30
_ITEM_BYTES = 4
_BLOCK = 2**20  # numbers drawn from one counter; a change of it changes every random table
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_OTHER_CHARACTERS = (*range(0xA1, 0x250), *range(0x391, 0x3CA), *range(0x410, 0x450))


def read(spec: ModelSpec) -> EmbeddingTable:
    """Draw the table. The same spec gives the same numbers on every machine."""
    rows, width, seed = _parse(spec)
    return assemble(spec, torch.from_numpy(_draw(rows, width, seed)), WordVocabulary(_words(rows)), bytes_read=0)


def describe(spec: ModelSpec) -> Description:
    """What `read` would draw."""
    rows, width, _ = _parse(spec)
    size = rows * width * _ITEM_BYTES
    return Description(shape=(rows, width), dtype="float32", bytes=size, bytes_total=size)


def _parse(spec: ModelSpec) -> tuple[int, int, int]:
    refuse_unknown_options(spec, "seed")
    match = _SHAPE.fullmatch(spec.target)
    rows, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if rows < 1 or width < 1:
        raise SpecError(
            f"spec {spec.text!r}: {spec.target!r} is no shape; write rows x width, such as random:30522x384"
        )
    if (size := rows * width * _ITEM_BYTES) > _LARGEST_BYTES:
        raise SpecError(f"spec {spec.text!r} would take {size / 2**30:.0f} GiB; at most 64 GiB are drawn")
    seed = spec.option("seed") or "0"
    if not _SEED.fullmatch(seed):
        raise SpecError(f"spec {spec.text!r}: seed {seed!r} is no whole number from 0 to 10^18")
    return rows, width, int(seed)


def _draw(rows: int, width: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    numbers = np.empty(rows * width, dtype=np.float32)
    for block, start in enumerate(range(0, numbers.size, _BLOCK)):
        generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, block]))
        generator.standard_normal(dtype=np.float32, out=numbers[start : start + _BLOCK])
    return numbers.reshape(rows, width)


def _words(rows: int) -> list[str]:
    from embcheck import lexicons

    known = dict.fromkeys(chain(characters(), lexicons.words()))
    fillers = (word for number in count() if (word := filler(number)) not in known)
    return list(islice(chain(known, fillers), rows))


def characters() -> Iterator[str]:
    """Every visible ASCII character, then letters of other alphabets of the same length to compare them with."""
    yield from map(chr, range(0x21, 0x7F))
    yield from (c for c in map(chr, _OTHER_CHARACTERS) if unicodedata.category(c).startswith("L"))


def filler(number: int) -> str:
    """A word of letters for a number: ``taaaaab`` for 1."""
    digits = ""
    while number or len(digits) < 6:
        number, digit = divmod(number, len(_LETTERS))
        digits = _LETTERS[digit] + digits
    return f"t{digits}"
