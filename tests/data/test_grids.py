"""CAMELS Multifield maps and grids, and blocks of a grid: which bytes are read, and what they are."""

import h5py
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError, FileError
from galaxyjax.data import open_grids, open_maps
from galaxyjax.data.grids import GridFile, parse_name


def kernel_bytes() -> int | None:
    """What the kernel says this process has read; None where it does not."""
    try:
        with open("/proc/self/io") as handle:
            return int(handle.readline().split()[1])
    except OSError:
        return None


def test_label_of_map_i_is_row_i_over_15(tmp_path):
    path = tmp_path / "Maps_Mtot_IllustrisTNG_LH_z=0.00.npy"
    maps = np.random.default_rng(0).uniform(1, 2, (45, 8, 8)).astype(np.float32)
    np.save(path, maps)
    table = tmp_path / "params_LH_IllustrisTNG.txt"
    np.savetxt(table, np.arange(18.0).reshape(3, 6))
    found = open_maps(path, table)
    assert (found.name.field, found.name.suite, found.name.set, found.name.redshift) == (
        "Mtot",
        "IllustrisTNG",
        "LH",
        0.0,
    )
    assert len(found) == 45 and found.box.size == 25.0 and isinstance(found.values, np.memmap)
    for i in (0, 14, 15, 44):
        np.testing.assert_array_equal(found.label(i), np.arange(18.0).reshape(3, 6)[i // 15])
        np.testing.assert_array_equal(found[i], maps[i])
    np.testing.assert_array_equal(found.simulations, np.repeat([0, 1, 2], 15))
    np.save(path, maps[:44])
    with pytest.raises(DataError, match="44 entries, 15 a simulation, do not go with the 3 rows"):
        open_maps(path, table)


def test_a_real_parameter_table_goes_with_the_layout(tmp_path, data_root):
    table = data_root / "parameter_tables/CAMELS/IllustrisTNG/CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt"
    path = tmp_path / "Grids_Mcdm_Nbody_IllustrisTNG_LH_128_z=0.50.npy"
    np.save(path, np.zeros((1000, 2, 2, 2), np.float32))
    grids = open_grids(path, table)
    assert parse_name(path).suite == "Nbody_IllustrisTNG" and grids.name.redshift == 0.5
    np.testing.assert_allclose(grids.label(0)[:6], [0.309, 0.979, 3.11234, 1.12194, 0.6685, 0.53182])
    assert grids[3].shape == (2, 2, 2) and grids[3].box.size == 25.0


def test_a_file_of_another_name_is_asked_for_its_box(tmp_path):
    np.save(tmp_path / "mine.npy", np.ones((1, 4, 4, 4), np.float32))
    with pytest.raises(ConfigError, match="box_size="):
        open_grids(tmp_path / "mine.npy")
    assert open_grids(tmp_path / "mine.npy", box_size=100.0)[0].cell == 25.0


@pytest.mark.parametrize("form", ["npy", "contiguous", "gzip"])
def test_one_of_eight_processes_reads_an_eighth_and_its_halo(tmp_path, form):
    """Blocks of a 64^3 grid over x=4, y=2 with a halo of one cell: values, and the bytes they cost."""
    n, grid = 64, np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
    path = tmp_path / ("grid.npy" if form == "npy" else "grid.hdf5")
    if form == "npy":
        np.save(path, grid)
    else:
        options = (
            {"chunks": (8, 8, 64), "compression": "gzip", "compression_opts": 1} if form == "gzip" else {}
        )
        with h5py.File(path, "w") as file:
            file.create_dataset("delta", data=grid, **options)
    stored = path.stat().st_size
    for x in range(4):
        for y in range(2):
            start, shape, halo = (16 * x, 32 * y, 0), (16, 32, 64), (1, 1, 0)
            file = GridFile(path, None if form == "npy" else "delta")
            np.testing.assert_array_equal(
                file.block(start, shape), grid[16 * x : 16 * x + 16, 32 * y : 32 * y + 32]
            )
            assert file.bytes_read <= 1.05 / 8 * stored
            file = GridFile(path, None if form == "npy" else "delta")
            before = kernel_bytes()
            block = file.block(start, shape, halo)
            after = kernel_bytes()
            rows = [np.arange(a - h, a + m + h) % n for a, m, h in zip(start, shape, halo, strict=True)]
            np.testing.assert_array_equal(block, grid[np.ix_(*rows)])
            if form == "gzip":  # whole chunks: (2 + 2) x (4 + 2) of 8 x 8
                assert file.bytes_read <= 1.05 * 24 / 64 * stored
            else:
                assert file.bytes_read == block.nbytes  # 18 x 34 columns for 16 x 32
            if before is not None:  # the kernel's count has the reading of its own line on top
                assert after - before == pytest.approx(file.bytes_read, abs=200)


def test_a_block_that_does_not_fit_is_refused(tmp_path):
    np.save(tmp_path / "g.npy", np.ones((4, 4, 4), np.float32))
    file = GridFile(tmp_path / "g.npy")
    with pytest.raises(ConfigError, match="start 3, 2 cells"):
        file.block((3, 0, 0), (2, 4, 4))
    assert file.block((0, 0, 0), (4, 4, 4), 2).shape == (8, 8, 8)


def test_objects_and_short_files_are_refused(tmp_path):
    path = tmp_path / "Grids_T_SIMBA_LH_4_z=0.00.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(FileError, match="object"):
        open_grids(path)
    np.save(path, np.ones((2, 4, 4, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FileError, match="takes 640 bytes but the file has 636"):
        open_grids(path)
    data = np.ones((2, 4, 4, 4), np.float32)
    data[1, 2, 3, 1] = np.nan
    np.save(path, data)
    with pytest.raises(DataError, match="entry 1 holds NaN"):
        open_grids(path)[1]
