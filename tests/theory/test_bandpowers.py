"""Band-power filters against direct integration, and against what a survey of all angles would see."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import j0, jv

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.units import ARCMIN
from galaxyjax.theory.bandpowers import (
    apodisation,
    band_edges,
    band_filters,
    band_matrix,
    ell_nodes,
    spin_prefactor,
)

EDGES = band_edges(100.0, 1500.0, 8)
KIDS = (EDGES, (0.5, 300.0), 0.5)


def test_the_taper_is_half_at_both_ends_and_flat_between():
    ends = np.array([0.5, 300.0])
    np.testing.assert_allclose(apodisation(ends, (0.5, 300.0), 0.5), 0.5, atol=1e-12)
    np.testing.assert_allclose(apodisation(ends * np.exp([0.25, -0.25]), (0.5, 300.0), 0.5), 1.0, atol=1e-12)
    np.testing.assert_allclose(apodisation(ends * np.exp([-0.26, 0.26]), (0.5, 300.0), 0.5), 0.0, atol=1e-12)
    inner = np.array([0.5, 12.0, 300.0])
    np.testing.assert_array_equal(apodisation(inner, (0.5, 300.0), 0.0), 1.0)
    assert apodisation(np.array([0.49]), (0.5, 300.0), 0.0)[0] == 0.0


@pytest.mark.parametrize("band", [0, 7])
def test_filters_are_those_of_direct_integration(band):
    """g by quadrature over ell' and W over theta, from the definitions of Joachimi et al. 2021 alone."""
    ell, plus, minus = band_filters(*KIDS)
    low, high = EDGES[band : band + 2]
    x, w = np.polynomial.legendre.leggauss(48)
    inner = 0.5 * (high - low) * x + 0.5 * (high + low)
    ln_theta = np.linspace(np.log(0.5) - 0.25, np.log(300.0) + 0.25, 10001)
    theta = np.exp(ln_theta) * ARCMIN
    taper = apodisation(theta / ARCMIN, (0.5, 300.0), 0.5)
    angles = theta[:, None] * inner
    weight = 0.5 * (high - low) * w * inner
    g_plus, g_minus = j0(angles) @ weight, jv(4, angles) @ weight
    for probe in (3.0, 0.5 * (low + high), 2500.0):
        integrands = (theta**2 * taper * bessel(probe * theta) * g for bessel, g in (
            (j0, g_plus), (lambda t: jv(4, t), g_minus)))  # fmt: skip
        direct = [np.trapezoid(f, ln_theta) for f in integrands]
        ours = [CubicSpline(np.log(ell), part[band])(np.log(probe)) for part in (plus, minus)]
        np.testing.assert_allclose(ours, direct, atol=2e-5)


def test_with_all_angles_bands_are_means_of_their_own_multipoles():
    """T = 1 everywhere makes W_EE a top hat of height 2 and W_EB vanish: Bessel functions are orthogonal."""
    edges, angles = band_edges(100.0, 1500.0, 3), (1e-3, 3e3)
    ell, plus, minus = band_filters(edges, angles, 0.5)
    inside = (ell > 1.05 * edges[1]) & (ell < edges[2] / 1.05)
    outside = (ell < edges[1] / 1.1) | (ell > 1.1 * edges[2])
    assert np.abs((plus + minus)[1, inside] - 2.0).max() < 0.03
    assert np.abs((plus + minus)[1, outside]).max() < 0.01
    assert np.abs((plus - minus)[1, inside]).max() < 0.02
    nodes = ell_nodes(60)
    np.testing.assert_allclose(band_matrix(nodes, edges, angles, 0.5) @ nodes**-2.0, 1.0, atol=3e-4)


def test_limited_angles_mix_multipoles_and_modes():
    """The effect that the filters exist for: with KiDS's angles a band sees beyond itself, and B modes."""
    ell, plus, minus = band_filters(*KIDS)
    far = (ell > 3000.0) & (ell < 5000.0)
    assert np.abs((plus + minus)[7, far]).max() > 3e-3
    assert np.abs((plus - minus)[0, (ell > 105) & (ell < 135)]).max() > 0.03


def test_scaling_angles_against_multipoles_changes_nothing():
    nodes = ell_nodes(40)
    here = band_matrix(nodes, *KIDS) @ nodes**-1.3
    there = band_matrix(2.0 * nodes, 2.0 * EDGES, (0.25, 150.0), 0.5) @ nodes**-1.3
    np.testing.assert_allclose(there, 4.0 * here, rtol=1e-6)


def spectrum(ell):
    return (
        ell
        / (30.0 + ell) ** 2.4
        / (1.0 + ell / 3000.0) ** 0.7
        * (1.0 + 0.01 * np.sin(ell / 40.0 * np.exp(-ell / 300)))
    )


def test_nodes_and_range_of_multipoles_are_enough():
    """32 nodes on [1, 1e5] against 400 on [0.3, 1e6]: below 1e-3, a hundredth of KiDS-1000's best sigma."""
    fine = ell_nodes(400, 0.3, 1e6)
    best = band_matrix(fine, *KIDS) @ spectrum(fine)
    for count, low, high in ((32, 1.0, 1e5), (64, 1.0, 1e5), (32, 1.0, 2e5)):
        nodes = ell_nodes(count, low, high)
        np.testing.assert_allclose(band_matrix(nodes, *KIDS) @ spectrum(nodes), best, rtol=1e-3)


def test_a_cut_of_the_multipoles_shows():
    """The sum must reach beyond the bands: stopping at 3000 moves the last band by more than 1e-3."""
    nodes, cut = ell_nodes(64), ell_nodes(64, 1.0, 3e3)
    whole, part = (band_matrix(n, *KIDS) @ spectrum(n) for n in (nodes, cut))
    assert abs(part[7] / whole[7] - 1.0) > 1e-3


def test_spin_prefactor():
    assert spin_prefactor(np.array([2.0]))[0] == pytest.approx(24.0 / 2.5**4)
    assert spin_prefactor(np.array([0.5]))[0] == 0.0
    assert 1.0 - spin_prefactor(np.array([100.0]))[0] == pytest.approx(2.5 / 100.5**2, rel=1e-3)
    nodes = ell_nodes(40)
    with_it, without = (band_matrix(nodes, *KIDS, spin_factor=f) @ spectrum(nodes) for f in (True, False))
    assert 1e-5 < np.abs(with_it / without - 1.0).max() < 2e-3


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="ascend"):
        band_matrix(ell_nodes(40)[::-1], *KIDS)
    with pytest.raises(ConfigError, match="enclose"):
        band_matrix(ell_nodes(40, 1.0, 1e3), *KIDS)
    with pytest.raises(ConfigError, match="theta_range"):
        band_filters(EDGES, (300.0, 0.5), 0.5)
    with pytest.raises(ConfigError, match="ell_edges"):
        band_filters(EDGES[::-1], (0.5, 300.0), 0.5)
    with pytest.raises(ConfigError, match="count"):
        ell_nodes(4)
