"""Files come from the first place that has them, are checked, and are whole or absent."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galaxyjax.core.errors import FileError
from galaxyjax.data import download as downloads
from galaxyjax.data.fetch import Meter, Unavailable, cache_folder, fetch
from galaxyjax.data.manifest import Access, Manifest, Source
from galaxyjax.data.pins import pins_file, read_pins
from galaxyjax.data.verify import globus_steps, verify

CONTENT = b"hello"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LONG = bytes(range(256)) * 400
OTHER = LONG[::-1]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty data folder and an empty cache."""
    monkeypatch.setenv("GALAXYJAX_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GALAXYJAX_MIRROR", raising=False)
    monkeypatch.setattr(downloads, "CHUNK", 1 << 14)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


@pytest.fixture
def server():
    """A server of one page for each way to be good or bad; keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        count = 0
        asked: list = []

        def do_GET(self):
            Handler.count += 1
            Handler.asked.append((self.path, dict(self.headers)))
            getattr(self, "page_" + self.path.split("/")[1].split("?")[0], self.page_none)()

        def answer(self, body, code=200, length=None, send=None, **headers):
            self.send_response(code)
            if length is not False:
                self.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body if send is None else body[:send])
            if send is not None or length is not None:
                self.close_connection = True

        def ranged(self, body, cut=None, **headers):
            text = self.headers.get("Range", "")
            first = int(text.removeprefix("bytes=").rstrip("-")) if text else 0
            where = {"Content_Range": f"bytes {first}-{len(body) - 1}/{len(body)}"} if text else {}
            rest = body[first:]
            self.answer(rest, 206 if text else 200, send=cut, **where, **headers)

        def page_none(self):
            self.answer(b"", 404)

        def page_good(self):
            self.answer(CONTENT)

        def page_bad(self):
            self.answer(b"other")

        def page_short(self):
            self.answer(CONTENT, length=10)

        def page_long(self):
            self.ranged(LONG)

        def page_other(self):
            self.ranged(OTHER)

        def page_half(self):
            # 40,000 bytes of whatever is asked, then the connection breaks.
            self.ranged(LONG, cut=40_000)

        def page_stuck(self):
            self.ranged(LONG, cut=0)

        def page_whole(self):
            self.answer(LONG)  # no ranges here

        def page_shifted(self):
            if "Range" in self.headers:
                self.answer(LONG[50:], 206, Content_Range=f"bytes 50-{len(LONG) - 1}/{len(LONG)}")
            else:
                self.answer(LONG, send=30_000)

        def page_nolength(self):
            self.answer(LONG, length=False)

        def page_chunked(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(LONG), 30_000):
                piece = LONG[start : start + 30_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def page_packed(self):
            import gzip

            self.answer(gzip.compress(LONG), Content_Encoding="gzip")

        def page_slow(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(LONG)))
            self.end_headers()
            try:
                for start in range(0, 20_000, 100):
                    self.wfile.write(LONG[start : start + 100])
                    time.sleep(0.005)
            except OSError:
                pass
            self.close_connection = True

        def page_changing(self):
            self.ranged(LONG if Handler.count % 2 else OTHER, cut=30_000, ETag=f'"{Handler.count % 2}"')

        def page_versioned(self):
            first = not any("Range" in h for p, h in Handler.asked if p == self.path)
            self.ranged(LONG, cut=30_000 if first else None, ETag='"v1"')

        def page_elsewhere(self):
            self.answer(b"", 302, Location=f"http://localhost:{self.server.server_port}/good")

        def do_HEAD(self):
            self.send_response(200)
            tag = "v1" if "versioned" in self.path else Handler.count % 2
            self.send_header("ETag", f'"{tag}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}", Handler
    served.shutdown()
    served.server_close()


def manifest_of(*url):
    return Manifest("toy", "a toy", "none", ("x",), (Source("a.txt", 5, DIGEST, url),))


def long_manifest(*url, published=True, **access):
    digest = hashlib.sha256(LONG).hexdigest() if published else None
    source = Source("deep/b.bin", len(LONG) if published else None, digest, url)
    return Manifest("toy", "a toy", "none", ("x",), (source,), access=Access(**access))


def put(folder, content, name="a.txt"):
    path = folder / "toy" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and ".pins" not in path.parts)


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
    assert left_in(places / "cache") == []


def test_wrong_bytes_are_refused_with_both_checksums(places, server):
    with pytest.raises(Unavailable) as caught:
        fetch(manifest_of(server[0] + "/bad"))
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value) and DIGEST in str(caught.value)


@pytest.mark.parametrize("page", ["long", "half", "whole", "chunked"])
def test_a_mirror_that_breaks_off_is_asked_for_the_rest(places, server, page):
    path = fetch(long_manifest(f"{server[0]}/{page}"))["deep/b.bin"]
    assert path.read_bytes() == LONG and left_in(places / "cache") == ["b.bin"]
    ranges = [h["Range"] for p, h in server[1].asked[-server[1].count :] if "Range" in h]
    # Of 40,000 bytes two pieces of 16 KiB were whole.
    assert ranges == ([f"bytes={n * 32768}-" for n in (1, 2)] if page == "half" else [])


@pytest.mark.parametrize("page", ["stuck", "nolength", "shifted", "packed", "other"])
def test_a_mirror_that_cannot_be_trusted_gives_no_file(places, server, page):
    published = page != "nolength"
    with pytest.raises(Unavailable, match="127.0.0.1"):
        fetch(long_manifest(f"{server[0]}/{page}", published=published))
    assert "b.bin" not in left_in(places / "cache")


def test_a_part_is_continued_from_another_mirror(places, server):
    with pytest.raises(Unavailable, match="16384 of 102400 bytes came|from 50"):
        fetch(long_manifest(server[0] + "/shifted"))
    part = places / "cache" / "toy" / "deep" / ".b.bin.part"
    part.write_bytes(LONG[:30_000])
    server[1].asked.clear()
    assert fetch(long_manifest(server[0] + "/long"))["deep/b.bin"].read_bytes() == LONG
    assert server[1].asked[0][1]["Range"] == "bytes=30000-"


def test_a_wrong_part_costs_one_more_try_and_no_wrong_file(places, server):
    part = places / "cache" / "toy" / "deep" / ".b.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(OTHER[:30_000])
    assert fetch(long_manifest(server[0] + "/long"))["deep/b.bin"].read_bytes() == LONG
    assert server[1].count == 2 and left_in(places / "cache") == ["b.bin"]


def test_a_slow_mirror_is_left_for_the_next_which_goes_on(places, server, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.1)
    monkeypatch.setattr(downloads, "SLOWEST", 1e6)
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    path = fetch(long_manifest(server[0] + "/slow", server[0] + "/long"))["deep/b.bin"]
    assert path.read_bytes() == LONG
    assert server[1].asked[-1][0] == "/long" and "Range" in server[1].asked[-1][1]
    path.unlink()
    with pytest.raises(Unavailable, match="too slow"):
        fetch(long_manifest(server[0] + "/slow"))


def test_what_nobody_published_a_checksum_of_is_pinned_by_its_first_download(places, server):
    first = long_manifest(server[0] + "/long", published=False)
    path = fetch(first)["deep/b.bin"]
    pin = read_pins(cache_folder(), "toy")["deep/b.bin"]
    assert pin["sha256"] == hashlib.sha256(LONG).hexdigest() and pin["size"] == len(LONG)
    assert pin["from"] == server[0] + "/long"
    path.unlink()
    with pytest.raises(Unavailable) as caught:
        fetch(long_manifest(server[0] + "/other", published=False))
    assert pin["sha256"] in str(caught.value) and hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert left_in(places / "cache") == []
    put(places / "data", OTHER, "deep/b.bin")
    with pytest.raises(FileError, match="deep/b.bin.*is not .*pinned on"):
        fetch(first)


def test_without_a_checksum_a_part_is_continued_only_of_the_same_version(places, server):
    path = fetch(long_manifest(server[0] + "/versioned", published=False))["deep/b.bin"]
    assert path.read_bytes() == LONG
    assert any("Range" in h for p, h in server[1].asked if p == "/versioned")
    path.unlink()
    pins_file(cache_folder(), "toy").unlink()
    # A file that is another at every request never comes together from two.
    with pytest.raises(Unavailable):
        fetch(long_manifest(server[0] + "/changing", published=False))
    assert left_in(places / "cache") in ([], [".b.bin.part", ".b.bin.part.json"])


def test_several_files_come_at_once_and_those_that_came_stay(places, server):
    digest = hashlib.sha256(LONG).hexdigest()
    sources = [Source(f"f{i}", len(LONG), digest, (server[0] + "/long",)) for i in range(6)]
    sources.append(Source("no", 5, DIGEST, (server[0] + "/none",)))
    manifest = Manifest("toy", "a toy", "none", ("x",), tuple(sources))
    with pytest.raises(Unavailable, match="no is not in .*the server answers 404"):
        fetch(manifest, jobs=3)
    paths = fetch(manifest, sources=sources[:6])
    assert all(path.read_bytes() == LONG for path in paths.values()) and len(paths) == 6


def test_time_left_is_known_although_nobody_published_the_sizes():
    meter = Meter(tuple(Source(name, None, None, ()) for name in "abcd"))
    assert meter._progress.total is None
    meter.announce(20_000_000)
    assert meter._progress.total == 80  # MB, if the others are like it
    meter.announce(40_000_000)
    assert meter._progress.total == 120
    for _ in range(20):
        meter.report(500_000)
    assert meter._progress.done == 10 and meter._progress.seconds_left() is not None
    meter.report(-2_000_000)
    assert meter._progress.done == 8


def test_two_downloads_of_one_file_make_one_file(places, server):
    manifest, paths = long_manifest(server[0] + "/half"), []
    threads = [threading.Thread(target=lambda: paths.append(fetch(manifest))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4 and left_in(places / "cache") == ["b.bin"]
    assert paths[0]["deep/b.bin"].read_bytes() == LONG


@pytest.mark.parametrize("kind", ["folder", "file://"])
@pytest.mark.parametrize("content", [LONG, LONG[:-1], OTHER, LONG + b"x"])
def test_a_local_mirror_is_held_to_the_same(places, kind, content):
    put(places / "mirror", content, "deep/b.bin")
    mirror = str(places / "mirror") if kind == "folder" else (places / "mirror").as_uri()
    if content == LONG:
        assert fetch(long_manifest(), mirrors=[mirror])["deep/b.bin"].read_bytes() == LONG
    else:
        with pytest.raises(Unavailable, match="the file there has|what came is not the file"):
            fetch(long_manifest(), mirrors=[mirror])
        assert left_in(places / "cache") == []


def test_a_mirror_of_the_environment_comes_before_the_publisher(places, server, monkeypatch):
    put(places / "mirror", LONG, "deep/b.bin")
    monkeypatch.setenv("GALAXYJAX_MIRROR", str(places / "mirror"))
    fetch(long_manifest(server[0] + "/long"))
    assert server[1].count == 0


def test_a_personal_key_goes_to_its_host_and_nowhere_else(places, server, monkeypatch):
    monkeypatch.setenv("TOY_KEY", "secret")
    access = Access(key_header="api-key", key_variable="TOY_KEY")
    manifest = Manifest(
        "toy", "", "", (), (Source("a.txt", 5, DIGEST, (server[0] + "/elsewhere",)),), access=access
    )
    server[1].asked.clear()
    monkeypatch.setenv("no_proxy", "*")
    assert fetch(manifest)["a.txt"].read_bytes() == CONTENT
    keys = [headers.get("api-key") for _, headers in server[1].asked]
    assert keys == ["secret", None]


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
        FileError, match=r"a\.txt: sha256 .* is not the manifest's .*4 bytes, 5 exp"
    ) as caught:
        fetch(manifest_of(server[0] + "/good"))
    assert not isinstance(caught.value, Unavailable) and str(path) in str(caught.value)


@pytest.mark.parametrize("what", ["file", "folder", "dataset", "part", "elsewhere"])
def test_symbolic_links_are_not_followed(places, server, what):
    outside = places / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(LONG[:7])
    folder = places / "cache" / "toy" / "deep"
    if what == "dataset":
        folder.parent.parent.mkdir(parents=True)
        folder.parent.symlink_to(outside)
    elif what == "folder":
        folder.parent.mkdir(parents=True)
        folder.symlink_to(outside)
    elif what == "elsewhere":
        (places / "data" / "toy").mkdir(parents=True)
        (places / "data" / "toy" / "deep").symlink_to(outside)
        (outside / "b.bin").write_bytes(LONG)
    else:
        folder.mkdir(parents=True)
        (folder / ("b.bin" if what == "file" else ".b.bin.part")).symlink_to(outside / "victim")
    with pytest.raises(FileError, match="symbolic link|leads out of"):
        fetch(long_manifest(server[0] + "/long"))
    assert (outside / "victim").read_bytes() == LONG[:7]
    assert left_in(outside) == (["b.bin", "victim"] if what == "elsewhere" else ["victim"])


def test_the_users_own_folders_may_be_links(places, server):
    real = places / "big_disk"
    real.mkdir()
    (places / "cache").symlink_to(real)
    assert fetch(long_manifest(server[0] + "/long"))["deep/b.bin"].read_bytes() == LONG
    assert left_in(real) == ["b.bin"]


def test_verify_says_of_each_file_what_it_is(places, server):
    names = ("whole", "altered", "missing", "partial", "unpinned")
    sources = [Source(n, 5, DIGEST if n != "unpinned" else None, ()) for n in names]
    manifest = Manifest("toy", "", "", (), tuple(sources))
    for name, content in (
        ("whole", CONTENT),
        ("altered", b"hellO"),
        (".partial.part", b"he"),
        ("unpinned", b"?"),
    ):
        put(places / "cache", content, name)
    found = {f.name: f for f in verify(manifest)}
    assert {name: f.state for name, f in found.items()} == {name: name for name in names}
    assert found["altered"].expected == DIGEST and found["altered"].found != DIGEST
    fetch(manifest, sources=[sources[-1]])
    assert {f.name: f.state for f in verify(manifest)}["unpinned"] == "pinned"
    put(places / "cache", b"!", "unpinned")
    assert {f.name: f.state for f in verify(manifest)}["unpinned"] == "altered"
    assert json.loads(pins_file(cache_folder(), "toy").read_text())["unpinned"]["size"] == 1


def test_globus_is_told_what_to_copy_where(places, tmp_path):
    manifest = long_manifest(globus="1-2-3")
    steps = globus_steps(manifest, manifest.files, tmp_path / "batch.txt")
    assert (tmp_path / "batch.txt").read_text() == "deep/b.bin deep/b.bin\n"
    assert any(f"1-2-3:/ <that id>:{places / 'data' / 'toy'}" in step for step in steps)
    with pytest.raises(FileError, match="no Globus collection"):
        globus_steps(manifest_of(), (), tmp_path / "none.txt")


def test_the_cache_has_a_place_without_being_told(monkeypatch):
    monkeypatch.delenv("GALAXYJAX_CACHE", raising=False)
    assert cache_folder().name == "galaxyjax"
