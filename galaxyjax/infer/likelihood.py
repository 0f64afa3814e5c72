"""Gaussian likelihood of a data vector, factorised once in float64 and evaluated safely in float32."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.errors import DataError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianLikelihood:
    """Gaussian likelihood with a fixed covariance, as a pytree; make one with `gaussian`.

    The residual is divided by sigma first and whitened by the inverse Cholesky factor of the *correlation*
    matrix after: entries of order one whatever the data's unit, so that float32 loses nothing.
    """

    data: jax.Array  # (n,)
    scale: jax.Array  # (n,) 1 / sigma
    whitening: jax.Array  # (n, n) inverse Cholesky factor of the correlation matrix

    def residual(self, theory) -> jax.Array:
        """Whitened residuals of theory vectors (..., n) -> (..., n): unit normals if the theory is true."""
        dtype = jnp.result_type(theory, jnp.float32)
        scaled = (jnp.asarray(self.data, dtype) - theory) * jnp.asarray(self.scale, dtype)
        return scaled @ jnp.asarray(self.whitening, dtype).T

    def chi2(self, theory) -> jax.Array:
        """(d - t)^T C^-1 (d - t) of a theory vector (..., n) -> (...)."""
        return jnp.sum(self.residual(theory) ** 2, -1)

    def log_likelihood(self, theory) -> jax.Array:
        """-chi2 / 2. The constant -ln det(2 pi C) / 2 is left out: added in float32 it would eat digits."""
        return -0.5 * self.chi2(theory)


def gaussian(data, covariance, error_modes=None, name: str = "data vector") -> GaussianLikelihood:
    """A Gaussian likelihood, its covariance that of the data plus that of the theory's measured error.

    Args:
        data: (n,). covariance: (n, n), in the square of the data's unit.
        error_modes: (r, n) theory vectors v whose sum of v v^T is the covariance of the theory's own error,
            or None.
        name: what the messages call the data.

    Raises:
        DataError: NaN or infinity, shapes that do not fit, a covariance that is not symmetric and positive
        definite.
    """
    data, covariance = np.asarray(data, np.float64), np.asarray(covariance, np.float64)
    if data.ndim != 1 or covariance.shape != (data.size, data.size):
        raise DataError(
            f"{name}: data has shape {data.shape}, covariance {covariance.shape}; give (n,) and (n, n)"
        )
    if not np.isfinite(data).all():
        raise DataError(
            f"{name}: element {int(np.argmin(np.isfinite(data)))} is NaN or infinite; mask it or mend it"
        )
    if not np.isfinite(covariance).all():
        i, j = np.argwhere(~np.isfinite(covariance))[0]
        raise DataError(f"{name}: covariance element ({i}, {j}) is NaN or infinite; mask it or mend it")
    if not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8 * np.abs(covariance).max()):
        raise DataError(f"{name}: the covariance is not symmetric; check its order and units")
    covariance = 0.5 * (covariance + covariance.T)
    if error_modes is not None:
        modes = np.asarray(error_modes, np.float64)
        if modes.ndim != 2 or modes.shape[1] != data.size or not np.isfinite(modes).all():
            raise DataError(f"{name}: error modes of shape {modes.shape} must be finite and (r, {data.size})")
        covariance = covariance + modes.T @ modes
    variance = np.diag(covariance)
    if not (variance > 0).all():
        worst = int(np.argmin(variance))
        raise DataError(f"{name}: variance {variance[worst]:.4g} of element {worst} is not positive")
    sigma = np.sqrt(variance)
    correlation = covariance / np.outer(sigma, sigma)
    try:
        factor = np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(correlation)[0])
        raise DataError(
            f"{name}: the covariance is not positive definite (smallest eigenvalue of its correlation matrix "
            f"{smallest:.3g}); a covariance from fewer mocks than points cannot be used as it is"
        ) from None
    return GaussianLikelihood(data=data, scale=1.0 / sigma, whitening=np.linalg.inv(factor))
