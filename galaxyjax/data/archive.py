"""Archives unpacked without trust: nothing lands outside the folder, and nothing but plain files and folders.

Refused before anything is written: absolute names, '..', links, devices, names that two members share, and
more bytes than were agreed on. Everything is copied by hand, so that no mode, owner or link of the archive
takes effect.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from galaxyjax.core.errors import FileError
from galaxyjax.core.files import atomic_path
from galaxyjax.data.paths import check_name

RATIO = 1000
"""Unpacked bytes for each packed one beyond which an archive is taken for a bomb (zlib packs 1032 : 1)."""
MEMBERS = 1_000_000


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    folder: bool
    plain: bool
    open: Callable[[], BinaryIO]


def unpack(archive: str | Path, folder: str | Path, limit: int | None = None) -> list[Path]:
    """Unpack a tar (plain, gz, bz2, xz) or zip file into a new folder, whole or not at all; return its files.

    limit: most bytes in all, 1000 times the archive's size unless told. Raises FileError that names the
    archive, the member, and what is wrong with it; the folder is then as it was.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() or folder.is_symlink():
        raise FileError(f"{folder}: exists; unpack into a new folder, or remove it")
    with _members(archive) as members:
        limit = RATIO * archive.stat().st_size if limit is None else limit
        members = _checked(archive, members, limit)
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for member in members:
                _write(archive, member, temporary / member.name)
    return [folder / member.name for member in members if not member.folder]


def _write(archive: Path, member: _Member, path: Path) -> None:
    if member.folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with member.open() as packed, open(path, "xb") as file:
            left = member.size
            while left and (piece := packed.read(min(left, 1 << 20))):
                file.write(piece)
                left -= len(piece)
            if left or packed.read(1):
                raise FileError(f"{archive}: {member.name}: not as long as the archive says")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{archive}: {member.name}: cannot be unpacked ({error})") from None


def _checked(archive: Path, members: Iterator[_Member], limit: int) -> list[_Member]:
    """All members, when every one of them is harmless."""
    kept, names, files, total = [], set(), set(), 0
    for member in members:
        name = check_name(member.name.removeprefix("./").rstrip("/") or ".", f"{archive}")
        if not member.plain:
            raise FileError(f"{archive}: {name}: a link or a device; only files and folders are unpacked")
        if name.lower() in names and not member.folder:
            raise FileError(f"{archive}: {name}: there twice, or once more in other letters")
        names.add(name.lower())
        files |= set() if member.folder else {name.lower()}
        total += member.size
        if total > limit or len(kept) >= MEMBERS:
            raise FileError(
                f"{archive}: unpacks to more than {limit} bytes or {MEMBERS} files; if it is meant to, give "
                "a larger limit"
            )
        kept.append(_Member(name, member.size, member.folder, True, member.open))
    for member in kept:
        above = {str(parent).lower() for parent in Path(member.name).parents}
        if above & files:
            raise FileError(f"{archive}: {member.name}: lies in what is a file")
    return kept


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    try:
        if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield (_of_zip(archive, opened, entry) for entry in opened.infolist())
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                # A root entry "./" says nothing.
                yield (_of_tar(opened, entry) for entry in opened if entry.name not in (".", "./"))
        else:
            raise FileError(f"{archive}: neither a tar nor a zip file")
    except FileNotFoundError:
        raise FileError(f"{archive}: no such file") from None
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FileError(f"{archive}: not a whole archive ({error}); fetch it again") from None


def _of_tar(opened: tarfile.TarFile, entry: tarfile.TarInfo) -> _Member:
    plain = entry.isdir() or (entry.isreg() and not entry.issparse())
    return _Member(entry.name, entry.size, entry.isdir(), plain, lambda: opened.extractfile(entry))


def _of_zip(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> _Member:
    mode = entry.external_attr >> 16
    plain = not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
    if entry.flag_bits & 1:
        raise FileError(f"{archive}: {entry.filename}: encrypted")
    return _Member(entry.filename, entry.file_size, entry.is_dir(), plain, lambda: opened.open(entry))


def unpacked(archive: Path) -> Path:
    """Return the folder beside an archive where `galaxyjax data fetch --unpack` puts it."""
    name = archive.name
    for suffix in (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip"):
        if name.lower().endswith(suffix):
            return archive.with_name(name[: -len(suffix)])
    raise FileError(f"{archive}: neither a tar nor a zip file by its name")
