"""HDF5 datasets read without libhdf5 in this process: it says where bytes lie, from a process that may die.

Contiguous data, and chunks under deflate, shuffle and fletcher32, are read and undone here, with every size
checked against the file first; other compressors (Blosc, lzf, szip, ...) are undone in the walker. Virtual
and external storage is refused, as both name other files.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from galaxyjax.core.errors import FileError, unknown_name
from galaxyjax.data import hdf5_client
from galaxyjax.data.hdf5_filters import fletcher32, inflate, unshuffle
from galaxyjax.data.limits import Meter, RawFile, check_block, count_bytes

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DEFLATE, _SHUFFLE, _FLETCHER32, _BLOSC = 1, 2, 3, 32001
_LZF, _OUR_LIMIT = 32000, 255  # filters up to 255 are libhdf5's own, and h5py brings lzf
_NATIVE = {_DEFLATE, _SHUFFLE, _FLETCHER32}
MAX_CHUNK = 1 << 30
"""Bytes of one decoded chunk; HDF5 allows 4 GiB, writers stay far below."""

MAX_RATIO = 1040
"""Decoded over stored bytes of a chunk: deflate reaches 1032 at most."""


@dataclass(frozen=True)
class Dataset:
    """Where a dataset is and how it is stored. attributes: plain Python values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    layout: str
    chunk: tuple[int, ...] | None
    filters: tuple[tuple[int, tuple[int, ...]], ...]
    offset: int | None
    attributes: dict[str, Any] = field(hash=False)


class Hdf5File:
    """An HDF5 file: `groups` (path -> attributes), `datasets` (path -> Dataset), and `read`.

    path: of the file. meter: counts the bytes read. Raises FileError, naming file and dataset, on anything
    that is not whole and plain HDF5.
    """

    def __init__(self, path: str | Path, meter: Meter | None = None):
        self.raw = RawFile(path, meter)
        self.path, self.meter = self.raw.path, self.raw.meter
        # The other process keeps the folder in which it was started.
        self._place = Path(os.path.abspath(self.path))
        if not is_hdf5(self.raw):
            raise FileError(f"{self.path}: not an HDF5 file ({self.raw.size} bytes); fetch or make it again")
        (outline,) = hdf5_client.ask(self._place, self.raw.size, "outline")
        self.groups: dict[str, dict] = outline["groups"]
        self._described, self._tables = outline["datasets"], {}
        self.datasets: dict[str, Dataset] = {
            name: _dataset(found) for name, found in self._described.items() if _readable(found)
        }

    def dataset(self, name: str) -> Dataset:
        """Return what is known of a dataset. Raises UnknownName, or FileError when it cannot be read."""
        if name in self.datasets:
            return self.datasets[name]
        if name in self._described:
            found = self._described[name]
            why = found.get("broken") or found["dtype"]
            if found.get("layout") in ("virtual", "external"):
                why = f"{found['layout']} storage: its data is in other files, open those"
            raise FileError(f"{self.path}: {name} cannot be read ({why})")
        raise unknown_name(f"dataset of {self.path}", name, self._described)

    def read(self, name: str, start=None, stop=None, out: np.ndarray | None = None) -> np.ndarray:
        """Return the block [start, stop) of a dataset as stored, native byte order; all of it by default.

        start, stop: one number an axis (or only the first axes). out: C-contiguous array to fill. Raises
        FileError before memory is taken when the file cannot hold what it claims.
        """
        found = self.dataset(name)
        start = tuple(start or ()) + (0,) * (len(found.shape) - len(start or ()))
        stop = tuple(stop or ()) + found.shape[len(stop or ()) :]
        check_block(self.path, name, found.shape, start, stop)
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        self._check(name, found)
        if found.layout == "chunked":
            chunks = self._overlapping(name, found, start, stop)
            if not all(code in _NATIVE for code, _ in found.filters):
                return self._stream(name, found, start, stop, chunks, out)
            return self._chunked(name, found, start, stop, chunks, out)
        out = np.empty(shape, found.dtype) if out is None else out
        if found.layout == "contiguous" and out.size:
            self.raw.block(name, found.offset, found.shape, start, stop, out)
        elif out.size:  # compact: in the header itself
            return self._stream(name, found, start, stop, np.zeros((0, 0), np.int64), out)
        return _native(out, found.dtype)

    def verify(self, name: str) -> None:
        """Check what a dataset claims against the file, before anybody takes memory for it."""
        found = self.dataset(name)
        self._check(name, found)
        if found.layout != "chunked":
            return
        self.prepare([name])
        table = self._tables[name]
        claimed = count_bytes(self.path, name, found.shape, found.dtype)
        if len(table) and claimed > 4 * int(table[:, -1].sum()) + (16 << 20):
            native = all(code in _NATIVE for code, _ in found.filters)
            if native:
                self._chunk(name, found, table[0])
            elif _blosc(found):
                for mask, address, size in table[:, -3:]:
                    self._blosc_header(name, found, int(mask), int(address), int(size))

    def _check(self, name: str, found: Dataset) -> None:
        """What a dataset claims, against what the file can hold."""
        total = count_bytes(self.path, name, found.shape, found.dtype)
        if found.layout == "contiguous" and total:
            if found.offset is None:
                raise FileError(f"{self.path}: {name} was declared but never written")
            self.raw.within(name, found.offset, total)
        if found.layout == "compact" and total > 65_536:
            raise FileError(f"{self.path}: {name} claims {total} bytes inside a header; altered")
        if found.layout == "chunked":
            size = count_bytes(self.path, name, found.chunk, found.dtype)
            if not 0 < size <= MAX_CHUNK or len(found.chunk) != len(found.shape):
                raise FileError(f"{self.path}: {name} claims chunks of shape {found.chunk} ({size} bytes)")

    def prepare(self, names: list[str]) -> None:
        """Learn where the chunks of several datasets lie with one question instead of one each."""
        names = [n for n in names if n in self.datasets and self.datasets[n].layout == "chunked"]
        names = [n for n in names if n not in self._tables]
        for name in names:
            self._check(name, self.datasets[name])
        if not names:
            return
        answers = hdf5_client.ask(self._place, self.raw.size, "table", names=names)
        for name, answer in zip(names, answers, strict=True):
            rank = len(self.datasets[name].shape)
            self._tables[name] = self._checked_table(
                name, np.frombuffer(answer, np.int64).reshape(-1, rank + 3)
            )

    def _checked_table(self, name: str, table: np.ndarray) -> np.ndarray:
        """Every chunk once, on its lattice, inside the file, and no smaller than its contents allow."""
        found = self.datasets[name]
        rank = len(found.shape)
        step, shape = np.array(found.chunk), np.array(found.shape)
        count = -(-shape // step)
        expected = int(np.prod(count, dtype=np.float64)) if rank else 1
        place, address, size = table[:, :rank], table[:, -2], table[:, -1]
        complaint = None
        if len(table) != expected:
            complaint = f"{len(table)} of {expected} chunks are there"
        elif np.any(place < 0) or np.any(place >= shape) or np.any(place % step):
            complaint = "a chunk lies off the lattice"
        elif np.any(address < 0) or np.any(size < 0) or np.any(size > self.raw.size - address):
            complaint = f"a chunk lies beyond the end of the file at {self.raw.size}"
        elif np.any(size * MAX_RATIO < _chunk_bytes(found)) and found.filters and not _blosc(found):
            complaint = f"a chunk of {size.min()} bytes would hold {_chunk_bytes(found)}"
        elif np.any(table[:, -3] < 0):
            complaint = "a chunk has a negative filter mask"
        if complaint is None and len(table):
            number = (
                np.ravel_multi_index(tuple((place // step).T), tuple(count)) if len(table) else place[:, 0]
            )
            table = table[np.argsort(number, kind="stable")]
            if len(np.unique(number)) != len(number):
                complaint = "a chunk is there twice"
        if complaint:
            raise FileError(f"{self.path}: {name}: {complaint}; cut short or altered, fetch or make it again")
        return table

    def _overlapping(self, name: str, found: Dataset, start, stop) -> np.ndarray:
        """The chunks that a block needs."""
        self.prepare([name])
        table = self._tables[name]
        rank = len(found.shape)
        first, last = table[:, :rank], table[:, :rank] + np.array(found.chunk)
        return table[np.all((first < np.array(stop)) & (last > np.array(start)), axis=1)]

    def _chunked(self, name: str, found: Dataset, start, stop, chunks: np.ndarray, out) -> np.ndarray:
        """Undo chunks one by one, in a few threads: zlib leaves the interpreter's lock."""
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        rank = len(shape)
        # What the first chunk really holds is known before room for all of them is taken.
        ahead = self._chunk(name, found, chunks[0]) if len(chunks) else None
        out = np.empty(shape, found.dtype) if out is None else out

        def place(number: int) -> None:
            row = chunks[number]
            data = ahead if number == 0 else self._chunk(name, found, row)
            low = [max(int(c), a) for c, a in zip(row[:rank], start, strict=True)]
            high = [min(int(c) + n, b) for c, n, b in zip(row[:rank], found.chunk, stop, strict=True)]
            target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            source = tuple(
                slice(a - int(c), b - int(c)) for a, b, c in zip(low, high, row[:rank], strict=True)
            )
            out[target] = data[source]

        if len(chunks) < 8:
            for number in range(len(chunks)):
                place(number)
        else:
            list(_threads().map(place, range(len(chunks)), chunksize=max(1, len(chunks) // 64)))
        return _native(out, found.dtype)

    def _chunk(self, name: str, found: Dataset, row: np.ndarray) -> np.ndarray:
        """The decoded contents of one chunk."""
        mask, address, size = (int(v) for v in row[-3:])
        data = self.raw.take(name, address, size)
        expected = _chunk_bytes(found)
        applied = [code for bit, (code, _) in enumerate(found.filters) if not mask >> bit & 1]
        for code in reversed(applied):
            if code == _FLETCHER32:
                data = fletcher32(self.path, name, data)
            elif code == _DEFLATE:
                data = inflate(self.path, name, data, expected + 4)
            elif code == _SHUFFLE:
                data = unshuffle(data, found.dtype.itemsize)
        if len(data) != expected:
            raise FileError(
                f"{self.path}: {name}: a chunk holds {len(data)} bytes instead of {expected}; altered, fetch "
                "or make it again"
            )
        return np.frombuffer(data, found.dtype).reshape(found.chunk)

    def _stream(self, name: str, found: Dataset, start, stop, chunks: np.ndarray, out) -> np.ndarray:
        """Let the walker undo the chunks."""
        for mask, address, size in chunks[:, -3:]:
            self.meter.add(size)
            if _blosc(found):
                self._blosc_header(name, found, int(mask), int(address), int(size))
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        out = np.empty(shape, found.dtype) if out is None else out
        view, done = memoryview(out.reshape(-1)).cast("B"), 0

        def room(length: int) -> memoryview:
            nonlocal done
            if done + length > len(view):
                raise FileError(f"{self.path}: {name} holds more than its shape {found.shape} says")
            done += length
            return view[done - length : done]

        # The walker holds a chunk before and after each filter, and a batch of rows.
        memory = 4 * _chunk_bytes(found) + (64 << 20) if found.chunk else 0
        what = {"name": name, "start": [int(a) for a in start], "stop": [int(b) for b in stop]}
        what["plugin"] = any(code > _OUR_LIMIT and code != _LZF for code, _ in found.filters)
        try:
            work = out.nbytes + len(chunks) * _chunk_bytes(found) if found.chunk else out.nbytes
            hdf5_client.ask(self._place, self.raw.size, "stream", memory, work, room, **what)
        except FileError as error:
            raise FileError(f"{error} [{name}]") from None
        if done != len(view):
            raise FileError(f"{self.path}: {name}: {done} of {len(view)} bytes came; altered")
        return _native(out, found.dtype)

    def _blosc_header(self, name: str, found: Dataset, mask: int, address: int, size: int) -> None:
        """A Blosc chunk says in bytes 4 to 8 what it holds; one that did not shrink is stored as it is."""
        if mask >> (len(found.filters) - 1) & 1:
            return
        count = self.meter.bytes
        head = self.raw.take(name, address, min(size, 16))
        self.meter.bytes = count  # the chunk is charged already
        if len(head) < 16 or int.from_bytes(head[4:8], "little") != _chunk_bytes(found):
            raise FileError(
                f"{self.path}: {name}: a Blosc chunk does not hold {_chunk_bytes(found)} bytes; altered"
            )


def is_hdf5(raw: RawFile) -> bool:
    """Whether a file begins as HDF5 does."""
    return raw.size >= 8 and raw.take("signature", 0, 8) == SIGNATURE


def _readable(found: dict) -> bool:
    plain = "broken" not in found and found["shape"] is not None
    return plain and found["layout"] in ("compact", "contiguous", "chunked") and len(found["dtype"]) < 5


def _dataset(found: dict) -> Dataset:
    filters = tuple((code, tuple(values)) for code, values in found["filters"])
    chunk = tuple(found["chunk"]) if found["chunk"] else None
    dtype = np.dtype(found["dtype"])
    return Dataset(
        tuple(found["shape"]), dtype, found["layout"], chunk, filters, found["offset"], found["attributes"]
    )


def _chunk_bytes(found: Dataset) -> int:
    return int(np.prod(found.chunk, dtype=np.int64)) * found.dtype.itemsize if found.chunk else 0


def _blosc(found: Dataset) -> bool:
    return bool(found.filters) and found.filters[-1][0] == _BLOSC


def _native(out: np.ndarray, stored: np.dtype) -> np.ndarray:
    """Big-endian numbers as this machine writes them; JAX takes no others."""
    return out if stored.isnative else out.astype(stored.newbyteorder("="))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="galaxyjax-chunks")
