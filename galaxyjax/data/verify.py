"""What of a dataset is on this machine, and whether every byte of it is right."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from galaxyjax.core.errors import FileError
from galaxyjax.core.files import sha256
from galaxyjax.core.progress import track
from galaxyjax.data.entries import Manifest, Source
from galaxyjax.data.fetch import cache_folder, cached_path, data_folder, place_of
from galaxyjax.data.pins import read_pins


@dataclass(frozen=True)
class Finding:
    """One file as it is found.

    state: "whole" (the manifest's sha256), "pinned" (nobody published one; it is what first came), "unpinned"
    (there, and nothing to hold it against), "altered", "partial" (a download goes on from there), "missing".
    found, expected: sha256, "" where there is none.
    """

    name: str
    state: str
    path: Path | None = None
    found: str = ""
    expected: str = ""


def verify(manifest: Manifest, sources: Iterable[Source] | None = None) -> list[Finding]:
    """Return a finding for each file: of those listed, of what is in the cache, or of `sources`.

    Reads every byte of what is there, downloads nothing, changes nothing. Raises FileError for a symbolic
    link in the cache.
    """
    chosen = tuple(sources) if sources is not None else (*manifest.files, *_cached(manifest))
    return [_find(manifest, source) for source in track(chosen, f"verifying {manifest.name}", unit="files")]


def _find(manifest: Manifest, source: Source) -> Finding:
    path = place_of(manifest, source)
    cached = cached_path(manifest, source)
    if path is None:
        part = cached.with_name(f".{cached.name}.part")
        return Finding(
            source.name, "partial" if part.exists() else "missing", part if part.exists() else None
        )
    expected, state = source.sha256, "whole"
    if expected is None:
        pinned = read_pins(cache_folder(), manifest.name).get(source.name, {})
        expected, state = pinned.get("sha256", ""), "pinned" if pinned else "unpinned"
    found = sha256(path)
    if expected and found != expected:
        state = "altered"
    return Finding(source.name, state, path, found, expected)


def _cached(manifest: Manifest) -> list[Source]:
    """Files of products that are in the cache."""
    folder, listed = cache_folder() / manifest.name, {source.name for source in manifest.files}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())
    return [manifest.file(n) for n in names if n not in listed and manifest.matching(n) is not None]


def globus_steps(manifest: Manifest, sources: Iterable[Source], batch: Path) -> list[str]:
    """Return what to type to have files by Globus, and write the list that it needs to `batch`.

    Raises FileError when the dataset is in no Globus collection.
    """
    access = manifest.access
    if not access.globus:
        raise FileError(f"{manifest.name}: its manifest names no Globus collection; {access.how or 'no way'}")
    target = (data_folder() or cache_folder()) / manifest.name
    names = [source.name for source in sources]
    batch.parent.mkdir(parents=True, exist_ok=True)
    batch.write_text("".join(f"{name} {name}\n" for name in names), encoding="utf-8")
    return [
        "pip install globus-cli && globus login",
        "globus endpoint local-id    # of this machine, if Globus Connect Personal runs on it",
        f"globus transfer {access.globus}:{access.globus_path} <that id>:{target} --batch {batch}",
        f"galaxyjax data verify {manifest.name}    # when the transfer has ended: pins and checks",
    ]
