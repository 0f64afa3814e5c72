"""Ask the process of `hdf5_walker` about a file; a crash over there is one error here."""

import atexit
import contextlib
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from galaxyjax.core.errors import FileError

CPU_S = 2.0
"""Seconds of processor time that a small file may take; a large one gets 1 s more for each 256 MiB."""

SILENCE_S = 120.0
"""Seconds without a byte (a slow disk, not a loop: that one takes processor time) before giving up."""

MEMORY = 64 << 20
"""Bytes that the walker may take beyond what Python and libhdf5 themselves do."""

SLOT = 4 << 20
"""Bytes of each of two slots of memory shared with the walker: one is filled while the other is emptied."""

_MAX_FRAME = 1 << 31


class Walker:
    """The other process, two pipes and some memory shared with it; one for each process of ours."""

    def __init__(self):
        script = Path(__file__).with_name("hdf5_walker.py")
        handle = _shared_file()
        share = {} if handle is None else {"pass_fds": [handle]}
        # -P: the script's folder must not stand in front of the standard library.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(-1 if handle is None else handle), str(SLOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Chunks come and go: their memory is kept, not given back to the system and cleared anew.
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "1073741824"},
            **share,
        )
        self.owner = os.getpid()
        self.serving: object = None
        self.plugin = False
        self.memory = None if handle is None else memoryview(mmap.mmap(handle, 2 * SLOT))
        if handle is not None:
            os.close(handle)
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            # 16 times the usual pipe: fewer turns between the two processes.
            fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)

    def frames(self, request: dict, file: object) -> Iterator[tuple[bytes, int]]:
        """Send a request; yield (kind, length) of each frame, whose payload the caller must `take`.

        file: what tells one file from another; the walker uses a new fork when it changes.
        """
        plugin = request.get("plugin", False)
        # A fork without the plugin cannot take it in later; with it, it reads everything.
        if self.serving is not None and (self.serving != file or plugin > self.plugin):
            self.process.stdin.write(b"\n")
        self.serving, self.plugin = file, self.plugin or plugin
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        while True:
            head = bytearray(9)
            self.take(memoryview(head))
            kind, length = bytes(head[:1]), struct.unpack("<Q", head[1:])[0]
            if kind not in b"JBME." or length > (SLOT if kind == b"M" else _MAX_FRAME):
                raise ConnectionError("an answer that makes no sense")
            yield kind, length
            if kind == b".":
                return

    def take(self, into: memoryview) -> None:
        """Fill `into` from the pipe. Raises ConnectionError when the walker is gone, TimeoutError if mute."""
        source, done = self.process.stdout.fileno(), 0
        while done < len(into):
            if not select.select([source], [], [], SILENCE_S)[0]:
                raise TimeoutError
            got = os.readv(source, [into[done:]])
            if got == 0:
                raise ConnectionError
            done += got

    def empty(self, slot: int, into: memoryview) -> None:
        """Fill `into` from a slot of the shared memory, and say so."""
        into[:] = self.memory[slot * SLOT : slot * SLOT + len(into)]
        self.process.stdin.write(b".")

    def payload(self, length: int) -> bytes:
        """Return the payload of the frame that was announced."""
        buffer = bytearray(length)
        self.take(memoryview(buffer))
        return bytes(buffer)

    def close(self) -> int:
        """End the process; return the signal that had ended its fork, 0 if none."""
        if self.owner != os.getpid():
            return 0
        self.process.stdin.close()
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        return code - 100 if code > 100 else 0


def _shared_file() -> int | None:
    """A file without a name for two processes to map, in memory where the system has such; or None."""
    if not hasattr(os, "fork"):  # nor does the walker fork: everything goes through the pipe
        return None
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), 2 * SLOT)
            return os.dup(file.fileno())
    import fcntl

    handle = os.memfd_create("galaxyjax", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(handle, 2 * SLOT)
    # A walker gone wild must not take away memory that is mapped here.
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return handle


_lock = threading.RLock()
_walker: Walker | None = None


def pid() -> int | None:
    """Return the number of the other process, None while there is none: for whoever measures it."""
    return _walker.process.pid if _walker is not None else None


def _current() -> Walker:
    global _walker
    if _walker is None or _walker.owner != os.getpid() or _walker.process.poll() is not None:
        _walker = Walker()
    return _walker


def _stop() -> int:
    global _walker
    walker, _walker = _walker, None
    return walker.close() if walker is not None else 0


atexit.register(_stop)


def ask(
    path: Path,
    size: int,
    do: str,
    memory: int = 0,
    work: int = 0,
    room: Callable[[int], memoryview] | None = None,
    **what,
) -> list:
    """Return the answers of the walker about a file: parsed JSON and bytes, in order.

    size: of the file. memory: bytes wanted beyond MEMORY. work: bytes that will be decoded, for the time
    limit. room: says where the next so many bytes go, instead of their being returned. Raises FileError that
    names the file when libhdf5 refuses it, crashes, loops or wants too much memory.
    """
    cpu = CPU_S + size / (256 << 20) + work / (64 << 20)
    request = {"do": do, "path": str(path), "cpu_s": cpu, "memory": MEMORY + memory, **what}
    try:
        status = os.stat(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None
    file = (path, status.st_ino, status.st_size, status.st_mtime_ns)
    answers = []
    with _lock:
        walker, complaint, slot = _current(), None, 0
        try:
            for kind, length in walker.frames(request, file):
                if kind == b"E":
                    complaint = walker.payload(length).decode("utf-8", "replace")
                elif kind == b"J":
                    answers.append(json.loads(walker.payload(length)))
                elif kind == b"M" and room is not None:
                    walker.empty(slot, room(length))
                    slot = 1 - slot
                elif kind == b"B" and room is not None:
                    walker.take(room(length))
                elif kind == b"B":
                    answers.append(walker.payload(length))
        except (ConnectionError, OSError, json.JSONDecodeError) as error:
            code = _stop()
            raise FileError(f"{path}: {_cause(error, code, cpu)}; fetch or make it again") from None
        except BaseException:  # the pipe may hold half an answer
            _stop()
            raise
    if complaint is not None:
        walker.serving = "a file that libhdf5 refused"  # whatever that left behind is not used again
        raise FileError(f"{path}: HDF5 cannot read it ({complaint})")
    return answers


def _cause(error: Exception, code: int, cpu: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {SILENCE_S:.0f} s while its structure was read"
    if code == getattr(signal, "SIGPROF", -1):
        return f"its structure was not read after {cpu:.1f} s of work: altered, or not HDF5 at all"
    if code:
        return f"its structure crashes libhdf5 (signal {code}): altered or cut short"
    return f"its structure cannot be read ({str(error) or 'no answer'})"
