"""One array in a .npy file: its header checked before memory is taken; memory-mapped, or read by blocks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError
from galaxyjax.data.limits import Meter, RawFile, check_block, count_bytes

_MAX_HEADER = 10_000


class NpyFile:
    """A .npy file of numbers in C order. shape, dtype; `map` and `read`.

    Raises FileError when it is no such file, holds objects, or is not exactly as long as its header says.
    """

    def __init__(self, path: str | Path, meter: Meter | None = None):
        self.raw = RawFile(path, meter)
        self.path, self.meter = self.raw.path, self.raw.meter
        head = io.BytesIO(self.raw.take("header", 0, min(self.raw.size, _MAX_HEADER)))
        self.meter.add(-head.getbuffer().nbytes)  # the header is not data
        try:
            version = np.lib.format.read_magic(head)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, fortran, self.dtype = read(head, max_header_size=_MAX_HEADER)
        except Exception as error:  # the header is Python text: parsing it may raise nearly anything
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise FileError(
                f"{self.path}: not a whole .npy file ({reason}); fetch or make it again"
            ) from None
        if fortran or self.dtype.hasobject or self.dtype.kind not in "iufb" or self.dtype.subdtype:
            order = "Fortran order" if fortran else f"dtype {self.dtype}"
            raise FileError(f"{self.path}: header: {order} is not read; write it again as numbers in C order")
        self.offset = head.tell()
        size = count_bytes(self.path, "the array", self.shape, self.dtype)
        if self.offset + size != self.raw.size:
            raise FileError(
                f"{self.path}: an array of shape {self.shape} and {self.dtype} takes {self.offset + size} "
                f"bytes but the file has {self.raw.size}; cut short or altered, fetch or make it again"
            )

    def map(self) -> np.ndarray:
        """Return the array memory-mapped, read-only: nothing is read until it is indexed."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)

    def read(self, start=(), stop=()) -> np.ndarray:
        """Return the block [start, stop) (of the first axes), reading and counting only its bytes."""
        start = tuple(start) + (0,) * (len(self.shape) - len(start))
        stop = tuple(stop) + self.shape[len(stop) :]
        check_block(self.path, "the array", self.shape, start, stop)
        out = np.empty(tuple(b - a for a, b in zip(start, stop, strict=True)), self.dtype)
        self.raw.block("the array", self.offset, self.shape, start, stop, out)
        return out if self.dtype.isnative else out.astype(self.dtype.newbyteorder("="))
