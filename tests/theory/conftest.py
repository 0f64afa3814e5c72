"""A survey made of formulas and a power spectrum in closed form: no data and no Boltzmann code needed."""

import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.data.survey import ShearSurvey


def histogram(peaks=(0.35, 0.7, 1.05), width=0.05, bins=80):
    """Skewed distributions on equal bins."""
    edges = width * np.arange(bins + 1)
    z = 0.5 * (edges[1:] + edges[:-1])
    counts = np.stack([z**2 * np.exp(-((z / p) ** 2.2)) * (1.0 + 0.3 * np.sin(40.0 * z)) for p in peaks])
    return edges, z, counts


@pytest.fixture(scope="session")
def survey():
    edges, z, counts = histogram()
    pairs = np.array([(i, j) for i in (1, 2, 3) for j in range(i, 4)])
    ndata = 8 * len(pairs)
    return ShearSurvey(
        name="formula",
        z_low=edges[:-1],
        z_mid=z,
        z_high=edges[1:],
        nz=counts,
        pairs=pairs,
        ell_edges=np.geomspace(100.0, 1500.0, 9),
        theta_range=(0.5, 300.0),
        apodisation=0.5,
        data=np.zeros(ndata),
        covariance=np.diag(np.full(ndata, 1e-12)),
        shift_mean=np.zeros(3),
        shift_covariance=1e-4 * np.eye(3),
    )


@pytest.fixture(scope="session")
def power():
    """P(k, z) with a turn-over, a wiggle, and growth that depends on scale; k (nz, nell), z (nz,)."""

    def toy(k, z):
        x = k / 0.05
        wiggle = 1.0 + 0.04 * jnp.sin(105.0 * k) * jnp.exp(-((k / 0.15) ** 2))
        growth = 1.0 / ((1.0 + z)[:, None] ** 1.4 * (1.0 + 0.1 * k / (1.0 + k) * z[:, None]))
        return 2.5e4 * x / (1.0 + x**2.5) * wiggle * growth

    return toy


@pytest.fixture(scope="session")
def cosmology():
    return Cosmology(omega_b=0.0225, omega_cdm=0.118, h=0.7, n_s=0.96, ln10A_s=2.95)
