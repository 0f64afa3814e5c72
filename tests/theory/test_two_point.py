"""3x2pt: each statistic against a direct integral, what multiplies what, and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core import units
from galaxyjax.core.background import comoving_distance, expansion, growth_factor
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.theory.alignment import C1_RHO_CRIT
from galaxyjax.theory.two_point import Block, Nuisances, TwoPoint

WIDTH = 0.05
Z = WIDTH * (np.arange(50) + 0.5)
SOURCES = np.stack([Z**2 * np.exp(-((Z / p) ** 2.2)) for p in (0.5, 0.9)])
LENSES = np.exp(-0.5 * ((Z - 0.4) / 0.08) ** 2)[None]
ELL = np.array([3.0, 10.0, 40.0, 150.0, 500.0, 2000.0])
ALL = Nuisances(
    shift=np.array([0.01, -0.02]),
    A_IA=1.2,
    eta_IA=0.7,
    m=np.array([0.02, -0.01]),
    lens_shift=np.array([0.01]),
    bias=np.array([1.6]),
    magnification=np.array([0.8]),
)


@pytest.fixture(scope="module")
def model():
    blocks = [("shear", [(0, 0), (0, 1)]), ("galaxy_shear", [(0, 0), (0, 1)]), ("galaxy", [(0, 0)])]
    return TwoPoint.from_histograms(
        Z, SOURCES, LENSES, ELL, tuple(Block(kind, pairs, np.eye(len(ELL))) for kind, pairs in blocks)
    )


def test_all_five_spectra_are_their_integrals(model, power, cosmology, float64):
    """A trapezoid over 10,000 redshifts, kernels written out anew, n(z) as the model has it."""
    found = np.asarray(model(power, cosmology, ALL)).reshape(5, -1)
    z = np.linspace(1e-3, float(Z[-1]), 10001)
    shifts = jnp.concatenate([jnp.asarray(ALL.shift), jnp.asarray(ALL.lens_shift)])
    n = [np.interp(z, model.line.redshifts.nodes, row) for row in model.line.redshifts.shifted(shifts)]
    x = np.asarray(comoving_distance(cosmology, z)) / units.HUBBLE_DISTANCE
    rate, growth = (np.asarray(f(cosmology, z)) for f in (expansion, growth_factor))

    def behind(y):
        return np.append(np.cumsum((0.5 * (y[1:] + y[:-1]) * np.diff(z))[::-1])[::-1], 0.0)

    lensing = [1.5 * float(cosmology.Omega_m) * (1 + z) * x * (behind(y) - x * behind(y / x)) for y in n]
    F = -1.2 * C1_RHO_CRIT * float(cosmology.Omega_m) / growth * ((1 + z) / 1.62) ** 0.7
    shear = [(1 + m) * (q + F * rate * y) for m, q, y in zip((0.02, -0.01), lensing[:2], n[:2], strict=True)]
    galaxy = 1.6 * rate * n[2] + 0.8 * lensing[2]
    k = jnp.asarray((ELL + 0.5) / (x * units.HUBBLE_DISTANCE)[:, None])
    table = np.asarray(model.extension.table(power, k, jnp.asarray(z))) / units.HUBBLE_DISTANCE**3
    first, second = (shear[0], shear[0], galaxy, galaxy, galaxy), (*shear, *shear, galaxy)
    for a, b, spectrum in zip(first, second, found, strict=True):
        integral = np.trapezoid((a * b / x**2 / rate)[:, None] * table, z, axis=0)
        # Low multipoles see the smallest redshifts, where nodes are few.
        np.testing.assert_allclose(spectrum[:2], integral[:2], rtol=2e-3)
        np.testing.assert_allclose(spectrum[2:], integral[2:], rtol=5e-5)


def test_gradients_are_those_of_finite_differences(model, power, float64):
    def vector(p):
        c = Cosmology(omega_b=0.0225, omega_cdm=p[0], h=p[1], n_s=0.96, ln10A_s=3.0)
        return model(
            power,
            c,
            Nuisances(p[2:4], p[4], p[5], p[6:8], p[8:9], p[9:10], p[10:11]),
        )

    at = jnp.array([0.118, 0.7, 0.01, -0.02, 1.2, 0.7, 0.02, -0.01, 0.01, 1.6, 0.8])
    function = jax.jit(vector)
    slopes = np.asarray(jax.jit(jax.jacrev(vector))(at))
    for i in range(len(at)):
        up, down = (np.asarray(function(at.at[i].add(step))) for step in (1e-5, -1e-5))
        numeric = (up - down) / 2e-5
        np.testing.assert_allclose(slopes[:, i], numeric, rtol=1e-4, atol=1e-6 * np.abs(numeric).max())
    single = np.asarray(function(at.astype(jnp.float32)))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, np.asarray(function(at)), rtol=1e-4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UnknownName, match="galaxy_shear"):
        Block("galaxy_shea", [(0, 0)], np.eye(6))
    with pytest.raises(ConfigError, match=r"pairs beyond the \(1, 2\) bins"):
        TwoPoint.from_histograms(Z, SOURCES, LENSES, ELL, (Block("galaxy_shear", [(1, 0)], np.eye(6)),))
    with pytest.raises(ConfigError, match="for 6 multipoles"):
        TwoPoint.from_histograms(Z, SOURCES, LENSES, ELL, (Block("shear", [(1, 0)], np.eye(5)),))
