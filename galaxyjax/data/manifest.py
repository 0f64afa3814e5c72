"""Manifests, one TOML file a dataset: what it is, where its files are, how to know them, how to cite it."""

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

import galaxyjax
from galaxyjax.core.errors import FileError, unknown_name


@dataclass(frozen=True)
class Source:
    """One file of a dataset: its local name, size in bytes, sha256, and addresses in order of preference."""

    name: str
    size: int
    sha256: str
    url: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """One dataset. path is the TOML file that it was read from."""

    name: str
    title: str
    licence: str
    citation: tuple[str, ...]
    files: tuple[Source, ...]
    note: str = ""
    path: Path = Path()

    def file(self, name: str) -> Source:
        """Return the file with this local name. Raises UnknownName."""
        for source in self.files:
            if source.name == name:
                return source
        raise unknown_name(f"file of {self.name}", name, [source.name for source in self.files])


def places() -> tuple[Path, ...]:
    """Folders of manifests, first wins: inside the installed package, then beside it in a checkout."""
    package = Path(galaxyjax.__file__).parent
    return package / "_manifests", package.parent / "data_manifests"


def manifests() -> list[str]:
    """Return the names of all manifests at hand, sorted."""
    return sorted({path.stem for place in places() for path in place.glob("*.toml")})


def load_manifest(name: str | Path) -> Manifest:
    """Return the manifest with this name, or of this TOML file. Raises UnknownName or FileError."""
    if Path(name).suffix == ".toml":
        return read_manifest(name)
    for place in places():
        if (place / f"{name}.toml").is_file():
            return read_manifest(place / f"{name}.toml")
    raise unknown_name("dataset", name, manifests())


def read_manifest(path: str | Path) -> Manifest:
    """Return the manifest in a TOML file. Raises FileError that names the entry which is missing or wrong."""
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(f"{path}: not a TOML file ({error})") from None
    sources = content.pop("files", None)
    if not sources:
        raise FileError(f"{path}: no [[files]]; a manifest names at least one")
    content["files"] = tuple(_source(path, entry) for entry in sources)
    _check_names(path, Manifest, content, optional=("note", "path"))
    return Manifest(**{**content, "citation": tuple(content["citation"]), "path": path})


def _source(path: Path, entry: dict) -> Source:
    _check_names(path, Source, entry)
    source = Source(**{**entry, "url": tuple(entry["url"])})
    # The name becomes a path below the cache: it must stay there.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", source.name):
        raise FileError(
            f"{path}: the file name {source.name!r} may hold only letters, digits, '.', '_' and '-'"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", source.sha256):
        raise FileError(f"{path}: {source.name}: sha256 must be 64 hexadecimal digits, not {source.sha256!r}")
    for url in source.url:
        if not url.startswith(("https://", "http://")):
            raise FileError(f"{path}: {source.name}: the address {url!r} is not http or https")
    return source


def _check_names(path: Path, kind: type, entry: dict, optional: tuple[str, ...] = ()) -> None:
    known = {field.name for field in fields(kind)}
    for name in entry:
        if name not in known or name == "path":
            raise FileError(f"{path}: {unknown_name('entry', name, known - {'path'})}")
    for name in sorted(known - set(entry) - set(optional)):
        raise FileError(f"{path}: the entry {name!r} of {entry.get('name', kind.__name__)} is missing")
