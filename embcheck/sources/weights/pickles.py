"""Pickles of tensors, read without running any of them.

A pickle is a program. This machine knows only the steps by which ``torch.save`` builds dictionaries, lists, texts,
numbers and tensors: nothing is imported or called, so there is no code that a pickle could reach. Any other object is
kept as the name of its class, what it would be made of and its attributes (`Made`).
"""

from __future__ import annotations

import pickletools
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from embcheck.sources.files import JsonObject

_MOST_STEPS = 2**20  # a tensor takes about 30
_STRANGERS_KEPT = 8
_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "ComplexFloat": "C64", "ComplexDouble": "C128",
    "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL",
}  # fmt: skip
_FP8 = {
    "FLOAT8_E4M3FN": "F8_E4M3", "FLOAT8_E5M2": "F8_E5M2", "FLOAT8_E4M3FNUZ": "F8_E4M3FNUZ",
    "FLOAT8_E5M2FNUZ": "F8_E5M2FNUZ", "FLOAT8_E8M0FNU": "F8_E8M0",
}  # fmt: skip
_TYPE = re.compile(
    r"torch(\.cuda|\.storage)?\.[A-Za-z0-9]*Storage|torch\.(b?float|u?int|complex|bool)\w{0,20}", re.ASCII
)
BAD_STEPS = (
    ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, RecursionError, DeprecationWarning,
)  # fmt: skip
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "LONG4", "NONE"}
)


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers of a file, which tensors are parts of. ``dtype`` is ``None`` for bytes of no said type."""

    dtype: str | None
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """What a pickle says of a tensor: the part of a storage that it is."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the pickle refers to, such as ``torch.FloatStorage``: never looked up."""

    text: str


@dataclass(slots=True, eq=False)
class Made:
    """An object as the pickle tells of it; it is never made."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None

    @property
    def attributes(self) -> JsonObject:
        """Its attributes by name, none where its state is something else."""
        return self.state if isinstance(self.state, dict) else {}


class PickleEndsError(SourceError):
    """The bytes end before the pickle does, or it is malformed: where it ends can't be told."""


def unpickle(stream: BinaryIO, machine: Machine) -> Any:
    """Read one pickle and leave the stream behind it: plain values, `PickledTensor`, `Storage` and `Made`.

    Keys that are no text are left out.
    """
    origin = machine.origin
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # of names with escapes, which none of ours has
            return _run(machine, stream, origin)
    except BAD_STEPS as error:
        raise PickleEndsError(
            f"{origin} is truncated or no pickle of tensors ({one_line(error)}); download it again"
        ) from None


def _run(machine: Machine, stream: BinaryIO, origin: str) -> Any:
    machine.begin()
    for steps, (code, argument, _) in enumerate(pickletools.genops(stream)):
        if steps > _MOST_STEPS:
            raise SourceError(f"{origin} pickles more than any model has; save only the model's state_dict()")
        if code.name == "STOP":
            break
        machine.step(code.name, argument)
    return machine.pop()


class Machine:
    """The stack and the memory that a pickle's steps work on."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.strangers: list[str] = []
        """The first names that it refers to and that no tensor needs."""
        self.storages: dict[str, Storage] = {}
        """All storages that it refers to, by key, those of tensors that are left out too."""
        self.begin()

    def begin(self) -> None:
        """Be ready for another pickle."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one step."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _FRESH:
            self.stack.append(_FRESH[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in {"PROTO", "FRAME"}:
            raise ValueError(f"step {name} is none that torch.save takes")

    def pop(self) -> Any:
        """The uppermost value."""
        return self.stack.pop()

    def pop_marked(self) -> list[Any]:
        """Everything above the last mark."""
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def put(self, at: int) -> None:
        """Remember the uppermost value."""
        self.memory[at] = self.stack[-1]

    def shorten(self, length: int) -> None:
        """Make a tuple of the uppermost values."""
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def extend(self, values: list[Any]) -> None:
        """Add to the uppermost list, unless it is of a class of its own."""
        if not isinstance(self.stack[-1], Made):
            require(self.stack[-1], list).extend(values)

    def fill(self, values: list[Any]) -> None:
        """Add keys and values to the uppermost dictionary, unless it is of a class of its own."""
        if isinstance(self.stack[-1], Made):
            return
        target = require(self.stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, str):
                target[key] = value

    def push_stacked_name(self, _: Any) -> None:
        """As `push_name`, of the two uppermost texts."""
        name, module = self.pop(), self.pop()
        self.push_name(require(module, str), require(name, str))

    def push_name(self, module: str, name: str) -> None:
        """Keep a name."""
        text = f"{module}.{name}"
        if text not in _MAKERS and not _TYPE.fullmatch(text):
            self._remember(text)
        self.stack.append(Name(text))

    def _remember(self, text: str) -> None:
        if text not in self.strangers and len(self.strangers) < _STRANGERS_KEPT:
            self.strangers.append(text)

    def push_storage(self, _: Any) -> None:
        """What a reference outside of the pickle means."""
        kind, named, key, _, count = require(self.pop(), tuple)[:5]
        if kind != "storage":
            raise ValueError(f"it refers to {one_line(kind)}, which is no storage")
        text = require(named, Name).text.rsplit(".", 1)[-1].removesuffix("Storage")
        dtype = None if text == "Untyped" else _STORAGES.get(text, text)
        storage = self.storages[key] = Storage(dtype, require(key, str), _count(count))
        self.stack.append(storage)

    def make(self, _: Any) -> None:
        """Stand-in for a call."""
        arguments, name = require(self.pop(), tuple), self.pop()
        text = name.text if isinstance(name, Name) else type(name).__name__
        if text in _MAKERS:
            self.stack.append(_MAKERS[text](*arguments))
        else:
            self._remember(text)
            self.stack.append(Made(text, arguments))

    def make_keyed(self, _: Any) -> None:
        """As `make`, of arguments by name too, which are not needed."""
        self.pop()
        self.make(None)

    def build(self, _: Any) -> None:
        """Attributes: those of a dictionary, such as a state dictionary's versions, are not needed."""
        state = self.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def drop(self, _: Any) -> None:
        """Take away the uppermost value, or the mark that is above it."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()


def require(value: Any, kind: type) -> Any:
    """The value, which must be of exactly this type."""
    if type(value) is not kind:
        raise TypeError(f"a {kind.__name__} is needed where a {type(value).__name__} stands")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{one_line(value)} is no count")
    return value


def counts(values: Any) -> tuple[int, ...]:
    """The values of a tuple, each of which must be a number of things."""
    return tuple(map(_count, require(values, tuple)))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> PickledTensor:
    stored = require(storage, Storage)
    dtype = stored.dtype or "U8"
    if len(rest) > 2 and rest[2]:  # bits of a view, such as the sign, that its storage doesn't have
        dtype = f"NEGATED_{dtype}"
    return PickledTensor(stored, dtype, _count(offset), counts(shape), counts(strides))


def _typed_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> PickledTensor:
    """A tensor of a type that storages have no name for, such as float8."""
    dtype = require(rest[2], Name).text.removeprefix("torch.").upper()
    stored, dtype = require(storage, Storage), _FP8.get(dtype, dtype)
    return PickledTensor(stored, dtype, _count(offset), counts(shape), counts(strides))


def _empty(*arguments: Any) -> dict[str, object]:
    if arguments:
        raise ValueError("a dictionary is made of something")
    return {}


def _first(*arguments: Any) -> Any:
    return arguments[0]


def _nothing(*_: Any) -> None:
    """What is built so is not needed."""


_FRESH: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": tuple,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_STEPS: dict[str, Callable[[Machine, Any], object]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "BINPUT": Machine.put,
    "LONG_BINPUT": Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memory)),
    "BINGET": lambda machine, at: machine.stack.append(machine.memory[at]),
    "LONG_BINGET": lambda machine, at: machine.stack.append(machine.memory[at]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_marked())),
    "TUPLE1": lambda machine, _: machine.shorten(1),
    "TUPLE2": lambda machine, _: machine.shorten(2),
    "TUPLE3": lambda machine, _: machine.shorten(3),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_marked()),
    "SETITEM": lambda machine, _: machine.fill([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.fill(machine.pop_marked()),
    "GLOBAL": lambda machine, name: machine.push_name(*name.split(" ", 1)),
    "STACK_GLOBAL": Machine.push_stacked_name,
    "BINPERSID": Machine.push_storage,
    "REDUCE": lambda machine, argument: machine.make(argument),
    "NEWOBJ": lambda machine, argument: machine.make(argument),
    "NEWOBJ_EX": Machine.make_keyed,
    "BUILD": Machine.build,
    "ADDITEMS": lambda machine, _: machine.pop_marked(),  # of a set: no set is needed
    "FROZENSET": lambda machine, _: machine.stack.append(tuple(machine.pop_marked())),
    "POP": Machine.drop,
    "POP_MARK": lambda machine, _: machine.pop_marked(),
}
_MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.Size": _first,
    "torch.device": _nothing,
    "collections.OrderedDict": _empty,
    "_codecs.encode": _first,
}
