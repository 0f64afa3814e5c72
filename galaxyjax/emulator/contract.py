"""What an emulator promises: inputs, domain, outputs, truth and measured error, in one file."""

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from galaxyjax.core.errors import ConfigError, FileError, GalaxyjaxError, UnknownName, unknown_name
from galaxyjax.core.files import read_json, write_json

CONTRACT_VERSION = 2
# Version -> what makes a contract of that version one of the next; so every older file is read.
UPGRADES = {1: lambda content: {"citation": [], **content}}
FILE_NAME = "contract.json"


@dataclass(frozen=True)
class Input:
    """A named number that the emulator takes: its closed interval in `unit`, and a default or None."""

    name: str
    unit: str
    low: float
    high: float
    default: float | None
    description: str

    def __post_init__(self):
        if not self.low < self.high:
            raise ConfigError(f"input {self.name}: low {self.low} is not below high {self.high}")
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ConfigError(
                f"input {self.name}: default {self.default} is outside [{self.low}, {self.high}]"
            )

    @property
    def middle(self) -> float:
        """The default, or the middle of the interval: where masked evaluations are made."""
        return 0.5 * (self.low + self.high) if self.default is None else self.default


@dataclass(frozen=True)
class Constraint:
    """A joint bound, sum of coefficient × value ≤ upper; the policy "clip" moves only the input `reduce`."""

    coefficients: dict[str, float]
    upper: float
    reduce: str
    description: str

    def __post_init__(self):
        if not self.coefficients.get(self.reduce):
            raise ConfigError(f"constraint {self}: reduce = {self.reduce!r} has no coefficient in it")

    def __str__(self):
        terms = (f"{'' if c == 1 else f'{c:g} '}{name}" for name, c in self.coefficients.items())
        return f"{' + '.join(terms)} <= {self.upper:g}"

    def total(self, x: Mapping):
        """Return the left-hand side; values may be floats or arrays that broadcast."""
        return sum(c * x[name] for name, c in self.coefficients.items())

    def edge(self, x: Mapping):
        """Return the value of `reduce` that meets the bound exactly, the others staying as they are."""
        rest = sum(c * x[name] for name, c in self.coefficients.items() if name != self.reduce)
        return (self.upper - rest) / self.coefficients[self.reduce]


@dataclass(frozen=True)
class Output:
    """A named quantity that the emulator gives, its unit, and the inputs on which it depends."""

    name: str
    unit: str
    inputs: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class Refusal:
    """An output that users ask for and that this emulator does not give, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Calibration:
    """Where the truth itself is calibrated: [low, high] of an input, "z" or "k"; outside it extrapolates."""

    name: str
    low: float
    high: float
    note: str


@dataclass(frozen=True, eq=False)
class Contract:
    """The promise of one emulator; equal and hashed by content, so that it can be static under `jit`.

    family, hyperparameters: what rebuilds the model (plain JSON). k_range in h/Mpc and z_range, closed.
    derived: scalars beside the outputs. truth: the code and settings that made the training spectra. error:
    the measured error against truth never seen, per output. calibrated: where the truth is more than an
    extrapolation. files: relative name -> sha256 of every file that belongs to the emulator (filled by
    `store.save`). citation: what its makers ask to be cited.
    """

    name: str
    version: str
    description: str
    licence: str
    family: str
    hyperparameters: dict
    inputs: tuple[Input, ...]
    constraints: tuple[Constraint, ...]
    outputs: tuple[Output, ...]
    derived: tuple[Output, ...]
    refused: tuple[Refusal, ...]
    k_range: tuple[float, float]
    z_range: tuple[float, float]
    truth: dict
    calibrated: tuple[Calibration, ...]
    error: dict
    notes: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    citation: tuple[str, ...] = ()

    def __post_init__(self):
        _check_names(self)
        for low, high, name in ((*self.k_range, "k_range"), (*self.z_range, "z_range")):
            if not low < high:
                raise ConfigError(f"{name}: low {low} is not below high {high}")
        for constraint in self.constraints:
            _check_constraint(constraint, self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the contract's canonical JSON: the same before saving and after loading."""
        canonical = Contract.from_json(
            self.to_json(), self.name
        ).to_json()  # a bound written 0 reads back as 0.0
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()

    def __eq__(self, other):
        return self is other or (isinstance(other, Contract) and self.digest == other.digest)

    def __hash__(self):
        return hash(self.digest)

    @cached_property
    def domain(self) -> dict[str, Input]:
        """Inputs by name, in the contract's order."""
        return {entry.name: entry for entry in self.inputs}

    @cached_property
    def centre(self) -> dict[str, float]:
        """A point inside every bound: defaults, else middles, reduced where a joint bound asks it."""
        point = {entry.name: entry.middle for entry in self.inputs}
        for constraint in self.constraints:
            if constraint.total(point) > constraint.upper:
                point[constraint.reduce] = constraint.edge(point)
        return point

    def output(self, name: str) -> Output:
        """Return the named output or derived quantity. Raises UnknownName, with the reason if refused."""
        for entry in (*self.outputs, *self.derived):
            if entry.name == name:
                return entry
        for entry in self.refused:
            if entry.name == name:
                raise UnknownName(f"output {name!r} of {self.name} is refused: {entry.reason}")
        raise unknown_name("output", name, [entry.name for entry in self.outputs])

    def to_json(self) -> dict:
        """Return the contract as plain JSON types, `contract_version` first."""
        return {"contract_version": CONTRACT_VERSION, **json.loads(json.dumps(dataclasses.asdict(self)))}

    @classmethod
    def from_json(cls, content: object, source: str | Path = FILE_NAME) -> "Contract":
        """Return the contract in a parsed JSON object, of this version or an older one.

        Raises FileError naming `source` and the field.
        """
        if not isinstance(content, Mapping):
            raise FileError(f"{source}: not an emulator's contract (an object is expected)")
        content = dict(content)
        version = content.pop("contract_version", None)
        if isinstance(version, bool) or version not in (*UPGRADES, CONTRACT_VERSION):
            raise FileError(
                f"{source}: contract_version is {version!r}, this galaxyjax reads 1 to {CONTRACT_VERSION}; "
                "install the galaxyjax that wrote it"
            )
        for older in range(version, CONTRACT_VERSION):
            content = UPGRADES[older](content)
        return _read(cls, content, source, "")


def read_contract(folder: str | Path) -> Contract:
    """Return the contract of an emulator's folder. Raises FileError naming the file and the field."""
    path = Path(folder) / FILE_NAME
    return Contract.from_json(read_json(path), path)


def write_contract(folder: str | Path, contract: Contract) -> None:
    """Write `contract` to `folder`/contract.json, atomically."""
    write_json(Path(folder) / FILE_NAME, contract.to_json())


def _check_names(contract: Contract) -> None:
    for kind, entries in (("input", contract.inputs), ("output", (*contract.outputs, *contract.derived))):
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{kind} {name} is named twice")
    for entry in (*contract.outputs, *contract.derived):
        for name in entry.inputs:
            if name not in contract.domain:
                raise ConfigError(f"output {entry.name} names input {name}, which is not among the inputs")
    for entry in contract.calibrated:
        if entry.name not in (*contract.domain, "z", "k"):
            raise ConfigError(f"calibrated names {entry.name}, which is not an input, z or k")


def _check_constraint(constraint: Constraint, contract: Contract) -> None:
    """Clipping must land inside the box: even at the worst corner `reduce` keeps its own bounds."""
    for name in constraint.coefficients:
        if name not in contract.domain:
            raise ConfigError(f"constraint {constraint} names input {name}, which is not among the inputs")
    sign = math.copysign(1.0, constraint.coefficients[constraint.reduce])
    corner = {
        name: contract.domain[name].high if c > 0 else contract.domain[name].low
        for name, c in constraint.coefficients.items()
    }
    edge, reduced = constraint.edge(corner), contract.domain[constraint.reduce]
    if (edge < reduced.low) if sign > 0 else (edge > reduced.high):
        raise ConfigError(
            f"constraint {constraint}: reducing {constraint.reduce} to {edge:g} leaves its own bounds"
        )


def _read(kind, content, source, where: str):
    """Build dataclass `kind` from a JSON object that has exactly its fields."""
    if not isinstance(content, Mapping):
        raise FileError(f"{source}: {where or 'contract'} is {content!r}, an object is expected")
    fields = {entry.name: entry.type for entry in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    for name in content:
        if name not in fields:
            raise FileError(f"{source}: unknown field {prefix}{name}")
    for name in fields:
        if name not in content:
            raise FileError(f"{source}: missing field {prefix}{name}")
    values = {name: _value(fields[name], content[name], source, prefix + name) for name in fields}
    try:
        return kind(**values)
    except FileError:
        raise
    except GalaxyjaxError as error:
        raise FileError(f"{source}: {error}") from error


def _value(kind, value, source, where: str):
    """Return `value` as the annotated type `kind`, or raise FileError naming the field `where`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read(kind, value, source, where)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _value(arguments[0], value, source, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise FileError(f"{source}: {where} is {value!r}, a list is expected")
        kinds = arguments if arguments[-1] is not Ellipsis else arguments[:1] * len(value)
        if len(value) != len(kinds):
            raise FileError(f"{source}: {where} is {value!r}, a list of {len(kinds)} is expected")
        return tuple(
            _value(k, v, source, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    if kind is dict or origin is dict:
        if not isinstance(value, Mapping):
            raise FileError(f"{source}: {where} is {value!r}, an object is expected")
        inner = arguments[1] if arguments else object
        return {name: _value(inner, v, source, f"{where}.{name}") for name, v in value.items()}
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise FileError(f"{source}: {where} is {value!r}, a finite number is expected")
        return float(value)
    if kind is str and not isinstance(value, str):
        raise FileError(f"{source}: {where} is {value!r}, text is expected")
    return value
