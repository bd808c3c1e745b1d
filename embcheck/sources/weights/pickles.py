"""Pickles of tensors, read without running any of them.

A pickle is a program. This machine knows only the steps by which ``torch.save`` builds dictionaries, lists, texts,
numbers and tensors: nothing is imported, called or given attributes, so there is no code that a pickle could reach.
"""

from __future__ import annotations

import pickletools
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files.looking import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

__all__ = ["PickleEndsError", "PickledTensor", "Storage", "unpickle"]

_MOST_STEPS = 2**20  # a tensor takes about 30
_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "ComplexFloat": "C64", "ComplexDouble": "C128",
    "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL",
}  # fmt: skip
_TYPE = re.compile(
    r"torch(\.cuda|\.storage)?\.[A-Za-z0-9]*Storage|torch\.(b?float|u?int|complex|bool)\w{0,20}", re.ASCII
)
_BAD_STEPS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, DeprecationWarning)


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
class _Name:
    """A name that the pickle refers to, such as ``torch.FloatStorage``: never looked up."""

    text: str


class PickleEndsError(SourceError):
    """The bytes end before the pickle does, or it is malformed: where it ends can't be told."""


def unpickle(stream: BinaryIO, origin: str) -> Any:
    """Read one pickle and leave the stream behind it: plain values, `PickledTensor` and `Storage`.

    Keys that are no text are left out.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # of names with escapes, which none of ours has
            return _run(_Machine(origin), stream, origin)
    except _BAD_STEPS as error:
        raise PickleEndsError(
            f"{origin} is truncated or no pickle of tensors ({one_line(error)}); download it again"
        ) from None


def _run(machine: _Machine, stream: BinaryIO, origin: str) -> Any:
    for steps, (code, argument, _) in enumerate(pickletools.genops(stream)):
        if steps > _MOST_STEPS:
            raise SourceError(f"{origin} pickles more than any model has; save only the model's state_dict()")
        if code.name == "STOP":
            break
        machine.step(code.name, argument)
    return machine.pop()


class _Machine:
    """The stack and the memory that a pickle's steps work on."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memory: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one step."""
        if name in _VALUES:
            self._stack.append(argument)
        elif name in _FRESH:
            self._stack.append(_FRESH[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in {"PROTO", "FRAME"}:
            raise ValueError(f"step {name} is none that torch.save takes")

    def pop(self) -> Any:
        """The uppermost value."""
        return self._stack.pop()

    def pop_marked(self) -> list[Any]:
        at = self._marks.pop()
        values = self._stack[at:]
        del self._stack[at:]
        return values

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def put(self, at: int) -> None:
        self._memory[at] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self.put(len(self._memory))

    def get(self, at: int) -> None:
        self._stack.append(self._memory[at])

    def push_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self.pop_marked()))

    def short_tuple(self, length: int) -> None:
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def append(self, _: Any) -> None:
        value = self.pop()
        _require(self._stack[-1], list).append(value)

    def appends(self, _: Any) -> None:
        values = self.pop_marked()
        _require(self._stack[-1], list).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.fill([key, value])

    def set_items(self, _: Any) -> None:
        self.fill(self.pop_marked())

    def fill(self, values: list[Any]) -> None:
        target = _require(self._stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, str):
                target[key] = value

    def name(self, argument: str) -> None:
        self.push_name(*argument.split(" ", 1))

    def stack_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.push_name(_require(module, str), _require(name, str))

    def push_name(self, module: str, name: str) -> None:
        text = f"{module}.{name}"
        if text not in _MAKERS and not _TYPE.fullmatch(text):
            raise SourceError(
                f"{self._origin} holds {printable(text)}, which is no tensor and could run code when read; "
                "save only the model's state_dict(), best as safetensors"
            )
        self._stack.append(_Name(text))

    def storage(self, _: Any) -> None:
        kind, named, key, _, count = _require(self.pop(), tuple)[:5]
        if kind != "storage":
            raise ValueError(f"it refers to {one_line(kind)}, which is no storage")
        text = _require(named, _Name).text.rsplit(".", 1)[-1].removesuffix("Storage")
        dtype = None if text == "Untyped" else _STORAGES.get(text, text)
        self._stack.append(Storage(dtype, _require(key, str), _count(count)))

    def reduce(self, _: Any) -> None:
        arguments, name = self.pop(), self.pop()
        self._stack.append(_MAKERS[_require(name, _Name).text](*_require(arguments, tuple)))

    def build(self, _: Any) -> None:
        self.pop()  # attributes, such as a state dictionary's versions: not needed, so not set


def _require(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {kind.__name__.lstrip('_')} is needed where a {type(value).__name__.lstrip('_')} stands")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{one_line(value)} is no count")
    return value


def _counts(values: Any) -> tuple[int, ...]:
    return tuple(map(_count, _require(values, tuple)))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> PickledTensor:
    stored = _require(storage, Storage)
    return PickledTensor(stored, stored.dtype or "U8", _count(offset), _counts(shape), _counts(strides))


def _typed_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> PickledTensor:
    """A tensor of a type that storages have no name for, such as float8."""
    dtype = _require(rest[2], _Name).text.removeprefix("torch.").upper()
    return PickledTensor(_require(storage, Storage), dtype, _count(offset), _counts(shape), _counts(strides))


def _empty(*arguments: Any) -> dict[str, Any]:
    if arguments:
        raise ValueError("a dictionary is made of something")
    return {}


def _first(*arguments: Any) -> Any:
    return arguments[0]


def _nothing(*_: Any) -> None:
    """What is built so is not needed."""


_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "NONE"}
)
_FRESH: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.push_tuple,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
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
