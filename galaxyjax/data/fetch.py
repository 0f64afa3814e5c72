"""Files of a dataset on this machine: from GALAXYJAX_DATA, from the cache, or from where they are published.

A file is used only if its sha256 is the manifest's; where nobody published one, it must be what it was when
it first came (see `pins`). Downloads are resumed, several at a time, and whole or absent (see `download`).
"""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from galaxyjax.core.errors import FileError
from galaxyjax.core.files import sha256
from galaxyjax.core.progress import Progress
from galaxyjax.data.download import Altered, Interrupted, Report, Slow, Wanted, download
from galaxyjax.data.manifest import Manifest, Source, load_manifest
from galaxyjax.data.paths import below
from galaxyjax.data.pins import pin, read_pins

JOBS = 4
"""Files that come at the same time."""
RETRIES = 3
"""Further tries at one address, as long as each brings more bytes."""


class Unavailable(FileError):
    """A file is neither on this machine nor to be had from its addresses."""


@dataclass(frozen=True)
class Options:
    """How to fetch. mirrors: folders or addresses below which <dataset>/<name> lies, asked first."""

    download: bool = True
    mirrors: tuple[str, ...] = ()
    jobs: int = JOBS


def fetch(
    dataset: str | Manifest,
    download: bool = True,
    sources: Iterable[Source] | None = None,
    mirrors: Iterable[str] = (),
    jobs: int = JOBS,
) -> dict[str, Path]:
    """Return the paths of files of a dataset, by local name, checked against the manifest.

    Looks in $GALAXYJAX_DATA/<dataset> (and the manifest's other folders), then in the cache, then, unless
    download is False, at `mirrors` (folders or addresses below which <dataset>/<name> lies; also those that
    $GALAXYJAX_MIRROR names, separated by spaces) and at the manifest's addresses. sources: those of
    `Manifest.sources`; all listed files when None. Raises Unavailable when a file cannot be had, FileError
    when one in GALAXYJAX_DATA is not the manifest's. What is whole by then stays.
    """
    manifest = dataset if isinstance(dataset, Manifest) else load_manifest(dataset)
    sources = manifest.files if sources is None else tuple(sources)
    options = Options(download, (*mirrors, *os.environ.get("GALAXYJAX_MIRROR", "").split()), jobs)
    meter = Meter(sources)
    with meter, ThreadPoolExecutor(max(1, min(jobs, len(sources)))) as pool:
        pending = [pool.submit(fetch_file, manifest, s, options, meter) for s in sources]
        try:
            paths = [future.result() for future in pending]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {source.name: path for source, path in zip(sources, paths, strict=True)}


def fetch_file(
    manifest: Manifest, source: Source, options: Options = Options(), meter: "Meter | None" = None
) -> Path:
    """Return the path of one file of a dataset; see `fetch`."""
    meter = Meter(()) if meter is None else meter
    local = in_data_folder(manifest, source)
    if local is not None:
        return local
    cached = cached_path(manifest, source)
    wanted = replace(_wanted(manifest, source), announce=meter.announce)
    if cached.is_file():
        if wanted.sha256 is None:
            pin(cache_folder(), manifest.name, source.name, sha256(cached), cached.stat().st_size, "cache")
            return cached
        if sha256(cached) == wanted.sha256:
            return cached
    return _download(manifest, source, cached, wanted, options, meter.report)


def _wanted(manifest: Manifest, source: Source) -> Wanted:
    """What the file must be, by the manifest or by its pin, and the key that the server asks for."""
    access = manifest.access
    key = os.environ.get(access.key_variable, "") if access.key_header else ""
    headers = {access.key_header: key} if key else {}
    if source.sha256 is not None:
        return Wanted(source.sha256, source.size, headers)
    pinned = read_pins(cache_folder(), manifest.name).get(source.name, {})
    return Wanted(pinned.get("sha256"), pinned.get("size", source.size), headers)


def in_data_folder(manifest: Manifest, source: Source) -> Path | None:
    """Return the file in $GALAXYJAX_DATA/<dataset>, or None. Raises FileError when its content differs."""
    path = _local(manifest, source)
    if path is not None:
        _check_found(manifest, source, path)
    return path


def cached_path(manifest: Manifest, source: Source) -> Path:
    """Return where a file is in the cache, or will be. Raises FileError for a symbolic link on the way."""
    return below(cache_folder(), f"{manifest.name}/{source.name}", manifest.name)


def place_of(manifest: Manifest, source: Source) -> Path | None:
    """Return where a file is on this machine, unchecked, or None."""
    cached = cached_path(manifest, source)
    return _local(manifest, source) or (cached if cached.is_file() else None)


def _local(manifest: Manifest, source: Source) -> Path | None:
    root = data_folder()
    for folder in (manifest.name, *manifest.local) if root is not None else ():
        name = source.name if folder == "." else f"{folder}/{source.name}"
        path = below(root, name, manifest.name, links=True)
        if path.is_file():
            return path
    return None


def _check_found(manifest: Manifest, source: Source, path: Path) -> None:
    found, size = sha256(path), path.stat().st_size
    if source.sha256 is None:
        try:
            pin(cache_folder(), manifest.name, source.name, found, size, str(path))
        except Altered as error:
            raise FileError(f"{path}: {error}") from None
    elif found != source.sha256:
        raise FileError(
            f"{path}: sha256 {found} is not the manifest's {source.sha256} "
            f"({size} bytes, {source.size} expected); fetch it again or remove it"
        )


def cache_folder() -> Path:
    """Return the folder of downloads: $GALAXYJAX_CACHE, or the user's cache folder of this system."""
    if os.environ.get("GALAXYJAX_CACHE"):
        return Path(os.environ["GALAXYJAX_CACHE"])
    import pooch

    return Path(pooch.os_cache("galaxyjax"))


def data_folder() -> Path | None:
    """Return the folder that $GALAXYJAX_DATA names, or None."""
    value = os.environ.get("GALAXYJAX_DATA")
    return Path(value) if value else None


def _download(
    manifest: Manifest, source: Source, path: Path, wanted: Wanted, options: Options, report: Report
) -> Path:
    """Try every address in turn. Raises Unavailable that says of each why not."""
    # A personal key goes to the publisher only.
    plain = replace(wanted, headers={})
    addresses = [(f"{m.rstrip('/')}/{manifest.name}/{source.name}", plain) for m in options.mirrors]
    addresses += [(url, wanted) for url in source.url]
    reasons = []
    for address, asked in addresses if options.download else ():

        def settle(digest: str, size: int, origin: str = address) -> None:
            if source.sha256 is None:
                pin(cache_folder(), manifest.name, source.name, digest, size, origin)

        try:
            _persist(address, path, asked, report, settle)
            return path
        except Exception as error:  # requests, urllib3 and pooch share no base class
            reasons.append(f"{_host(address)}: {_reason(error)}")
    tried = "; ".join(reasons) or ("there is no address" if options.download else "not asked to download")
    raise Unavailable(
        f"{manifest.name}: {source.name} is not in {data_folder() or '$GALAXYJAX_DATA (not set)'} nor in "
        f"{path.parent}, and could not be downloaded ({tried}); {_advice(manifest)}"
    )


def _persist(address: str, path: Path, wanted: Wanted, report: Report, settle) -> None:
    """Go on after a broken connection, as long as every try brings something."""
    part, before = path.with_name(f".{path.name}.part"), -1
    for attempt in range(RETRIES + 1):
        try:
            download(address, path, wanted, report, settle)
            return
        except Slow:
            raise
        except Interrupted:
            came = part.stat().st_size if part.exists() else 0
            if attempt == RETRIES or came <= before:
                raise
            before = came


def _advice(manifest: Manifest) -> str:
    access = manifest.access
    if access.command:
        return f"make it: {access.command}"
    if access.globus:
        return (
            f"put it there, or `galaxyjax data fetch {manifest.name} --globus` says how to have it by Globus"
        )
    return "put it there, or try again online"


def _host(address: str) -> str:
    parts = address.split("/")
    return parts[2] if "://" in address and parts[2] else address


def _reason(error: Exception) -> str:
    """Return one short line: the libraries' own messages run over several and repeat the address."""
    name = type(error).__name__
    if isinstance(error, FileError):
        return str(error)
    if any(word in name for word in ("Connection", "Timeout", "Proxy", "SSL")):
        return f"out of reach ({name})"
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answers {answer.status_code} {answer.reason}"
    return str(error).splitlines()[0][:120] if str(error) else name


class Meter:
    """One progress line for all files that come together, in MB.

    Sizes that nobody published are announced as each file begins; until then the mean of the others stands
    for them, so that there is always an estimate of the time left.
    """

    def __init__(self, sources: tuple[Source, ...]):
        self._count = len(sources)
        self._sizes = [source.size for source in sources if source.size is not None]
        self._progress = Progress(None, "fetching", unit="MB")
        self._lock, self._bytes = threading.Lock(), 0
        self._estimate()

    def announce(self, size: int) -> None:
        with self._lock:
            if len(self._sizes) < self._count:
                self._sizes.append(size)
            self._estimate()

    def _estimate(self) -> None:
        if self._sizes:
            total = sum(self._sizes) * self._count / len(self._sizes)
            self._progress.total = max(1, round(total / 1e6))

    def report(self, n: int) -> None:
        with self._lock:
            self._bytes += n
            whole = int(self._bytes / 1e6) - self._progress.done
            if whole:
                self._progress.advance(whole)

    def __enter__(self) -> "Meter":
        self._progress.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._progress.__exit__(*exception)
