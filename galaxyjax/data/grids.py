"""CAMELS Multifield: maps and grids in .npy files, memory-mapped, each with the parameters of its simulation.

Layout and names: Villaescusa-Navarro et al. (2022), "The CAMELS Multifield Dataset", section 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.box import Box, Grid
from galaxyjax.core.errors import ConfigError, DataError, FileError
from galaxyjax.data.hdf5 import Hdf5File, is_hdf5
from galaxyjax.data.limits import Meter, RawFile
from galaxyjax.data.npy import NpyFile

MAPS_A_SIMULATION = 15
"""Five slices along each axis."""

_MAX_TABLE = 64 << 20
_NAME = re.compile(
    r"^(?P<kind>Maps|Grids)_(?P<field>[A-Za-z0-9]+)_(?P<suite>(?:Nbody_)?[A-Za-z0-9]+)_(?P<set>[A-Za-z0-9]+)"
    r"(?:_(?P<cells>\d+))?_z=(?P<redshift>\d+(?:\.\d+)?)\.npy$"
)


@dataclass(frozen=True)
class MultifieldName:
    """What the name of a CAMELS Multifield file says. kind: "Maps" or "Grids"."""

    kind: str
    field: str
    suite: str
    set: str
    redshift: float


def parse_name(path: str | Path) -> MultifieldName | None:
    """Return what a CAMELS Multifield file's name says, None when it is not one."""
    match = _NAME.match(Path(path).name)
    if match is None:
        return None
    return MultifieldName(
        match["kind"], match["field"], match["suite"], match["set"], float(match["redshift"])
    )


class _Labelled:
    """Entries of a file, `per` of them from each simulation, with parameters."""

    def __init__(self, path, parameters, box_size: float | None, rank: int, per: int):
        self.file = NpyFile(path)
        self.path, self.name = self.file.path, parse_name(path)
        shape = self.file.shape
        if len(shape) != rank or len(set(shape[1:])) != 1:
            raise FileError(f"{path}: shape {shape}; (entries{', cells' * (rank - 1)}) is wanted")
        if self.file.dtype.kind != "f":
            raise FileError(f"{path}: dtype {self.file.dtype}; real numbers are wanted")
        if box_size is None:
            raise ConfigError(
                f"box_size: {path} does not say it; give box_size= in Mpc/h (25 in CAMELS L25n256)"
            )
        self.box, self.per = Box(box_size), per
        self.values = self.file.map()
        self.parameters = None if parameters is None else _table(parameters)
        if self.parameters is not None and len(self.parameters) * per != len(self):
            raise DataError(
                f"{path}: {len(self)} entries, {per} a simulation, do not go with the {len(self.parameters)} "
                f"rows of {parameters}; give the table of the same set"
            )

    def __len__(self) -> int:
        return self.file.shape[0]

    @property
    def cells(self) -> int:
        """Cells along a side."""
        return self.file.shape[1]

    @property
    def simulations(self) -> np.ndarray:
        """(entries,) number of each entry's simulation: what folds must be split by."""
        return np.arange(len(self)) // self.per

    def label(self, index: int) -> np.ndarray:
        """Return the parameters of the simulation of an entry: row index // `per` of the table."""
        self._check(index)
        if self.parameters is None:
            raise ConfigError(f"parameters: {self.path} holds none; give parameters= (the suite's table)")
        return self.parameters[index // self.per]

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: entry {index} must lie in 0..{len(self) - 1}")
        return int(index)

    def _sound(self, data: np.ndarray, index: int) -> np.ndarray:
        if not np.isfinite(data).all():
            raise DataError(f"{self.path}: entry {index} holds NaN or infinity; altered, fetch it again")
        return data


class Maps(_Labelled):
    """Maps (n, cells, cells) of one field, memory-mapped; made by `open_maps`. `maps[i]` is one, checked."""

    def __getitem__(self, index: int) -> np.ndarray:
        self._check(index)
        return self._sound(np.array(self.values[index]), index)


class Grids(_Labelled):
    """Grids (n, cells, cells, cells) of one field, memory-mapped; made by `open_grids`. `grids[i]` is one."""

    def __getitem__(self, index: int) -> Grid:
        self._check(index)
        return Grid(self._sound(np.array(self.values[index]), index), self.box, self._unit())

    def block(self, index: int, start: Sequence[int], shape: Sequence[int], halo: int = 0) -> np.ndarray:
        """Return a block of one grid with `halo` cells around it, wrapped; only its bytes are read."""
        self._check(index)
        read = lambda low, high: self.file.read((index, *low), (index + 1, *high))[0]  # noqa: E731
        return self._sound(wrapped_block(self.file.shape[1:], start, shape, halo, read), index)

    @property
    def bytes_read(self) -> int:
        """Bytes that `block` took from the file so far."""
        return self.file.meter.bytes

    def _unit(self) -> str:
        return f"{self.name.field} of CAMELS" if self.name else ""


def open_maps(
    path: str | Path, parameters: str | Path | np.ndarray | None = None, *, box_size: float | None = None
) -> Maps:
    """Return the maps in a file `Maps_<field>_<suite>_<set>_z=<z>.npy`: (15 x simulations, cells, cells).

    parameters: the suite's table (text or .npy), one row a simulation: map i has row i // 15. box_size:
    Mpc/h; known for files named as CAMELS Multifield names them. Raises FileError, DataError, ConfigError.
    """
    return Maps(path, parameters, _box(path, box_size), 3, MAPS_A_SIMULATION)


def open_grids(
    path: str | Path, parameters: str | Path | np.ndarray | None = None, *, box_size: float | None = None
) -> Grids:
    """Return the grids in a file `Grids_<field>_<suite>_<set>_<cells>_z=<z>.npy`: (simulations, cells^3).

    parameters, box_size and errors as for `open_maps`; grid i has row i.
    """
    return Grids(path, parameters, _box(path, box_size), 4, 1)


class GridFile:
    """One grid in a file, read by blocks: `.npy`, or a dataset of an HDF5 file. shape, dtype, bytes_read.

    path: of the file. dataset: its path in an HDF5 file. Compressed HDF5 is charged by whole chunks.
    """

    def __init__(self, path: str | Path, dataset: str | None = None):
        self.meter, raw = Meter(), RawFile(path)
        hdf5, self.path = is_hdf5(raw), raw.path
        raw.close()
        if hdf5:
            if dataset is None:
                raise ConfigError(f"dataset: {path} is HDF5; give dataset= (the grid's path in it)")
            file, self._name = Hdf5File(path, self.meter), "/" + dataset.strip("/")
            found = file.dataset(self._name)
            self.shape, self.dtype = found.shape, found.dtype.newbyteorder("=")
            file.verify(self._name)
            self._read = lambda low, high: file.read(self._name, low, high)
        else:
            npy = NpyFile(path, self.meter)
            self.shape, self.dtype, self._read = npy.shape, npy.dtype, npy.read
        if len(self.shape) < 3:
            raise FileError(f"{path}: shape {self.shape} is no grid of three axes")
        self.meter.reset()

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the file so far."""
        return self.meter.bytes

    def block(self, start: Sequence[int], shape: Sequence[int], halo: int | Sequence[int] = 0) -> np.ndarray:
        """Return cells [start, start + shape) and `halo` more (one number, or one an axis), wrapped."""
        return wrapped_block(self.shape, start, shape, halo, self._read)


def wrapped_block(sides, start, shape, halo, read) -> np.ndarray:
    """Return a block of a periodic grid, put together from at most 3 reads along each axis.

    sides: of the grid (first three axes). read: (low, high) -> array. Raises ConfigError when a block does
    not fit the grid, or a halo is wider than it.
    """
    halo = (halo,) * 3 if isinstance(halo, int) else tuple(halo)
    for axis, (n, low, count, h) in enumerate(zip(sides, start, shape, halo, strict=False)):
        if not (0 <= low < n and 0 < count <= n and low + count <= n and 0 <= h <= n):
            raise ConfigError(
                f"block: start {low}, {count} cells and halo {h} along {'xyz'[axis]} do not fit a grid of {n}"
            )
    spans = [
        _spans(low - h, low + count + h, n)
        for n, low, count, h in zip(sides, start, shape, halo, strict=False)
    ]

    def along(axis: int, low: tuple, high: tuple) -> np.ndarray:
        if axis == 3:
            return read(low, high)
        parts = [along(axis + 1, (*low, a), (*high, b)) for a, b in spans[axis]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)

    return along(0, (), ())


def _spans(low: int, high: int, n: int) -> list[tuple[int, int]]:
    """[low, high) on a ring of n cells, as spans that do not cross its end."""
    spans = []
    while low < high:
        begin = low % n
        end = min(begin + high - low, n)
        spans.append((begin, end))
        low += end - begin
    return spans


def _box(path: str | Path, box_size: float | None) -> float | None:
    # All of CAMELS Multifield is 25 Mpc/h on a side.
    return 25.0 if box_size is None and parse_name(path) is not None else box_size


def _table(parameters: str | Path | np.ndarray) -> np.ndarray:
    """(simulations, parameters) float64 of an array, a .npy file, or text (names in column 0 left out)."""
    if isinstance(parameters, np.ndarray):
        values, where = parameters, "parameters"
    elif Path(parameters).suffix == ".npy":
        values, where = NpyFile(parameters).read(), str(parameters)
    else:
        values, where = _text_table(Path(parameters)), str(parameters)
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(f"{where}: shape {values.shape}; a finite table of one row a simulation is wanted")
    return values


def _text_table(path: Path) -> np.ndarray:
    raw = RawFile(path)
    if raw.size > _MAX_TABLE:
        raise FileError(f"{path}: {raw.size} bytes are no table of parameters")
    rows = []
    for line in raw.take("table", 0, raw.size).decode("utf-8", "replace").splitlines():
        words = line.split("#")[0].split()
        if words:
            rows.append(words)
    named = bool(rows) and not _is_number(rows[0][0])
    rows = [row[1:] if named else row for row in rows]
    try:
        return np.array(rows, np.float64)
    except ValueError:
        raise FileError(f"{path}: not a table of numbers with rows of one length") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
