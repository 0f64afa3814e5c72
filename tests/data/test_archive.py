"""Archives unpack to what was packed, or to nothing: no name, link or count of theirs is trusted."""

import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.core.errors import FileError
from galaxyjax.data.archive import unpack, unpacked

FILES = {"data/a.txt": b"hello", "data/deep/b.bin": bytes(range(256)) * 50, "c": b""}


def tar_of(path, members, mode="w:gz"):
    """members: (TarInfo or name, content)."""
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def special(kind, name="x", target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
def test_what_was_packed_comes_out_whole(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    if suffix == ".zip":
        zip_of(path, FILES.items())
    else:
        tar_of(
            path, [("./" + n, c) for n, c in FILES.items()], "w:" + suffix.removeprefix(".tar").lstrip(".")
        )
    assert unpacked(path) == tmp_path / "data"
    found = unpack(path, tmp_path / "out")
    assert {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in found} == FILES


BAD_NAMES = [
    "/etc/cron.d/x",
    "../x",
    "a/../../x",
    "..",
    "C:\\x",
    "a\\..\\x",
    "\x00",
    "-x",
    ".ssh/config",
    "a" * 300,
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_out_are_refused_before_anything_is_written(tmp_path, name, kind):
    make = tar_of if kind == "tar" else zip_of
    if kind == "zip":
        name = name.replace("\x00", "\x01")  # zipfile itself cuts a name at a zero byte
    path = make(tmp_path / "bad", [("good.txt", b"x"), (name, b"y")])
    with pytest.raises(FileError, match="bad: the file name"):
        unpack(path, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tar_of(tmp_path / "bad.tar", [(special(kind), b"")], "w")
    with pytest.raises(FileError, match="a link or a device"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_writing_through_a_link_of_the_archive_is_refused(tmp_path):
    members = [(special(tarfile.SYMTYPE, "d", str(tmp_path / "victim")), b""), ("d/x", b"bad")]
    with pytest.raises(FileError, match="a link"):
        unpack(tar_of(tmp_path / "bad.tar", members, "w"), tmp_path / "out")
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(FileError, match="a link"):
        unpack(zip_of(tmp_path / "bad.zip", [(info, "/etc/passwd")]), tmp_path / "out")
    assert not (tmp_path / "victim").exists()


def test_two_members_of_one_name_and_a_file_as_folder_are_refused(tmp_path):
    with pytest.raises(FileError, match="there twice"):
        unpack(tar_of(tmp_path / "a.tar", [("A/x", b"1"), ("a/X", b"2")], "w"), tmp_path / "out")
    with pytest.raises(FileError, match="lies in what is a file"):
        unpack(tar_of(tmp_path / "b.tar", [("a/x", b"1"), ("a", b"2")], "w"), tmp_path / "out")


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_does(tmp_path):
    path = tar_of(tmp_path / "bomb.tar.gz", [("x", bytes(3_000_000))])
    with pytest.raises(FileError, match="more than 1000000 bytes"):
        unpack(path, tmp_path / "out", limit=1_000_000)
    assert len(unpack(path, tmp_path / "out")) == 1
    lying = zip_of(tmp_path / "lying.zip", [("x", bytes(100_000))])
    data = bytearray(lying.read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the size that both headers promise
        at = data.index(mark) + place
        data[at : at + 4] = (10).to_bytes(4, "little")
    lying.write_bytes(data)
    with pytest.raises(FileError, match="lying.zip: x: "):
        unpack(lying, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_mode_in_the_archive_takes_no_effect(tmp_path):
    info = tarfile.TarInfo("x")
    info.mode, info.uid = 0o7777, 0
    (path,) = unpack(tar_of(tmp_path / "a.tar", [(info, b"x")], "w"), tmp_path / "out")
    assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


def test_nothing_is_overwritten_and_no_archive_is_said_to_be_none(tmp_path):
    path = tar_of(tmp_path / "a.tar", [("x", b"x")], "w")
    (tmp_path / "out").mkdir()
    with pytest.raises(FileError, match="exists; unpack into a new folder"):
        unpack(path, tmp_path / "out")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FileError, match="neither a tar nor a zip"):
        unpack(tmp_path / "text", tmp_path / "new")
    with pytest.raises(FileError, match="no such file"):
        unpack(tmp_path / "none.tar", tmp_path / "new")
    with pytest.raises(FileError, match="by its name"):
        unpacked(tmp_path / "text")


@given(st.data())
def test_a_damaged_archive_gives_the_same_files_or_one_clear_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    kind = data.draw(st.sampled_from(["tar", "gz", "zip"]))
    path = folder / "a"
    if kind == "zip":
        zip_of(path, FILES.items())
    else:
        tar_of(path, FILES.items(), "w:gz" if kind == "gz" else "w")
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found = unpack(path, folder / "out")
    except FileError as error:
        assert str(path) in str(error) and not (folder / "out").exists()
    else:
        assert all(p.resolve().is_relative_to(folder / "out") and p.is_file() for p in found)
    assert {p.name for p in folder.iterdir()} <= {"a", "out"}
