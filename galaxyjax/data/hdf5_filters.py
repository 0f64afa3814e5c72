"""The filters that nearly all HDF5 files use, undone one chunk at a time: deflate, shuffle, fletcher32."""

import zlib
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError


def inflate(path: Path, name: str, data: bytes, most: int) -> bytes:
    """Undo deflate (zlib), giving at most `most` bytes. Raises FileError when the stream is damaged."""
    try:
        return zlib.decompressobj().decompress(data, most)  # never more than `most`, whatever the data says
    except zlib.error as error:
        raise FileError(f"{path}: {name}: a chunk is damaged ({error}); fetch or make it again") from None


def unshuffle(data: bytes, itemsize: int) -> bytes:
    """Bring the bytes of each number together again; a rest shorter than a number is not shuffled."""
    if itemsize < 2:
        return data
    whole = len(data) // itemsize
    planes = np.frombuffer(data, np.uint8, whole * itemsize).reshape(itemsize, whole)
    return np.ascontiguousarray(planes.T).tobytes() + data[whole * itemsize :]


def fletcher32(path: Path, name: str, data: bytes) -> bytes:
    """Strip and check the four bytes of a Fletcher checksum (two sums of 16-bit words modulo 65535)."""
    body, kept = data[:-4], data[-4:]
    if len(data) < 4:
        raise FileError(f"{path}: {name}: a chunk has no checksum; altered")
    words = np.frombuffer(body[: len(body) // 2 * 2], ">u2").astype(np.uint64)
    if len(body) % 2:
        words = np.append(words, np.uint64(body[-1] << 8))
    first = int(words.sum()) % 65535
    # The second sum is of all running sums: word i counts n - i times. In parts, so that 64 bits suffice.
    weights = np.arange(len(words), 0, -1, dtype=np.uint64)
    second = sum(
        int((words[i : i + 65536] * (weights[i : i + 65536] % 65535)).sum())
        for i in range(0, len(words), 65536)
    )
    found = (second % 65535) << 16 | first
    told = int.from_bytes(kept, "little")
    # 65535 and 0 are the same number here.
    same = all((found >> s & 0xFFFF) % 65535 == (told >> s & 0xFFFF) % 65535 for s in (0, 16))
    if not same:
        raise FileError(f"{path}: {name}: the checksum of a chunk does not match; fetch or make it again")
    return body
