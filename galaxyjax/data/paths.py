"""Names that become paths: relative, plain, and never out of the folder that they belong to."""

import os
import re
from pathlib import Path

from galaxyjax.core.errors import FileError

# No leading dot (so no "..", and no clash with partial files, which are hidden) and no leading dash (which
# a command line would take for an option); "=" and "+" stand in published names such as Maps_..._z=0.00.npy.
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*", re.ASCII)
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{stem}{n}" for stem in ("com", "lpt") for n in range(1, 10)}
_DEPTH, _LENGTH = 16, 200


def check_name(name: str, where: str = "name") -> str:
    """Return a name that is safe below any folder, on every system: segments of plain characters.

    Letters, digits, '.', '_', '-', '=' and '+'; folders separated by '/'. Refused: empty and absolute names,
    '..', backslashes, drives, control characters, hidden files, names that Windows keeps for devices, and
    more than 16 folders or 200 characters in one of them. Raises FileError naming `where`.
    """
    segments = name.split("/") if isinstance(name, str) else []
    for segment in segments:
        plain = _SEGMENT.fullmatch(segment) and not segment.endswith(".") and len(segment) <= _LENGTH
        if not plain or segment.split(".")[0].lower() in _DEVICES:
            break
    else:
        if 0 < len(segments) <= _DEPTH:
            return name
    raise FileError(
        f"{where}: the file name {name!r} may hold only letters, digits, '.', '_', '-', '=' and '+', parts "
        "between '/' beginning with a letter or a digit; nothing may lead out of its folder"
    )


def below(root: str | Path, name: str, where: str = "name", links: bool = False) -> Path:
    """Return root/name, with nothing on the way that leads elsewhere.

    A symbolic link below root is refused; with `links` one is allowed as long as it stays below root. root
    itself may be a link: it is the user's choice. Raises FileError.
    """
    root, path = Path(root), Path(root)
    for segment in check_name(name, where).split("/"):
        path = path / segment
        if path.is_symlink() and not links:
            raise FileError(f"{path}: a symbolic link, which could lead anywhere; put the file itself there")
    if links and not path.resolve().is_relative_to(root.resolve()):
        raise FileError(f"{path}: leads out of {root} to {path.resolve()}; put the file itself there")
    return path


def open_new(path: Path, append: bool = False) -> int:
    """Return a descriptor, readable and writable, of a file that is made here or was: never through a link.

    Raises FileError when the name is a symbolic link.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags if append else flags | os.O_TRUNC, 0o644)
    except OSError as error:
        if path.is_symlink():
            raise FileError(f"{path}: a symbolic link, which could lead anywhere; remove it") from None
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error
