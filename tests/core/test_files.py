import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.core import files
from galaxyjax.core.errors import FileError


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="power cut"), files.atomic_path(target) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError("power cut")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.atomic_path(tmp_path / "run") as temporary:
        temporary.mkdir()
        (temporary / "one").write_text("1")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_folder_replaces_a_folder_whole(tmp_path):
    target = tmp_path / "deep" / "run"
    for name in ("first", "second"):
        with files.atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert os.listdir(target) == ["second"]
    assert os.listdir(target.parent) == ["run"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileError, match="nothing was written"), files.atomic_path(tmp_path / "empty"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_no_file_that_looks_whole(tmp_path):
    """SIGKILL between two halves of a write: the old file stands, and no other name ends like it."""
    target = tmp_path / "table.json"
    files.write_json(target, {"state": "old"})
    script = (
        "import sys, time\n"
        "from galaxyjax.core.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    handle = open(temporary, 'w'); handle.write('{'); handle.flush()\n"
        "    print('half', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert files.read_json(target) == {"state": "old"}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["table.json"]
    files.write_json(target, {"state": "new"})  # and what the dead left behind is in nobody's way
    assert files.read_json(target) == {"state": "new"}


def test_a_reader_never_sees_a_part(tmp_path):
    """A process rewrites a file of 2 MB as fast as it can; every read of it is one of the two versions."""
    target = tmp_path / "big.json"
    files.write_json(target, [0] * 400_000)
    script = (
        "import sys\n"
        "from galaxyjax.core.files import write_json\n"
        "for i in range(1000): write_json(sys.argv[1], [i % 2] * 400_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(target)])
    try:
        seen, deadline = set(), time.monotonic() + 20
        while len(seen) < 2 and time.monotonic() < deadline:
            content = files.read_json(target)
            assert len(content) == 400_000 and len(set(content)) == 1
            seen.add(content[0])
    finally:
        writer.kill()
        writer.wait()
    assert seen == {0, 1}


def test_json_round_trip_and_refusals(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"name": "σ₈", "values": [1, 2.5, None]})
    assert files.read_json(path) == {"name": "σ₈", "values": [1, 2.5, None]}
    with pytest.raises(ValueError):
        files.write_json(path, {"chi2": float("nan")})
    assert files.read_json(path)["name"] == "σ₈"
    with pytest.raises(FileError, match="missing.json: no such file"):
        files.read_json(tmp_path / "missing.json")


@given(st.floats(0.0, 0.999))
def test_a_json_or_npz_file_cut_short_is_named(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("cut")
    files.write_json(folder / "a.json", {"values": list(range(50))})
    files.write_npz(folder / "a.npz", {"x": np.arange(200.0), "y": np.ones(3)})
    for name, read in (("a.json", files.read_json), ("a.npz", files.read_npz)):
        whole = (folder / name).read_bytes()
        # A JSON file that lacks only its last newline is whole.
        (folder / name).write_bytes(whole[: int(share * (len(whole) - 1))])
        with pytest.raises(FileError, match=name):
            read(folder / name)


def test_npz_with_a_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    files.write_npz(path, {"x": np.arange(2000.0)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="a.npz"):
        files.read_npz(path)


def test_npz_keeps_values_and_dtypes_and_never_pickles(tmp_path):
    arrays = {"x": np.arange(3, dtype=np.float32), "y": np.array([[1, 2]]), "name": np.array(["k", "z"])}
    files.write_npz(tmp_path / "no_suffix", arrays)
    read = files.read_npz(tmp_path / "no_suffix")
    for name, value in arrays.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)
    with pytest.raises(FileError, match="pickle"):
        files.write_npz(tmp_path / "bad.npz", {"x": np.array([{}], dtype=object)})
    np.savez(tmp_path / "foreign.npz", x=np.array([{}], dtype=object))
    with pytest.raises(FileError, match="foreign.npz"):
        files.read_npz(tmp_path / "foreign.npz")


def test_sha256_is_the_published_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-4's own example
    assert (
        files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    with pytest.raises(FileError, match="nothing: no such file"):
        files.sha256(tmp_path / "nothing")


def test_sha256_tree_sees_names_places_and_contents(tmp_path):
    def tree(name, contents):
        for path, text in contents.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return files.sha256_tree(tmp_path / name)

    first = tree("a", {"x": "1", "deep/y": "2"})
    assert tree("b", {"deep/y": "2", "x": "1"}) == first
    others = [{"x": "2", "deep/y": "1"}, {"x": "1", "y": "2"}, {"x": "1", "deep/y": "2", "z": ""}]
    hashes = {tree(f"c{i}", contents) for i, contents in enumerate(others)}
    assert len(hashes | {first}) == 4
    line = f"{hashlib.sha256(b'1').hexdigest()}  x\n".encode()
    assert tree("d", {"x": "1"}) == hashlib.sha256(line).hexdigest()
