"""What a compiled program communicates and holds: collectives, their bytes, and temporary memory.

Read off the optimised HLO text that XLA prints for CPU, GPU and TPU, so that a test can state what a program
may send. Everything is a device's own share: XLA compiles one program that every device runs on its block.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

KINDS = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
_BITS = {"pred": 8, "token": 0, "opaque": 0}  # the others end in their number of bits


@dataclass(frozen=True)
class Collective:
    """One collective instruction.

    kind: one of KINDS. bytes: size of its result on one device, for one execution; of an all-to-all this
    includes the part that stays. count: executions a run, the product of the trip counts of the loops around
    it. exact: False when a loop's length is not in the text (its body is then counted once) or when it sits
    in a branch (every branch is counted). shape, dtype: of the first array of the result; arrays: how many
    there are. groups: devices that talk to each other, or (source, target) pairs; empty when the text writes
    them in a form not read here. op_name: where JAX asked for it.
    """

    kind: str
    bytes: int
    count: int
    exact: bool
    shape: tuple[int, ...]
    dtype: str
    arrays: int
    groups: tuple[tuple[int, ...], ...]
    op_name: str


def collectives(compiled) -> list[Collective]:
    """Return every collective of a compiled program (`jax.jit(f).lower(x).compile()`), or of its text.

    Synchronous ones and pairs of -start and -done are alike; bodies of loops are followed with their trip
    counts, branches, calls and fusions once.
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    module = _Module.parse(text)
    return list(_walk(module, module.entry, 1, True))


def total(found: Iterable[Collective], kind: str | None = None) -> int:
    """Return the bytes that all executions of one kind (default: all kinds) leave on one device."""
    return sum(c.bytes * c.count for c in found if kind in (None, c.kind))


def count(found: Iterable[Collective], kind: str | None = None) -> int:
    """Return how many collectives of one kind (default: all kinds) a run executes."""
    return sum(c.count for c in found if kind in (None, c.kind))


def temp_bytes(compiled) -> int:
    """Return the bytes of temporary memory on one device, without arguments and results."""
    return compiled.memory_analysis().temp_size_in_bytes


@dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    def attribute(self, key: str) -> str | None:
        """Name of the computation that ``key=%name`` refers to."""
        found = re.search(rf"\b{key}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else None


@dataclass
class _Computation:
    instructions: dict[str, _Instruction] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)
    root: str = ""


@dataclass
class _Module:
    computations: dict[str, _Computation]
    entry: str

    @classmethod
    def parse(cls, text: str) -> _Module:
        module, here = cls({}, ""), None
        for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
            head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line)
            if head:
                here = module.computations[head[2]] = _Computation()
                module.entry = head[2] if head[1] else module.entry
            elif here is not None and (found := re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)$", line)):
                instruction = _instruction(found[2], found[3])
                here.instructions[found[2]] = instruction
                if instruction.opcode == "parameter":
                    here.parameters[int(instruction.operands[0])] = found[2]
                here.root = found[2] if found[1] else here.root
        return module


def _instruction(name: str, text: str) -> _Instruction:
    """Parse ``shape opcode(operands), attributes``; a tuple's shape has brackets and blanks of its own."""
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    opcode, _, rest = text[end:].strip().partition("(")
    end = _closing("(" + rest, 0) - 1
    names = re.findall(r"%([\w.\-]+)", rest[: end - 1]) or re.findall(r"[\w.\-]+", rest[: end - 1])
    shape = text[: len(text) - len(rest) - len(opcode) - 1].strip()
    return _Instruction(name, shape, opcode, tuple(names), rest[end:])


def _closing(text: str, start: int) -> int:
    """Index after the bracket that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in "({") - (text[index] in ")}")
        if depth == 0:
            return index + 1
    return len(text)


def _walk(module: _Module, name: str, times: int, exact: bool) -> Iterator[Collective]:
    """Yield the collectives of a computation and of those it calls, in the order of the text."""
    for instruction in module.computations[name].instructions.values():
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            yield _collective(instruction, kind, times, exact)
        elif instruction.opcode == "while":
            trips = _trips(module, module.computations[name], instruction)
            for part in ("condition", "body"):
                inner = times if trips is None else times * trips
                yield from _walk(module, instruction.attribute(part), inner, exact and trips is not None)
        elif instruction.opcode == "conditional":
            branches = re.search(r"branch_computations=\{(.*?)\}", instruction.attributes)
            names = re.findall(r"[\w.\-]+", branches[1]) if branches else ()
            for branch in names or map(instruction.attribute, ("true_computation", "false_computation")):
                yield from _walk(module, branch, times, False)
        elif instruction.opcode in ("call", "fusion", "async-start"):  # -update and -done repeat the start's
            called = instruction.attribute("calls") or instruction.attribute("to_apply")
            if called in module.computations:
                yield from _walk(module, called, times, exact)


def _collective(instruction: _Instruction, kind: str, times: int, exact: bool) -> Collective:
    shape = instruction.shape
    # A start's tuple is (operands, results, contexts…), except for all-reduce, whose shape is the result's.
    if instruction.opcode.endswith("-start") and kind != "all-reduce" and shape.startswith("("):
        shape = _elements(shape)[1]
    arrays = [(dtype, _dimensions(sizes)) for dtype, sizes in re.findall(r"(\w+)\[([\d,<=]*)\]", shape)]
    op_name = re.search(r'op_name="(.*?)"', instruction.attributes)
    return Collective(
        kind=kind,
        bytes=sum(math.ceil(math.prod(dims) * _bits(dtype) / 8) for dtype, dims in arrays),
        count=times,
        exact=exact,
        shape=arrays[0][1],
        dtype=arrays[0][0],
        arrays=len(arrays),
        groups=_groups(instruction.attributes),
        op_name=op_name[1] if op_name else "",
    )


def _elements(shape: str) -> list[str]:
    """The parts of a tuple's shape, split at its outermost commas."""
    parts, depth, start = [], 0, 1
    for index, letter in enumerate(shape):
        depth += (letter in "([{") - (letter in ")]}")
        if (letter == "," and depth == 1) or index == len(shape) - 1:
            parts.append(shape[start:index].strip())
            start = index + 1
    return parts


def _dimensions(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.replace("<=", "").split(",") if size)


def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    return int(re.match(r"[a-z]+(\d+)", dtype)[1])


def _groups(attributes: str) -> tuple[tuple[int, ...], ...]:
    """Source-target pairs, or replica groups: listed, ``[groups,members]<=[dims]T(order)``, or mesh axes."""
    listed = re.search(r"(?:replica_groups|source_target_pairs)=\{((?:\{[\d,]*\},?)*)\}", attributes)
    if listed:
        return tuple(_dimensions(group) for group in re.findall(r"\{([\d,]*)\}", listed[1]))
    iota = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes)
    if iota:
        shape, dims = _dimensions(iota[1]), _dimensions(iota[2])
        order = _dimensions(iota[3]) if iota[3] else tuple(range(len(dims)))
        return _rows(np.arange(math.prod(dims)).reshape(dims).transpose(order).reshape(shape))
    named = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", attributes)
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        within = [list(sizes).index(axis) for axis in re.findall(r"'(\w+)'", named[2])]
        devices = np.arange(math.prod(map(int, sizes.values()))).reshape([int(n) for n in sizes.values()])
        members = math.prod(devices.shape[axis] for axis in within)
        return _rows(np.moveaxis(devices, within, range(-len(within), 0)).reshape(-1, members))
    return ()


def _rows(devices: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(device) for device in group) for group in devices)


def _trips(module: _Module, outer: _Computation, loop: _Instruction) -> int | None:
    """How often a loop runs: what XLA noted, or (TPU drops the note) read from its counter; else None."""
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if noted:
        return int(noted[1])
    initial = outer.instructions.get(loop.operands[0])
    body = module.computations[loop.attribute("body")]
    after = body.instructions[body.root]
    if initial is None or initial.opcode != "tuple" or after.opcode != "tuple":
        return None

    def constant(computation: _Computation, name: str) -> int | None:
        """The integer that a name stands for in the loop: itself one, or carried round unchanged."""
        index = _carried(computation, name)
        if index is None:
            return _literal(computation, name)
        if _carried(body, after.operands[index]) != index:
            return None
        return _literal(outer, initial.operands[index])

    condition = module.computations[loop.attribute("condition")]
    test, sides = _unfused(module, condition, condition.root)
    if test.opcode != "compare" or (index := _carried(condition, sides[0])) is None:
        return None
    step, terms = _unfused(module, body, after.operands[index])
    if step.opcode != "add" or index not in (places := [_carried(body, term) for term in terms]):
        return None
    start, stop = _literal(outer, initial.operands[index]), constant(condition, sides[1])
    by = constant(body, terms[1 - places.index(index)])
    direction = re.search(r"direction=(\w+)", test.attributes)[1]
    if None in (start, stop, by) or by < 1 or direction not in ("LT", "LE"):
        return None
    return max(0, -(-(stop + (direction == "LE") - start) // by))


def _unfused(module: _Module, computation: _Computation, name: str) -> tuple[_Instruction, tuple[str, ...]]:
    """An instruction and its operands; of a fusion, its root and the operands handed in for parameters."""
    instruction = computation.instructions[name]
    if instruction.opcode != "fusion":
        return instruction, instruction.operands
    inner = module.computations[instruction.attribute("calls")]
    given = {parameter: instruction.operands[i] for i, parameter in inner.parameters.items()}
    for constant in inner.instructions.values():  # a constant inside is as good as one outside
        if constant.opcode == "constant":
            computation.instructions.setdefault(constant.name, constant)
    root = inner.instructions[inner.root]
    return root, tuple(given.get(operand, operand) for operand in root.operands)


def _literal(computation: _Computation, name: str) -> int | None:
    """The integer that a name stands for, through copies."""
    instruction = computation.instructions.get(name)
    while instruction is not None and instruction.opcode in ("copy", "bitcast", "convert"):
        instruction = computation.instructions.get(instruction.operands[0])
    if instruction is None or instruction.opcode != "constant" or not instruction.operands:
        return None
    return int(instruction.operands[0]) if re.fullmatch(r"-?\d+", instruction.operands[0]) else None


def _carried(computation: _Computation, name: str) -> int | None:
    """Index in the loop's carry that a name reads."""
    instruction = computation.instructions.get(name)
    if instruction is None or instruction.opcode != "get-tuple-element":
        return None
    source = computation.instructions.get(instruction.operands[0])
    found = re.search(r"index=(\d+)", instruction.attributes)
    return int(found[1]) if found and source is not None and source.opcode == "parameter" else None
