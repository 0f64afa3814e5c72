"""Gadget-II binary files in both byte orders and both styles, written record by record."""

import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.data import open_snapshot
from tests.data.writers import particles, write_binary


@pytest.mark.parametrize("style", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_both_styles(tmp_path, order, style):
    found, a = particles(), 0.25
    snapshot = open_snapshot(write_binary(tmp_path / "snap_000", found, order, style, a), units="kpc/h")
    assert snapshot.redshift == pytest.approx(3.0) and snapshot.box_size == 25.0
    assert snapshot.cosmology.h == 0.7 and snapshot.cosmology.Omega_m == 0.3
    assert snapshot.counts == {"gas": 50, "dark_matter": 70, "stars": 10}
    for species, name in ((0, "gas"), (1, "dark_matter"), (4, "stars")):
        read = snapshot.read(name, ["positions", "velocities", "masses", "ids"])
        np.testing.assert_allclose(read.positions, found[species]["Coordinates"] / 1e3, rtol=2e-7)
        np.testing.assert_allclose(read.velocities, found[species]["Velocities"] * 0.5, rtol=2e-7)
        np.testing.assert_array_equal(read.ids, found[species]["ParticleIDs"])
        masses = found[species].get("Masses", np.full(70, 0.25))
        np.testing.assert_allclose(read.masses, masses, rtol=1e-7)
    density = snapshot.read("gas", "density")
    np.testing.assert_allclose(density, found[0]["Density"] * 1e9, rtol=2e-7)
    mu = 4 / (1 + 3 * 0.76 + 4 * 0.76 * found[0]["ElectronAbundance"].astype(float))
    by_hand = found[0]["InternalEnergy"] * 1e10 * (2 / 3) * mu * 1.67262192e-24 / 1.380649e-16
    np.testing.assert_allclose(snapshot.read("gas", "temperature"), by_hand, rtol=1e-6)


def test_several_files_are_one_snapshot(tmp_path):
    pieces = [particles(seed, dark=20 + seed) for seed in range(3)]
    sums = [150, 63, 0, 0, 30, 0]
    for number, piece in enumerate(pieces):
        write_binary(tmp_path / f"snap_004.{number}", piece, total=sums, files=3)
    snapshot = open_snapshot(tmp_path / "snap_004", units="kpc/h")
    ids = np.concatenate([piece[1]["ParticleIDs"] for piece in pieces])
    np.testing.assert_array_equal(snapshot.read("dark_matter", "ids"), ids)
    np.testing.assert_array_equal(snapshot.raw("dark_matter", "ParticleIDs", 15, 30), ids[15:30])


def test_an_old_header_without_cosmology_is_asked_about(tmp_path):
    path = write_binary(tmp_path / "ic", particles(), Omega0=0.0, OmegaLambda=0.0, h=0.0)
    with pytest.raises(ConfigError, match="units="):
        open_snapshot(path)
    snapshot = open_snapshot(path, units="kpc/h")
    with pytest.raises(ConfigError, match="h: the file does not say it"):
        snapshot.cosmology.require("h")
    assert open_snapshot(path, units="kpc/h", h=0.7).cosmology.h == 0.7
    assert open_snapshot(path, units="kpc/h").read("gas").masses.sum() > 0  # per h already: none is needed


def test_cut_and_altered_files_are_named(tmp_path):
    whole = write_binary(tmp_path / "whole", particles()).read_bytes()
    path = tmp_path / "snap"
    path.write_bytes(whole[:-100])
    with pytest.raises(FileError, match="snap: record .* does not close"):
        open_snapshot(path, units="kpc/h")
    path.write_bytes(whole[:4] + b"\x31" + whole[5:])  # one particle less in the header
    with pytest.raises(FileError, match="block .* bytes, which is not"):
        open_snapshot(path, units="kpc/h")
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FileError, match="neither HDF5 nor a Gadget-II file"):
        open_snapshot(path)


def test_a_large_record_closes_beyond_32_bits(tmp_path, monkeypatch):
    """Markers count modulo 2^32: seen on a sparse file of 4.8 GB, of which only the ends are read."""
    found = {1: {"Coordinates": np.zeros((0, 3), np.float32), "ParticleIDs": np.zeros(0, np.uint32)}}
    path, count = tmp_path / "large", 400_000_000
    head = bytearray(write_binary(path, found).read_bytes()[: 4 + 256 + 4])
    head[8:12] = count.to_bytes(4, "little")
    head[104:108] = count.to_bytes(4, "little")
    size = count * 12
    marker = (size % 2**32).to_bytes(4, "little")
    with open(path, "wb") as out:
        out.write(bytes(head) + marker)
        out.seek(len(head) + 4 + size - 12)
        out.write(np.array([1000.0, 2000.0, 3000.0], "<f4").tobytes() + marker)
    snapshot = open_snapshot(path, units="kpc/h")
    last = snapshot.raw("dark_matter", "Coordinates", count - 2, count)
    np.testing.assert_array_equal(last, [[0, 0, 0], [1000, 2000, 3000]])
