"""FOF and SUBFIND catalogues: values by hand, and velocities that agree with the members' own."""

import h5py
import numpy as np
import pytest

from galaxyjax.core import units
from galaxyjax.core.errors import FileError, UnknownName
from galaxyjax.data import open_catalogue, open_snapshot
from tests.data.writers import CATALOGUE


def test_groups_and_subhaloes_in_the_projects_units():
    catalogue = open_catalogue(CATALOGUE)
    assert catalogue.counts == {"groups": 21, "subhaloes": 21} and catalogue.box_size == 25.0
    with h5py.File(CATALOGUE) as file:
        a, group, subhalo = file["Header"].attrs["Time"], file["Group"], file["Subhalo"]
        found = catalogue.read("groups", ["positions", "velocities", "masses", "r200c"])
        np.testing.assert_allclose(found.positions, group["GroupPos"][()] / 1e3, rtol=2e-7)
        np.testing.assert_allclose(found.velocities, group["GroupVel"][()] / a, rtol=2e-7)
        np.testing.assert_allclose(found.masses, group["GroupMass"][()], rtol=1e-7)
        np.testing.assert_allclose(found["r200c"], group["Group_R_Crit200"][()] / 1e3, rtol=2e-7)
        np.testing.assert_array_equal(catalogue.read("subhaloes", "velocities"), subhalo["SubhaloVel"][()])
        np.testing.assert_array_equal(catalogue.read("subhaloes", "group"), subhalo["SubhaloGroupNr"][()])


def test_radii_and_masses_close_on_200_times_the_critical_density():
    """M200c = 4/3 pi R^3 200 rho_crit(z), comoving: radii, masses and redshift fit each other."""
    catalogue = open_catalogue(CATALOGUE)
    mass, radius = catalogue.read("groups", "m200c"), catalogue.read("groups", "r200c")
    z, Omega_m = catalogue.redshift, catalogue.cosmology.Omega_m
    critical = units.RHO_CRIT * (Omega_m * (1 + z) ** 3 + 1 - Omega_m) / (1 + z) ** 3
    some = mass > 0
    np.testing.assert_allclose(mass[some], 4 / 3 * np.pi * radius[some] ** 3 * 200 * critical, rtol=1e-3)


def test_velocities_are_the_mean_of_the_members(data_root):
    folder = data_root / "g4_dmo_L25N32_fid"
    for number in (1, 3):
        catalogue = open_catalogue(folder / f"fof_subhalo_tab_00{number}.hdf5")
        velocities = open_snapshot(folder / f"snapshot_00{number}.hdf5").read("dark_matter", "velocities")
        for kind in ("groups", "subhaloes"):
            found = catalogue.read(kind, ["velocities", "offsets_by_type", "counts_by_type"])
            for row in range(5):
                first, count = found["offsets_by_type"][row, 1], found["counts_by_type"][row, 1]
                mean = velocities[first : first + count].mean(0)
                np.testing.assert_allclose(found.velocities[row], mean, atol=0.05)


def test_a_catalogue_without_groups_is_read(data_root):
    catalogue = open_catalogue(data_root / "g4_dmo_L25N32_fid" / "fof_subhalo_tab_000.hdf5")
    assert catalogue.counts == {"groups": 0, "subhaloes": 0}
    with pytest.raises(UnknownName):
        catalogue.read("groups", "masses")


def test_camels_names_in_several_files(tmp_path):
    """AREPO's headers (Nsubgroups, NumFiles, Omega0) and SubhaloGrNr; the second file has no groups."""
    rng = np.random.default_rng(3)
    for number, (groups, subhaloes) in enumerate(((4, 6), (0, 3))):
        with h5py.File(tmp_path / f"fof_subhalo_tab_033.{number}.hdf5", "w") as file:
            head = file.create_group("Header").attrs
            said = {"Ngroups_ThisFile": groups, "Ngroups_Total": 4, "Nsubgroups_ThisFile": subhaloes}
            said |= {"Nsubgroups_Total": 9, "NumFiles": 2, "Time": 0.5, "Redshift": 1.0, "BoxSize": 25000.0}
            said |= {"HubbleParam": 0.6711, "Omega0": 0.3, "OmegaLambda": 0.7}
            for name, value in said.items():
                head[name] = value
            for name, count in (("Group/GroupMass", groups), ("Subhalo/SubhaloMass", subhaloes)):
                if count:
                    file[name] = rng.uniform(1, 2, count).astype(np.float32)
            file["Subhalo/SubhaloGrNr"] = np.arange(subhaloes, dtype=np.int32)
    catalogue = open_catalogue(tmp_path / "fof_subhalo_tab_033", units="kpc/h")
    assert catalogue.counts == {"groups": 4, "subhaloes": 9}
    assert len(catalogue.read("groups", "masses")) == 4
    np.testing.assert_array_equal(catalogue.read("subhaloes", "group"), [0, 1, 2, 3, 4, 5, 0, 1, 2])
    with pytest.raises(UnknownName, match="known: masses"):
        catalogue.read("groups", "velocities")


def test_a_count_that_the_header_contradicts(tmp_path):
    path = tmp_path / "tab.hdf5"
    path.write_bytes(CATALOGUE.read_bytes())
    with h5py.File(path, "a") as file:
        file["Header"].attrs["Ngroups_ThisFile"] = np.uint64(22)
        file["Header"].attrs["Ngroups_Total"] = np.uint64(22)
    with pytest.raises(FileError, match="/Group/GroupMass has shape .*22"):
        open_catalogue(path).read("groups", "masses")
