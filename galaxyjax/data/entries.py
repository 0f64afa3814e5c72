"""What a manifest says: files, sets of simulations, products, parameter tables, access."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.data.paths import check_name
from galaxyjax.data.template import Template


@dataclass(frozen=True)
class Source:
    """One file of a dataset: local name (may hold folders), size in bytes, sha256, addresses in order.

    size and sha256 are None where nobody published them.
    """

    name: str
    size: int | None
    sha256: str | None
    url: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Columns of a parameter file, by the file's own names, after the one that names the simulation.

    key: "name" when the first column names the simulation, "row" when rows are counted from 0. rename: the
    file's name -> ours. units: by our names; a column not named has none. text: columns that hold no
    numbers; summed: columns with several numbers of which the sum counts. convention: "normalised" when
    feedback parameters are multiples of their fiducial values, "raw" when they are the code's own;
    normalise: our name -> (the file's name, its fiducial value), which turns raw into normalised.
    """

    columns: tuple[str, ...]
    key: str = "name"
    convention: str = "normalised"
    delimiter: str = "space"
    rename: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    summed: tuple[str, ...] = ()
    normalise: Mapping[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A parameter file: its entry in `files`, its layout, how many rows it must have.

    header: whether the file names its columns, which must then be the layout's.
    """

    file: str
    layout: str
    rows: int
    header: bool = True
    note: str = ""


@dataclass(frozen=True)
class Set:
    """Simulations that belong together. simulations: templates such as "LH_{0..999}", or "table".

    table: the name of their parameter table ("" when there is none), of this dataset or "dataset:name".
    row: (pattern, template) that makes the name in the table of a simulation's, where they differ. fixed:
    parameters that all simulations share. products: which products it has (all when empty). status:
    "public", or who has it.
    """

    name: str
    simulations: tuple[str, ...]
    table: str = ""
    row: tuple[str, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)
    products: tuple[str, ...] = ()
    status: str = "public"
    note: str = ""


@dataclass(frozen=True)
class Product:
    """One kind of file: a path in which {set}, {simulation} and {axis} stand for what varies, and its axes.

    one_file: the file holds all simulations of the set, in the order of its table, and of each `items`
    fields one after the other (15 maps, say).
    """

    path: str
    what: str = ""
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    one_file: bool = False
    items: int = 1


@dataclass(frozen=True)
class Access:
    """How to get at the files: addresses to which a path is added, a Globus collection, a personal key.

    base: addresses for the paths of products; files: for the names of listed files without their own.

    tried: the day on which an address was last seen to work, "" while nobody has. key_header and
    key_variable: the HTTP header that carries a personal key and the environment variable that holds it.
    command: what makes the files, for a suite of this project.
    """

    base: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    globus: str = ""
    globus_path: str = "/"
    homepage: str = ""
    tried: str = ""
    key_header: str = ""
    key_variable: str = ""
    command: str = ""
    how: str = ""


@dataclass(frozen=True)
class Manifest:
    """One dataset. local: further folders of GALAXYJAX_DATA that may hold its files; path: the TOML file."""

    name: str
    title: str
    licence: str
    citation: tuple[str, ...]
    files: tuple[Source, ...] = ()
    note: str = ""
    format: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    local: tuple[str, ...] = ()
    access: Access = Access()
    sets: Mapping[str, Set] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    path: Path = Path()

    def file(self, name: str) -> Source:
        """Return the file with this local name, listed or made by a template. Raises UnknownName."""
        if any(source.name == name for source in self.files) or self.matching(name) is not None:
            return self._made(name)
        raise unknown_name(f"file of {self.name}", name, [source.name for source in self.files])

    def set(self, name: str) -> Set:
        """Return a set. Raises UnknownName."""
        if name not in self.sets:
            raise unknown_name(f"set of {self.name}", name, self.sets)
        return self.sets[name]

    def simulations(self, name: str) -> tuple[str, ...]:
        """Return the names of a set's simulations, in the order of its parameter table."""
        chosen = self.set(name)
        if chosen.simulations == ("table",):
            from galaxyjax.data.parameters import parameter_table

            return parameter_table(self, name).simulations
        return tuple(one for text in chosen.simulations for one in Template(text).expand())

    def sources(
        self, set_name: str, product: str, simulations: tuple[str, ...] | None = None, **axes: str
    ) -> tuple[Source, ...]:
        """Return the files of one product of a set, for all its simulations or for those named.

        axes: a value for each axis of the product, e.g. snapshot="090"; one with a single value may be left
        out. Raises UnknownName for a wrong name or value, ConfigError for an axis without a value.
        """
        chosen = self.set(set_name)
        known = chosen.products or tuple(self.products)
        if product not in known:
            raise unknown_name(f"product of {self.name} {set_name}", product, known)
        kind = self.products[product]
        values = {"set": set_name, **_axes(f"{self.name} {product}", kind, axes)}
        if kind.one_file:
            return (self._made(Template(kind.path).fill(values)),)
        everyone = self.simulations(set_name)
        for name in simulations or ():
            if name not in everyone:
                raise unknown_name(f"simulation of {self.name} {set_name}", name, everyone[:12])
        names = everyone if simulations is None else simulations
        return tuple(self._made(Template(kind.path).fill({**values, "simulation": name})) for name in names)

    def matching(self, name: str) -> dict[str, str] | None:
        """Return what a file's name stands for ({"product", "set", "simulation", axes}), or None."""
        for product, kind in self.products.items():
            patterns = {axis: "|".join(map(re.escape, values)) for axis, values in kind.axes.items()}
            found = Template(kind.path).match(name, {"set": r".+", "simulation": r"[^/]+", **patterns})
            if found is None:
                continue
            for set_name in [found["set"]] if "set" in found else self.sets:
                having = set_name in self.sets and product in (self.sets[set_name].products or self.products)
                if having and (kind.one_file or self._has(set_name, found["simulation"])):
                    return {**found, "product": product, "set": set_name}
        return None

    def _has(self, set_name: str, simulation: str) -> bool:
        """Whether a set has a simulation; of a set that a table names, without fetching the table."""
        named_by_table = self.sets[set_name].simulations == ("table",)
        return named_by_table or simulation in self.simulations(set_name)

    def _made(self, name: str) -> Source:
        for source in self.files:
            if source.name == name:
                return source
        name = check_name(name, f"{self.path}")
        url = tuple(f"{base.rstrip('/')}/{name}" for base in self.access.base)
        return Source(name, None, None, url)


def _axes(what: str, kind: Product, given: Mapping[str, str]) -> dict[str, str]:
    for axis in given:
        if axis not in kind.axes:
            raise unknown_name(f"axis of {what}", axis, kind.axes)
    values = {}
    for axis, known in kind.axes.items():
        if axis not in given and len(known) > 1:
            raise ConfigError(f"{what}: no {axis} given; choose one of {_some(known)}")
        values[axis] = given.get(axis, known[0])
        if values[axis] not in known:
            raise unknown_name(f"{axis} of {what}", values[axis], known)
    return values


def _some(values: tuple[str, ...]) -> str:
    return ", ".join(values) if len(values) <= 8 else f"{', '.join(values[:3])}, ..., {values[-1]}"
