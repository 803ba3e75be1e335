"""Reads torch's checkpoint files as data: no code in them can run, and torch is not needed.

A checkpoint is a zip archive with a pickle and one raw file for each storage. Instead of unpickling, which
executes what the file asks for, the few opcodes that describe data are interpreted here, and the few names
that torch and numpy use to describe tensors, arrays and scalars are understood. Everything else is refused.
"""

import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fednas.common import FednasError

Array = NDArray[Any]

_STORAGES: Mapping[str, str] = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True, slots=True)
class _Name:
    """A global that the pickle mentions; never looked up, only compared."""

    text: str


@dataclass(slots=True)
class _NumpyArray:
    """An array under construction: numpy first makes an empty one and then sets its state."""

    value: Array | None = None


@dataclass(slots=True)
class _NumpyType:
    code: str
    order: str = "<"

    def dtype(self) -> np.dtype[Any]:
        if self.code[:1] not in "biuf" or not self.code[1:].isdigit():
            raise _RefusedError(f"numpy type {self.code}")
        return np.dtype(("" if self.order == "|" else self.order) + self.code)


class _RefusedError(Exception):
    """The file asks for something that is not data."""


def read_torch_file(path: Path) -> Any:
    """What a checkpoint holds, as plain Python and numpy values.

    Raises:
        FednasError: the file is no checkpoint, is damaged, or holds anything but tensors, arrays, numbers, texts
            and plain containers; the message names what was refused.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise FednasError(f"{path} is a zip file, but not a torch checkpoint", hint="give a .pt checkpoint")
            return _Reader(archive, names[0].removesuffix("data.pkl")).read()
    except FileNotFoundError as err:
        raise FednasError(f"supernet {path} does not exist", hint="check the path") from err
    except zipfile.BadZipFile as err:
        raise _no_zip(path, err) from err
    except _RefusedError as err:
        raise FednasError(
            f"checkpoint {path} asks for {err}, which is not data; nothing in it was executed",
            hint="a checkpoint may hold tensors, arrays, numbers, texts and plain containers only",
        ) from err
    except (OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError) as err:
        raise FednasError(f"checkpoint {path} is damaged ({err})".replace("\n", " "), hint="copy it again") from err


def _no_zip(path: Path, err: Exception) -> FednasError:
    """What to do about a file that is no zip archive, by its first bytes."""
    start = path.read_bytes()[:16]
    if not start:
        return FednasError(f"checkpoint {path} is empty (0 bytes)", hint="copy it again")
    if start.startswith(b"PK"):
        return FednasError(f"checkpoint {path} is truncated or damaged ({err})", hint="copy it again")
    if start[8:9] == b"{":
        return FednasError(f"{path} is a safetensors file, not a torch checkpoint", hint="rename it to .safetensors")
    if start.startswith(b"\x80"):
        return FednasError(
            f"checkpoint {path} is a bare pickle, as torch before 1.6 wrote it; pickles are never executed here",
            hint="load it in the torch that wrote it and save it with torch 1.6 or newer",
        )
    return FednasError(f"{path} is not a torch checkpoint ({err})", hint="give the .pt file that torch.save wrote")


class _Reader:
    """A stack machine for the opcodes that describe data."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        self.archive = archive
        self.prefix = prefix
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.marks: list[int] = []
        self.storages: dict[str, Array] = {}

    def read(self) -> Any:
        if self.prefix + "byteorder" in self.archive.namelist() and self._entry("byteorder") != b"little":
            raise _RefusedError("big-endian numbers")
        for opcode, argument, _position in pickletools.genops(self._entry("data.pkl")):
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _LITERALS:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _ACTIONS:
                _ACTIONS[opcode.name](self, argument)
            elif opcode.name not in ("PROTO", "FRAME"):
                raise _RefusedError(f"the pickle operation {opcode.name}")
        raise ValueError("the pickle has no end")

    def _entry(self, name: str) -> bytes:
        info = self.archive.getinfo(self.prefix + name)
        # torch never compresses, and a small file must not unfold into a full memory.
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"entry {name} is compressed")
        return self.archive.read(info)

    def above_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, count: int) -> tuple[Any, ...]:
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    # --- operations ------------------------------------------------------------------------------

    def store(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def load(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _RefusedError("items in something that is no dictionary")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise _RefusedError("entries in something that is no list")
        target.extend(items)

    def name(self, text: str) -> None:
        self.stack.append(_Name(text.replace(" ", ".")))

    def stack_name(self, _argument: object) -> None:
        module, name = self.pop(2)
        self.stack.append(_Name(f"{module}.{name}"))

    def call(self, _argument: object) -> None:
        function, arguments = self.pop(2)
        text = function.text if isinstance(function, _Name) else repr(type(function))
        if text not in _FUNCTIONS or not isinstance(arguments, tuple):
            raise _RefusedError(text)
        self.stack.append(_FUNCTIONS[text](*arguments))

    def build(self, _argument: object) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if isinstance(target, _NumpyType):
            target.order = state[1]
        elif isinstance(target, _NumpyArray):
            _version, shape, kind, by_columns, content = state
            flat = np.frombuffer(_bytes_of(content), dtype=kind.dtype())
            target.value = flat.reshape(shape, order="F" if by_columns else "C")
        elif not isinstance(target, dict):  # a state dictionary's notes on versions are not needed
            raise _RefusedError("state for something that has none")

    def storage(self, _argument: object) -> None:
        (identity,) = self.pop(1)
        _word, kind, key, _device, count = identity
        if not isinstance(kind, _Name) or kind.text.rpartition(".")[2] not in _STORAGES:
            raise _RefusedError(f"a storage of type {kind.text if isinstance(kind, _Name) else kind}")
        if key not in self.storages:
            content = self._entry(f"data/{key}")
            self.storages[key] = np.frombuffer(content, dtype=_STORAGES[kind.text.rpartition(".")[2]])
        if len(self.storages[key]) != count:
            raise ValueError(f"storage {key} has {len(self.storages[key])} values instead of {count}")
        self.stack.append(self.storages[key])


def _tensor(storage: Array, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object) -> Array:
    """A read-only view of a storage; refuses views that reach outside it."""
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise ValueError("a tensor has an impossible shape")
    if 0 in size:
        return np.empty(size, dtype=storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    # A tensor that repeats values by a stride of 0 could fill the memory from a small file.
    if math.prod(size) > len(storage):
        raise ValueError("a tensor has more values than its storage")
    byte_strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, byte_strides, writeable=False)


def _bytes_of(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise _RefusedError("an array of Python objects")
    return content


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"the text encoding {encoding}")
    return text.encode("latin1")


def _scalar(kind: _NumpyType, content: bytes) -> int | float | bool:
    value: int | float | bool = np.frombuffer(_bytes_of(content), dtype=kind.dtype())[0].item()
    return value


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda items=(): dict(items),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_rest: tensor,
    "_codecs.encode": _encoded,
    "numpy.dtype": lambda code, *_rest: _NumpyType(code),
    **{
        f"numpy.{core}.multiarray.{name}": function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", lambda *_: _NumpyArray()), ("scalar", _scalar))
    },
}
_LITERALS = frozenset(
    {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_ACTIONS: Mapping[str, Callable[[_Reader, Any], None]] = {
    "MARK": lambda reader, _: reader.marks.append(len(reader.stack)),
    "BINPUT": _Reader.store,
    "LONG_BINPUT": _Reader.store,
    "MEMOIZE": _Reader.store,
    "BINGET": _Reader.load,
    "LONG_BINGET": _Reader.load,
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader.above_mark())),
    "TUPLE1": lambda reader, _: reader.stack.append(reader.pop(1)),
    "TUPLE2": lambda reader, _: reader.stack.append(reader.pop(2)),
    "TUPLE3": lambda reader, _: reader.stack.append(reader.pop(3)),
    "SETITEM": lambda reader, _: reader.set_items(list(reader.pop(2))),
    "SETITEMS": lambda reader, _: reader.set_items(reader.above_mark()),
    "APPEND": lambda reader, _: reader.append_items(list(reader.pop(1))),
    "APPENDS": lambda reader, _: reader.append_items(reader.above_mark()),
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": _Reader.stack_name,
    "REDUCE": _Reader.call,
    "BUILD": _Reader.build,
    "BINPERSID": _Reader.storage,
}


def plain(value: Any) -> Any:
    """Arrays and unfinished numpy values of `read_torch_file` as plain lists and numbers."""
    if isinstance(value, _NumpyArray):
        return None if value.value is None else value.value.tolist()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value
