"""The measured error is the covariance that held-out residuals have, in few modes, at any k and z."""

import numpy as np
import pytest

from galaxyjax.core.errors import DataError, FileError, UnknownName
from galaxyjax.core.files import write_npz
from galaxyjax.emulator.error import ErrorModel, measure, read_error, write_error

K = np.geomspace(1e-3, 10.0, 60)
Z = np.linspace(0.0, 3.0, 9)


def smooth_residuals(n=200, seed=0):
    """Residuals of rank three, their modes and mean known: polynomials in ln k and z."""
    u = np.linspace(-1.0, 1.0, K.size)
    v = np.linspace(-1.0, 1.0, Z.size)[:, None]
    shapes = 1e-3 * np.stack([0.5 + 0.3 * u + 0 * v, u * v, u**2 - 0.3 + 0.2 * v])
    mean = 2e-4 * (1.0 + u + 0 * v)
    draws = np.random.default_rng(seed).normal(size=(n, 3))
    return mean + np.einsum("nr,rzk->nzk", draws, shapes), mean, shapes


def test_modes_carry_the_whole_second_moment_of_residuals_of_their_rank():
    residuals, _, _ = smooth_residuals()
    model = ErrorModel({"linear": measure(residuals, K, Z, rank=3)})
    modes = model.modes("linear", K, Z).reshape(4, -1)
    flat = residuals.reshape(len(residuals), -1)
    mean = flat.mean(0)
    expected = np.cov(flat.T) + np.outer(mean, mean)
    np.testing.assert_allclose(modes.T @ modes, expected, atol=2e-4 * expected.max())
    np.testing.assert_allclose(model.spread("linear", K, Z).ravel(), np.sqrt(np.diag(expected)), rtol=2e-3)


def test_a_projection_sees_the_scatter_it_would_have_had():
    residuals, _, _ = smooth_residuals()
    model = ErrorModel({"linear": measure(residuals, K, Z, rank=3)})
    kernel = np.exp(-0.5 * (np.log(K / 0.3)) ** 2) * np.exp(-Z)[:, None]
    projected = np.einsum("nzk,zk->n", residuals, kernel)
    from_modes = np.einsum("rzk,zk->r", model.modes("linear", K, Z), kernel)
    assert np.sum(from_modes**2) == pytest.approx(projected.var(ddof=1) + projected.mean() ** 2, rel=1e-4)


def test_what_few_modes_leave_out_is_kept_as_variance():
    rng = np.random.default_rng(1)
    residuals = 1e-3 * rng.normal(size=(300, Z.size, K.size))
    entry = measure(residuals, K, Z, rank=5, nodes=(Z.size, K.size))
    total = np.sum(entry.modes**2, axis=0) + entry.rest
    np.testing.assert_allclose(total, residuals.var(axis=0, ddof=1), rtol=1e-4)
    assert entry.rest.mean() > 5 * np.sum(entry.modes**2, axis=0).mean()


def test_quantiles_are_those_of_the_absolute_error():
    residuals, _, _ = smooth_residuals()
    entry = measure(residuals, K, Z, rank=3, nodes=(Z.size, K.size))
    np.testing.assert_allclose(entry.levels, [50, 68, 95, 99, 100])
    np.testing.assert_allclose(entry.quantiles[2], np.percentile(abs(residuals), 95, axis=0), rtol=1e-4)
    np.testing.assert_allclose(entry.quantiles[4], abs(residuals).max(0), rtol=1e-4)


def test_modes_are_smooth_in_k_constant_beyond_the_grid_and_take_rows_of_wavenumbers():
    residuals, _, _ = smooth_residuals()
    model = ErrorModel({"linear": measure(residuals, K, Z, rank=3)})
    beyond = model.modes("linear", [10.0, 30.0], [3.0, 5.0])
    np.testing.assert_allclose(beyond, np.broadcast_to(beyond[:, :1, :1], beyond.shape), rtol=1e-12)
    rows = np.stack([K, 0.5 * K, 2.0 * K])
    found = model.modes("linear", rows, Z[:3])
    for i in range(3):
        one = model.modes("linear", rows[i], Z[i])
        np.testing.assert_allclose(found[:, i], one[:, 0], rtol=1e-10)
    # A cubic spline has a continuous second derivative: it does not jump at a node.
    fine = np.exp(np.linspace(np.log(1e-3), np.log(10.0), 4001))
    curve = np.diff(model.modes("linear", fine, 1.0)[1, 0], 2)
    assert np.abs(np.diff(curve)).max() < 0.05 * np.abs(curve).max()


def test_the_file_reads_back_equal(tmp_path):
    residuals, _, _ = smooth_residuals(60)
    model = ErrorModel({name: measure(residuals, K, Z, rank=3) for name in ("linear", "nonlinear")})
    write_error(tmp_path / "error.npz", model)
    again = read_error(tmp_path / "error.npz")
    assert again == model and hash(again) == hash(model)
    other = ErrorModel({"linear": measure(2.0 * residuals, K, Z, rank=3)})
    assert other != model
    with pytest.raises(UnknownName, match="linear"):
        again.modes("cb")


def test_bad_residuals_and_bad_files_are_named(tmp_path):
    residuals, _, _ = smooth_residuals(10)
    residuals[3, 2, 5] = np.nan
    with pytest.raises(DataError, match="cosmology 3 at z = 0.75"):
        measure(residuals, K, Z)
    with pytest.raises(DataError, match="shape"):
        measure(residuals[0], K, Z)
    write_npz(tmp_path / "error.npz", {"linear.k": K})
    with pytest.raises(FileError, match="error.npz.*linear.z is missing"):
        read_error(tmp_path / "error.npz")
    good = measure(smooth_residuals(10)[0], K, Z)
    arrays = {
        f"linear.{n}": getattr(good, n) for n in ("k", "z", "mean", "modes", "rest", "levels", "quantiles")
    }
    write_npz(tmp_path / "error.npz", {**arrays, "linear.modes": good.modes[:, 1:]})
    with pytest.raises(FileError, match="error.npz.*modes has shape"):
        read_error(tmp_path / "error.npz")
