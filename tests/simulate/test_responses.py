"""Measured responses: what is refused on the way in, and the closed forms of other families."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import read_npz
from galaxyjax.simulate import feedback
from galaxyjax.simulate.responses import ResponseSuite, _grid, read_responses, tabulate

SHELF = Path(__file__).parents[2] / "emulators" / "baryon_response" / "validation"
NEEDS = pytest.mark.skipif(
    find_spec("FlamingoBaryonResponseEmulator") is None, reason="needs pip install 'galaxyjax[baryons]'"
)


@NEEDS
def test_data_of_another_hash_is_not_opened(tmp_path):
    """Refused by the hash alone: in a second, where reading it takes half a minute."""
    with pytest.raises(FileError, match="sha256 is dbda99.*, not 0000"):
        tabulate(replace(ResponseSuite(), sha256="0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


@NEEDS
@pytest.mark.slow
def test_the_table_is_the_packages_own(tmp_path):
    assert tabulate(ResponseSuite(), tmp_path) == 9
    found, shipped = read_responses(tmp_path), read_npz(SHELF / "responses.npz")
    for name in ("theta", "k", "z", "log_response"):
        np.testing.assert_array_equal(getattr(found, name), shipped[name])
    assert tabulate(ResponseSuite(), tmp_path) == 0
    with pytest.raises(ConfigError, match="another suite"):
        tabulate(replace(ResponseSuite(), version="2"), tmp_path)


def rows():
    return [
        {"sigma_gas": g, "sigma_star": 0.0, "jet": 0.0, "z": z, "k": [1.0, 2.0], "response": [0.9, 0.8 + g]}
        | {"error": [1e-4, 2e-4]}
        for z in (1.0, 0.0)
        for g in (0.1, 0.0)
    ]


def test_rows_in_any_order_make_one_grid():
    found = _grid(rows())
    np.testing.assert_array_equal(found.theta[:, 0], [0.0, 0.1])
    np.testing.assert_array_equal(found.z, [0.0, 1.0])
    np.testing.assert_allclose(np.exp(found.log_response[:, :, 1]), [[0.8, 0.8], [0.9, 0.9]])


@pytest.mark.parametrize(
    "spoil",
    (
        lambda r: r[:-1],
        lambda r: [r[0] | {"response": [-1.0, 1.0]}, *r[1:]],
        lambda r: [r[0] | {"k": [1.0, 3.0]}, *r[1:]],
        lambda r: [{name: value for name, value in r[0].items() if name != "jet"}, *r[1:]],
        lambda r: [r[0], r[0] | {"z": 2.0}, *r[2:]],
    ),
)
def test_rows_that_are_no_grid_are_refused(spoil):
    with pytest.raises(FileError, match="install the package again"):
        _grid(spoil(rows()))


def test_a_cut_table_is_one_error(tmp_path):
    (tmp_path / "responses.h5").write_bytes(b"not HDF5")
    with pytest.raises(FileError, match="delete it"):
        read_responses(tmp_path)


@pytest.mark.parametrize("code", feedback.CAMELS)
def test_closed_forms_vanish_on_large_scales_and_suppress_small_ones(code):
    """And the fiducial models suppress less at z = 2 than today (Kammerer et al. 2025, figure 1)."""
    table = feedback.camels(code, np.array([1e-3, 5.0]), np.array([0.0, 2.0]))
    assert np.abs(table[:, 0]).max() < 1e-3
    assert -0.35 < table[0, 1] < -0.08
    assert table[0, 1] < table[1, 1] < 0.0
