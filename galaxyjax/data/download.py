"""One file from one address, whole and right or not there: resumed where it stopped, hashed as it comes.

What has come so far lies in a hidden `.NAME.part` beside the file's place. Only when all bytes are there and
their sha256 is the wanted one does the file get its name, by a rename. A killed download therefore leaves the
part, which the next one continues, and never a wrong file under the right name.
"""

import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from galaxyjax.core.errors import FileError
from galaxyjax.core.files import sha256
from galaxyjax.data.locks import locked, sync_folder
from galaxyjax.data.paths import open_new

TIMEOUT = 30.0
"""Seconds without an answer, or without a byte, after which an address counts as out of reach."""
SLOWEST, PATIENCE = 1024.0, 60.0
"""Bytes a second, over that many seconds, below which the next address is tried."""
CHUNK = 1 << 16
"""Bytes at a time; of the last piece before a connection breaks nothing is kept."""

Report = Callable[[int], None]
Settle = Callable[[str, int], None]


class Altered(FileError):
    """What came is not the file that was asked for; the message has both checksums or both sizes."""


class Interrupted(FileError):
    """The transfer stopped before the end; what came is kept, and the next try goes on from there."""


class Slow(Interrupted):
    """The bytes come too slowly to wait for."""


@dataclass(frozen=True)
class Wanted:
    """What a file must be: its sha256 and size in bytes, None where unknown; headers that the server asks.

    announce: called with the size as soon as the server says it, where nobody had published it.
    """

    sha256: str | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    announce: Callable[[int], None] = lambda _: None


def download(
    address: str, path: Path, wanted: Wanted, report: Report = lambda _: None, settle: Settle | None = None
) -> str:
    """Fetch `address` (http, https, file, or a local path) to `path`; return its sha256.

    report is called with the bytes of each piece as it comes, and with their negative when they are given
    up. settle(sha256, size) is called for a file that is whole, before it gets its name, and may refuse it.
    Raises Altered when whole but wrong (nothing is kept), Interrupted when it stopped short (the part is
    kept), FileError for a symbolic link in its place, and what requests raises for an address out of reach.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, before = path.with_name(f".{path.name}.part"), _identity(path)
    with locked(part) as handle:
        if _identity(path) not in (None, before):  # whoever had the lock has just brought it
            found = sha256(path)
            if wanted.sha256 in (None, found):
                _discard(part)
                if settle is not None:
                    settle(found, path.stat().st_size)
                return found
        _forget_if_foreign(handle, part, address, wanted)
        continued = os.fstat(handle).st_size > 0
        while True:
            try:
                return _complete(handle, part, path, address, wanted, report, settle)
            except Altered:
                os.ftruncate(handle, 0)
                if not continued:
                    _discard(part)
                    raise
            except BaseException:
                if not os.fstat(handle).st_size:
                    _discard(part)
                raise
            # The wrong bytes may be those of an earlier try, so this address gets one from the beginning.
            continued = False


def _complete(
    handle: int, part: Path, path: Path, address: str, wanted: Wanted, report: Report, settle: Settle | None
) -> str:
    sink = _Sink(handle, wanted.size, report)
    try:
        if wanted.size is None or sink.done < wanted.size:
            transfer = _from_http if urlsplit(address).scheme in ("http", "https") else _from_disk
            transfer(address, sink, part, wanted)
        if sink.total is not None and sink.done < sink.total:
            raise Interrupted(f"{sink.done} of {sink.total} bytes came")
        found = sink.digest.hexdigest()
        if wanted.sha256 is not None and found != wanted.sha256:
            raise Altered(
                f"what came is not the file: sha256 {found} ({sink.done} bytes), expected {wanted.sha256}"
            )
        if settle is not None:
            settle(found, sink.done)
    except BaseException:
        report(-sink.done)
        raise
    os.fsync(handle)
    os.replace(part, path)
    _state_of(part).unlink(missing_ok=True)
    sync_folder(path.parent)
    return found


class _Sink:
    """Where the bytes go: written, hashed and counted; too many, or too slow, ends it.

    done: bytes that are there. total: bytes that there will be, None until known; ends_itself: the transfer
    marks its end.
    """

    def __init__(self, handle: int, size: int | None, report: Report):
        self.handle, self.total, self.report = handle, size, report
        self.digest, self.done, self.ends_itself = hashlib.sha256(), 0, False
        os.lseek(handle, 0, os.SEEK_SET)
        while piece := os.read(handle, 1 << 20):
            self._count(piece)
        self._clock, self._mark = time.monotonic(), self.done

    def write(self, piece: bytes) -> int:
        if self.total is not None and self.done + len(piece) > self.total:
            os.ftruncate(self.handle, 0)
            raise Altered(f"more bytes come than the {self.total} of the file")
        view = memoryview(piece)
        while view:
            view = view[os.write(self.handle, view) :]
        self._count(piece)
        self._watch()
        return len(piece)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def start_over(self) -> None:
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        self.report(-self.done)
        self.digest, self.done, self._mark = hashlib.sha256(), 0, 0

    def expect(self, total: int) -> None:
        """The server says how long the file is. Raises Altered when that is not the manifest's size."""
        if self.total is not None and total != self.total:
            raise Altered(f"the file there has {total} bytes, the manifest's {self.total}")
        self.total = total

    def _count(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.done += len(piece)
        self.report(len(piece))

    def _watch(self) -> None:
        waited = time.monotonic() - self._clock
        if waited >= PATIENCE:
            if self.done - self._mark < SLOWEST * waited:
                raise Slow(f"too slow: {self.done - self._mark} bytes in {waited:.0f} s")
            self._clock, self._mark = time.monotonic(), self.done


def _from_http(url: str, sink: _Sink, part: Path, wanted: Wanted) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    # Compressed transfer would make positions and lengths those of another file.
    headers = {"Accept-Encoding": "identity", **wanted.headers}
    if sink.done:
        headers["Range"] = f"bytes={sink.done}-"
    hooks = {"response": lambda answer, **_: _begin(answer, sink, part, url, wanted)}
    try:
        pooch.HTTPDownloader(timeout=TIMEOUT, chunk_size=CHUNK, headers=headers, hooks=hooks)(url, sink, None)
    except requests.exceptions.ChunkedEncodingError as error:
        raise Interrupted(f"{sink.done} of {sink.total or 'unknown'} bytes came") from error
    if sink.total is None and not sink.ends_itself:
        raise Interrupted("the server does not say how long the file is, so nobody knows if it is whole")


def _begin(answer, sink: _Sink, part: Path, url: str, wanted: Wanted) -> None:
    """Look at the head of an answer before its body is written: where it begins, how long the file is."""
    if answer.is_redirect:
        _guard_redirect(answer, wanted)
        return
    if answer.status_code == 416 and sink.done:  # the part is longer than the file there
        os.ftruncate(sink.handle, 0)
        raise Altered(f"the file there has fewer bytes than the {sink.done} that came before")
    if not answer.ok:
        return
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise Altered(f"the server sends it packed ({answer.headers['Content-Encoding']})")
    if answer.status_code == 206:
        first, total = _content_range(answer.headers.get("Content-Range", ""))
        if first != sink.done:
            raise Altered(f"asked from byte {sink.done} on, the server sends from {first}")
    else:  # the whole file, asked for or not
        total = answer.headers.get("Content-Length")
        if sink.done:
            sink.start_over()
    if total is not None:
        sink.expect(int(total))
        if wanted.size is None:
            wanted.announce(int(total))
    # Of a chunked answer the end is marked, so a connection that breaks is not taken for it.
    sink.ends_itself = "chunked" in answer.headers.get("Transfer-Encoding", "")
    _write_state(part, {"url": url, "version": _version(answer.headers)})


def _guard_redirect(answer, wanted: Wanted) -> None:
    """Never from https to http; and a personal key goes to the host that it is for, nowhere else."""
    target = urlsplit(answer.headers.get("Location", ""))
    here = urlsplit(answer.url)
    if here.scheme == "https" and target.scheme == "http":
        raise FileError(f"{here.netloc} sends on to an address that is not encrypted")
    if target.netloc and target.netloc != here.netloc:
        # requests copies this request's headers to the next one.
        for name in wanted.headers:
            answer.request.headers.pop(name, None)


def _content_range(text: str) -> tuple[int | None, int | None]:
    """First byte and total of "bytes 5-9/10"."""
    span, _, total = text.removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return (int(first) if first.isdecimal() else None, int(total) if total.isdecimal() else None)


def _version(headers: Mapping[str, str]) -> str:
    """What tells one version of a file from another; "" when the server gives nothing that does."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _from_disk(address: str, sink: _Sink, part: Path, wanted: Wanted) -> None:
    split = urlsplit(address)
    path = Path(unquote(split.path) if split.scheme == "file" else address)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError(f"{path}: not a file")
        with open(path, "rb") as source:
            sink.expect(os.fstat(source.fileno()).st_size)
            source.seek(sink.done)
            shutil.copyfileobj(source, sink, CHUNK)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def _forget_if_foreign(handle: int, part: Path, address: str, wanted: Wanted) -> None:
    """Drop an earlier part that no checksum will judge, unless it is of this address and this version.

    With a sha256 any part may be continued, from any mirror: the whole is judged at the end.
    """
    size = os.fstat(handle).st_size
    too_long = wanted.size is not None and size > wanted.size
    if size and (too_long or (wanted.sha256 is None and not _same_version(part, address, wanted))):
        os.ftruncate(handle, 0)


def _same_version(part: Path, address: str, wanted: Wanted) -> bool:
    try:
        state = json.loads(_state_of(part).read_text())
        if state["url"] != address or not state["version"]:
            return False
        import requests

        headers = {"Accept-Encoding": "identity", **wanted.headers}
        answer = requests.head(address, timeout=TIMEOUT, headers=headers, allow_redirects=False)
        return answer.ok and _version(answer.headers) == state["version"]
    except (OSError, ValueError, KeyError, TypeError):  # requests' errors are OSErrors
        return False


def _identity(path: Path) -> tuple[int, int] | None:
    """What changes when another file takes the name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _state_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_of(part).unlink(missing_ok=True)


def _write_state(part: Path, state: Mapping[str, str]) -> None:
    with open(open_new(_state_of(part)), "w", encoding="utf-8") as file:
        json.dump(state, file)
