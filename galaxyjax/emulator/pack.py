"""An emulator as one file to publish, and back: a plain archive of plain files, each with its hash.

The archive is a ZIP without compression and without times, so that the same folder gives the same bytes
everywhere, and so that nothing in it can be larger than the archive itself. Its first entry lists the others
with their sizes and SHA-256. Nothing is unpickled, and nothing in an archive is run.
"""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path, PurePosixPath

from galaxyjax.core.errors import ConfigError, FileError, UnknownName
from galaxyjax.core.files import atomic_path, sha256
from galaxyjax.data.paths import check_name
from galaxyjax.emulator import shelf
from galaxyjax.emulator.contract import FILE_NAME, read_contract
from galaxyjax.emulator.store import load

LIST = "galaxyjax.json"
FORMAT = {"format": "galaxyjax emulator", "format_version": 1}
# Beside the contract and what it lists. No HTML: a page from a stranger could hold a script.
EXTRAS = ("card.md", "recipe.py", "validation/*.json", "validation/*.npz", "validation/*.png")
SUFFIXES = (".json", ".md", ".npz", ".png", ".py", ".safetensors")
LARGEST = 8 << 30  # bytes of a whole archive
LARGEST_LIST = 1 << 20
MOST_FILES = 1000
_CHUNK = 1 << 20


def pack(name: str | Path, file: str | Path) -> str:
    """Write an emulator of the shelf, or of a folder, to one archive and return its SHA-256.

    The same bytes for the same files, on any machine and at any time. The emulator is loaded first: what
    cannot be loaded is not packed. Raises FileError naming the file that is missing or altered.
    """
    load(name)
    folder, file = shelf.find(name), Path(file)
    contract = read_contract(folder)
    extras = (path for pattern in EXTRAS for path in folder.glob(pattern) if path.is_file())
    names = {FILE_NAME, *contract.files, *(path.relative_to(folder).as_posix() for path in extras)}
    content = {name: (folder / check_name(name, str(folder))).read_bytes() for name in sorted(names)}
    files = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in content.items()
    }
    about = {**FORMAT, "name": contract.name, "version": contract.version, "files": files}
    content = {LIST: (json.dumps(about, indent=2) + "\n").encode(), **content}
    with atomic_path(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for entry, data in content.items():
            info = zipfile.ZipInfo(entry, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return sha256(file)


def unpack(file: str | Path, folder: str | Path | None = None) -> Path:
    """Put the emulator of an archive into `folder`, and return it; by default on the user's own shelf.

    Everything is checked before it is used, and the emulator is loaded before it takes its place: after an
    error nothing is left. Raises FileError for an archive that is damaged, hostile, too large or not one of
    an emulator, and for a folder that exists; ConfigError for a name that the shelf has already.
    """
    file = Path(file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _checked_entries(file, archive)
            about = _listed(file, archive, entries)
            target = _target(file, about["name"]) if folder is None else Path(folder)
            if target.exists():
                raise FileError(f"{target}: there already; remove it, or give another folder")
            with atomic_path(target) as temporary:
                for name, entry in entries.items():
                    if name != LIST:
                        _extract(file, archive, entry, temporary / name, about["files"][name])
                contract = load(temporary).contract
                if (contract.name, contract.version) != (about["name"], about["version"]):
                    raise FileError(f"{file}: its list and its contract name different emulators")
    except FileNotFoundError:
        raise FileError(f"{file}: no such file") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise FileError(f"{file}: not a whole archive of an emulator ({error}); fetch it again") from error
    return target


def _target(file: Path, name: str) -> Path:
    """Where a name goes on the user's own shelf; a stranger's must not stand for one that is there."""
    try:
        there = shelf.find(name)
    except (FileError, UnknownName):
        return shelf.own_shelf() / name
    raise ConfigError(f"{file}: the shelf has {name} already, in {there}; give --out DIR")


def _checked_entries(file: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by name, when each is a plain file that stays in its folder."""
    entries = {}
    for entry in archive.infolist():
        name = check_name(entry.filename, str(file))
        kind = entry.external_attr >> 16
        if entry.is_dir() or not (stat.S_ISREG(kind) or stat.S_IFMT(kind) == 0):
            raise FileError(f"{file}: {name} is not a plain file")
        if PurePosixPath(name).suffix not in SUFFIXES:
            raise FileError(f"{file}: {name} is no file of an emulator; those end in {', '.join(SUFFIXES)}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise FileError(f"{file}: {name} is compressed, which `galaxyjax shelf pack` never does")
        entries[name] = entry
    lower = {name.lower() for name in entries}
    if len(lower) != len(archive.infolist()):
        raise FileError(f"{file}: a name is in it twice")
    if any(str(parent) in lower for name in lower for parent in PurePosixPath(name).parents):
        raise FileError(f"{file}: a name in it is both a file and a folder")
    total, size = sum(entry.file_size for entry in entries.values()), file.stat().st_size
    if total > size or size > LARGEST or len(entries) > MOST_FILES:
        raise FileError(
            f"{file}: {len(entries)} files of {total} bytes in an archive of {size}; at most {MOST_FILES} "
            f"files and {LARGEST} bytes, and no more than the archive itself holds"
        )
    return entries


def _listed(file: Path, archive: zipfile.ZipFile, entries: dict) -> dict:
    """The archive's own list, when it is one and names exactly what is there."""
    if LIST not in entries or entries[LIST].file_size > LARGEST_LIST:
        raise FileError(f"{file}: has no {LIST}; not an archive of an emulator")
    try:
        about = json.loads(archive.read(entries[LIST]))
        known = {name: about[name] for name in FORMAT}
        files = {name: (int(said["size"]), str(said["sha256"])) for name, said in about["files"].items()}
        found = {name: about[name] for name in ("name", "version")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{file}: {LIST} is not a list of files ({error})") from error
    if known != FORMAT:
        raise FileError(f"{file}: {known}, this galaxyjax reads {FORMAT}; install the one that wrote it")
    if not isinstance(found["name"], str) or "/" in check_name(found["name"], str(file)):
        raise FileError(f"{file}: {found['name']!r} is not the name of an emulator")
    if set(files) != set(entries) - {LIST}:
        odd = sorted(set(files) ^ (set(entries) - {LIST}))
        raise FileError(f"{file}: {odd[0]} is in the archive or in its list, but not in both")
    return {**found, "files": files}


def _extract(file: Path, archive: zipfile.ZipFile, entry, path: Path, said: tuple[int, str]) -> None:
    """Write one entry, hashed as it passes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, count = hashlib.sha256(), 0
    with archive.open(entry) as source, open(path, "xb") as target:
        while block := source.read(_CHUNK):
            digest.update(block)
            count += len(block)
            target.write(block)
    if (count, digest.hexdigest()) != said:
        raise FileError(
            f"{file}: {entry.filename} is not what the list says (size or sha256); fetch it again"
        )
