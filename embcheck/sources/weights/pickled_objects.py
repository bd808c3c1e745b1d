"""Pickles of Python objects, read without making any of them: what gensim saves, as plain data.

The machine of `pickles`, for classes of gensim and of what it is built on alone.
"""

from __future__ import annotations

import pickletools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files import one_line, printable
from embcheck.sources.weights.pickles import BAD_STEPS, Machine, Made, Name, require

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

_MOST_STEPS = 2**27  # a word takes four
_MOST_CONTAINERS = 2**21
_LONGEST_LINE = 4096
_KNOWN = re.compile(
    r"(gensim|numpy|scipy|collections)(\.\w+)*|(copyreg|copy_reg)\._reconstructor|_codecs\.encode|"
    r"(builtins|__builtin__)\.(int|long|float|complex|bool|str|unicode|bytearray|hash|object|slice|"
    r"list|dict|tuple|set|frozenset|x?range)",
    re.ASCII,
)
_ARRAY_TYPE = re.compile(r"<?f[248]|float(16|32|64)")


class _Objects(Machine):
    """Steps that concern objects; all others are as for tensors."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self._containers = 0

    def step(self, name: str, argument: Any) -> None:
        if name.startswith("EMPTY_"):
            self._containers += 1
            if self._containers > _MOST_CONTAINERS:
                raise SourceError(f"{self.origin} pickles more objects than any model has; get the file again")
        if name == "BINPERSID":
            raise ValueError("it refers to objects outside of it")
        super().step(name, argument)

    def push_name(self, module: str, name: str) -> None:
        text = f"{module}.{name}"
        if not _KNOWN.fullmatch(text):
            raise SourceError(
                f"{self.origin} holds {printable(text)}, which no word vectors need and which could run code when "
                "read; save them with save_word2vec_format and give word2vec:FILE"
            )
        self.stack.append(Name(text))

    def make(self, _: Any) -> None:
        arguments, name = require(self.pop(), tuple), self.pop()
        made = require(name, Name).text
        if made == "_codecs.encode":  # how old protocols write bytes
            self.stack.append(require(arguments[0], str).encode("latin-1"))
        elif made.endswith("._reconstructor"):
            self.stack.append(Made(require(arguments[0], Name).text, ()))
        else:
            self.stack.append(Made(made, arguments))


class _Capped:
    """A file that never makes room for more than it holds."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._size - self._file.tell())))

    def readline(self) -> bytes:
        return self._file.readline(_LONGEST_LINE)


def read_objects(path: Path) -> Any:
    """Read the first pickle of a file: plain values and `Made`; keys that are no text are left out."""
    machine = _Objects(str(path))
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            stream: Any = _Capped(file, size)
            for steps, (code, argument, _) in enumerate(pickletools.genops(stream)):
                if steps > _MOST_STEPS:
                    raise SourceError(f"{path} pickles more than any model has; get the file again")
                if code.name == "FRAME" and file.tell() + int(argument or 0) > size:  # which pickle takes whole
                    raise ValueError("a frame is longer than the file")
                if code.name == "STOP":
                    break
                machine.step(code.name, argument)
        return machine.pop()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    except BAD_STEPS as error:
        raise SourceError(f"{path} is truncated or no pickle ({one_line(error)}); get the file again") from None


def as_array(value: Any, origin: str) -> NDArray[Any]:
    """A matrix of floats that was pickled as a NumPy array."""
    match value:
        case Made(state=(_, tuple() as shape, Made(arguments=(str() as kind, *_)) as dtype, fortran, bytes() as raw)):
            big = isinstance(dtype.state, tuple) and dtype.state[1:2] == (">",)
            if _ARRAY_TYPE.fullmatch(kind) and len(shape) == 2:
                number = np.dtype(kind).newbyteorder(">" if big else "<")
                if all(type(n) is int and n > 0 for n in shape) and shape[0] * shape[1] * number.itemsize == len(raw):
                    flat = np.frombuffer(raw, dtype=number)
                    matrix: NDArray[Any] = flat.reshape(shape, order="F" if fortran else "C")
                    return np.array(matrix, dtype=number.newbyteorder("="), order="C")
    raise SourceError(f"{origin} holds no matrix of floats where its vectors should be; get the file again")
