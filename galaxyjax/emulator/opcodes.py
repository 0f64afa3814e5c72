"""Numbers out of a pickle, without running it: its opcodes are read as data.

A pickle is a program for a stack machine, whose GLOBAL and REDUCE opcodes call whatever they name. Here
`pickletools.genops` lists the opcodes (it executes none), and a small interpreter builds lists, tuples,
dictionaries, text, numbers and NumPy arrays. A name is never imported: the few that describe arrays stand for
functions of this file, and any other name ends in an error that quotes it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError

NUMBER_KINDS = "biufcSU"  # of dtypes: no objects, no dates, nothing with code
LARGEST = 2**31  # bytes of one array


@dataclass
class _Name:
    """A name that the pickle would import: kept as text."""

    path: str


@dataclass
class _Array:
    """An array between its birth (`_reconstruct`) and its content (BUILD)."""

    value: np.ndarray | list | None = None


@dataclass
class _DType:
    """A dtype between its birth and its byte order."""

    value: np.dtype


class _Mark:
    pass


def read_pickle(content: bytes, source: str | Path = "pickle"):
    """Return the plain object in a pickle: containers, text, numbers and arrays.

    Raises FileError, naming `source`, for a pickle that is cut short or that needs anything else: a class, a
    function, an object array of anything but plain objects.
    """
    stack: list = []
    memo: dict[int, object] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return _plain(stack.pop(), source)
            _step(opcode.name, argument, stack, memo, source)
    except FileError:
        raise
    except (
        IndexError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise FileError(f"{source}: not a whole pickle of plain numbers ({error})") from error
    raise FileError(f"{source}: the pickle has no end; fetch it again")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = ("PROTO", "FRAME")


def _step(name: str, argument, stack: list, memo: dict, source) -> None:
    """Carry out one opcode. Those whose argument is the value itself are literals."""
    if name in _IGNORED:
        return
    if name in _ACTIONS:
        _ACTIONS[name](argument, stack, memo)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _LITERALS:
        stack.append(argument)
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        path = argument if name == "GLOBAL" else " ".join((lambda b, a: (a, b))(stack.pop(), stack.pop()))
        stack.append(_name(path, source))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        if not isinstance(function, _Name):
            raise FileError(f"{source}: the pickle calls {function!r}; only arrays of numbers are read")
        stack.append(_KNOWN[function.path](*arguments))
    elif name == "BUILD":
        state = stack.pop()
        _build(stack[-1], state, source)
    else:
        raise FileError(f"{source}: opcode {name} has no place in a pickle of plain numbers; it is not read")


_LITERALS = (
    "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "UNICODE",
    "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES",
    "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8",
)  # fmt: skip


def _since_mark(stack: list) -> list:
    """Pop everything above the last mark, and the mark."""
    start = max(i for i, entry in enumerate(stack) if isinstance(entry, _Mark))
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _setitems(argument, stack, memo):
    items = _since_mark(stack)
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _setitem(argument, stack, memo):
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _tuple_of(count: int) -> Callable:
    def action(argument, stack, memo):
        items = stack[len(stack) - count :]
        if len(items) != count:
            raise IndexError("stack is empty")
        del stack[len(stack) - count :]
        stack.append(tuple(items))

    return action


def _memoize(argument, stack, memo):
    memo[len(memo) if argument is None else int(argument)] = stack[-1]


def _dict(argument, stack, memo):
    items = _since_mark(stack)
    stack.append(dict(zip(items[::2], items[1::2], strict=True)))


_ACTIONS = {
    "MARK": lambda a, s, m: s.append(_Mark()),
    "POP": lambda a, s, m: s.pop(),
    "EMPTY_LIST": lambda a, s, m: s.append([]),
    "EMPTY_DICT": lambda a, s, m: s.append({}),
    "EMPTY_TUPLE": lambda a, s, m: s.append(()),
    "LIST": lambda a, s, m: s.append(_since_mark(s)),
    "TUPLE": lambda a, s, m: s.append(tuple(_since_mark(s))),
    "DICT": _dict,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda a, s, m: (lambda item: s[-1].append(item))(s.pop()),
    "APPENDS": lambda a, s, m: (lambda items: s[-1].extend(items))(_since_mark(s)),
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "MEMOIZE": lambda a, s, m: _memoize(None, s, m),
    "PUT": _memoize,
    "BINPUT": _memoize,
    "LONG_BINPUT": _memoize,
    "GET": lambda a, s, m: s.append(m[int(a)]),
    "BINGET": lambda a, s, m: s.append(m[a]),
    "LONG_BINGET": lambda a, s, m: s.append(m[a]),
}


# The names that describe arrays: each stands for a function here, and is never imported. ------------------


def _name(path: str, source) -> _Name:
    path = path.replace("numpy._core", "numpy.core")
    if path not in _KNOWN:
        raise FileError(
            f"{source}: the pickle would import {path.replace(' ', '.')!r}; only plain containers and NumPy "
            "arrays are read. Save the network as .npz where it was made"
        )
    return _Name(path)


def _dtype(code, align=False, copy=True) -> _DType:
    dtype = (
        np.dtype(code) if isinstance(code, str) and code.lstrip("<>|=") not in ("O", "O8") else np.dtype("O")
    )
    if dtype.kind not in NUMBER_KINDS + "O" or dtype.names:
        raise ValueError(f"dtype {code!r} is not a number's")
    return _DType(dtype)


def _scalar(dtype: _DType, content: bytes):
    return np.frombuffer(_bytes(content), dtype.value, count=1)[0]


def _from_buffer(content, dtype: _DType, shape, order) -> _Array:
    return _Array(np.frombuffer(_bytes(content), _number(dtype)).reshape(shape, order=order))


def _encode(text: str, codec: str) -> bytes:
    if codec != "latin1":
        raise ValueError(f"codec {codec!r}")
    return text.encode("latin1")  # how protocol 2 writes bytes


def _refuse_call(*arguments):
    raise TypeError(f"a class of NumPy is called with {arguments!r}")


_KNOWN = {
    "numpy.core.multiarray _reconstruct": lambda kind, shape, code: _Array(),
    "numpy.core.multiarray scalar": _scalar,
    "numpy.core.numeric _frombuffer": _from_buffer,
    "numpy dtype": _dtype,
    "numpy ndarray": _refuse_call,
    "_codecs encode": _encode,
    "__builtin__ bytes": lambda: b"",  # of protocols 0 to 2
    "collections OrderedDict": lambda items=(): dict(items),
    # TensorFlow's list: a plain one.
    "tensorflow.python.trackable.data_structures ListWrapper": lambda items=(): items,
    "tensorflow.python.training.tracking.data_structures ListWrapper": lambda items=(): items,
}


def _build(target, state, source) -> None:
    """Give a dtype its byte order, or an array its shape and content."""
    if isinstance(target, _DType):
        order = state[1]
        if target.value.kind != "O" and order in ("<", ">"):
            target.value = target.value.newbyteorder(order)
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, content = state
        if dtype.value.kind == "O":
            target.value = _objects(shape, content)
            return
        size = int(np.prod(shape, dtype=np.int64)) * dtype.value.itemsize
        if size > LARGEST or len(_bytes(content)) != size:
            raise ValueError(f"array of shape {shape} and {len(_bytes(content))} bytes")
        order = "F" if fortran else "C"
        target.value = np.frombuffer(_bytes(content), dtype.value).reshape(shape, order=order)
    else:
        raise FileError(f"{source}: the pickle fills in a {type(target).__name__}; only arrays are read")


def _objects(shape, content: list):
    """An array of objects as the object itself (no dimensions) or a list of them (one dimension)."""
    if len(shape) > 1 or len(content) != int(np.prod(shape)):
        raise ValueError(f"an array of objects of shape {shape}")
    return content[0] if shape == () else list(content)


def _number(dtype: _DType) -> np.dtype:
    if dtype.value.kind == "O":
        raise ValueError("an array of objects where numbers are expected")
    return dtype.value


def _bytes(content) -> bytes:
    if isinstance(content, str):
        return content.encode("latin1")  # a Python 2 string
    return content if isinstance(content, bytes | bytearray) else bytes(content)


def _plain(value, source, done: dict | None = None):
    """What was built, with arrays in the place of their stand-ins; anything else is refused.

    Each object is visited once, however often it is referred to: a few bytes can name a tree of any size.
    """
    done = {} if done is None else done
    if id(value) in done:
        if done[id(value)] is _UNFINISHED:
            raise FileError(f"{source}: the pickle holds a {type(value).__name__} that contains itself")
        return done[id(value)]
    if not isinstance(value, _Array | dict | list | tuple):
        if isinstance(value, _Name | _DType | _Mark):
            raise FileError(f"{source}: the pickle holds {value}, which is not a number")
        return value
    done[id(value)] = _UNFINISHED
    if isinstance(value, _Array):
        found = value.value if isinstance(value.value, np.ndarray) else _plain(value.value, source, done)
    elif isinstance(value, dict):
        found = {_plain(k, source, done): _plain(v, source, done) for k, v in value.items()}
    else:
        found = type(value)([_plain(entry, source, done) for entry in value])
    done[id(value)] = found
    return found


_UNFINISHED = object()
