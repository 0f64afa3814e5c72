"""SWIFT snapshots: lengths without h, peculiar velocities, plural names; and agreement with GADGET-4."""

import h5py
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.data import open_snapshot
from tests.data.writers import GADGET, SWIFT

H = 0.6711


def test_a_real_file_in_the_projects_units():
    snapshot = open_snapshot(SWIFT)
    assert snapshot.code == "SWIFT" and snapshot.redshift == pytest.approx(2.0)
    assert snapshot.box_size == pytest.approx(25.0, rel=1e-6)
    assert (snapshot.cosmology.Omega_m, snapshot.cosmology.Omega_b) == (pytest.approx(0.3), 0.049)
    with h5py.File(SWIFT) as file:
        stored = {name: file["PartType0"][name][()] for name in file["PartType0"]}
    found = snapshot.read("gas", ["positions", "velocities", "masses", "density", "internal_energy", "ids"])
    assert found.positions.dtype == np.float64
    np.testing.assert_allclose(found.positions, stored["Coordinates"] * H, rtol=1e-12)
    np.testing.assert_array_equal(found.velocities, stored["Velocities"])
    np.testing.assert_allclose(found.masses, stored["Masses"] * H, rtol=2e-7)
    np.testing.assert_allclose(found.density, stored["Densities"] / H**2, rtol=2e-7)
    np.testing.assert_allclose(found.internal_energy, stored["InternalEnergies"] * 9.0, rtol=2e-7)  # u / a^2
    np.testing.assert_array_equal(found.ids, stored["ParticleIDs"])
    hot = snapshot.read("gas", "temperature", mean_molecular_weight=0.59)
    np.testing.assert_allclose(hot, found.internal_energy * (2 / 3) * 0.59 * 121.1475, rtol=1e-5)
    with pytest.raises(ConfigError, match="mean_molecular_weight"):
        snapshot.read("gas", "temperature")


def test_both_codes_hold_the_same_matter():
    """Same phases: particle masses agree to the 3e-4 by which the two codes' solar masses differ."""
    ours, theirs = open_snapshot(GADGET), open_snapshot(SWIFT)
    mean = [s.read("dark_matter", "masses").mean(dtype=float) for s in (ours, theirs)]
    assert mean[1] / mean[0] == pytest.approx(1.0, abs=4e-4)
    speeds = [np.std(s.read("dark_matter", "velocities")) for s in (ours, theirs)]
    assert speeds[1] / speeds[0] == pytest.approx(1.0, abs=0.15)  # 512 particles


def test_without_h_it_is_asked_for(tmp_path):
    path = tmp_path / "swift.hdf5"
    path.write_bytes(SWIFT.read_bytes())
    with h5py.File(path, "a") as file:
        del file["Cosmology"].attrs["h"]
    with pytest.raises(ConfigError, match="give h="):
        open_snapshot(path)
    assert open_snapshot(path, h=H).box_size == pytest.approx(25.0, rel=1e-6)


def test_a_virtual_file_says_where_its_data_is(tmp_path):
    path = tmp_path / "virtual.hdf5"
    path.write_bytes(SWIFT.read_bytes())
    with h5py.File(path, "a") as file:
        del file["PartType0/Masses"]
        layout = h5py.VirtualLayout((512,), np.float32)
        layout[:] = h5py.VirtualSource(str(SWIFT), "PartType0/Masses", (512,))
        file.create_virtual_dataset("PartType0/Masses", layout)
    with pytest.raises(FileError, match="/PartType0/Masses cannot be read .*other files"):
        open_snapshot(path).read("gas", "masses")


@pytest.mark.slow
def test_particles_of_both_codes_coincide_at_the_start_and_move_alike(data_root):
    """All 32^3 particles, matched by ID, at z = 2: peculiar velocities differ by little of their own size."""
    ours = open_snapshot(data_root / "g4_dmo_L25N32_fid" / "snapshot_001.hdf5").read(
        "dark_matter", ["ids", "positions", "velocities"]
    )
    theirs = open_snapshot(data_root / "sw_dmo_L25N32_fid" / "snap_0000.hdf5").read(
        "dark_matter", ["ids", "positions", "velocities"]
    )
    a, b = np.argsort(ours.ids), np.argsort(theirs.ids)
    u, v = ours.velocities[a], theirs.velocities[b]
    # Within haloes orbits differ; sqrt(a) = 0.58 taken wrongly would stand far outside.
    assert np.std(v) / np.std(u) == pytest.approx(1.0, abs=0.02)
    assert np.sum(u * v) / np.sqrt(np.sum(u * u) * np.sum(v * v)) > 0.85
    apart = np.abs(ours.box.separation(ours.positions[a], theirs.positions[b]))
    assert np.median(apart) < 0.1
