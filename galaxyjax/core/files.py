"""Files that are whole or absent: atomic writes, JSON, npz without pickle, and hashes."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from galaxyjax.core.errors import FileError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, for a file or folder; it becomes `path` if the block ends well.

    On an error the temporary is removed and `path` is as it was; after a kill only a hidden `.<name>.*.tmp`
    folder is left. A reader sees the old `path` or the new one, never a part; replacing a folder needs two
    renames, so between them it may see none. Missing parent folders are made. Raises FileError if nothing was
    written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        temporary = holder / path.name
        yield temporary
        if not temporary.exists():
            raise FileError(f"{path}: nothing was written, so nothing is kept")
        _sync(temporary)
        if path.is_dir() and not path.is_symlink():
            path.rename(holder / "previous")
            try:
                temporary.rename(path)
            except OSError:
                (holder / "previous").rename(path)
                raise
        else:
            temporary.replace(path)
        _sync_one(path.parent)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _sync(path: Path) -> None:
    """Bring contents to the disk before the rename: some file systems otherwise do it the other way round."""
    if path.is_dir():
        for child in path.iterdir():
            _sync(child)
    _sync_one(path)


def _sync_one(path: Path) -> None:
    if not path.is_file() and os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse fsync; the rename is still atomic for every reader
    finally:
        os.close(handle)


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as indented UTF-8 JSON, atomically. ValueError on NaN and infinity: JSON has none."""
    text = json.dumps(obj, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return the object in a JSON file. Raises FileError when it is missing or cut short."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: not whole JSON ({error}); fetch or make it again") from error


def write_npz(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays to an npz file, atomically. Raises FileError on object arrays: they need pickle."""
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in arrays.items():
        if value.dtype.hasobject:
            raise FileError(
                f"{path}: array {name!r} has dtype {value.dtype}, which needs pickle; give numbers"
            )
    # An open file, so that savez keeps a name that does not end in .npz.
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file. Raises FileError when it is missing, cut short or holds objects."""
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):  # np.load would take it for a pickle and advise to load it unsafely
        raise FileError(f"{path}: not an npz file; cut short or altered, fetch or make it again")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(f"{path}: not a whole npz file ({error}); fetch or make it again") from error


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits. Raises FileError when it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error


def sha256_tree(folder: str | Path) -> str:
    """Return one SHA-256 over the relative names and contents of all files below `folder`, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"{folder}: no such folder")
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files):
        digest.update(f"{sha256(files[name])}  {name}\n".encode())
    return digest.hexdigest()
