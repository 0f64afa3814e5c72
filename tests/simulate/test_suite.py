"""A suite resumes after a kill, refuses foreign folders, and reads back what it wrote."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.simulate import suite
from galaxyjax.simulate.boltzmann import CambSettings
from galaxyjax.simulate.design import Range

pytest.importorskip("camb", reason="needs CAMB: pip install 'galaxyjax[camb]'")

SUITE = suite.PowerSuite(
    seed=3,
    runs=3,
    draws=2,
    redshifts=4,
    background=(Range("omega_b", 0.02, 0.025), Range("omega_cdm", 0.1, 0.14), Range("h", 0.65, 0.75)),
    primordial=(Range("n_s", 0.9, 1.0), Range("ln10A_s", 2.8, 3.2), Range("logT_AGN", 7.6, 8.0)),
    k_max=3.0,
    settings=CambSettings(kmax_h=5.0, transfer_k_boost=1.0),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    with ThreadPoolExecutor(1) as executor:
        assert suite.simulate(SUITE, folder, executor) == 3
    return folder


def test_nothing_is_recomputed_and_what_is_missing_is(folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("run_*.h5")}
    with ThreadPoolExecutor(1) as executor:
        assert suite.simulate(SUITE, folder, executor) == 0
        kept = suite.read_run(suite.run_path(folder, 1))
        suite.run_path(folder, 1).unlink()
        assert suite.simulate(SUITE, folder, executor) == 1
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("run_*.h5")}
    assert after["run_00000.h5"] == before["run_00000.h5"]
    again = suite.read_run(suite.run_path(folder, 1))
    np.testing.assert_allclose(again.boost, kept.boost, rtol=1e-6, atol=1e-7)


def test_another_suite_is_refused(folder):
    with pytest.raises(ConfigError, match="another suite"):
        suite.simulate(replace(SUITE, seed=4), folder)
    # More runs are the same suite.
    assert replace(SUITE, runs=50).identity() == SUITE.identity()


def test_a_run_reads_back_with_redshifts_and_finite_spectra(folder):
    run = suite.read_suite(folder)[0]
    assert run.z[0] == 0.0 and run.z[-2] == 3.0 and run.z[-1] == suite.EARLY_Z
    assert run.linear.shape == (len(run.z), len(run.k))
    assert run.boost.shape == run.suppression.shape == (2, len(run.z) - 1, len(run.k))
    assert (np.diff(run.sigma8) < 0).all()  # structure grows
    assert np.abs(run.suppression).max() > 1e-3 and run.boost[:, 0].max() > 0.1
    np.testing.assert_allclose(run.boost[:, :, run.k < 0.005], 0.0, atol=0.02)


def test_a_file_cut_short_is_named(folder, tmp_path):
    whole = suite.run_path(folder, 0).read_bytes()
    broken = tmp_path / "run_00000.h5"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="run_00000.h5.*delete it"):
        suite.read_run(broken)
    broken.write_bytes(whole)
    with h5py.File(broken, "a") as file:
        file["boost"][0, 0, 0] = np.nan
    with pytest.raises(FileError, match="boost has values that are not finite"):
        suite.read_run(broken)
    with pytest.raises(FileError, match="no such truth file"):
        suite.read_run(tmp_path / "run_00009.h5")
    with pytest.raises(FileError, match="holds no truth runs"):
        suite.read_suite(tmp_path / "empty")
