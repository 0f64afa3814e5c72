"""The files of one snapshot as one: found from any of them, counted against their header, read by rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError, UnknownName
from galaxyjax.data.gadget_binary import BinaryFile
from galaxyjax.data.hdf5 import is_hdf5
from galaxyjax.data.hdf5_particles import ParticleFile
from galaxyjax.data.header import totals
from galaxyjax.data.limits import Meter, RawFile, count_bytes

_NUMBERED = re.compile(r"^(?P<base>.+)\.(?P<number>\d+)(?P<suffix>\.hdf5|\.h5|)$")


class ParticleFiles:
    """All files of a snapshot. pieces: one reader a file. counts: particles of each type. meter: bytes read.

    path: a file, the folder of a snapshot in several files, or their common name. files: how many there are
    by the first one's header, given by `expected` once that is read. Raises FileError when one is missing, or
    when they do not hold as many particles as their header says.
    """

    def __init__(self, path: str | Path, expected):
        self.meter = Meter()
        first = first_file(Path(path))
        self.pieces = [open_piece(first, self.meter)]
        for other in siblings(first, expected(self.pieces[0])):
            self.pieces.append(open_piece(other, self.meter))
        types = max(len(piece.counts) for piece in self.pieces)
        self.counts = [sum(piece.count(t) for piece in self.pieces) for t in range(types)]
        told = totals(first, self.pieces[0].header, types)
        for species, (have, want) in enumerate(zip(self.counts, told, strict=False)):
            if want and have != want:
                raise FileError(
                    f"{first}: NumPart_Total says {want} particles of type {species} but {len(self.pieces)} "
                    f"file(s) hold {have}; altered, or a file is missing"
                )

    @property
    def path(self) -> Path:
        """The first file."""
        return self.pieces[0].path

    def has(self, species: int, name: str) -> bool:
        """Whether each file with particles of a type has this column."""
        holding = [piece for piece in self.pieces if piece.count(species)]
        return bool(holding) and all(piece.has(species, name) for piece in holding)

    def names(self, species: int) -> list[str]:
        """Columns of a type in the first file that has it, sorted."""
        for piece in self.pieces:
            if piece.count(species) and isinstance(piece, BinaryFile):
                return sorted(name for name, block in piece.blocks.items() if species in block.types)
            if piece.count(species):
                group = f"/PartType{species}/"
                return sorted(name[len(group) :] for name in piece.file._described if name.startswith(group))
        return []

    def info(self, species: int, name: str) -> tuple[tuple[int, ...], np.dtype, dict]:
        """Return the shape of a row, the dtype, and the attributes of a column; the same in all files."""
        known = [piece.info(species, name) for piece in self.pieces if piece.count(species)]
        if not known:
            raise UnknownName(f"{self.path}: no particles of type {species}")
        for piece, other in zip(self.pieces, known, strict=False):
            if other[:2] != known[0][:2]:
                raise FileError(
                    f"{piece.path}: PartType{species}/{name} has rows {other[0]} of {other[1]}, the first "
                    f"file {known[0][0]} of {known[0][1]}; altered"
                )
        return known[0]

    def read(self, species: int, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows [start, stop) of a column as stored, across the files."""
        stop = self.counts[species] if stop is None else stop
        tail, dtype, _ = self.info(species, name)
        parts = list(self._parts(species, start, stop))
        for piece, _, _ in parts:
            if isinstance(piece, ParticleFile):
                piece.file.verify(f"/PartType{species}/{name}")
        count_bytes(self.path, name, (stop - start, *tail), dtype)
        out, done = np.empty((stop - start, *tail), dtype), 0
        for piece, low, high in parts:
            piece.read(species, name, low, high, out[done : done + high - low])
            done += high - low
        return out

    def prepare(self, species: int, names: list[str]) -> None:
        """Learn where several columns lie with one question a file."""
        for piece in self.pieces:
            if piece.count(species):
                piece.prepare(species, names)

    def _parts(self, species: int, start: int, stop: int) -> Iterator[tuple]:
        """(piece, low, high) of rows [start, stop)."""
        before = 0
        for piece in self.pieces:
            count = piece.count(species)
            low, high = max(start - before, 0), min(stop - before, count)
            if low < high:
                yield piece, low, high
            before += count


def open_piece(path: Path, meter: Meter) -> ParticleFile | BinaryFile:
    """Return a reader of one file, by how it begins."""
    raw = RawFile(path)
    hdf5 = is_hdf5(raw)
    raw.close()
    return ParticleFile(path, meter) if hdf5 else BinaryFile(path, meter)


def first_file(path: Path) -> Path:
    """Return file 0 of a snapshot: of a folder, a common name, or any one of its files."""
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if (m := _NUMBERED.match(p.name)) and m["number"] == "0")
        if len(found) != 1:
            raise FileError(
                f"{path}: {len(found)} files are numbered 0 in this folder; name the snapshot's first file"
            )
        return found[0]
    if not path.exists():
        for end in (".hdf5", ".0.hdf5", ".0"):
            if path.with_name(path.name + end).is_file():
                return path.with_name(path.name + end)
        raise FileError(f"{path}: no such file")
    match = _NUMBERED.match(path.name)
    zero = match and path.with_name(f"{match['base']}.0{match['suffix']}")
    return zero if match and match["number"] != "0" and zero.is_file() else path


def siblings(first: Path, files: int) -> list[Path]:
    """Return files 1, 2, ... of a snapshot. Raises FileError when one is missing."""
    if files == 1:
        return []
    match = _NUMBERED.match(first.name)
    if match is None:
        raise FileError(
            f"{first}: the header says {files} files but this name has no number; name it as .0.hdf5 or .0"
        )
    paths = [first.with_name(f"{match['base']}.{i}{match['suffix']}") for i in range(1, files)]
    for path in paths:
        if not path.is_file():
            raise FileError(f"{path}: missing; the header of {first.name} says {files} files")
    return paths
