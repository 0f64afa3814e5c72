"""A download killed at any moment leaves a part or the whole file, never a wrong one under the right name."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galaxyjax.data.fetch import fetch
from galaxyjax.data.manifest import Manifest, Source

SIZE = 3_000_000
CONTENT = random.Random(5).randbytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
RATE = 6e6  # bytes a second, so that a download takes half a second

PROGRAM = """
import sys
from galaxyjax.data.fetch import fetch
from galaxyjax.data.manifest import Manifest, Source
size, digest, url = sys.argv[1:]
source = Source("a/file.bin", int(size), digest or None, (url,))
fetch(Manifest("toy", "a toy", "none", ("x",), (source,)))
"""


@pytest.fixture
def server():
    """CONTENT with Range and ETag, slowly; counts the bytes that it sent."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        sent = 0
        ranges = 0

        def do_GET(self):
            text = self.headers.get("Range", "")
            first = int(text.removeprefix("bytes=").rstrip("-") or 0) if text else 0
            Handler.ranges += bool(text)
            self.send_response(206 if text else 200)
            if text:
                self.send_header("Content-Range", f"bytes {first}-{SIZE - 1}/{SIZE}")
            self.send_header("Content-Length", str(SIZE - first))
            self.send_header("ETag", '"one"')
            self.end_headers()
            try:
                for start in range(first, SIZE, 40_000):
                    piece = CONTENT[start : start + 40_000]
                    self.wfile.write(piece)
                    Handler.sent += len(piece)
                    time.sleep(len(piece) / RATE)
            except OSError:
                self.close_connection = True

        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(SIZE))
            self.send_header("ETag", '"one"')
            self.end_headers()

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}/file", Handler
    served.shutdown()
    served.server_close()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GALAXYJAX_DATA", "")


def check_kill(folder, server, seed, published, monkeypatch):
    """Kill at a random moment, look, and let it finish."""
    url, handler = server
    handler.sent = handler.ranges = 0
    place = folder / "toy" / "a" / "file.bin"
    part = place.with_name(".file.bin.part")
    moment = random.Random(seed).randint(0, SIZE)
    monkeypatch.setenv("GALAXYJAX_CACHE", str(folder))
    digest = DIGEST if published else ""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(SIZE), digest, url])
    while handler.sent < moment and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    if place.exists():
        assert place.read_bytes() == CONTENT
    else:
        came = part.read_bytes() if part.exists() else b""
        assert came == CONTENT[: len(came)]
    before = part.stat().st_size if part.exists() else 0
    handler.ranges, handler.sent = 0, 0
    fetch(Manifest("toy", "", "", (), (Source("a/file.bin", SIZE, digest or None, (url,)),)))
    assert place.read_bytes() == CONTENT and not part.exists()
    if 0 < before < SIZE:  # it went on from there; the server may have sent a little more than was read
        assert handler.ranges == 1 and handler.sent <= SIZE - before + 40_000
    left = {p.name for p in place.parent.iterdir()}
    assert left == {"file.bin"}
    return before


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_a_random_moment_it_is_resumed_and_whole(tmp_path, server, seed, monkeypatch):
    check_kill(tmp_path, server, seed, seed % 2 == 0, monkeypatch)


@pytest.mark.slow
def test_killed_at_20_random_moments(tmp_path, server, monkeypatch):
    resumed = [check_kill(tmp_path / str(i), server, 100 + i, i % 2 == 0, monkeypatch) for i in range(20)]
    assert sum(before > 0 for before in resumed) >= 10
