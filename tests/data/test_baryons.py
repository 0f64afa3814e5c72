"""A pair of snapshots on one grid: mass kept, mean temperatures, another grid the same universe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galaxyjax.core.errors import DataError
from galaxyjax.data import open_snapshot
from galaxyjax.data.baryons import Pair, check_pair, open_pair, paint_pair

EXCERPT = Path(__file__).parent / "excerpts" / "gadget4_sfr_z2.hdf5"


@pytest.fixture(scope="module")
def snapshot():
    return open_snapshot(EXCERPT)


@pytest.fixture(scope="module")
def fields(snapshot):
    return paint_pair(snapshot, snapshot, 8)


def test_gas_and_stars_share_out_the_baryons(snapshot, fields):
    np.testing.assert_allclose(np.mean(fields.gas + fields.stars), 1.0, rtol=1e-6)
    np.testing.assert_allclose(fields.matter.mean(), 1.0, rtol=1e-6)
    masses = {name: snapshot.read(name, "masses").sum(dtype=float) for name in ("gas", "stars")}
    share = masses["stars"] / sum(masses.values())
    np.testing.assert_allclose(fields.stars.mean(), share, rtol=1e-5)


def test_heat_and_pressure_are_those_of_the_particles(snapshot, fields):
    """Weighted by mass over the whole box: T of the particles; pressure 2/3 of their internal energy."""
    gas = snapshot.read("gas", ["masses", "temperature", "internal_energy"])
    mass = gas.masses.astype(float)
    wanted = np.sum(mass * gas.temperature) / mass.sum()
    np.testing.assert_allclose(np.sum(fields.gas * fields.temperature) / fields.gas.sum(), wanted, rtol=1e-5)
    energy = np.sum(mass * gas.internal_energy) / mass.sum() * 2.0 / 3.0
    np.testing.assert_allclose(fields.pressure.mean() / fields.gas.mean(), energy, rtol=1e-5)
    assert np.all(fields.temperature[fields.gas <= 0] == 0)


def test_a_grid_moved_by_whole_cells_has_the_same_numbers_elsewhere(snapshot, fields):
    moved = paint_pair(snapshot, snapshot, 8, (1.0, 0.0, 2.0))
    for mine, own in zip(moved[:5], fields[:5], strict=True):
        np.testing.assert_allclose(
            mine, np.roll(own, (-1, 0, -2), (0, 1, 2)), rtol=2e-3, atol=2e-4 * own.max()
        )
    half = paint_pair(snapshot, snapshot, 8, (0.5, 0.5, 0.5))
    assert not np.allclose(half.gas, fields.gas, rtol=1e-2)
    np.testing.assert_allclose(np.mean(half.gas + half.stars), 1.0, rtol=1e-6)


def test_other_moments_and_boxes_are_refused(snapshot):
    class Other:
        scale_factor, redshift, box_size = 1.0, 0.0, snapshot.box_size

    with pytest.raises(DataError, match="same moment"):
        check_pair(Other, snapshot, "dark.hdf5", "hydro.hdf5")
    Other.scale_factor, Other.box_size = snapshot.scale_factor, 50.0
    with pytest.raises(DataError, match="box of 25 Mpc/h"):
        check_pair(Other, snapshot, "dark.hdf5", "hydro.hdf5")


def test_a_real_pair_opens_by_its_manifest(data_root):
    pair = Pair("pair_00", "pairs", "pair_00_dmo_z2.hdf5", "pair_00_sfr_z2.hdf5", (("Omega_m", 0.3),))
    dark, hydro = open_pair(pair)
    assert dark.counts["dark_matter"] == 32**3 and set(hydro.counts) >= {"gas", "stars"}
    with pytest.raises(DataError, match="same moment"):
        open_pair(replace(pair, dark="pair_00_dmo_z0.hdf5"))
