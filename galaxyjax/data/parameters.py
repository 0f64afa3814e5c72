"""Parameter tables of simulation suites: which cosmology and feedback belongs to which simulation.

The published tables have two conventions. Where feedback parameters are normalised, 1 is the fiducial model;
where they are raw, they are the code's own (in IllustrisTNG's one-at-a-time set the fiducial wind energy is
3.6). The numbers of one read as the other's are silently wrong, so a table knows its convention, and tables
of different ones are not joined.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import DataError, FileError, unknown_name
from galaxyjax.data.entries import Layout, Manifest, Table
from galaxyjax.data.fetch import fetch_file
from galaxyjax.data.manifest import load_manifest


@dataclass(frozen=True, eq=False)
class ParameterTable:
    """The parameters of every simulation of a set.

    simulations: (n,) names. columns: (p,) names of parameters, ours. values: (n, p) float64, in `units` (by
    column; one not named has none). convention: "normalised", "raw", or "as given". normalise: normalised
    name -> (raw column, its fiducial value).
    """

    name: str
    simulations: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    units: dict[str, str] = field(default_factory=dict)
    convention: str = "normalised"
    normalise: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self):
        if self.values.shape != (len(self.simulations), len(self.columns)):
            raise DataError(
                f"{self.name}: values of shape {self.values.shape} for {len(self.simulations)} simulations "
                f"and {len(self.columns)} columns"
            )

    def __len__(self) -> int:
        return len(self.simulations)

    def column(self, name: str) -> np.ndarray:
        """Return one parameter of all simulations, (n,). Raises UnknownName."""
        if name not in self.columns:
            raise unknown_name(f"parameter of {self.name}", name, self.columns)
        return self.values[:, self.columns.index(name)]

    def of(self, simulation: str) -> dict[str, float]:
        """Return the parameters of one simulation by name. Raises UnknownName."""
        if simulation not in self.simulations:
            raise unknown_name(f"simulation of {self.name}", simulation, self.simulations[:12])
        row = self.values[self.simulations.index(simulation)]
        return dict(zip(self.columns, map(float, row), strict=True))

    def select(self, columns: Sequence[str]) -> "ParameterTable":
        """Return the table with these columns, in this order."""
        values = np.stack([self.column(name) for name in columns], axis=1)
        kept = {ours: source for ours, source in self.normalise.items() if source[0] in columns}
        return replace(self, columns=tuple(columns), values=values, normalise=kept)

    def normalised(self) -> "ParameterTable":
        """Return the table with feedback parameters as multiples of their fiducial values.

        Raises DataError when a raw table does not say what those are.
        """
        if self.convention == "normalised":
            return self
        if not self.normalise:
            raise DataError(
                f"{self.name}: {self.convention}, and no manifest gives fiducial values to divide by"
            )
        ours = {theirs: (name, fiducial) for name, (theirs, fiducial) in self.normalise.items()}
        columns, values = list(self.columns), self.values.copy()
        for theirs, (name, fiducial) in ours.items():
            values[:, columns.index(theirs)] /= fiducial
            columns[columns.index(theirs)] = name
        return replace(self, columns=tuple(columns), values=values, convention="normalised", normalise={})


def join(tables: Sequence[ParameterTable], columns: Sequence[str] | None = None) -> ParameterTable:
    """Return the rows of several tables, with the columns that all have (or those named).

    Simulations are named "<table>:<simulation>". Raises DataError for tables of different conventions.
    """
    conventions = {table.name: table.convention for table in tables}
    if len(set(conventions.values())) > 1:
        said = ", ".join(f"{name} is {convention}" for name, convention in conventions.items())
        raise DataError(
            f"tables of different conventions: {said}; the same number means different feedback in them: "
            "join their .normalised()"
        )
    shared = [c for c in tables[0].columns if all(c in table.columns for table in tables)]
    chosen = [table.select(shared if columns is None else columns) for table in tables]
    names = tuple(f"{table.name}:{s}" for table in chosen for s in table.simulations)
    values = np.concatenate([table.values for table in chosen])
    return replace(chosen[0], name="+".join(conventions), simulations=names, values=values)


def parameter_table(dataset: str | Manifest, set_name: str) -> ParameterTable:
    """Return the parameters of a set, in the order of its simulations; fetches the file if it must.

    Raises UnknownName, Unavailable, and FileError for a file that is not what its manifest says.
    """
    manifest = dataset if isinstance(dataset, Manifest) else load_manifest(dataset)
    chosen = manifest.set(set_name)
    name = f"{manifest.name} {set_name}"
    fixed = tuple(chosen.fixed), np.array([float(value) for value in chosen.fixed.values()])
    if not chosen.table:
        if not chosen.fixed:
            raise DataError(f"{name}: its manifest knows no parameters")
        simulations = manifest.simulations(set_name)
        return ParameterTable(name, simulations, fixed[0], np.tile(fixed[1], (len(simulations), 1)))
    owner, _, table_name = chosen.table.rpartition(":")
    owner = load_manifest(owner) if owner else manifest
    table = _read(owner, table_name)
    if chosen.simulations != ("table",):
        table = _ordered(table, manifest.simulations(set_name), chosen.row, name)
    values = np.hstack([table.values, np.tile(fixed[1], (len(table), 1))])
    return replace(table, name=name, columns=table.columns + fixed[0], values=values)


def pair(dataset: str | Manifest, set_name: str, product: str, **axes: str) -> list[tuple[str, dict]]:
    """Return (file name, parameters) of every simulation of a set; for one file of all, of every item in it.

    Item i of a file that holds all simulations has the parameters of simulation i // items.
    """
    manifest = dataset if isinstance(dataset, Manifest) else load_manifest(dataset)
    table = parameter_table(manifest, set_name)
    sources = manifest.sources(set_name, product, **axes)
    rows = [table.of(simulation) for simulation in table.simulations]
    kind = manifest.products[product]
    if kind.one_file:
        return [(sources[0].name, row) for row in rows for _ in range(kind.items)]
    return [(source.name, row) for source, row in zip(sources, rows, strict=True)]


def _ordered(
    table: ParameterTable, simulations: tuple[str, ...], row: tuple[str, ...], name: str
) -> ParameterTable:
    """The table's rows, one for each simulation."""
    index = {key: i for i, key in enumerate(table.simulations)}
    keys = [re.sub(f".*{row[0]}.*", row[1], s) if row else s for s in simulations]
    missing = [key for key in keys if key not in index]
    if missing:
        raise DataError(f"{name}: {len(missing)} simulations have no row in their table, {missing[0]} first")
    values = table.values[[index[key] for key in keys]]
    return replace(table, simulations=simulations, values=values)


def _read(manifest: Manifest, name: str) -> ParameterTable:
    if name not in manifest.tables:
        raise unknown_name(f"table of {manifest.name}", name, manifest.tables)
    table = manifest.tables[name]
    path = fetch_file(manifest, manifest.file(table.file))
    return read_table(path, table, manifest.layouts[table.layout], f"{manifest.name} {name}")


def read_table(path: str | Path, table: Table, layout: Layout, name: str) -> ParameterTable:
    """Return the table in a text file, checked against its layout: header, columns, rows, numbers.

    Raises FileError naming file, line, value and what was expected.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read ({error})") from None
    comma = layout.delimiter == "comma"
    cells = [[c.strip() for c in row] for row in csv.reader(lines)] if comma else [li.split() for li in lines]
    if table.header:
        cells = _without_header(path, cells, layout)
    rows = [(n, row) for n, row in enumerate(cells, 1) if row and not row[0].startswith("#")]
    if len(rows) != table.rows:
        raise FileError(f"{path}: {len(rows)} rows, the manifest says {table.rows}; fetch it again")
    named = layout.key == "name"
    found: dict[str, list[float]] = {}
    for number, row in rows:
        if len(row) != len(layout.columns) + named:
            raise FileError(f"{path}:{number}: {len(row)} columns, expected {len(layout.columns) + named}")
        key, values = row[0] if named else str(len(found)), _numbers(path, number, row[named:], layout)
        # A published table repeats its first 843 rows; only a second opinion is an error.
        if found.setdefault(key, values) != values:
            raise FileError(f"{path}:{number}: a second row is named {key}, with other values")
    kept = [c for c in layout.columns if c not in layout.text]
    columns = tuple(layout.rename.get(c, c) for c in kept)
    normalise = {ours: (layout.rename.get(t, t), f) for ours, (t, f) in layout.normalise.items()}
    values = np.array(list(found.values()), dtype=float).reshape(len(found), len(columns))
    return ParameterTable(
        name, tuple(found), columns, values, dict(layout.units), layout.convention, normalise
    )


def _without_header(path: Path, cells: list[list[str]], layout: Layout) -> list[list[str]]:
    """Check that the file names its columns as the layout does: else the numbers would get other names."""
    for index, row in enumerate(cells):
        words = [word for word in [*row[:1], *row[1:]] if word != "#"]
        words = [words[0].lstrip("#"), *words[1:]] if words else []
        words = [word for word in words if word]
        if words:
            if list(layout.columns) not in (words, words[1:]):
                odd = ", ".join(sorted(set(layout.columns) ^ set(words[-len(layout.columns) :])))
                raise FileError(
                    f"{path}: its columns are not those of the manifest: {odd or 'another order'}"
                )
            return [[] for _ in cells[: index + 1]] + cells[index + 1 :]
    raise FileError(f"{path}: no header")


def _numbers(path: Path, line: int, row: list[str], layout: Layout) -> list[float]:
    values = []
    for column, cell in zip(layout.columns, row, strict=True):
        if column in layout.text:
            continue
        parts = cell.split(",") if column in layout.summed else [cell]
        try:
            value = sum(float(part) for part in parts)
        except ValueError:
            raise FileError(f"{path}:{line}: {column} is {cell!r}, not a number") from None
        if not np.isfinite(value):
            raise FileError(f"{path}:{line}: {column} is {cell!r}, not finite")
        values.append(value)
    return values


def free_table(path: str | Path) -> ParameterTable:
    """Return a text table that no manifest knows: columns by spaces or commas, named in the first line.

    A first column of words names the simulations. Raises FileError when it is not a table of numbers.
    """
    path = Path(path)
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip(" #")]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    rows = [[c.strip() for c in line.split(",")] if "," in line else line.split() for line in lines]
    header = [word.lstrip("#") for word in rows[0] if word != "#"] if rows else []
    width = len(rows[1]) if len(rows) > 1 else 0
    named = width > 0 and not _is_number(rows[1][0])
    body = rows[1:] if any(not _is_number(word) for word in header[1:] or header) else rows
    columns = (
        header[-(width - named) :] if body is not rows else [f"column {i + 1}" for i in range(width - named)]
    )
    try:
        values = np.array([[float(word) for word in row[named:]] for row in body])
    except ValueError as error:
        raise FileError(f"{path}: not a table of numbers ({error})") from None
    if values.ndim != 2 or len(columns) != values.shape[1] or len(body) < 2:
        raise FileError(f"{path}: not a table with one row a simulation and named columns")
    names = tuple(row[0] for row in body) if named else tuple(str(i) for i in range(len(body)))
    return ParameterTable(path.name, names, tuple(columns), values, convention="as given")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
