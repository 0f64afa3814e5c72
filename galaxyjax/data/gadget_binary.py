"""Gadget-II binary files: Fortran records in either byte order, without labels (style 1) or with (style 2).

Header and order of blocks: Springel (2005), "User guide for GADGET-2", section 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError
from galaxyjax.data.field_names import LABELS
from galaxyjax.data.limits import Meter, RawFile

_HEADER = [
    ("NumPart_ThisFile", "i4", (6,)),
    ("MassTable", "f8", (6,)),
    ("Time", "f8", ()),
    ("Redshift", "f8", ()),
    ("Flag_Sfr", "i4", ()),
    ("Flag_Feedback", "i4", ()),
    ("NumPart_Total", "u4", (6,)),
    ("Flag_Cooling", "i4", ()),
    ("NumFilesPerSnapshot", "i4", ()),
    ("BoxSize", "f8", ()),
    ("Omega0", "f8", ()),
    ("OmegaLambda", "f8", ()),
    ("HubbleParam", "f8", ()),
    ("Flag_StellarAge", "i4", ()),
    ("Flag_Metals", "i4", ()),
    ("NumPart_Total_HighWord", "u4", (6,)),
    ("Flag_Entropy_ICs", "i4", ()),
]
_ALL, _GAS, _STARS = (0, 1, 2, 3, 4, 5), (0,), (4,)
_WIDTH = {"Coordinates": 3, "Velocities": 3, "Acceleration": 3}
_TYPES = {
    "InternalEnergy": _GAS,
    "Density": _GAS,
    "ElectronAbundance": _GAS,
    "NeutralHydrogenAbundance": _GAS,
    "SmoothingLength": _GAS,
    "StarFormationRate": _GAS,
    "RateOfChangeOfEntropy": _GAS,
    "StellarFormationTime": _STARS,
    "Metallicity": (0, 4),
}
MAX_BLOCKS = 1000


@dataclass(frozen=True)
class Block:
    """Where a block's numbers begin, and which particle types are in it, in order."""

    offset: int
    dtype: np.dtype
    width: int
    types: tuple[int, ...]


class BinaryFile:
    """One file of a Gadget-II snapshot: `header` (names as in HDF5), `count`, `has`, `info`, `read`.

    Raises FileError, naming file and block, when records do not close or sizes contradict the header.
    """

    attributes: dict = {}

    def __init__(self, path: str | Path, meter: Meter | None = None):
        self.raw = RawFile(path, meter)
        self.path, self.meter = self.raw.path, self.raw.meter
        first = self.raw.take("first record", 0, min(4, self.raw.size))
        found = {
            (order, style)
            for order in "<>"
            for size, style in ((256, 1), (8, 2))
            if len(first) == 4 and int.from_bytes(first, "little" if order == "<" else "big") == size
        }
        if not found:
            raise FileError(f"{self.path}: neither HDF5 nor a Gadget-II file; fetch or make it again")
        self.order, self.style = found.pop()
        records = self._records()
        self.header = self._header(records)
        self.counts = self.header["NumPart_ThisFile"]
        self.blocks = self._blocks(records)

    def count(self, species: int) -> int:
        """Particles of a type in this file."""
        return self.counts[species] if species < 6 else 0

    def has(self, species: int, name: str) -> bool:
        """Whether a type has a block."""
        return name in self.blocks and species in self.blocks[name].types

    def info(self, species: int, name: str) -> tuple[tuple[int, ...], np.dtype, dict]:
        """Return the shape of a row, the dtype, and the attributes (there are none)."""
        block = self.blocks[name]
        return ((block.width,) if block.width > 1 else ()), block.dtype.newbyteorder("="), {}

    def prepare(self, species: int, names: list[str]) -> None:
        """Nothing: all places are known."""

    def read(self, species: int, name: str, start: int, stop: int, out: np.ndarray) -> None:
        """Fill `out` with rows [start, stop) of a type."""
        block = self.blocks[name]
        row = block.dtype.itemsize * block.width
        before = sum(self.counts[t] for t in block.types if t < species)
        self.raw.into(f"block {name}", block.offset + (before + start) * row, out)
        if not block.dtype.isnative:
            out.byteswap(inplace=True)

    def _records(self) -> list[tuple[str | None, int, int]]:
        """(label, offset, size) of every record, each closed by the size that opened it."""
        records, at, label = [], 0, None
        while at < self.raw.size:
            size = self._close(at, len(records))
            if self.style == 2 and label is None:
                if size != 8:
                    raise FileError(
                        f"{self.path}: record at byte {at} should be a label of 8 bytes, not {size}"
                    )
                label = self.raw.take("label", at + 4, 4).decode("ascii", "replace")
            else:
                records.append((label, at + 4, size))
                label = None
            at += size + 8
            if len(records) > MAX_BLOCKS:
                raise FileError(f"{self.path}: more than {MAX_BLOCKS} blocks; altered")
        return records

    def _close(self, at: int, number: int) -> int:
        """The size of the record at a byte; markers count modulo 2^32, so a large one closes further on."""
        marker = self._marker(at)
        for size in range(marker, self.raw.size - at - 7, 1 << 32):
            if self._marker(at + 4 + size) == marker:
                return size
        raise FileError(
            f"{self.path}: record {number} at byte {at} says {marker} bytes and does not close after them "
            f"(file of {self.raw.size} bytes); cut short or altered, fetch or make it again"
        )

    def _marker(self, at: int) -> int:
        data = self.raw.take(f"record at byte {at}", at, 4)
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    def _header(self, records) -> dict:
        if not records or records[0][2] != 256 or (self.style == 2 and records[0][0] != "HEAD"):
            raise FileError(f"{self.path}: the first block is not a Gadget-II header of 256 bytes")
        kind = np.dtype([(name, self.order + code, shape) for name, code, shape in _HEADER])
        values = np.frombuffer(self.raw.take("header", records[0][1], 256), kind, 1)[0]
        return {name: values[name].tolist() for name, *_ in _HEADER}

    def _blocks(self, records) -> dict[str, Block]:
        counts = self.counts
        if min(counts) < 0:
            raise FileError(f"{self.path}: header: NumPart_ThisFile={counts} has a negative count; altered")
        named = [(label, offset, size) for label, offset, size in records[1:]]
        if self.style == 1:
            named = [
                (label, offset, size)
                for label, (_, offset, size) in zip(self._order(), records[1:], strict=False)
            ]
        blocks = {}
        for label, offset, size in named:
            name = LABELS.get(label, label)
            types = self._types(name)
            rows = sum(counts[t] for t in types)
            width = _WIDTH.get(name, 1)
            itemsize = size // (rows * width) if rows else 0
            if label not in LABELS and (
                rows == 0 or itemsize * rows * width != size or itemsize not in (4, 8)
            ):
                continue  # a block of some other code: nobody asks for it by a name we know
            if rows and (itemsize not in (4, 8) or itemsize * rows * width != size):
                raise FileError(
                    f"{self.path}: block {label.strip()} has {size} bytes, which is not {rows} particles x "
                    f"{width} numbers of 4 or 8 bytes; altered, or another order of blocks"
                )
            code = "u" if name == "ParticleIDs" else "f"
            if rows:
                blocks[name] = Block(offset, np.dtype(f"{self.order}{code}{itemsize}"), width, types)
        return blocks

    def _types(self, name: str) -> tuple[int, ...]:
        present = [t for t in _TYPES.get(name, _ALL) if self.counts[t]]
        if name == "Masses":  # only those without a mass in the header
            present = [t for t in present if self.header["MassTable"][t] == 0]
        return tuple(present)

    def _order(self) -> list[str]:
        """Labels of an unlabelled file, in order; what follows them depends on how a code was compiled."""
        order = ["POS ", "VEL ", "ID  "]
        if self._types("Masses"):
            order.append("MASS")
        if self.counts[0]:
            order += ["U   ", "RHO "]
            order += ["NE  ", "NH  "] if self.header["Flag_Cooling"] else []
            order += ["HSML"] + (["SFR "] if self.header["Flag_Sfr"] else [])
        if self.counts[4] and self.header["Flag_StellarAge"]:
            order.append("AGE ")
        return order
