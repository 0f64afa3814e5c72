"""What a file may claim, checked before memory is taken; and how many bytes were read from it."""

import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError

MAX_COUNT = 1 << 48
"""More particles or cells than any simulation has."""


@dataclass
class Meter:
    """Bytes taken from files: whole stored chunks where they are compressed."""

    bytes: int = 0

    def add(self, count: int) -> None:
        """Count bytes."""
        self.bytes += int(count)

    def reset(self) -> int:
        """Return the count and start again from 0."""
        count, self.bytes = self.bytes, 0
        return count


class RawFile:
    """A regular file open for reading at given places. Raises FileError when it is missing or no file."""

    def __init__(self, path: str | Path, meter: Meter | None = None):
        self.path, self.meter = Path(path), meter or Meter()
        try:
            # A pipe or device of this name would make the open itself wait.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise FileError(f"{self.path}: not a regular file")
            self._handle = open(self.path, "rb", buffering=0)  # noqa: SIM115, lives as long as the object
        except FileNotFoundError:
            raise FileError(f"{self.path}: no such file") from None
        except OSError as error:
            raise FileError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        self.size = os.fstat(self._handle.fileno()).st_size

    def within(self, name: str, offset: int, length: int) -> None:
        """Check that bytes lie in the file. Raises FileError that names the dataset."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FileError(
                f"{self.path}: {name} should be {length} bytes at {offset} but the file ends at {self.size}; "
                "cut short or altered, fetch or make it again"
            )

    def into(self, name: str, offset: int, array: np.ndarray) -> None:
        """Fill a C-contiguous array with the bytes from `offset` on."""
        self.within(name, offset, array.nbytes)
        if array.nbytes == 0:
            return
        view, done = memoryview(array.reshape(-1)).cast("B"), 0
        while done < len(view):
            # One call moves at most 2 GiB.
            got = os.preadv(self._handle.fileno(), [view[done : done + (1 << 30)]], offset + done)
            if got == 0:
                raise FileError(f"{self.path}: {name} ends after {done} of {len(view)} bytes; cut short")
            done += got
        self.meter.add(done)

    def block(self, name: str, offset: int, shape, start, stop, out: np.ndarray) -> None:
        """Fill `out` with the block [start, stop) of a C-ordered array at `offset`, run by run."""
        if out.size == 0:
            return
        whole = len(shape)  # axes [whole:] are taken entirely, so that runs are as long as can be
        while whole > 1 and start[whole - 1] == 0 and stop[whole - 1] == shape[whole - 1]:
            whole -= 1
        inner = math.prod(shape[whole:]) * out.itemsize
        outer = out.shape[: whole - 1] if whole else ()
        for place in np.ndindex(*outer):
            flat = 0
            for axis in range(whole):
                flat = flat * shape[axis] + start[axis] + (place[axis] if axis < whole - 1 else 0)
            self.into(name, offset + flat * inner, out[place] if outer else out)

    def take(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes from `offset` on."""
        self.within(name, offset, length)
        data = os.pread(self._handle.fileno(), length, offset)
        if len(data) != length:
            raise FileError(f"{self.path}: {name} ends after {len(data)} of {length} bytes; cut short")
        self.meter.add(length)
        return data

    def identity(self) -> tuple[str, int, int]:
        """Return (absolute path, size, time of change in ns): what tells an altered file from this one."""
        status = os.fstat(self._handle.fileno())
        return str(self.path.resolve()), status.st_size, status.st_mtime_ns

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def count_bytes(path: Path, name: str, shape: Sequence[int], dtype: np.dtype) -> int:
    """Return the bytes of an array. Raises FileError on negative or absurd sizes."""
    sizes = [int(n) for n in shape]
    if len(sizes) > 8 or any(n < 0 for n in sizes) or math.prod(sizes) > MAX_COUNT:
        raise FileError(
            f"{path}: {name} claims the shape {tuple(sizes)[:8]}; altered, fetch or make it again"
        )
    return math.prod(sizes) * dtype.itemsize


def check_block(
    path: Path, name: str, shape: Sequence[int], start: Sequence[int], stop: Sequence[int]
) -> None:
    """Check 0 <= start <= stop <= shape on every axis. Raises FileError with the numbers."""
    inside = all(0 <= a <= b <= n for a, b, n in zip(start, stop, shape, strict=True))
    if len(start) != len(shape) or not inside:
        raise FileError(
            f"{path}: {name} has shape {tuple(shape)}; {tuple(start)} to {tuple(stop)} is not in it"
        )
