"""COSEBIs: all E- and B-mode information of shear on a finite range of angles (logarithmic filters).

Schneider, Eifler & Krause 2010 (A&A 520, A116). With z = ln(theta / theta_min),

    E_n = 1/2 int dtheta theta [T_+n xi_+ + T_-n xi_-] = int dell ell / (2 pi) W_n(ell) C_E(ell),
    W_n(ell) = int dtheta theta T_+n(theta) J_0(ell theta),

and B_n with the other sign. T_+n is a polynomial in z of degree n + 1 without the two moments that mix E and
B on a finite range (their eqs 26 and 27), orthogonal to those before it: int dtheta T_+m T_+n is 0 unless
m = n, and theta_max - theta_min then (eq. 34). Its coefficients cancel to tens of digits, so that they are
solved for in decimal arithmetic, once, and kept as Chebyshev series, which do not cancel. E_n is in rad^2.
"""

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev
from scipy.interpolate import CubicSpline
from scipy.special import j0

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.units import ARCMIN
from galaxyjax.theory.bandpowers import spin_prefactor

MODES_MAX = 30


def filters(theta: np.ndarray, theta_range: tuple[float, float], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return T_+n and T_-n (count, ntheta) for n = 1 to count; 0 outside theta_range. All in arcmin.

    Raises ConfigError when the range does not ascend, or count is not 1 to 30.
    """
    plus, minus = _series(*_checked(theta_range, count), count)
    end = np.log(theta_range[1] / theta_range[0])
    z = np.log(np.asarray(theta, float) / theta_range[0])
    inside = (z >= -1e-12) & (z <= end * (1.0 + 1e-12))
    x = np.clip(2.0 * z / end - 1.0, -1.0, 1.0)
    return tuple(np.where(inside, chebyshev.chebval(x, series), 0.0) for series in (plus, minus))


def fourier_filters(ell: np.ndarray, theta_range: tuple[float, float], count: int) -> np.ndarray:
    """Return W_n(ell), (count, nell) in rad^2, ell ascending: Gauss-Legendre in panels of theta."""
    ell, found = np.asarray(ell, float), []
    start = 0
    while start < len(ell):  # multipoles within a factor of two share their angles
        stop = int(np.searchsorted(ell, 2.0 * ell[start], side="right"))
        theta, weight = _panels(*theta_range, ell[stop - 1] * ARCMIN)
        plus, _ = filters(theta, theta_range, count)
        bessel = j0(ell[start:stop] * (theta * ARCMIN)[:, None])
        found.append((plus * weight * theta * ARCMIN**2) @ bessel)
        start = stop
    return np.concatenate(found, axis=1)


def cosebi_matrix(
    ell_nodes: np.ndarray,
    theta_range: tuple[float, float],
    count: int,
    curved: bool = True,
    spin_factor: bool = True,
) -> np.ndarray:
    """Return the (count, nnode) matrix from C_ell of E modes at ell_nodes to E_1 ... E_count, in rad^2.

    Between nodes ell C_ell is a cubic spline in ln ell. curved: W_n is taken at ell + 1/2, which makes the
    integral that of the sum over multipoles on the sphere; without, as in the published pipelines. B modes
    of C_ell are linear in the same way. Multipoles count up to far beyond 1 / theta_min: with the last node
    at 12, 23 and 46 / theta_min, E_1 is off by about 1e-3, 3e-4 and 3e-5.
    """
    low, high = _checked(theta_range, count)
    nodes = np.asarray(ell_nodes, float)
    if nodes.ndim != 1 or len(nodes) < 4 or np.any(np.diff(nodes) <= 0.0) or nodes[0] <= 0.0:
        raise ConfigError("ell_nodes: at least 4 ascending multipoles above 0 are needed")
    if nodes[-1] * low * ARCMIN < 5.0:
        raise ConfigError(
            f"theta_min = {low:g} arcmin needs multipoles to {5.0 / (low * ARCMIN):.0f}, and the nodes "
            f"end at {nodes[-1]:.0f}"
        )
    ell, weight = _panels(nodes[0], nodes[-1], high * ARCMIN)
    at = ell + 0.5 if curved else ell
    response = fourier_filters(at, theta_range, count) * weight * at / (2.0 * np.pi * ell)
    factor = spin_prefactor(ell) if spin_factor else 1.0
    return (response * factor) @ (CubicSpline(np.log(nodes), np.eye(len(nodes)))(np.log(ell)) * nodes)


def angle_weights(
    theta_range: tuple[float, float], count: int, points: int = 400
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return angles (points,) in arcmin and weights w_+, w_- (count, points) in rad^2.

    E_n = w_+ xi_+ + w_- xi_- at those angles, and B_n = w_+ xi_+ - w_- xi_-: Gauss-Legendre in ln theta.
    """
    low, high = _checked(theta_range, count)
    x, w = np.polynomial.legendre.leggauss(points)
    width = np.log(high / low)
    theta = low * np.exp(0.5 * width * (x + 1.0))
    plus, minus = filters(theta, theta_range, count)
    measure = 0.25 * width * w * (theta * ARCMIN) ** 2
    return theta, plus * measure, minus * measure


def _checked(theta_range, count) -> tuple[float, float]:
    low, high = (float(t) for t in theta_range)
    if not 0.0 < low < high:
        raise ConfigError(f"theta_range {theta_range} arcmin must ascend from above 0")
    if not 1 <= count <= MODES_MAX:
        raise ConfigError(f"COSEBIs: {count} modes; give 1 to {MODES_MAX}")
    return low, high


def _panels(low: float, high: float, frequency: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights on [low, high] for what turns by `frequency` radians a unit."""
    edges = np.geomspace(low, high, 2 + int(np.log2(high / low)))
    parts = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        pieces = 1 + int(frequency * (stop - start) / 200.0)
        inner = np.linspace(start, stop, pieces + 1)
        x, w = np.polynomial.legendre.leggauss(24 + int(0.55 * frequency * (stop - start) / pieces))
        half = 0.5 * np.diff(inner)[:, None]
        parts.append(((inner[:-1, None] + half * (x + 1.0)).ravel(), (half * w).ravel()))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


@lru_cache(maxsize=8)
def _series(low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Chebyshev coefficients (degree + 1, count) of T_+ and T_- over z in [0, ln(high / low)].

    T_-(z) = T_+(z) + 4 int_0^z dz' T_+(z') (e^(2 (z' - z)) - 3 e^(4 (z' - z))) (their eq. 25).
    """
    end, points = np.log(high / low), 2 * count + 50
    x = chebyshev.chebpts1(points)
    with localcontext() as context:
        context.prec = 40 + 8 * count
        polynomials = _polynomials(Decimal(high) / Decimal(low), count)
        z = [Decimal(0.5 * end * (value + 1.0)) for value in x]
        values = np.array([[float(_horner(row, at)) for row in polynomials] for at in z])
    fit = np.linalg.inv(chebyshev.chebvander(x, points - 1))
    plus = (fit @ values)[: count + 2]  # a polynomial: nothing beyond its degree but rounding
    t, w = np.polynomial.legendre.leggauss(60)
    at = 0.5 * end * (x + 1.0)
    before = 0.5 * at[:, None] * (t + 1.0)
    back = before - at[:, None]
    kernel = 2.0 * at[:, None] * w * (np.exp(2.0 * back) - 3.0 * np.exp(4.0 * back))
    inner = chebyshev.chebval(2.0 * before / end - 1.0, plus)  # (count, npoint, 60)
    minus = values + np.einsum("ij,kij->ik", kernel, inner)
    return plus, fit @ minus


def _polynomials(ratio: Decimal, count: int) -> list[list[Decimal]]:
    """Return the coefficients of T_+1 ... T_+count in powers of z, from the constant up."""
    end = ratio.ln()
    moments = {a: _moments(a, end, 2 * count + 3) for a in (1, 2, 4)}
    found: list[list[Decimal]] = []
    for n in range(1, count + 1):
        size = n + 1  # unknown coefficients; that of z^(n + 1) is 1
        rows = [[moments[a][k] for k in range(size + 1)] for a in (2, 4)]
        rows += [
            [sum(c * moments[1][k + i] for i, c in enumerate(other)) for k in range(size + 1)]
            for other in found
        ]
        shape = [*_solve([row[:-1] for row in rows], [-row[-1] for row in rows]), Decimal(1)]
        square = sum(a * b * moments[1][i + j] for i, a in enumerate(shape) for j, b in enumerate(shape))
        norm = ((ratio - 1) / square).sqrt()
        found.append([norm * c for c in shape])
    return found


def _moments(a: int, end: Decimal, count: int) -> list[Decimal]:
    """Return int_0^end z^k e^(a z) dz for k < count, by parts from k = 0 up."""
    growth = (a * end).exp()
    values = [(growth - 1) / a]
    for k in range(1, count):
        values.append((end**k * growth - k * values[-1]) / a)
    return values


def _solve(matrix: list[list[Decimal]], right: list[Decimal]) -> list[Decimal]:
    """Return the solution of a small linear system: Gauss with the largest pivot."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(i + 1, n):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [b - factor * a for a, b in zip(rows[i], rows[r], strict=True)]
    solution: list[Decimal] = []
    for i in reversed(range(n)):
        known = sum(a * x for a, x in zip(rows[i][i + 1 : n], reversed(solution), strict=True))
        solution.append((rows[i][n] - known) / rows[i][i])
    return solution[::-1]


def _horner(coefficients: list[Decimal], z: Decimal) -> Decimal:
    total = Decimal(0)
    for coefficient in reversed(coefficients):
        total = total * z + coefficient
    return total
