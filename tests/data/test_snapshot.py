"""HDF5 snapshots: what the project reads is what h5py reads, times the units worked out by hand."""

import h5py
import hdf5plugin
import jax
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError, FileError, UnknownName
from galaxyjax.data import gas, open_snapshot
from tests.data.writers import GADGET, particles, write_hdf5

A = 0.5


def total(columns, name, weight=1.0):
    return np.sum(columns[name].astype(np.float64) * weight, axis=0)


def test_a_real_gadget4_file_in_the_projects_units():
    snapshot = open_snapshot(GADGET)
    with h5py.File(GADGET) as file:
        a = file["Header"].attrs["Time"]
        stored = {name: file["PartType0"][name][()] for name in file["PartType0"]}
    assert snapshot.redshift == pytest.approx(1 / a - 1, rel=1e-12)
    assert snapshot.box_size == 25.0
    assert snapshot.cosmology.Omega_m == 0.3 and snapshot.cosmology.h == 0.6711
    assert snapshot.counts == {"gas": 512, "dark_matter": 512, "stars": 36}
    found = snapshot.read("gas", ["positions", "velocities", "masses", "temperature", "density", "ids"])
    np.testing.assert_allclose(found.positions, stored["Coordinates"] / 1000.0, rtol=2e-7)
    np.testing.assert_allclose(found.velocities, stored["Velocities"] * np.sqrt(a), rtol=3e-7)
    np.testing.assert_allclose(found.masses, stored["Masses"], rtol=1e-7)
    np.testing.assert_allclose(found.density, stored["Density"] * 1e9, rtol=2e-7)
    np.testing.assert_array_equal(found.ids, stored["ParticleIDs"])
    mu = 4 / (1 + 3 * 0.76 + 4 * 0.76 * stored["ElectronAbundance"].astype(float))
    by_hand = stored["InternalEnergy"] * 1e10 * (2 / 3) * mu * 1.67262192e-24 / 1.380649e-16
    assert np.mean(found["temperature"], dtype=float) == pytest.approx(by_hand.mean(), rel=1e-6)
    momentum = (found.masses[:, None].astype(float) * found.velocities).sum(0)
    expected = (stored["Masses"][:, None].astype(float) * stored["Velocities"]).sum(0) * np.sqrt(a)
    np.testing.assert_allclose(momentum, expected, rtol=1e-6)
    dark = snapshot.read("dark_matter", "masses")
    assert dark.sum(dtype=float) == pytest.approx(512 * 3.32099209, rel=1e-6)


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": True, "compression": "lzf"},
        dict(hdf5plugin.Blosc(cname="zstd")) | {"chunks": True},
    ],
    ids=["plain", "gzip", "lzf", "blosc"],
)
def test_one_file_or_many_under_any_filter(tmp_path, files, filters):
    pieces = [particles(seed, gas=30 + seed, dark=40, stars=0 if seed else 5) for seed in range(files)]
    sums = [sum(len(p[t]["ParticleIDs"]) if t in p else 0 for p in pieces) for t in range(6)]
    for number, piece in enumerate(pieces):
        present = {t: columns for t, columns in piece.items() if len(columns["ParticleIDs"])}
        name = f"snap_090.{number}.hdf5" if files > 1 else "snap_090.hdf5"
        write_hdf5(tmp_path / name, present, A, files=files, total=sums, filters=filters)
    snapshot = open_snapshot(tmp_path if files > 1 else tmp_path / "snap_090")
    for species, name in ((0, "gas"), (1, "dark_matter"), (4, "stars")):
        for column, field, scale in (
            ("Coordinates", "positions", 1e-3),
            ("Velocities", "velocities", A**0.5),
            ("ParticleIDs", "ids", 1),
        ):
            stored = np.concatenate([p[species][column] for p in pieces])
            np.testing.assert_allclose(snapshot.read(name, field), stored * scale, rtol=2e-7)
            np.testing.assert_array_equal(snapshot.raw(name, column, 3, 5), stored[3:5])
    streamed = list(snapshot.stream("gas", ["ids"], rows=17))
    assert max(map(len, streamed)) == 17
    np.testing.assert_array_equal(np.concatenate([p.ids for p in streamed]), snapshot.read("gas", "ids"))


def test_big_endian_and_double_precision_come_out_as_they_are(tmp_path):
    found = particles()
    found[1]["Coordinates"] = found[1]["Coordinates"].astype(">f8")
    positions = open_snapshot(write_hdf5(tmp_path / "s.hdf5", found)).read("dark_matter", "positions")
    assert positions.dtype == np.float64 and positions.dtype.isnative
    np.testing.assert_allclose(positions, found[1]["Coordinates"] / 1e3, rtol=1e-15)


def test_what_a_header_does_not_say_is_asked_for_by_name(tmp_path):
    path = write_hdf5(tmp_path / "old.hdf5", particles(), units=False, HubbleParam=None, Omega0=0.0)
    with pytest.raises(ConfigError, match="units='kpc/h'"):
        open_snapshot(path)
    snapshot = open_snapshot(path, units="kpc/h")
    assert snapshot.box_size == 25.0
    with pytest.raises(ConfigError, match="Omega_m.*give Omega_m="):
        snapshot.cosmology.require("Omega_m")
    with pytest.raises(ConfigError, match="hubble"):
        snapshot.cosmology.complete(n_s=0.96, ln10A_s=3.0)
    told = open_snapshot(path, units="kpc/h", h=0.7, Omega_m=0.3).cosmology.complete(n_s=0.96, ln10A_s=3.0)
    assert float(told.Omega_m) == pytest.approx(0.3) and told.h == 0.7
    for missing, argument in (("BoxSize", "box_size"), ("Time", None)):
        path = write_hdf5(tmp_path / "old.hdf5", particles(), **{missing: None})
        if argument is None:  # the redshift says it as well
            assert open_snapshot(path).scale_factor == pytest.approx(A)
            continue
        with pytest.raises(ConfigError, match=f"give {argument}="):
            open_snapshot(path)
        assert open_snapshot(path, **{argument: 25.0}).box_size == 25.0
    path = write_hdf5(tmp_path / "old.hdf5", particles(), Time=0.7)
    with pytest.raises(ConfigError, match="give scale_factor="):
        open_snapshot(path)


def test_a_contradiction_is_an_error(tmp_path):
    path = write_hdf5(tmp_path / "s.hdf5", particles())
    with pytest.raises(ConfigError, match="h=0.68 was given but the file says 0.7"):
        open_snapshot(path, h=0.68)
    small = open_snapshot(write_hdf5(tmp_path / "t.hdf5", particles(), BoxSize=250.0))
    with pytest.raises(DataError, match="but the box is 0.25; .*other units"):
        small.read("gas", "positions")


def test_nan_is_named_with_its_row(tmp_path):
    found = particles()
    found[0]["InternalEnergy"][7] = np.nan
    snapshot = open_snapshot(write_hdf5(tmp_path / "s.hdf5", found))
    with pytest.raises(DataError, match="s.hdf5: PartType0/InternalEnergy is not finite at row 7"):
        snapshot.read("gas", "temperature")
    assert np.isnan(snapshot.raw("gas", "InternalEnergy")[7])


def test_a_missing_piece_and_a_wrong_count_are_named(tmp_path):
    for number in range(2):
        write_hdf5(tmp_path / f"s.{number}.hdf5", particles(number), files=3)
    with pytest.raises(FileError, match=r"s\.2\.hdf5: missing"):
        open_snapshot(tmp_path / "s.1.hdf5")
    path = write_hdf5(tmp_path / "t.hdf5", particles(), total=[51, 70, 0, 0, 10, 0])
    with pytest.raises(FileError, match="51 particles of type 0 but 1 file"):
        open_snapshot(path)


def test_a_relative_path_stays_right_when_the_folder_changes(tmp_path, monkeypatch):
    filters = {"chunks": True, "compression": "gzip"}
    write_hdf5(tmp_path / "s.hdf5", particles(), filters=filters)
    monkeypatch.chdir(tmp_path)
    snapshot = open_snapshot("s.hdf5")
    monkeypatch.chdir("/")
    assert len(snapshot.read("gas")) == 50


def test_names_nobody_knows(tmp_path):
    snapshot = open_snapshot(write_hdf5(tmp_path / "s.hdf5", particles()))
    for species, field in (("black_holes", "masses"), ("gas", "colour"), ("dark_matter", "density")):
        with pytest.raises(UnknownName, match="known"):
            snapshot.read(species, field)
    with pytest.raises(ConfigError, match="mean_molecular_weight"):
        found = particles()
        del found[0]["ElectronAbundance"]
        open_snapshot(write_hdf5(tmp_path / "t.hdf5", found)).read("gas", "temperature")


def test_particles_are_a_pytree(tmp_path):
    found = open_snapshot(write_hdf5(tmp_path / "s.hdf5", particles())).read("gas")
    doubled = jax.tree.map(lambda x: 2 * x, found)
    assert doubled.box == found.box and len(jax.tree.leaves(found)) == 3
    np.testing.assert_array_equal(doubled.masses, 2 * found.masses)
    assert float(jax.jit(lambda p: p.masses.sum())(found)) == pytest.approx(found.masses.sum(), rel=1e-6)


def test_mean_molecular_weight_between_its_limits():
    assert gas.mean_molecular_weight(0.0) == pytest.approx(1.2195, rel=1e-4)
    full = 1 + 2 * (1 - 0.76) / (4 * 0.76)  # helium gives two electrons for four of hydrogen's mass
    assert gas.mean_molecular_weight(full) == pytest.approx(4 / (3 + 5 * 0.76), rel=1e-12)
    assert gas.temperature(np.float32(1.0), 0.59) == pytest.approx(2 / 3 * 0.59 * 121.147, rel=1e-4)


def test_external_storage_and_links_are_not_followed(tmp_path):
    """A file that points at another one must not make the reader open it."""
    path = write_hdf5(tmp_path / "s.hdf5", particles())
    (tmp_path / "secret").write_bytes(b"x" * 4000)
    with h5py.File(path, "a") as file:
        del file["PartType0/Masses"], file["PartType0/Density"]
        file["PartType0/Masses"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "/data")
        external = [(str(tmp_path / "secret"), 0, 200)]
        file.create_dataset("PartType0/Density", (50,), np.float32, external=external)
    snapshot = open_snapshot(path)
    with pytest.raises(UnknownName, match="masses"):
        snapshot.read("gas", "masses")
    with pytest.raises(FileError, match="external storage"):
        snapshot.read("gas", "density")
