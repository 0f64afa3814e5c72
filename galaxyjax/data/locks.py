"""One writer at a time, among threads and processes, of a file that may be renamed away meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxyjax.data.paths import open_new


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Yield a readable and writable descriptor of `path` (made when missing) that nobody else has locked.

    Waits for whoever has it. Raises FileError when the name is a symbolic link.
    """
    while True:
        handle = open_new(path, append=True)
        try:
            _lock(handle)
            # Who had it may have renamed or removed it: this descriptor is then no longer of that name.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                yield handle
                return
        finally:
            os.close(handle)


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two downloads of one file at once are then the user's to avoid
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # each open() has its own, so threads wait for each other too
    except OSError:
        pass  # a file system without locks


def sync_folder(folder: Path) -> None:
    """Bring a rename in this folder to the disk."""
    if os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse; the rename is atomic all the same
    finally:
        os.close(handle)
