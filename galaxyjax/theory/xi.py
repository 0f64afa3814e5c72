"""Correlation functions of angle: the linear map from C_ell at a few multipoles to averages over bins.

    X(theta) = sum_ell (2 ell + 1) / (4 pi) C_ell d^ell_{m m'}(theta),

with Wigner's d of (m, m') = (2, 2) for xi_+, (2, -2) for xi_-, (2, 0) for the tangential shear around
galaxies and (0, 0) for clustering (Kilbinger et al. 2017, MNRAS 472, 2126, eqs 9 to 11; Stebbins 1996,
astro-ph/9609149). A survey counts pairs in bins, so each row is the mean over its bin weighted by area.

Up to `CURVED` multipoles the sum is exact. Beyond, on scales that no bin resolves, d is the Bessel function
of (ell + 1/2) theta, whose mean over a bin is analytic. All of it is NumPy float64 and runs once.
"""

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import j0, j1, jn

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.core.units import ARCMIN
from galaxyjax.theory.bandpowers import spin_prefactor

SPINS = {"xi_plus": (2, 2), "xi_minus": (2, -2), "gamma_t": (2, 0), "w": (0, 0)}
"""Statistic -> (m, m') of Wigner's d."""

CURVED = 2000
"""Largest multipole of the exact sum; at 5 degrees, halving or doubling it moves no bin by more than 1e-6."""


def bin_matrix(
    ell_nodes: np.ndarray, theta_edges: np.ndarray, statistic: str, spin_factor: bool = True
) -> np.ndarray:
    """Return the (nbin, nnode) matrix from C_ell at ell_nodes to means over bins of angle.

    theta_edges: (nbin + 1,) arcmin, ascending. statistic: a name in SPINS. Between nodes ell C_ell is a cubic
    spline in ln ell, and the sum runs from ell = 2 (1 for w) to the last node. spin_factor multiplies C_ell
    of shear by the exact factors of its spin, as for `bandpowers.band_matrix`, one for each shear.
    Raises UnknownName, or ConfigError when nodes or edges do not ascend or the bins are too fine for them.
    """
    edges = np.asarray(theta_edges, float)
    if edges.ndim != 1 or len(edges) < 2 or edges[0] <= 0.0 or np.any(np.diff(edges) <= 0.0):
        raise ConfigError("theta_edges: at least two ascending angles above 0 are needed, in arcmin")
    nodes, ell = _checked(ell_nodes, edges[0], statistic)
    edges = edges * ARCMIN
    low = ell[ell <= CURVED]
    # Points enough for the finest oscillation of d in the exact sum, and the measure sin(theta).
    rows = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        t, w = np.polynomial.legendre.leggauss(12 + int(0.6 * CURVED * (stop - start)))
        theta = 0.5 * (stop + start) + 0.5 * (stop - start) * t
        w = w * np.sin(theta)
        rows.append(w / w.sum() @ wigner_d(len(low) + int(low[0]), theta, *SPINS[statistic])[:, low[0] :])
    high = ell[len(low) :] + 0.5
    area = 0.5 * (edges[1:] ** 2 - edges[:-1] ** 2)[:, None]
    at = _primitive(statistic, high * edges[:, None]) / high**2
    kernel = np.concatenate([np.stack(rows), np.diff(at, axis=0) / area], axis=1)
    return _fold(kernel, ell, nodes, statistic, spin_factor)


def angle_matrix(
    ell_nodes: np.ndarray, theta: np.ndarray, statistic: str, spin_factor: bool = True
) -> np.ndarray:
    """Return the (ntheta, nnode) matrix from C_ell at ell_nodes to the statistic at angles theta in arcmin.

    The last factor of two in ell is faded out, as a sharp end would ring. Otherwise as `bin_matrix`.
    """
    theta = np.atleast_1d(np.asarray(theta, float))
    nodes, ell = _checked(ell_nodes, theta.min(), statistic)
    theta = theta * ARCMIN
    low = ell[ell <= CURVED]
    exact = wigner_d(len(low) + int(low[0]), theta, *SPINS[statistic])[:, low[0] :]
    order = abs(SPINS[statistic][0] - SPINS[statistic][1])
    flat = jn(order, (ell[len(low) :] + 0.5) * theta[:, None])
    fade = np.cos(0.5 * np.pi * np.clip(np.log2(2.0 * ell / ell[-1]), 0.0, 1.0)) ** 2
    return _fold(np.concatenate([exact, flat], axis=1) * fade, ell, nodes, statistic, spin_factor)


def wigner_d(count: int, theta: np.ndarray, m: int, n: int) -> np.ndarray:
    """Return d^ell_mn(theta), (ntheta, count), ell from 0 to count - 1; theta in radians, (m, n) in SPINS.

    Three-term recurrence in ell (Varshalovich et al. 1988, sect. 4.8), upwards, where it is stable.
    """
    theta = np.asarray(theta, float)
    x, found = np.cos(theta), np.zeros((count, len(theta)))
    if (m, n) == (0, 0):
        found[0], found[1] = 1.0, x
        first = 1
    else:
        half = {2: np.cos(0.5 * theta) ** 4, -2: np.sin(0.5 * theta) ** 4}
        found[2] = np.sqrt(6.0) / 4.0 * np.sin(theta) ** 2 if n == 0 else half[n]
        first = 2
    for ell in range(first, count - 1):
        here = (2 * ell + 1) * (ell * (ell + 1) * x - m * n) * found[ell]
        before = (ell + 1) * np.sqrt((ell**2 - m**2) * (ell**2 - n**2)) * found[ell - 1]
        above = ell * np.sqrt(((ell + 1.0) ** 2 - m**2) * ((ell + 1.0) ** 2 - n**2))
        found[ell + 1] = (here - before) / above
    return found.T


def _fold(kernel, ell, nodes, statistic, spin_factor) -> np.ndarray:
    """Return kernel (n, nell) summed over ell against the cardinal splines of ell C_ell on the nodes."""
    shears = sum(spin != 0 for spin in SPINS[statistic])
    factor = spin_prefactor(ell) ** (0.5 * shears) if spin_factor else 1.0
    cardinal = CubicSpline(np.log(nodes), np.eye(len(nodes)))(np.log(ell)) * nodes
    return (kernel * (2.0 * ell + 1.0) / (4.0 * np.pi * ell) * factor) @ cardinal


def _checked(ell_nodes, smallest, statistic) -> tuple[np.ndarray, np.ndarray]:
    if statistic not in SPINS:
        raise unknown_name("statistic", statistic, list(SPINS))
    nodes = np.asarray(ell_nodes, float)
    if nodes.ndim != 1 or len(nodes) < 4 or np.any(np.diff(nodes) <= 0.0) or not 0.0 < nodes[0] <= 2.0:
        raise ConfigError("ell_nodes: at least 4 ascending multipoles are needed, the first in (0, 2]")
    if nodes[-1] * smallest * ARCMIN < 5.0:
        raise ConfigError(
            f"theta = {smallest:g} arcmin needs multipoles to {5.0 / (smallest * ARCMIN):.0f}, and the nodes "
            f"end at {nodes[-1]:.0f}"
        )
    return nodes, np.arange(2 if statistic != "w" else int(np.ceil(nodes[0])), int(nodes[-1]) + 1)


def _primitive(statistic: str, x: np.ndarray) -> np.ndarray:
    """Return the primitive of x J_n(x), n = |m - m'|: of x J_0, x J_2 and x J_4."""
    order = abs(SPINS[statistic][0] - SPINS[statistic][1])
    if order == 0:
        return x * j1(x)
    if order == 2:
        return -x * j1(x) - 2.0 * j0(x)
    # J_2 by recurrence: scipy's jn takes twenty times as long, and no x here is small.
    return (x - 8.0 / x) * j1(x) - 8.0 * (2.0 * j1(x) / x - j0(x))
