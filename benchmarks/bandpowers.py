"""KiDS-1000 band powers at fixed cosmologies against an independent projection: pyccl on CAMB's P.

    GALAXYJAX_DATA=... python benchmarks/bandpowers.py        # needs pip install pyccl, and CAMB

Both get CAMB's non-linear spectrum to k = 50 h/Mpc and z = 6, the same n(z) and the same alignment. pyccl has
its own background, growth and Limber integral. From its C_ell, xi+ and xi- follow by brute-force quadrature
over Bessel functions, and band powers from those over theta as Joachimi et al. 2021 (A&A 646, A129) define
them: no filter, Hankel transform or formula is shared. (pyccl's own FFTLog to xi would add 0.0065 sigma.)
Printed: max |difference| / sigma and difference^T C^-1 difference; asked at most 0.02 each, aim 0.005. The
last column is what the chi2 of the data moves by. In each pair of rows the second is what the likelihood
uses: a power law beyond k = 10 h/Mpc, P to z = 3, 24 x 44 nodes.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.special import j0, jv

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.units import ARCMIN
from galaxyjax.data.survey import kids1000
from galaxyjax.simulate.boltzmann import power
from galaxyjax.theory.limber import Extension
from galaxyjax.theory.shear import Resolution, Shear

ASKED, AIM = 0.02, 0.005
CASES = (
    (1.0, {"omega_b": 0.0225, "omega_cdm": 0.118, "h": 0.71, "n_s": 0.95, "ln10A_s": 2.95, "m_nu": 0.06}),
    (-3.0, {"omega_b": 0.0255, "omega_cdm": 0.16, "h": 0.66, "n_s": 1.05, "ln10A_s": 2.4, "m_nu": 0.06}),
    (4.0, {"omega_b": 0.0195, "omega_cdm": 0.08, "h": 0.80, "n_s": 0.88, "ln10A_s": 3.6, "m_nu": 0.06}),
)  # A_IA and the cosmology: near the best fit, and far off on either side of it
Z = np.concatenate([np.linspace(0.0, 3.0, 61), np.linspace(3.2, 6.0, 15)])
K = np.geomspace(1e-4, 50.0, 500)


def main() -> int:
    """Print the comparison; return 1 when a limit is missed, 2 without pyccl."""
    try:
        import pyccl as ccl
    except ImportError:
        print("pyccl is not installed: pip install pyccl", file=sys.stderr)
        return 2
    jax.config.update("jax_enable_x64", True)
    survey = kids1000()
    print(f"{'projection':46} {'max/sigma':>10} {'d C^-1 d':>10} {'d chi2':>8}")
    missed = False
    for A_IA, theta in CASES:
        table = power(theta, Z, K, ("nonlinear",))["nonlinear"]
        peer = independent(ccl, survey, theta, table, A_IA)
        for name, resolution, extension in (
            ("all of P, fine nodes", Resolution(n_z=64, n_ell=64), Extension(k_max=49.0, z_max=5.9)),
            ("the likelihood's", Resolution(), Extension()),
        ):
            shear = Shear.from_survey(survey, resolution, extension)
            label = f"A_IA {A_IA:+.0f}, ln10A_s {theta['ln10A_s']}, {name}"
            missed |= row(label, ours(shear, survey, theta, table, A_IA), peer, survey)
    print(f"{'asked':46} {ASKED:10.3f} {ASKED:10.3f}\n{'aim':46} {AIM:10.3f} {AIM:10.3f}")
    return int(missed)


def row(label, vector, peer, survey) -> bool:
    """Print one line; return whether a limit is missed."""
    inverse = np.linalg.inv(survey.covariance)
    d = vector - peer
    largest, distance = np.abs(d / survey.sigma).max(), d @ inverse @ d
    chi2 = [(v - survey.data) @ inverse @ (v - survey.data) for v in (vector, peer)]
    print(f"{label:46} {largest:10.5f} {distance:10.6f} {chi2[0] - chi2[1]:8.4f}")
    return largest > ASKED or distance > ASKED


def ours(shear, survey, theta, table, A_IA) -> np.ndarray:
    """Band powers (ndata,) of galaxyjax, P from a spline through CAMB's table."""
    spline = RectBivariateSpline(Z, np.log(K), np.log(table))

    def camb(k, z):
        values = spline.ev(np.broadcast_to(np.asarray(z)[:, None], k.shape), np.log(np.asarray(k)))
        return jnp.asarray(np.exp(values))

    return np.asarray(shear(camb, Cosmology(**theta), jnp.asarray(survey.shift_mean), A_IA))


def independent(ccl, survey, theta, table, A_IA) -> np.ndarray:
    """Band powers (ndata,) with pyccl's background and Limber integral, and quadrature from there on."""
    h = theta["h"]
    cosmo = ccl.Cosmology(
        Omega_c=theta["omega_cdm"] / h**2,
        Omega_b=theta["omega_b"] / h**2,
        h=h,
        n_s=theta["n_s"],
        A_s=1e-10 * np.exp(theta["ln10A_s"]),
        m_nu=theta["m_nu"],
        mass_split="equal",
        Neff=3.044,
        T_CMB=2.7255,
    )
    a = 1.0 / (1.0 + Z[::-1])
    spectrum = ccl.Pk2D(a_arr=a, lk_arr=np.log(K * h), pk_arr=np.log(table[::-1] / h**3), is_logp=True)
    # The likelihood's own n(z), straight between the histogram's middles, finely sampled.
    redshifts = Shear.from_survey(survey).line.redshifts
    nodes, values = redshifts.nodes, np.asarray(redshifts.shifted(jnp.asarray(survey.shift_mean)))
    z = np.unique(np.concatenate([nodes, np.linspace(nodes[0], nodes[-1], 2400)]))
    tracers = [
        ccl.WeakLensingTracer(
            cosmo, dndz=(z, np.interp(z, nodes, n)), ia_bias=(z, np.full(len(z), A_IA)), n_samples=1200
        )
        for n in values
    ]
    ell = np.geomspace(2.0, 1e5, 300)
    spin = (ell + 2) * (ell + 1) * ell * (ell - 1) / (ell + 0.5) ** 4  # pyccl has it, the likelihood has not
    pairs = (tracers[i - 1] for i in survey.pairs[:, 0]), (tracers[j - 1] for j in survey.pairs[:, 1])
    c_ell = np.stack(
        [ccl.angular_cl(cosmo, i, j, ell, p_of_k_a=spectrum) / spin for i, j in zip(*pairs, strict=True)]
    )
    half = 0.5 * survey.apodisation
    low, high = (np.log(t) for t in survey.theta_range)
    theta = np.exp(np.linspace(low - half, high + half, 2500)) * ARCMIN
    return bands(survey, theta, *correlations(ell, c_ell, theta)).ravel()


def correlations(ell, c_ell, theta) -> tuple[np.ndarray, np.ndarray]:
    """xi+ and xi- (npair, ntheta): 1 / (2 pi theta^2) int dx x J_0/4(x) C(x / theta), by Gauss-Legendre.

    The integrand's slow end is faded out over x = 300 to 1000. Beyond the last multipole C falls as ell^-3.
    """
    nodes, weights = np.polynomial.legendre.leggauss(6)
    edges = np.concatenate([np.geomspace(1e-5, 1.5, 41)[:-1], np.linspace(1.5, 1000.0, 640)])
    x = (edges[:-1, None] + np.diff(edges)[:, None] * 0.5 * (nodes + 1.0)).ravel()
    w = (np.diff(edges)[:, None] * 0.5 * weights).ravel() * x
    w = w * np.cos(0.5 * np.pi * np.clip((x - 300.0) / 700.0, 0.0, 1.0)) ** 2 / (2.0 * np.pi)
    kernel = np.stack([w * j0(x), w * jv(4, x)])
    spline = CubicSpline(np.log(ell), c_ell * ell, axis=1)
    found = np.empty((2, len(c_ell), len(theta)))
    for t, angle in enumerate(theta):
        at = x / angle
        inside = np.clip(at, ell[0], ell[-1])
        c = spline(np.log(inside)) / inside * (at / inside) ** np.where(at > ell[-1], -3.0, 0.0)
        found[:, :, t] = kernel @ c.T / angle**2
    return found[0], found[1]


def bands(survey, theta, xi_plus, xi_minus) -> np.ndarray:
    """Band powers (npair, nband): pi / N int dtheta theta T (xi+ g+ + xi- g-), theta in radians.

    g+- = int dell' ell' J_0/4(ell' theta) over the band, by Gauss-Legendre.
    """
    low, high = (np.log(t * ARCMIN) for t in survey.theta_range)
    x, width = np.log(theta), survey.apodisation
    fade = np.minimum(np.minimum(x - low, high - x) / width + 0.5, 1.0)
    window = theta**2 * np.cos(0.5 * np.pi * (1.0 - fade)) ** 2
    nodes, weights = np.polynomial.legendre.leggauss(100)
    found = []
    for lower, upper in zip(survey.ell_edges[:-1], survey.ell_edges[1:], strict=True):
        ell = 0.5 * (upper + lower) + 0.5 * (upper - lower) * nodes
        g = [bessel(theta[:, None] * ell) @ (0.5 * (upper - lower) * weights * ell) for bessel in (j0, j4)]
        integral = np.trapezoid(window * (xi_plus * g[0] + xi_minus * g[1]), x, axis=1)
        found.append(np.pi / np.log(upper / lower) * integral)
    return np.stack(found, axis=1)


def j4(x):
    """The Bessel function of order four."""
    return jv(4, x)


if __name__ == "__main__":
    sys.exit(main())
