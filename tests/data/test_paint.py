"""Fields of a snapshot on grids: streamed, in blocks, sharded, in slabs, against a float64 sum by hand."""

import jax
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError
from galaxyjax.data import open_snapshot, paint, paint_block, paint_to_file
from galaxyjax.mesh.topology import build_mesh
from tests.data.writers import GADGET, particles, write_hdf5


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))


def bincount_cic(positions, weights, n, side):
    """Cloud in cell in float64 by eight bincounts."""
    x = positions.astype(np.float64) * (n / side)
    low = np.floor(x).astype(int)
    d, total = x - low, np.zeros(n**3)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, d, 1 - d), axis=1)
        flat = np.ravel_multi_index(((low + corner) % n).T, (n, n, n))
        total += np.bincount(flat, weights * share, n**3)
    return total.reshape(n, n, n)


def test_mass_momentum_and_temperature_of_a_real_snapshot():
    snapshot, n = open_snapshot(GADGET), 8
    gas = snapshot.read("gas", ["positions", "velocities", "masses", "temperature"])
    mass = bincount_cic(gas.positions, gas.masses.astype(float), n, 25.0)
    found = paint(snapshot, "gas", "mass", n)
    np.testing.assert_allclose(found.values, mass, atol=2e-5 * mass.max())
    assert found.box.size == 25.0 and found.unit == "1e10 Msun/h"
    np.testing.assert_allclose(np.asarray(found.values, float).sum(), gas.masses.sum(dtype=float), rtol=1e-6)
    momentum = np.asarray(paint(snapshot, "gas", "momentum", n, rows=200).values)
    for axis in range(3):
        p = gas.masses.astype(float) * gas.velocities[:, axis]
        np.testing.assert_allclose(
            momentum[..., axis].sum(dtype=float), p.sum(), rtol=1e-5, atol=1e-6 * np.abs(p).sum()
        )
    weighted = bincount_cic(gas.positions, gas.masses.astype(float) * gas["temperature"], n, 25.0)
    mean = np.asarray(paint(snapshot, "gas", "temperature", n).values)
    some = mass > 1e-3 * mass.max()
    np.testing.assert_allclose(mean[some], (weighted / np.where(some, mass, 1))[some], rtol=2e-3)
    assert np.all(mean[mass == 0] == 0)


@pytest.mark.parametrize("scheme", ["ngp", "cic", "tsc"])
def test_blocks_put_together_are_the_grid(tmp_path, scheme):
    """Over x=4, y=2 of eight devices, each block from its own window, as in one piece; and by slabs of 3."""
    path = write_hdf5(tmp_path / "s.hdf5", {1: particles(3, dark=3000, gas=0, stars=0)[1]})
    snapshot = open_snapshot(path)
    whole = paint(snapshot, "dark_matter", "mass", 8, scheme=scheme)
    mesh = build_mesh("x=4,y=2")
    sharded = paint(snapshot, "dark_matter", "mass", 8, mesh, scheme, rows=500)
    assert {shard.data.shape for shard in sharded.values.addressable_shards} == {(2, 4, 8)}
    np.testing.assert_allclose(np.asarray(sharded.values), whole.values, atol=1e-5)
    paint_to_file(tmp_path / "grid.npy", snapshot, "dark_matter", "mass", 8, slab=3, scheme=scheme)
    np.testing.assert_allclose(np.load(tmp_path / "grid.npy"), whole.values, atol=1e-5)


def test_a_process_reads_no_more_than_its_block_and_halo(tmp_path):
    """The copy has 16 cells a side: an eighth is 4 x 8 columns of them, one more each way for the halo."""
    path = write_hdf5(tmp_path / "s.hdf5", {1: particles(3, dark=30_000, gas=0, stars=0)[1]})
    snapshot = open_snapshot(path)
    snapshot.index("dark_matter", ["positions"])
    before = snapshot.bytes_read
    paint_block(snapshot, "dark_matter", "number", 64, (16, 32, 0), (16, 32, 64))
    assert snapshot.bytes_read - before <= 1.5 * (5 * 9) / 16**2 * 30_000 * 12


def test_pieces_of_the_stream_do_not_lose_digits(tmp_path):
    """20,000 particles of one cell in 200 pieces: the sum is right to a rounding of float32."""
    found = {0: particles(4, gas=20_000, dark=0, stars=0)[0]}
    found[0]["Coordinates"] = np.full((20_000, 3), 3125.0, np.float32)  # on a point of the grid of 8
    snapshot = open_snapshot(write_hdf5(tmp_path / "s.hdf5", found))
    grid = paint(snapshot, "gas", "mass", 8, rows=100)
    exact = found[0]["Masses"].astype(np.float64).sum()
    assert float(grid.values[1, 1, 1]) == pytest.approx(exact, rel=2e-7)


def test_a_grid_that_does_not_divide_is_refused(tmp_path):
    snapshot = open_snapshot(GADGET)
    with pytest.raises(ConfigError, match="6 cells along x"):
        paint(snapshot, "gas", "mass", 6, build_mesh("x=4,y=2"))
    with pytest.raises(ConfigError, match="cells 6 to 10 along x are not in a grid of 8"):
        paint_block(snapshot, "gas", "mass", 8, (6, 0, 0), (4, 8, 8))
    with pytest.raises(ConfigError, match="slab=0"):
        paint_to_file(tmp_path / "g.npy", snapshot, "gas", "mass", 8, slab=0)
    assert jax.device_count() == 8
