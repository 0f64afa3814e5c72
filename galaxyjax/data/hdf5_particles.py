"""One HDF5 file of a snapshot (GADGET, AREPO, SWIFT): the same door as `gadget_binary.BinaryFile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError
from galaxyjax.data.hdf5 import Hdf5File
from galaxyjax.data.header import counts_of
from galaxyjax.data.limits import Meter


class ParticleFile:
    """`header` (attributes of /Header), `attributes` (of every group), `count`, `has`, `info`, `read`.

    Raises FileError when there is no header, or its counts are not what the datasets have.
    """

    def __init__(self, path: str | Path, meter: Meter | None = None):
        self.file = Hdf5File(path, meter)
        self.path, self.meter, self.raw = self.file.path, self.file.meter, self.file.raw
        self.attributes = self.file.groups
        if "/Header" not in self.attributes:
            raise FileError(f"{self.path}: no group /Header; not a snapshot, or altered")
        self.header = self.attributes["/Header"]
        self.counts = counts_of(self.path, self.header, "NumPart_ThisFile")

    def count(self, species: int) -> int:
        """Particles of a type in this file."""
        return self.counts[species] if species < len(self.counts) else 0

    def has(self, species: int, name: str) -> bool:
        """Whether a type has a dataset."""
        return f"/PartType{species}/{name}" in self.file._described

    def info(self, species: int, name: str) -> tuple[tuple[int, ...], np.dtype, dict]:
        """Return the shape of a row, the dtype, and the dataset's attributes."""
        path = f"/PartType{species}/{name}"
        found = self.file.dataset(path)
        if not found.shape or found.shape[0] != self.count(species):
            raise FileError(
                f"{self.path}: {path} has shape {found.shape} but NumPart_ThisFile says "
                f"{self.count(species)} particles; altered or cut short"
            )
        return found.shape[1:], found.dtype.newbyteorder("="), found.attributes

    def prepare(self, species: int, names: list[str]) -> None:
        """Ask for several datasets' places at once."""
        self.file.prepare([f"/PartType{species}/{name}" for name in names])

    def read(self, species: int, name: str, start: int, stop: int, out: np.ndarray) -> None:
        """Fill `out` with rows [start, stop) of a type."""
        found = self.file.dataset(f"/PartType{species}/{name}")
        into = out if found.dtype.isnative else None
        data = self.file.read(f"/PartType{species}/{name}", (start,), (stop,), into)
        if into is None:
            out[...] = data
