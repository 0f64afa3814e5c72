"""One file to publish: the same bytes everywhere, whole when it comes back, refused when it is not."""

import hashlib
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from toy_emulator import THETA

import galaxyjax
from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import sha256
from galaxyjax.emulator import pack as packing
from galaxyjax.emulator import shelf
from galaxyjax.emulator.pack import LIST, pack, unpack

OLD = Path(__file__).parent / "contract_1" / "old"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "work" / "old"
    shutil.copytree(OLD, made)
    (made / "card.md").write_text("# a card")
    (made / "recipe.py").write_text("raise SystemExit('a recipe was run')")
    (made / "validation").mkdir()
    (made / "validation" / "spectra.json").write_text("{}")
    (made / "validation" / "index.html").write_text("<script>")
    (made / "notes.log").write_text("private")
    return made


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_SHELF", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_contract_of_version_1_still_loads_and_gives_what_it_gave():
    """Written by galaxyjax before contract_version 2, with these numbers."""
    assert json.loads((OLD / "contract.json").read_text())["contract_version"] == 1
    emulator = galaxyjax.load(OLD)
    assert emulator.contract.citation == ()
    found = emulator.predict(
        {**THETA, "logT_AGN": 7.8}, k=[0.01, 0.1, 1.0], z=[0.0, 1.0], output="nonlinear_baryons"
    )
    then = [[30855.12890625, 8457.0087890625, 98.25572204], [6627.3544921875, 1831.8712158, 21.3012104]]
    np.testing.assert_allclose(found, then, rtol=2e-5)


def test_the_same_files_are_the_same_bytes_and_come_back_whole(folder, own, tmp_path):
    first = pack(folder, tmp_path / "a.zip")
    again = tmp_path / "elsewhere"
    shutil.copytree(folder, again)
    os.utime(again / "card.md", (0, 0))
    (again / "contract.json").chmod(0o600)
    assert pack(again, tmp_path / "b.zip") == first == sha256(tmp_path / "b.zip")
    made = unpack(tmp_path / "a.zip")
    assert made == own / "old" and galaxyjax.load("old").contract == galaxyjax.load(folder).contract
    names = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    weights = "weights/weights.safetensors"
    assert names == {"contract.json", weights, "card.md", "recipe.py", "validation/spectra.json"}
    assert all((made / name).read_bytes() == (folder / name).read_bytes() for name in names)
    with pytest.raises(ConfigError, match="has old already"):
        unpack(tmp_path / "a.zip")
    with pytest.raises(FileError, match="there already"):
        unpack(tmp_path / "a.zip", made)
    assert unpack(tmp_path / "a.zip", tmp_path / "x" / "mine").name == "mine"


def test_what_does_not_load_is_not_packed(folder, tmp_path):
    with open(folder / "weights" / "weights.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    with pytest.raises(FileError, match="sha256"):
        pack(folder, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def entry(name, mode=stat.S_IFREG | 0o644):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def rebuilt(good: Path, path: Path, change) -> Path:
    """The archive with its entries {name: bytes} and its list changed; hashes right, as a forger has them."""
    with zipfile.ZipFile(good) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    about = json.loads(content.pop(LIST))
    infos = {}
    change(content, about, infos)
    about["files"] = {
        name: about["files"][name]
        if about["files"].get(name, {}).get("kept")
        else {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in content.items()
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry(LIST), json.dumps(about))
        for name, data in content.items():
            archive.writestr(infos.get(name, entry(name)), data)
    return path


def put(name, data=b"{}", info=None):
    def change(content, about, infos):
        content[name] = data
        if info is not None:
            infos[name] = info

    return change


def squeezed(name):
    info = entry(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return put(name, bytes(10_000_000), info)


def said(**changes):
    return lambda content, about, infos: about.update(changes)


def altered(content, about, infos):
    about["files"]["card.md"]["kept"] = True
    content["card.md"] = b"# another"


def weights_of_another(content, about, infos):
    content["weights/weights.safetensors"] = b"\x80\x04\x95cos\nsystem\n"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (put("../escape.json"), "may hold only"),
        (put("/tmp/escape.json"), "may hold only"),
        (put("a\\..\\escape.json"), "may hold only"),
        (put("validation/../../escape.json"), "may hold only"),
        (put("C:escape.json"), "may hold only"),
        (put(".hidden.json"), "may hold only"),
        (put("run.sh"), "no file of an emulator"),
        (put("weights/weights.pkl"), "no file of an emulator"),
        (put("validation/index.html"), "no file of an emulator"),
        (put("link.json", b"/etc/passwd", entry("link.json", stat.S_IFLNK | 0o777)), "not a plain file"),
        (put("pipe.json", b"", entry("pipe.json", stat.S_IFIFO | 0o644)), "not a plain file"),
        (squeezed("validation/zeros.npz"), "compressed"),
        (put("CARD.md"), "twice"),
        (put("card.md/more.json"), "both a file and a folder"),
        (altered, "card.md is not what the list says"),
        (weights_of_another, "weights.safetensors"),
        (said(name="../other"), "may hold only"),
        (said(name="other"), "different emulators"),
        (said(format_version=2), "install the one that wrote it"),
        (said(format="cake"), "this galaxyjax reads"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(folder, own, tmp_path, change, named):
    pack(folder, tmp_path / "good.zip")
    bad = rebuilt(tmp_path / "good.zip", tmp_path / "bad.zip", change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileError, match=named):
        unpack(bad)
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] in ([], [own])
    assert not list(own.glob("*")) if own.exists() else True


def test_an_archive_cut_short_or_flipped_anywhere_is_refused(folder, own, tmp_path):
    pack(folder, tmp_path / "good.zip")
    good = (tmp_path / "good.zip").read_bytes()
    rng = np.random.default_rng(5)
    for size in (0, 3, len(good) // 2, len(good) - 1):
        (tmp_path / "bad.zip").write_bytes(good[:size])
        with pytest.raises(FileError):
            unpack(tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "good.zip") as archive:
        starts = [info.header_offset + 30 + len(info.filename) for info in archive.infolist()]
    for start in starts:  # the first byte of the content of every entry
        flipped = bytearray(good)
        flipped[start + int(rng.integers(2))] ^= 1
        (tmp_path / "bad.zip").write_bytes(flipped)
        with pytest.raises(FileError):
            unpack(tmp_path / "bad.zip")
    assert not list(own.glob("*")) if own.exists() else True


def test_size_and_number_are_bounded(folder, own, tmp_path, monkeypatch):
    pack(folder, tmp_path / "good.zip")
    for name, value in (("LARGEST", 100), ("MOST_FILES", 3), ("LARGEST_LIST", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(packing, name, value)
            with pytest.raises(FileError, match="at most|has no"):
                unpack(tmp_path / "good.zip")


def test_a_stranger_does_not_stand_for_what_is_shipped(folder, own, tmp_path):
    """A name on the shelf keeps its meaning whatever lies in the user's own folder."""
    own.mkdir()
    shutil.copytree(folder, own / "matter_power")
    assert shelf.find("matter_power").parent != own
