"""The process that touches libhdf5: what it undoes comes back whole; a file's trouble stays that file's."""

import os

import h5py
import hdf5plugin
import numpy as np
import pytest

from galaxyjax.core.errors import FileError
from galaxyjax.data import hdf5_client
from galaxyjax.data.hdf5 import Hdf5File

BLOSC = dict(hdf5plugin.Blosc(cname="lz4"))


@pytest.fixture
def small_slots(monkeypatch):
    """A walker whose slots hold 8 KiB, so that a small array takes many turns."""
    hdf5_client._stop()
    monkeypatch.setattr(hdf5_client, "SLOT", 8192)
    yield
    hdf5_client._stop()


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, (values, chunks) in datasets.items():
            file.create_dataset(name, data=values, chunks=chunks, **BLOSC)
    return path


def test_many_turns_of_the_shared_memory_give_the_numbers(tmp_path, small_slots):
    """Slots filled and emptied in turns, chunks too large for one (by the pipe), windows off the chunks."""
    random = np.random.default_rng(1)
    fine = random.normal(size=(20_000, 3)).astype(np.float32)
    wide = random.integers(0, 1 << 40, (50, 3000))
    swapped = random.normal(size=9_001).astype(">f8")
    datasets = {"fine": (fine, (500, 3)), "wide": (wide, (5, 3000)), "swapped": (swapped, (1000,))}
    file = Hdf5File(write(tmp_path / "many.hdf5", **datasets))
    for _ in range(2):  # the same fork answers again
        for name, (values, _) in datasets.items():
            np.testing.assert_array_equal(file.read(f"/{name}"), values)
    np.testing.assert_array_equal(file.read("/fine", (333, 1), (17_777, 3)), fine[333:17_777, 1:])
    np.testing.assert_array_equal(file.read("/wide", (3, 100), (49, 1500)), wide[3:49, 100:1500])
    assert file.read("/fine", (5,), (5,)).shape == (0, 3)


def test_a_refused_file_does_not_disturb_the_next(tmp_path):
    values = np.random.default_rng(2).normal(size=(5000, 3))
    good = Hdf5File(write(tmp_path / "good.hdf5", x=(values, (500, 3))))
    bad = write(tmp_path / "bad.hdf5", x=(values, (500, 3)))
    with h5py.File(bad) as file:
        chunk = file["x"].id.get_chunk_info(4)
    data = bytearray(bad.read_bytes())
    data[chunk.byte_offset + 16 : chunk.byte_offset + 64] = b"\xff" * 48  # past the header that is looked at
    bad.write_bytes(data)
    for _ in range(2):
        with pytest.raises(FileError, match="bad.hdf5.*/x"):
            Hdf5File(bad).read("/x")
        np.testing.assert_array_equal(good.read("/x"), values)


def test_a_file_replaced_under_its_name_is_read_anew(tmp_path):
    """The fork keeps a file open: a new one of the same name and size must not be answered from the old."""
    path = tmp_path / "x.hdf5"
    for seed in range(2):
        values = np.random.default_rng(seed).normal(size=(4000, 2))
        write(tmp_path / "new.hdf5", x=(values, (400, 2)))
        os.replace(tmp_path / "new.hdf5", path)
        np.testing.assert_array_equal(Hdf5File(path).read("/x"), values)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no sealed memory on this system")
def test_the_shared_memory_cannot_be_taken_away():
    """A walker that cut the file short would end this process with a bus error at the next look."""
    handle = hdf5_client._shared_file()
    try:
        for size in (0, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(handle, size)
    finally:
        os.close(handle)
