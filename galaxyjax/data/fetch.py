"""Files of a dataset on this machine: from GALAXYJAX_DATA, from the cache, or from where they are published.

A file is used only if its sha256 is the manifest's. A download lands under a temporary name and is renamed
when it is whole and right, so nothing in the cache looks like a file that is not.
"""

import logging
import os
from pathlib import Path

from galaxyjax.core.errors import FileError
from galaxyjax.core.files import sha256
from galaxyjax.data.manifest import Manifest, Source, load_manifest

TIMEOUT = 30.0
"""Seconds without an answer after which an address counts as out of reach."""


class Unavailable(FileError):
    """A file is neither on this machine nor to be had from its addresses."""


def fetch(dataset: str | Manifest, download: bool = True) -> dict[str, Path]:
    """Return the paths of all files of a dataset, by local name, checked against the manifest.

    Looks in $GALAXYJAX_DATA/<dataset>, then in the cache, then (unless download is False) at the addresses.
    Raises Unavailable when a file cannot be had, FileError when one in GALAXYJAX_DATA is not the manifest's.
    """
    manifest = dataset if isinstance(dataset, Manifest) else load_manifest(dataset)
    return {source.name: fetch_file(manifest, source, download) for source in manifest.files}


def fetch_file(manifest: Manifest, source: Source, download: bool = True) -> Path:
    """Return the path of one file of a dataset; see `fetch`."""
    local = in_data_folder(manifest, source)
    if local is not None:
        return local
    cached = cache_folder() / manifest.name / source.name
    if cached.is_file() and sha256(cached) == source.sha256:
        return cached
    reasons = []
    for url in source.url if download else ():
        try:
            return _download(url, source, cached)
        except Exception as error:  # requests, urllib3 and pooch share no base class
            reasons.append(f"{url.split('/')[2]}: {_reason(error)}")
    tried = "; ".join(reasons) if reasons else "not asked to download"
    raise Unavailable(
        f"{manifest.name}: {source.name} is not in {_data_folder() or '$GALAXYJAX_DATA (not set)'} nor in "
        f"{cached.parent}, and could not be downloaded ({tried}); put it there, or try again online"
    )


def in_data_folder(manifest: Manifest, source: Source) -> Path | None:
    """Return the file in $GALAXYJAX_DATA/<dataset>, or None. Raises FileError when its content differs."""
    folder = _data_folder()
    if folder is None or not (folder / manifest.name / source.name).is_file():
        return None
    path = folder / manifest.name / source.name
    found = sha256(path)
    if found != source.sha256:
        raise FileError(
            f"{path}: sha256 {found[:12]}... is not the manifest's {source.sha256[:12]}... "
            f"({path.stat().st_size} bytes, {source.size} expected); fetch it again or remove it"
        )
    return path


def cache_folder() -> Path:
    """Return the folder of downloads: $GALAXYJAX_CACHE, or the user's cache folder of this system."""
    if os.environ.get("GALAXYJAX_CACHE"):
        return Path(os.environ["GALAXYJAX_CACHE"])
    try:
        import pooch
    except ImportError:
        return Path.home() / ".cache" / "galaxyjax"
    return Path(pooch.os_cache("galaxyjax"))


def _data_folder() -> Path | None:
    value = os.environ.get("GALAXYJAX_DATA")
    return Path(value) if value else None


def _download(url: str, source: Source, path: Path) -> Path:
    try:
        import pooch
    except ImportError:
        raise FileError("downloads need pooch; pip install 'galaxyjax[sample]'") from None
    pooch.get_logger().setLevel(logging.WARNING)
    return Path(
        pooch.retrieve(
            url,
            known_hash=f"sha256:{source.sha256}",
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    )


def _reason(error: Exception) -> str:
    """Return one short line: the libraries' own messages run over several and repeat the address."""
    name = type(error).__name__
    if "SHA256" in str(error) or "hash" in str(error).lower():
        return "what came is not the manifest's file (sha256)"
    if "Connection" in name or "Timeout" in name or "Proxy" in name or "SSL" in name:
        return f"out of reach ({name})"
    return str(error).splitlines()[0][:120] if str(error) else name
