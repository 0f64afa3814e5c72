"""The normal approximation of a posterior at its peak, with exact derivatives, and the evidence it implies.

Newton's method on exact Hessians in the coordinates in which the prior is a standard normal. `fit` has the
same from values alone, for the start of a sampler; this one is the answer where the posterior is near a
normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import scipy.optimize

from galaxyjax.core.errors import DataError
from galaxyjax.infer.posterior import Posterior


@dataclass(frozen=True)
class Peak:
    """The peak of a posterior and the normal distribution around it.

    names: columns, sampled then derived. mode (d,) and covariance_u (d, d): of the coordinates. values (q,)
    and covariance (q, q): of the columns, to first order. log_evidence: ln of the integral of prior times
    likelihood (with exp(-chi2 / 2) for the likelihood). newton_decrement: what a further step promises to add
    to the log density.
    """

    names: tuple[str, ...]
    mode: np.ndarray
    covariance_u: np.ndarray
    values: np.ndarray
    covariance: np.ndarray
    log_density: float
    log_evidence: float
    newton_decrement: float

    @property
    def sigma(self) -> dict[str, float]:
        """Standard deviation of each column."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))


def laplace(posterior: Posterior, start=None, tolerance: float = 1e-10) -> Peak:
    """Return the peak nearest to `start` (d,) in coordinates; the prior's centre when not given.

    ln Z = ln p(peak) - ln det(Hessian) / 2: with a standard normal prior the factors of 2 pi cancel. Raises
    DataError when the search does not end at a peak, e.g. on the edge of the emulator's domain.
    """
    with jax.enable_x64(True):
        slope = jax.jit(jax.value_and_grad(posterior.log_density))
        curve = jax.jit(jax.hessian(posterior.log_density))

        def downhill(u):
            value, gradient = slope(np.asarray(u, np.float64))
            return (-float(value), -np.asarray(gradient)) if np.isfinite(value) else (1e30, np.zeros_like(u))

        first = np.zeros(posterior.dimension) if start is None else np.asarray(start, float)
        found = scipy.optimize.minimize(downhill, first, jac=True, method="BFGS", options={"gtol": 1e-4})
        mode = found.x
        for _ in range(6):  # Newton's steps square the error that BFGS leaves
            hessian = -np.asarray(curve(mode))
            gradient = -downhill(mode)[1]
            size, axes = np.linalg.eigh(0.5 * (hessian + hessian.T))
            if not np.isfinite(size).all() or size[0] <= 0:
                raise DataError(
                    f"no peak at {_said(posterior, mode)}: the log density curves upwards; start "
                    "elsewhere, or sample this posterior"
                )
            step = axes @ ((axes.T @ gradient) / size)
            decrement = 0.5 * float(gradient @ step)
            if decrement < tolerance:
                break
            if downhill(mode + step)[0] > downhill(mode)[0]:
                break
            mode = mode + step
        if not decrement < 1e-3:
            raise DataError(
                f"no peak at {_said(posterior, mode)}: a step still promises {decrement:.3g}; it lies on "
                "the edge of the emulator's domain"
            )
        covariance_u = (axes / size) @ axes.T
        jacobian = np.asarray(jax.jit(jax.jacfwd(posterior.quantities))(mode))
        values = np.asarray(posterior.quantities(mode))
        peak = -downhill(mode)[0]
    return Peak(
        names=posterior.quantity_names,
        mode=mode,
        covariance_u=covariance_u,
        values=values,
        covariance=jacobian @ covariance_u @ jacobian.T,
        log_density=peak,
        log_evidence=peak - 0.5 * float(np.log(size).sum()),
        newton_decrement=decrement,
    )


def _said(posterior: Posterior, u) -> str:
    values = posterior.prior.constrain(np.asarray(u))
    return ", ".join(f"{name} = {float(values[name]):.4g}" for name in posterior.prior.names)
