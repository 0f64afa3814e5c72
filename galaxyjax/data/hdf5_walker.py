"""The process that touches libhdf5, so that no file can take the caller's process down.

libhdf5 crashes, loops and allocates without bound on some altered files. It therefore runs here only, in a
fork for each file with a limit on memory and, for each request, on processor time, and says where the bytes
of a dataset lie; `data.hdf5` reads them itself. Compressors that `data.hdf5` does not know are undone here
too (Blosc and others through hdf5plugin). Started by path with `python -P`: nothing of the package is
imported.

A request is a line of JSON on stdin; an empty line ends the fork, so that the next request gets a new one. An
answer is frames on stdout: kind (1 byte), length (8 bytes), payload; kinds: J (JSON), B (bytes), E (an
error's text), and a dot at the end. M has no payload: so many bytes lie in one of the two slots of the shared
memory (in turns), and a byte on stdin says that they were taken.
"""

import json
import math
import mmap
import os
import signal
import struct
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"

import h5py  # noqa: E402
import numpy as np  # noqa: E402

MAX_OBJECTS = 20_000  # links that a file may hold below one group
MAX_TEXT = 65_536  # characters of an attribute
MAX_NUMBERS = 4_096  # elements of an attribute
BATCH = 8 << 20  # bytes in one frame


class Refused(Exception):
    """What is wrong with a file, in words for its user."""


def send(kind: bytes, payload) -> None:
    """Write one frame."""
    out = sys.stdout.buffer
    out.write(kind + struct.pack("<Q", len(payload)))
    out.write(payload)


class Slots:
    """Memory shared with the caller: `view` (None without), `next` slot, how many are `full`."""

    def __init__(self, handle: int, size: int):
        self.size, self.next, self.full = size, 0, 0
        self.view = memoryview(mmap.mmap(handle, 2 * size)) if handle >= 0 else None

    def free(self) -> memoryview:
        """Return the next slot once the caller has emptied it."""
        if self.full == 2:
            self._wait()
        return self.view[self.next * self.size : (self.next + 1) * self.size]

    def send(self, count: int) -> None:
        """Say that the slot holds so many bytes."""
        sys.stdout.buffer.write(b"M" + struct.pack("<Q", count))
        sys.stdout.buffer.flush()
        self.next, self.full = 1 - self.next, self.full + 1

    def drain(self) -> None:
        """Wait until both are empty; each answer begins with the first."""
        while self.full:
            self._wait()
        self.next = 0

    def _wait(self) -> None:
        if os.read(0, 1) != b".":  # the caller is gone
            os._exit(0)
        self.full -= 1


def send_json(value) -> None:
    """Write one frame of JSON."""
    send(b"J", json.dumps(value).encode())


class Limits:
    """What the kernel lets this process have, counted from what it has now."""

    def __init__(self):
        self.most = 0
        try:
            import resource

            with open("/proc/self/statm", "rb") as handle:
                self.used = int(handle.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        except (ImportError, OSError, ValueError):
            self.used = None  # no /proc: time is limited still

    def set(self, cpu_s: float, memory: int) -> None:
        """End this process after cpu_s more seconds of work, and refuse it more than `memory`."""
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
        if self.used is None:
            return
        import resource

        self.most = max(self.most, memory)  # what an earlier request took is not given back to the system
        resource.setrlimit(resource.RLIMIT_AS, (self.used + self.most, resource.RLIM_INFINITY))


def attributes(group) -> dict:
    """The attributes of an object as plain JSON; what is too long or of a strange type is left out."""
    found = {}
    for number in range(min(h5py.h5a.get_num_attrs(group.id), MAX_OBJECTS)):
        attribute = h5py.h5a.open(group.id, index=number)
        name = attribute.name.decode("utf-8", "replace")
        dtype, shape, size = attribute.dtype, attribute.shape, attribute.get_storage_size()
        if size > MAX_TEXT or size > MAX_NUMBERS * dtype.itemsize:
            continue
        if dtype.hasobject and shape in ((), (1,)):  # text of any length
            found[name] = plain(group.attrs[name])
        elif dtype.kind in "iufS" and dtype.subdtype is None and math.prod(shape) * dtype.itemsize == size:
            value = np.empty(shape, dtype)
            attribute.read(value)
            found[name] = plain(value)
    return found


def plain(value):
    """A JSON value for an attribute's."""
    if isinstance(value, bytes):
        return value[:MAX_TEXT].decode("utf-8", "replace")
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return np.char.decode(value, "utf-8", "replace").tolist()
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" else None


def members(group) -> list[str]:
    """Names of the hard links of a group: soft and external ones may lead out of the file."""
    names = []
    if len(group) > MAX_OBJECTS:
        raise Refused(f"group {group.name}: {len(group)} members, at most {MAX_OBJECTS} are looked at")
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            names.append(name)
    return names


def describe(dataset) -> dict:
    """What a reader needs of a dataset: shape, dtype, layout, filters, where its bytes begin, attributes."""
    plist = dataset.id.get_create_plist()
    layout = {h5py.h5d.COMPACT: "compact", h5py.h5d.CONTIGUOUS: "contiguous", h5py.h5d.CHUNKED: "chunked"}
    kind = layout.get(plist.get_layout(), "virtual")
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())] if kind == "chunked" else []
    outside = plist.get_external_count() > 0
    return {
        "shape": list(dataset.shape) if dataset.shape is not None else None,
        "dtype": dataset.dtype.str if dataset.dtype.kind in "iuf" else f"unsupported {dataset.dtype}"[:80],
        "layout": "external" if outside else kind,
        "chunk": list(dataset.chunks) if dataset.chunks else None,
        "filters": [[int(code), list(values)] for code, _, values, _ in filters],
        "offset": dataset.id.get_offset() if kind == "contiguous" and not outside else None,
        "attributes": attributes(dataset),
    }


def outline(file) -> dict:
    """Groups (to depth 2) with their attributes and members, datasets with what `describe` says."""
    groups, datasets, seen = {}, {}, 0
    todo = [("/", file, 0)]
    while todo:
        path, group, depth = todo.pop()
        names = members(group)
        seen += len(names)
        if seen > MAX_OBJECTS:
            raise Refused(f"more than {MAX_OBJECTS} objects")
        groups[path] = attributes(group)
        for name in names:
            below = f"{path.rstrip('/')}/{name}"
            kind = group.get(name, getclass=True)
            if kind is h5py.Dataset:
                try:
                    datasets[below] = describe(group[name])
                except (MemoryError, RuntimeError, ValueError, OSError, KeyError, TypeError) as error:
                    datasets[below] = {"broken": " ".join(str(error).split())[:300] or type(error).__name__}
            elif kind is h5py.Group and depth < 2:
                todo.append((below, group[name], depth + 1))
    return {"groups": groups, "datasets": datasets}


def table(file, name: str) -> np.ndarray:
    """(chunks, rank + 3) int64: the chunk's place, filter mask, address and stored size."""
    dataset = file[name]
    rows = []
    most = 1
    for side, step in zip(dataset.shape, dataset.chunks, strict=True):
        most *= -(-side // step)

    def keep(chunk):
        rows.append((*chunk.chunk_offset, chunk.filter_mask, chunk.byte_offset, chunk.size))
        return True if len(rows) > most else None

    dataset.id.chunk_iter(keep)
    return np.array(rows, np.int64).reshape(-1, len(dataset.shape) + 3)


def stream(file, name: str, start: list[int], stop: list[int], slots: Slots) -> None:
    """Send the bytes of a block of a dataset, C order, whole rows at a time."""
    dataset = file[name]
    shape = tuple(b - a for a, b in zip(start[1:], stop[1:], strict=True))
    row = dataset.dtype.itemsize * math.prod(shape)
    most = BATCH if slots.view is None else slots.size
    step = max(1, most // max(row, 1))
    if dataset.chunks:  # whole chunks, so that none is undone twice
        step = max(dataset.chunks[0], step // dataset.chunks[0] * dataset.chunks[0])
    rest = tuple(slice(a, b) for a, b in zip(start[1:], stop[1:], strict=True))
    at = start[0]
    while at < stop[0]:
        end = min((at // step + 1) * step, stop[0])
        count = (end - at) * row
        if slots.view is not None and count <= slots.size:
            part = np.frombuffer(slots.free(), dataset.dtype, count // dataset.dtype.itemsize)
            dataset.read_direct(part.reshape(end - at, *shape), (slice(at, end), *rest))
            slots.send(count)
        else:
            send(b"B", memoryview(np.ascontiguousarray(dataset[(slice(at, end), *rest)])).cast("B"))
        at = end


def register() -> None:
    """Make hdf5plugin's compressors known to libhdf5, if it is installed."""
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        pass  # `serve` says so


def answer(request: dict, file, slots: Slots) -> None:
    """Do what one request asks."""
    if request["do"] == "outline":
        send_json(outline(file))
    elif request["do"] == "table":
        for name in request["names"]:
            send(b"B", table(file, name).tobytes())
    elif request["do"] == "stream":
        stream(file, request["name"], request["start"], request["stop"], slots)


def serve(request: dict, slots: Slots) -> None:
    """Answer requests about one file until told to stop: answer or error's text, then a dot.

    The file stays open, and memory that was touched stays ours: both cost more than undoing a chunk.
    """
    limits, file = Limits(), None
    while request:
        limits.set(request["cpu_s"], request["memory"])
        try:
            if request.get("plugin") and "hdf5plugin" not in sys.modules:
                raise Refused("its compressor needs hdf5plugin; pip install 'galaxyjax[data]'")
            file = file or h5py.File(request["path"], "r")
            answer(request, file, slots)
        except (Refused, MemoryError, RecursionError, OverflowError, RuntimeError) as error:
            send(b"E", (" ".join(str(error).split()) or type(error).__name__)[:500].encode())
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            ArithmeticError,
        ) as error:
            send(b"E", (" ".join(str(error).split()) or type(error).__name__)[:500].encode())
        slots.drain()  # before the caller may send another request
        send(b".", b"")
        sys.stdout.buffer.flush()
        request = read()


def read() -> dict | None:
    """The next request, {} for an empty line, None at the end; not a byte more is taken from stdin."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        line += byte
    return json.loads(line) if line else None if byte == b"" else {}


def main() -> None:
    """Answer requests until stdin closes; leave when a fork dies, so that the caller notices."""
    slots = Slots(int(sys.argv[1]), int(sys.argv[2]))
    while (request := read()) is not None:
        if not request:  # nobody to end
            continue
        if request.get("plugin"):
            register()  # here, so that later forks have it
        if not hasattr(os, "fork"):
            serve(request, slots)
            continue
        child = os.fork()
        if child == 0:
            try:
                serve(request, slots)
            finally:
                os._exit(0)  # no clean-up of what an altered file may have left
        _, status = os.waitpid(child, 0)
        if status != 0:
            reason = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            sys.exit(100 + reason)


if __name__ == "__main__":
    main()
