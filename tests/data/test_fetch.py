"""Files come from the first place that has them, are checked, and are whole or absent."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galaxyjax.core.errors import FileError
from galaxyjax.data.fetch import Unavailable, cache_folder, fetch
from galaxyjax.data.manifest import Manifest, Source

CONTENT = b"hello"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty data folder and an empty cache."""
    monkeypatch.setenv("GALAXYJAX_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


@pytest.fixture
def server():
    """CONTENT at /good, something else at /bad, half of what it promises at /short; counts requests."""

    class Handler(BaseHTTPRequestHandler):
        count = 0

        def do_GET(self):
            Handler.count += 1
            body = {"/good": CONTENT, "/bad": b"other", "/short": CONTENT}.get(self.path)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"") + (5 if self.path == "/short" else 0)))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}", Handler
    served.shutdown()
    served.server_close()


def manifest_of(*url):
    return Manifest("toy", "a toy", "none", ("x",), (Source("a.txt", 5, DIGEST, url),))


def put(folder, content):
    (folder / "toy").mkdir(parents=True, exist_ok=True)
    (folder / "toy" / "a.txt").write_bytes(content)
    return folder / "toy" / "a.txt"


def test_the_data_folder_comes_first(places, server):
    path = put(places / "data", CONTENT)
    put(places / "cache", CONTENT)
    assert fetch(manifest_of(server[0] + "/good")) == {"a.txt": path}
    assert server[1].count == 0


def test_then_the_cache(places, server):
    path = put(places / "cache", CONTENT)
    assert fetch(manifest_of(server[0] + "/good")) == {"a.txt": path}
    assert server[1].count == 0


def test_then_the_address_once(places, server):
    for _ in range(2):
        path = fetch(manifest_of(server[0] + "/good"))["a.txt"]
    assert path == places / "cache" / "toy" / "a.txt" and path.read_bytes() == CONTENT
    assert server[1].count == 1


def test_a_spoiled_cache_is_fetched_again(places, server):
    path = put(places / "cache", b"hellO")
    fetch(manifest_of(server[0] + "/good"))
    assert path.read_bytes() == CONTENT


def test_a_second_address_helps(places, server):
    path = fetch(manifest_of(server[0] + "/none", server[0] + "/bad", server[0] + "/good"))["a.txt"]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("page", ["/bad", "/short", "/none"])
def test_what_is_not_the_file_leaves_nothing(places, server, page):
    with pytest.raises(Unavailable, match=r"toy: a\.txt is not in .*127\.0\.0\.1") as caught:
        fetch(manifest_of(server[0] + page))
    assert "\n" not in str(caught.value)
    left = [path for path in (places / "cache").rglob("*") if path.is_file()]
    assert left == []


def test_offline_is_one_clear_line(places):
    with pytest.raises(Unavailable, match=r"could not be downloaded \(127.0.0.1:9: out of reach") as caught:
        fetch(manifest_of("http://127.0.0.1:9/a.txt"))
    assert "\n" not in str(caught.value) and str(places / "data") in str(caught.value)


def test_nothing_is_asked_when_not_wanted(places, server):
    with pytest.raises(Unavailable, match="not asked to download"):
        fetch(manifest_of(server[0] + "/good"), download=False)
    assert server[1].count == 0


def test_a_wrong_file_in_the_data_folder_is_an_error_not_skipped(places, server):
    path = put(places / "data", b"hell")
    with pytest.raises(
        FileError, match=r"a\.txt: sha256 .* is not the manifest's .*4 bytes, 5 expected"
    ) as caught:
        fetch(manifest_of(server[0] + "/good"))
    assert not isinstance(caught.value, Unavailable) and str(path) in str(caught.value)


def test_the_cache_has_a_place_without_being_told(monkeypatch):
    monkeypatch.delenv("GALAXYJAX_CACHE", raising=False)
    assert cache_folder().name == "galaxyjax"
