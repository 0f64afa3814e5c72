"""What `galaxyjax data fetch` costs and what it survives, against a server on this machine.

    python benchmarks/download.py [--megabytes 200] [--kills 20]

Throughput is of the bytes that are checked, synced and renamed, beside curl's plain copy of the same file (no
checksum) where curl is installed. Then a download is killed (SIGKILL) at random moments: what is left is
looked at, the download is started again, and the bytes that came twice are counted.
"""

import argparse
import hashlib
import http.server
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from galaxyjax.data.fetch import fetch
from galaxyjax.data.manifest import Manifest, Source

PROGRAM = """
import sys
from galaxyjax.data.fetch import fetch
from galaxyjax.data.manifest import Manifest, Source
size, digest, url = sys.argv[1:]
fetch(Manifest("toy", "", "", (), (Source("file", int(size), digest, (url,)),)))
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """One file, with Range; as slow as `pace` (bytes a second) says."""

    protocol_version = "HTTP/1.1"
    content, pace, sent = b"", 0.0, 0

    def do_GET(self):
        text = self.headers.get("Range", "")
        first = int(text.removeprefix("bytes=").rstrip("-")) if text else 0
        self.send_response(206 if text else 200)
        if text:
            self.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        view = memoryview(self.content)
        try:
            for start in range(first, len(view), 1 << 18):
                piece = view[start : start + (1 << 18)]
                self.wfile.write(piece)
                Handler.sent += len(piece)
                if Handler.pace:
                    time.sleep(len(piece) / Handler.pace)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


def main() -> int:
    """Print both tables; return 1 when a killed download is not whole after one more start."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    os.environ.update(GALAXYJAX_QUIET="1", GALAXYJAX_DATA="", NO_PROXY="*", no_proxy="*")
    Handler.content = random.Random(1).randbytes(arguments.megabytes * 1_000_000)
    digest = hashlib.sha256(Handler.content).hexdigest()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}/file"
    with tempfile.TemporaryDirectory() as folder:
        # A process of its own: both sides of a transfer in one would share one interpreter's lock.
        other = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
        other.start()
        throughput(Path(folder), url, digest)
        other.terminate()
        other.join()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return kills(Path(folder), url, digest, arguments.kills)


def throughput(folder: Path, url: str, digest: str) -> None:
    """Megabytes a second of fetch, and of curl."""
    size, rates = len(Handler.content), {}
    for turn in range(3):
        os.environ["GALAXYJAX_CACHE"] = str(folder / f"speed{turn}")
        begin = time.perf_counter()
        fetch(Manifest("toy", "", "", (), (Source("file", size, digest, (url,)),)))
        rates.setdefault("fetch", []).append(size / (time.perf_counter() - begin) / 1e6)
        if shutil.which("curl"):
            begin = time.perf_counter()
            subprocess.run(["curl", "-s", "-o", folder / "curl", url], check=True)
            rates.setdefault("curl", []).append(size / (time.perf_counter() - begin) / 1e6)
    print(f"{size / 1e6:.0f} MB from this machine, best of 3")
    for name, values in rates.items():
        print(f"  {name:6} {max(values):7.0f} MB/s")
    if "curl" in rates:
        print(f"  fetch (with sha256 and fsync) / curl: {max(rates['fetch']) / max(rates['curl']):.2f}")


def kills(folder: Path, url: str, digest: str, count: int) -> int:
    """Kill at random moments, look at what is left, start again."""
    size, wrong, again, resumed = len(Handler.content), 0, 0, 0
    Handler.pace = size / 2.0
    for number in range(count):
        cache = folder / f"kill{number}"
        os.environ["GALAXYJAX_CACHE"] = str(cache)
        place, Handler.sent = cache / "toy" / "file", 0
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(size), digest, url])
        moment = random.Random(number).randint(0, size)
        while Handler.sent < moment and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wrong += place.exists() and place.read_bytes() != Handler.content
        part = place.with_name(".file.part")
        before = part.stat().st_size if part.exists() else 0
        resumed += before > 0
        time.sleep(0.2)  # until the server has noticed
        Handler.sent, pace, Handler.pace = 0, Handler.pace, 0.0
        fetch(Manifest("toy", "", "", (), (Source("file", size, digest, (url,)),)))
        Handler.pace = pace
        again += max(0, Handler.sent - (size - before))
        wrong += place.read_bytes() != Handler.content
        shutil.rmtree(cache)
    print(f"{count} downloads killed at random moments: {resumed} left a part, {wrong} wrong files")
    print(f"  bytes that came twice: {100 * again / (count * size):.2f}%")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
