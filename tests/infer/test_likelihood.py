import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import DataError
from galaxyjax.infer.likelihood import gaussian

RNG = np.random.default_rng(5)
N = 60
SIGMA = 10.0 ** RNG.uniform(-8, -5, N)  # the range of band powers: float32 sees 1e-16 in their squares
FACTOR = np.eye(N) + 0.2 * RNG.normal(size=(N, N))
CORRELATION = FACTOR @ FACTOR.T
COVARIANCE = CORRELATION * np.outer(SIGMA, SIGMA)
DATA = SIGMA * RNG.normal(5.0, 1.0, N)
THEORY = SIGMA * RNG.normal(5.0, 1.0, N)
CHI2 = float((DATA - THEORY) @ np.linalg.solve(COVARIANCE, DATA - THEORY))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-9)])
def test_chi2_is_the_quadratic_form_in_both_precisions(float64, dtype, tolerance):
    likelihood = gaussian(DATA, COVARIANCE)
    theory = jnp.asarray(THEORY, dtype)
    assert likelihood.chi2(theory).dtype == dtype
    assert float(jax.jit(likelihood.chi2)(theory)) == pytest.approx(CHI2, rel=tolerance)
    gradient = jax.grad(likelihood.log_likelihood)(theory)
    expected = np.linalg.solve(COVARIANCE, DATA - THEORY)
    np.testing.assert_allclose(
        gradient * SIGMA, expected * SIGMA, rtol=0, atol=tolerance * np.abs(expected * SIGMA).max()
    )


def test_a_pytree_under_jit_and_a_batch_under_vmap():
    likelihood = gaussian(DATA, COVARIANCE)
    batch = jnp.asarray(np.stack([THEORY, DATA]), jnp.float32)
    both = jax.jit(lambda like, t: jax.vmap(like.chi2)(t))(likelihood, batch)
    np.testing.assert_allclose(both, [CHI2, 0.0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(likelihood.chi2(batch), both, rtol=1e-5, atol=1e-6)


def test_error_modes_add_their_outer_products(float64):
    modes = 0.3 * SIGMA * RNG.normal(size=(4, N))
    total = COVARIANCE + sum(np.outer(v, v) for v in modes)
    expected = (DATA - THEORY) @ np.linalg.solve(total, DATA - THEORY)
    assert float(gaussian(DATA, COVARIANCE, modes).chi2(THEORY)) == pytest.approx(expected, rel=1e-9)
    assert expected < CHI2  # less certain theory, smaller chi2


def test_whitened_residuals_of_true_draws_are_standard_normal(float64):
    draws = RNG.multivariate_normal(DATA, COVARIANCE, size=4000, method="cholesky")
    residual = np.asarray(gaussian(DATA, COVARIANCE).residual(draws))
    np.testing.assert_allclose(np.cov(residual.T), np.eye(N), atol=6 / np.sqrt(4000))


def test_bad_data_are_refused_with_the_element_named():
    data = DATA.copy()
    data[7] = np.nan
    with pytest.raises(DataError, match="element 7 is NaN"):
        gaussian(data, COVARIANCE)
    covariance = COVARIANCE.copy()
    covariance[3, 4] = np.inf
    with pytest.raises(DataError, match=r"\(3, 4\)"):
        gaussian(DATA, covariance)
    covariance = COVARIANCE.copy()
    covariance[0, 1] *= 3
    with pytest.raises(DataError, match="not symmetric"):
        gaussian(DATA, covariance)
    few = RNG.normal(size=(20, N)) * SIGMA
    with pytest.raises(DataError, match="not positive definite"):
        gaussian(DATA, few.T @ few)
    with pytest.raises(DataError, match="shape"):
        gaussian(DATA, COVARIANCE[:-1])
    with pytest.raises(DataError, match="variance"):
        gaussian(DATA, COVARIANCE - np.diag(2 * np.diag(COVARIANCE)))
