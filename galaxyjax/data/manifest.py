"""Manifests, one TOML file a dataset: what it is, where its files are, how to know them, how to cite it.

A small dataset lists its files. A suite of thousands of simulations has `sets` (which simulations there are)
and `products` (the path of a file of one), so that a few lines name them all; `tables` say which row of which
parameter file belongs to which simulation.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import galaxyjax
from galaxyjax.core.errors import FileError, unknown_name
from galaxyjax.data.entries import Access, Layout, Manifest, Product, Set, Source, Table
from galaxyjax.data.paths import check_name
from galaxyjax.data.template import Template

UNPUBLISHED = "unpublished"
"""What a manifest writes for a sha256 that nobody published; the first download pins it."""


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
        if name in manifests() and (place / f"{name}.toml").is_file():
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
    try:
        return _manifest(path, content)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path}: an entry is of the wrong kind ({error})") from None


def _manifest(path: Path, content: dict) -> Manifest:
    sources = content.pop("files", [])
    if not sources and not content.get("products"):
        raise FileError(f"{path}: no [[files]] and no [products]; a manifest names at least one file")
    _check_names(path, Manifest, content)
    content["access"] = _access(path, content.get("access", {}))
    content["files"] = tuple(_source(path, entry, content["access"].files) for entry in sources)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", content["name"]):
        raise FileError(f"{path}: the name {content['name']!r} may hold only a-z, 0-9, '_' and '-'")
    content["citation"] = tuple(content["citation"])
    local = content.get("local", ())
    content["local"] = tuple(f if f == "." else check_name(f, f"{path}: local") for f in local)
    kinds = {"sets": Set, "products": Product, "layouts": Layout, "tables": Table}
    for part, kind in kinds.items():
        content[part] = {name: _entry(path, kind, name, e) for name, e in content.get(part, {}).items()}
    manifest = Manifest(**{**content, "path": path})
    _check_sense(manifest)
    return manifest


def _source(path: Path, entry: dict, bases: tuple[str, ...] = ()) -> Source:
    unpublished = entry.get("sha256") == UNPUBLISHED
    if bases and "url" not in entry:
        entry = {**entry, "url": [f"{base.rstrip('/')}/{entry.get('name')}" for base in bases]}
    _check_names(path, Source, {"size": None, **entry} if unpublished else entry)
    source = Source(entry["name"], entry.get("size"), entry["sha256"], tuple(entry["url"]))
    check_name(source.name, str(path))
    if not unpublished and not re.fullmatch(r"[0-9a-f]{64}", source.sha256):
        raise FileError(
            f"{path}: {source.name}: sha256 must be 64 hexadecimal digits or {UNPUBLISHED!r}, "
            f"not {source.sha256!r}"
        )
    if source.size is not None and (not isinstance(source.size, int) or source.size < 0):
        raise FileError(f"{path}: {source.name}: size must be a number of bytes, not {source.size!r}")
    _check_addresses(path, source.name, source.url)
    return Source(source.name, source.size, None, source.url) if unpublished else source


def _access(path: Path, entry: dict) -> Access:
    _check_names(path, Access, entry)
    addresses = {part: tuple(entry.get(part, ())) for part in ("base", "files")}
    access = Access(**{**entry, **addresses})
    _check_addresses(path, "access", access.base + access.files)
    if access.key_header and not all(url.startswith("https://") for url in access.base):
        raise FileError(f"{path}: access: a key may only go to https addresses")
    return access


def _check_addresses(path: Path, name: str, addresses: tuple[str, ...]) -> None:
    # A local path here would let a manifest from elsewhere copy any file of this machine.
    for url in addresses:
        if not url.startswith(("https://", "http://")) or re.search(r"[\s\x00-\x1f@]", url):
            raise FileError(f"{path}: {name}: the address {url!r} is not http or https")


def _entry(path: Path, kind: type, name: str, entry: dict):
    _check_names(path, kind, {"name": name, **entry} if kind is Set else entry, name)
    made = dict(entry)
    if kind is Set:
        made["name"] = name
    for key in ("products", "columns", "text", "summed", "row", "simulations"):
        if key in made:
            made[key] = (made[key],) if isinstance(made[key], str) else tuple(made[key])
    if "axes" in made:
        axes = made["axes"].items()
        made["axes"] = {
            axis: tuple(v for text in values for v in Template(text).expand()) for axis, values in axes
        }
    if "normalise" in made:
        made["normalise"] = {ours: (theirs, float(fid)) for ours, (theirs, fid) in made["normalise"].items()}
    return kind(**made)


def _check_names(path: Path, kind: type, entry: Mapping, title: str = "") -> None:
    known = {f.name: f for f in fields(kind)}
    for name in entry:
        if name not in known or (kind is Manifest and name == "path"):
            raise FileError(f"{path}: {unknown_name('entry', name, set(known) - {'path'})}")
    for name, f in known.items():
        required = f.default is f.default_factory  # both are MISSING where nothing stands for it
        if required and name not in entry:
            raise FileError(
                f"{path}: the entry {name!r} of {title or entry.get('name', kind.__name__)} is missing"
            )


def _check_sense(manifest: Manifest) -> None:
    """What one entry says of another must hold, and no file may hide another."""
    path = manifest.path
    names: dict[str, str] = {}
    for source in manifest.files:
        clash = names.setdefault(source.name.lower(), source.name)
        if clash is not source.name:
            raise FileError(f"{path}: {source.name} and {clash} would be one file on some systems")
    for folder in {str(parent) for name in names for parent in Path(name).parents} - {"."}:
        if folder in names:
            raise FileError(f"{path}: {names[folder]} is a file and the folder of another")
    for name, table in manifest.tables.items():
        manifest.file(table.file)
        if table.layout not in manifest.layouts:
            raise FileError(
                f"{path}: tables: {name}: {unknown_name('layout', table.layout, manifest.layouts)}"
            )
    for name, chosen in manifest.sets.items():
        check_name(name, f"{path}: sets")
        if chosen.table and ":" not in chosen.table and chosen.table not in manifest.tables:
            raise FileError(f"{path}: sets: {name}: {unknown_name('table', chosen.table, manifest.tables)}")
        if chosen.simulations == ("table",) and not chosen.table:
            raise FileError(f"{path}: sets: {name}: its simulations are a table's, and it has none")
        for product in chosen.products:
            if product not in manifest.products:
                raise FileError(
                    f"{path}: sets: {name}: {unknown_name('product', product, manifest.products)}"
                )
    for product, example in _examples(manifest):
        check_name(example, f"{path}: products: {product}")


def _examples(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for product, kind in manifest.products.items():
        values = {axis: known[0] for axis, known in kind.axes.items()}
        yield product, Template(kind.path).fill({"set": "set", "simulation": "simulation", **values})
