"""A periodic box, what lies on a grid in it, and what moves in it: three small pytrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from galaxyjax.core.errors import ConfigError, DataError, unknown_name


@dataclass(frozen=True)
class Box:
    """A periodic cube. size: its side, comoving Mpc/h. Static: it is no leaf of a pytree.

    Raises ConfigError when the side is not a positive finite number.
    """

    size: float

    def __post_init__(self):
        if not 0.0 < float(self.size) < float("inf"):
            raise ConfigError(f"box: size={self.size} Mpc/h must be positive and finite")
        object.__setattr__(self, "size", float(self.size))

    @property
    def volume(self) -> float:
        """Volume in (Mpc/h)^3."""
        return self.size**3

    def cell(self, cells: int) -> float:
        """Return the side of a cell in Mpc/h when `cells` of them make a side."""
        return self.size / cells

    def wrap(self, positions: Any) -> Any:
        """Return positions (any shape, Mpc/h) moved by whole sides into [0, size)."""
        wrapped = positions % self.size
        # A tiny negative number wraps to the side itself in floating point.
        return wrapped * (wrapped < self.size)

    def separation(self, a: Any, b: Any) -> Any:
        """Return a - b on the shortest way through the faces, shapes of a - b, Mpc/h."""
        half = 0.5 * self.size
        return (a - b + half) % self.size - half


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Grid:
    """A field on the points i * box.size / n of a periodic box.

    values: (nx, ny, nz) or (nx, ny, nz, channels), any float dtype; NumPy or (sharded) JAX. unit: in words.
    """

    values: Any
    box: Box = field(metadata={"static": True})
    unit: str = field(default="", metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return tuple(self.values.shape)

    @property
    def cell(self) -> float:
        """Side of a cell along x, Mpc/h."""
        return self.box.cell(self.shape[0])


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False)
class Particles:
    """Particles of one species in a periodic box: named columns, all with the same first axis.

    columns: name -> (n, ...) array; the usual names are `positions` (n, 3) comoving Mpc/h, `velocities`
    (n, 3) peculiar km/s, `masses` (n,) 1e10 Msun/h and `ids` (n,). They read as attributes or by name:
    `particles.masses`, `particles["temperature"]`. The leaves are the columns, in the order of their names.
    Raises DataError when two columns differ in length.
    """

    columns: Mapping[str, Any]
    box: Box
    species: str = ""

    def __post_init__(self):
        lengths = {name: len(value) for name, value in self.columns.items() if hasattr(value, "__len__")}
        if len(set(lengths.values())) > 1:
            raise DataError(f"particles: columns differ in length ({lengths}); give one row a particle")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Any:
        if name not in self.columns:
            raise unknown_name("column of the particles", name, self.columns)
        return self.columns[name]

    def __getattr__(self, name: str) -> Any:
        columns = self.__dict__.get("columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"particles have no {name!r}; columns: {', '.join(columns) or 'none'}")

    def tree_flatten_with_keys(self):
        """The columns, sorted by name, under their names."""
        names = tuple(sorted(self.columns))
        leaves = [(jax.tree_util.GetAttrKey(name), self.columns[name]) for name in names]
        return leaves, (names, self.box, self.species)

    @classmethod
    def tree_unflatten(cls, static, leaves):
        """The inverse; a transformation may put anything in place of an array, so nothing is checked."""
        names, box, species = static
        made = object.__new__(cls)
        object.__setattr__(made, "columns", dict(zip(names, leaves, strict=True)))
        object.__setattr__(made, "box", box)
        object.__setattr__(made, "species", species)
        return made
