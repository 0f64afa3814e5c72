"""Correlation functions: Wigner's functions, means over bins, and the sum itself against closed forms."""

import numpy as np
import pytest
from scipy.special import eval_jacobi, eval_legendre

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.core.units import ARCMIN
from galaxyjax.theory.bandpowers import ell_nodes
from galaxyjax.theory.xi import SPINS, angle_matrix, bin_matrix, wigner_d

NODES = ell_nodes(60, 1.0, 2e4)
THETA = np.array([5.0, 40.0, 200.0])


def spectrum(ell):
    """A smooth C_ell that falls by three decades."""
    return 1e-9 / (1.0 + (ell / 80.0) ** 1.2) / (1.0 + (ell / 3000.0) ** 1.1)


def test_wigners_functions_are_jacobi_polynomials():
    """d^l_2,2 = cos^4(t/2) P_(l-2)^(0,4), d^l_2,-2 = sin^4(t/2) P_(l-2)^(4,0), d^l_20 from P_(l-2)^(2,2)."""
    ell, t = np.arange(2, 500), THETA[:, None] * ARCMIN
    x = np.cos(t)
    both = np.sqrt((ell + 2.0) * (ell + 1.0) / (ell * (ell - 1.0))) / 4.0 * np.sin(t) ** 2
    closed = {
        "xi_plus": np.cos(t / 2) ** 4 * eval_jacobi(ell - 2, 0, 4, x),
        "xi_minus": np.sin(t / 2) ** 4 * eval_jacobi(ell - 2, 4, 0, x),
        "gamma_t": both * eval_jacobi(ell - 2, 2, 2, x),
        "w": eval_legendre(ell, x),
    }
    for name, expected in closed.items():
        found = wigner_d(500, THETA * ARCMIN, *SPINS[name])[:, 2:]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("statistic", list(SPINS))
def test_the_map_from_nodes_is_the_sum_over_all_multipoles(statistic):
    """Curved sky up to the last multipole, where the map changes to Bessel functions on the way."""
    ell = np.arange(2 if statistic != "w" else 1, 20001)
    faded = spectrum(ell) * np.cos(0.5 * np.pi * np.clip(np.log2(2.0 * ell / ell[-1]), 0.0, 1.0)) ** 2
    exact = wigner_d(20001, THETA * ARCMIN, *SPINS[statistic])[:, ell[0] :]
    expected = exact @ ((2 * ell + 1) / (4 * np.pi) * faded)
    found = angle_matrix(NODES, THETA, statistic, spin_factor=False) @ spectrum(NODES)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("statistic", list(SPINS))
def test_a_bin_is_the_mean_over_its_area(statistic):
    edges = np.array([12.0, 20.0, 80.0, 100.0])
    x, w = np.polynomial.legendre.leggauss(8)
    means = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        theta = 0.5 * (high + low) + 0.5 * (high - low) * x
        weight = w * np.sin(theta * ARCMIN)
        means.append(weight @ (angle_matrix(NODES, theta, statistic) @ spectrum(NODES)) / weight.sum())
    found = bin_matrix(NODES, edges, statistic) @ spectrum(NODES)
    # The bins' multipoles end sharply, those of single angles fade out.
    np.testing.assert_allclose(found, means, rtol=5e-4)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(UnknownName, match="xi_plus"):
        bin_matrix(NODES, THETA, "xi_plu")
    with pytest.raises(ConfigError, match="ascending angles"):
        bin_matrix(NODES, THETA[::-1], "w")
    with pytest.raises(
        ConfigError, match=r"0.1 arcmin needs multipoles to 171887, and the nodes end at 20000"
    ):
        angle_matrix(NODES, 0.1, "w")
