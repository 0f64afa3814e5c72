"""Particles sorted by cells of the box, once, in the cache: a window then reads few, long runs.

The files' own order scatters a block over nearly all of their rows (and whole chunks of them where they are
compressed). A column is copied, uncompressed and as stored, the first time that a window needs it, with
memory for one piece of the stream only. The key is the files' paths, sizes, times of change and header.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from galaxyjax.core.box import Box
from galaxyjax.core.errors import DataError, FileError
from galaxyjax.core.files import atomic_path, write_json
from galaxyjax.data.fetch import cache_folder
from galaxyjax.data.npy import NpyFile
from galaxyjax.data.particle_files import ParticleFiles
from galaxyjax.data.window import Window

VERSION = 2
ROWS = 1 << 20
"""Particles in one piece while sorting."""

PER_CELL = 8
"""Particles in a cell, on average, at least; cells are a power of two along a side, 128 at most."""

MAX_CELLS = 128


class SortedCopy:
    """The sorted copy of one species. source: the files; side: of the box in stored units; box: in ours.

    bytes_written: what building took. Reads are counted in `source.meter`; building is not.
    """

    def __init__(self, source: ParticleFiles, species: int, side: float, box: Box):
        self.source, self.species, self.side, self.box = source, species, side, box
        self.total = source.counts[species]
        self.cells = cells_of(self.total)
        self.folder = cache_folder() / "sorted" / key(source, species, side)
        self._files: dict[str, NpyFile] = {}
        # Every process reads the table of rows: half as many bytes where they suffice.
        self._index = np.dtype(np.uint32 if self.total < 1 << 32 else np.int64)
        self._offsets: np.ndarray | None = None

    def column(self, name: str) -> NpyFile:
        """Return a column in the order of the cells, made now if it is not there."""
        path = self.folder / f"{name}.npy"
        if name not in self._files:
            if not path.is_file():
                with locked(self.folder), self._unmetered():
                    self._sort()
                    if not path.is_file():
                        self._copy(name, path)
            found = NpyFile(path, self.source.meter)
            tail, dtype, _ = self.source.info(self.species, name)
            self._expect(found, (self.total, *tail), dtype)
            self._files[name] = found
        return self._files[name]

    def select(self, window: Window) -> Rows:
        """Return the rows whose positions lie in the window."""
        return Rows(self, window, self._runs(window))

    def pieces(self, window: Window, rows: int) -> Iterator[Rows]:
        """Yield the same in parts of at most `rows` particles of the cells' runs."""
        batch, size = [], 0
        for low, high in self._runs(window):
            while low < high:
                end = min(high, low + rows - size)
                batch.append((low, end))
                size += end - low
                low = end
                if size == rows:
                    yield Rows(self, window, batch)
                    batch, size = [], 0
        if batch:
            yield Rows(self, window, batch)

    def cell_counts(self) -> np.ndarray:
        """Return how many particles lie in each cell, (cells, cells, cells) int64."""
        self.column("Coordinates")
        if self._offsets is None:
            self._offsets = self._table(0, self.cells**3)
        return np.diff(self._offsets).reshape((self.cells,) * 3)

    def _table(self, first: int, last: int) -> np.ndarray:
        """The rows at which cells [first, last] begin, int64."""
        if self._offsets is not None:
            return self._offsets[first : last + 1]
        file = self._file("offsets", (self.cells**3 + 1,), self._index)
        table = file.read((first,), (last + 1,)).astype(np.int64)
        if np.any(np.diff(table) < 0) or table[0] < 0 or table[-1] > self.total:
            raise FileError(f"{file.path}: offsets are not in order; remove {self.folder}")
        return table

    def _runs(self, window: Window) -> list[tuple[int, int]]:
        """(first, last) rows of the cells that a window touches, neighbours joined."""
        self.column("Coordinates")
        x, y, z = (window.cells(axis, self.box.size, self.cells) for axis in range(3))
        breaks = np.flatnonzero(np.diff(z) > 1) + 1
        runs: list[tuple[int, int]] = []
        for plane in x:
            base = int(plane) * self.cells**2
            # One read a plane; its ends are those of the rows of cells that are wanted.
            table = self._table(base, base + self.cells**2)
            for row in y:
                for part in np.split(z, breaks):
                    at = int(row) * self.cells
                    low, high = int(table[at + part[0]]), int(table[at + part[-1] + 1])
                    if runs and runs[-1][1] == low:
                        runs[-1] = (runs[-1][0], high)
                    elif low < high:
                        runs.append((low, high))
        return runs

    def _file(self, name: str, shape: tuple[int, ...], dtype) -> NpyFile:
        if name not in self._files:
            self._files[name] = NpyFile(self.folder / f"{name}.npy", self.source.meter)
            self._expect(self._files[name], shape, np.dtype(dtype))
        return self._files[name]

    def _expect(self, file: NpyFile, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if file.shape != shape or file.dtype != dtype:
            raise FileError(
                f"{file.path}: {file.shape} of {file.dtype}, not {shape} of {dtype}; remove {self.folder}"
            )

    @contextlib.contextmanager
    def _unmetered(self) -> Iterator[None]:
        before = self.source.meter.bytes
        yield
        self.source.meter.bytes = before

    def _sort(self) -> None:
        """Count particles in cells, then give each row its place: two passes over the positions."""
        if (self.folder / "offsets.npy").is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        counts = np.zeros(self.cells**3, np.int64)
        with atomic_path(self.folder / "places.npy") as temporary:
            places = np.lib.format.open_memmap(temporary, "w+", np.int64, (self.total,))
            for low, high in self._spans():
                cell = self._cell(low, high)
                places[low:high] = cell
                counts += np.bincount(cell, minlength=len(counts))
            offsets = np.concatenate([[0], np.cumsum(counts)])
            cursor = offsets[:-1].copy()
            for low, high in self._spans():
                cell = np.array(places[low:high])
                order = np.argsort(cell, kind="stable")
                ordered = cell[order]
                first = np.searchsorted(ordered, ordered)  # where each cell begins in this piece
                places[low + order] = cursor[ordered] + np.arange(len(ordered)) - first
                cursor += np.bincount(cell, minlength=len(counts))
            places.flush()
        source = {"files": [str(piece.path) for piece in self.source.pieces], "species": self.species}
        write_json(self.folder / "source.json", source)
        # Last: its presence says that the rest is whole.
        with atomic_path(self.folder / "offsets.npy") as temporary:
            np.save(temporary, offsets.astype(self._index))

    def _cell(self, low: int, high: int) -> np.ndarray:
        """The number of the cell of each row, z fastest."""
        positions = self.source.read(self.species, "Coordinates", low, high)
        where = f"{self.source.path}: PartType{self.species}/Coordinates"
        if positions.ndim != 2 or positions.shape[1] != 3 or positions.dtype.kind != "f":
            raise FileError(f"{where} has rows {positions.shape[1:]} of {positions.dtype}; altered")
        scaled = positions.astype(np.float64) * (self.cells / self.side)
        if not (scaled.size == 0 or (scaled.min() > -self.cells and scaled.max() < 2 * self.cells)):
            raise DataError(f"{where} is not finite, or far outside the box; altered, or other units")
        cell = np.floor(scaled).astype(np.int64) % self.cells
        return (cell[:, 0] * self.cells + cell[:, 1]) * self.cells + cell[:, 2]

    def _copy(self, name: str, path: Path) -> None:
        """Write a column in its new order."""
        places = NpyFile(self.folder / "places.npy").map()
        tail, dtype, _ = self.source.info(self.species, name)
        with atomic_path(path) as temporary:
            out = np.lib.format.open_memmap(temporary, "w+", dtype, (self.total, *tail))
            for low, high in self._spans():
                out[places[low:high]] = self.source.read(self.species, name, low, high)
            out.flush()

    def _spans(self) -> Iterator[tuple[int, int]]:
        return ((low, min(low + ROWS, self.total)) for low in range(0, self.total, ROWS))

    def remove(self) -> None:
        """Delete this copy."""
        self._files.clear()
        self._offsets = None
        shutil.rmtree(self.folder, ignore_errors=True)


class Rows:
    """Rows of a sorted copy that lie in a window: `count`, `prepare`, `read`."""

    def __init__(self, copy: SortedCopy, window: Window, runs: list[tuple[int, int]]):
        self.copy, self.runs = copy, runs
        self.size = sum(high - low for low, high in runs)
        self._positions = self._take("Coordinates")
        scale = copy.box.size / copy.side
        self.inside = window.contains(self._positions * np.float64(scale), copy.box)
        self.count = int(self.inside.sum())

    def prepare(self, names: list[str]) -> None:
        """Nothing to ask for."""

    def read(self, name: str) -> np.ndarray:
        """Return a column of these rows, as stored."""
        data = self._positions if name == "Coordinates" else self._take(name)
        return data[self.inside]

    def _take(self, name: str) -> np.ndarray:
        column = self.copy.column(name)
        out, done = np.empty((self.size, *column.shape[1:]), column.dtype), 0
        for low, high in self.runs:
            part = out[done : done + high - low]
            column.raw.block(
                name,
                column.offset,
                column.shape,
                (low,) + (0,) * (part.ndim - 1),
                (high, *column.shape[1:]),
                part,
            )
            done += high - low
        return out


def cells_of(total: int) -> int:
    """Return the cells along a side for so many particles."""
    cells = 4
    while cells < MAX_CELLS and PER_CELL * (2 * cells) ** 3 <= total:
        cells *= 2
    return cells


def key(source: ParticleFiles, species: int, side: float) -> str:
    """Return the name of a copy's folder: it changes when a file, its header or the box does."""
    identity = [piece.raw.identity() for piece in source.pieces]
    header = [piece.header for piece in source.pieces]
    text = json.dumps([VERSION, PER_CELL, species, side, identity, header], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time build; the others wait, then find it done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks here: both build, and the last rename wins
        yield
        return
    with open(folder.with_name(folder.name + ".lock"), "w") as handle:
        with contextlib.suppress(OSError):  # some network file systems have none
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
