"""COSEBIs: what defines their filters, the published numbers, and the two ways from a spectrum to E_n."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.special import jn

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.units import ARCMIN
from galaxyjax.theory.bandpowers import ell_nodes
from galaxyjax.theory.cosebis import _series, angle_weights, cosebi_matrix, filters, fourier_filters
from galaxyjax.theory.xi import angle_matrix

RANGE, COUNT = (4.0, 100.0), 20


def test_filters_are_orthonormal_and_blind_to_what_mixes_e_and_b():
    """int dtheta T_m T_n = (theta_max - theta_min) delta_mn; int theta T = int theta^3 T = 0, and T_+ of the
    ends is T_-'s.
    """
    x, w = np.polynomial.legendre.leggauss(400)
    z = 0.5 * np.log(25.0) * (x + 1.0)
    theta, w = 4.0 * np.exp(z), 0.5 * np.log(25.0) * w
    plus, minus = filters(theta, RANGE, COUNT)
    np.testing.assert_allclose((plus * w * theta) @ plus.T / 96.0, np.eye(COUNT), atol=1e-10)
    for power in (2, 4):
        size = np.abs(plus) @ (w * theta**power)
        assert np.all(np.abs(plus @ (w * theta**power)) < 1e-10 * size)
    for power in (0, -2):  # the conditions on T_- (their eq. 26)
        size = np.abs(minus) @ (w * theta**power)
        assert np.all(np.abs(minus @ (w * theta**power)) < 1e-9 * size)


@pytest.mark.parametrize(
    "theta_range, roots",
    [
        ((0.5, 100.0), {1: (3.9917095, 5.1074689), 3: (0.69248467, 2.5232866, 4.3861649, 5.1482289)}),
    ],
)
def test_roots_are_those_of_the_kids_pipeline(theta_range, roots):
    """As tabled with KiDS-1000's public pipeline, to its eight digits."""
    plus, _ = _series(*theta_range, COUNT)
    end = np.log(theta_range[1] / theta_range[0])
    for n, expected in roots.items():
        found = chebyshev.chebroots(plus[: n + 2, n - 1])
        np.testing.assert_allclose(np.sort(0.5 * end * (found.real + 1.0)), expected, rtol=2e-8)


def test_pure_e_modes_leave_no_b():
    """int theta T_- J_4(ell theta) = int theta T_+ J_0(ell theta) = W_n(ell) at every multipole."""
    ell = np.geomspace(2.0, 2000.0, 40)
    w = fourier_filters(ell, RANGE, COUNT)
    theta, _, minus = angle_weights(RANGE, COUNT, 500)
    both = 2.0 * minus @ jn(4, ell * (theta * ARCMIN)[:, None])
    np.testing.assert_allclose(both, w, atol=1e-9 * np.abs(w).max())


def test_integration_over_xi_agrees_with_fourier_space():
    """On the sphere up to 100 arcmin, where flat filters are good to 1e-4 of E_1; B stays below that."""
    nodes = ell_nodes(60, 1.0, 4e4)
    spectrum = 1e-9 / (1.0 + (nodes / 80.0) ** 1.2) / (1.0 + (nodes / 3000.0) ** 1.1)
    found = cosebi_matrix(nodes, RANGE, 6, spin_factor=False) @ spectrum
    theta, plus, minus = angle_weights(RANGE, 6, 60)
    xi = [angle_matrix(nodes, theta, name, False) @ spectrum for name in ("xi_plus", "xi_minus")]
    e, b = plus @ xi[0] + minus @ xi[1], plus @ xi[0] - minus @ xi[1]
    np.testing.assert_allclose(e, found, atol=1e-4 * np.abs(found).max())
    assert np.abs(b).max() < 1e-4 * np.abs(found).max()


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ConfigError, match="must ascend"):
        filters(np.ones(3), (5.0, 1.0), 3)
    with pytest.raises(ConfigError, match="31 modes; give 1 to 30"):
        filters(np.ones(3), (1.0, 5.0), 31)
    with pytest.raises(ConfigError, match="needs multipoles"):
        cosebi_matrix(ell_nodes(30, 1.0, 1e4), (0.5, 300.0), 3)
