"""A measured response held against other simulations and models of the same effect (`simulate.feedback`).

Not a test of the emulator, which is right where it agrees with FLAMINGO, but of how far FLAMINGO stands for
others: each family is brought as near as its parameters allow, and what is left is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from galaxyjax.core.errors import ConfigError
from galaxyjax.simulate import feedback
from galaxyjax.simulate.responses import PARAMETERS
from galaxyjax.train.response import inside_hull

K = np.geomspace(0.1, 8.0, 40)  # h/Mpc; pyspk's own range
Z = np.array([0.125, 1.0])  # pyspk begins at 0.125
TEMPERATURES = np.linspace(7.4, 8.3, 19)


def cross_checks(emulator) -> dict:
    """Return {"hmcode", "antilles", "camels"}: name -> numbers; a family that is not installed is left out.

    hmcode: of each simulation, the logT_AGN nearest to it and the rms of what differs in R. antilles: the
    baryon fraction of haloes of 10^13.5 Msun over the cosmic one that fits best at each of Z, and the rms.
    camels: of each code's fiducial model, the nearest (sigma_gas, sigma_star, jet), rms and largest rest.
    """
    simulations = np.asarray(emulator.model.simulations)
    measured = _responses(emulator, dict(zip(PARAMETERS, simulations.T, strict=True)))
    names = [tuple(map(float, row)) for row in simulations]
    rows = {}
    for family, check in (("hmcode", _hmcode), ("antilles", _antilles)):
        try:
            rows[family] = [{"theta": n, **row} for n, row in zip(names, check(measured), strict=True)]
        except ConfigError:
            continue  # not installed: the page says which were
    points = inside_hull(emulator.model)
    cloud = _responses(emulator, points)
    rows["camels"] = {code: _nearest(feedback.camels(code, K, Z), cloud, points) for code in feedback.CAMELS}
    return rows


def _responses(emulator, theta: dict[str, np.ndarray]) -> np.ndarray:
    """ln R (n, nz, nk) at K and Z."""
    theta = {name: jnp.asarray(value) for name, value in theta.items()}
    inside = emulator.with_policy("extrapolate")  # corners of the hull are inside but for rounding
    return np.log(np.asarray(inside.predict(theta, k=K, z=Z, output="response"), np.float64))


def _hmcode(measured: np.ndarray) -> list[dict]:
    table = feedback.hmcode(K, Z, TEMPERATURES)
    fine = np.linspace(*TEMPERATURES[[0, -1]], 361)
    index = np.interp(fine, TEMPERATURES, np.arange(len(TEMPERATURES)))
    low = np.minimum(index.astype(int), len(TEMPERATURES) - 2)
    share = (index - low)[:, None, None]
    curves = (1.0 - share) * table[low] + share * table[low + 1]
    rows = []
    for row in measured:
        rms = _rms(curves - row)
        rows.append({"logT_AGN": float(fine[rms.argmin()]), "rms": float(rms.min())})
    return rows


def _antilles(measured: np.ndarray) -> list[dict]:
    rows = []
    for row in measured:
        fits = [_fit(lambda p, z=z: feedback.antilles(K, z, *p), r) for z, r in zip(Z, row, strict=True)]
        rows.append(
            {"fraction": [f[0] for f in fits], "rms": float(np.hypot(*(f[1] for f in fits)) / 2**0.5)}
        )
    return rows


def _fit(model: Callable, row: np.ndarray) -> tuple[float, float]:
    """(baryon fraction, rms) of the best power law of haloes' baryons at one redshift."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fractions beyond ANTILLES' own while the fit looks for the best
        best = least_squares(lambda p: model(p) - row, (0.6, 0.3), bounds=((0.05, -0.5), (1.5, 1.5)))
    return float(best.x[0]), float(_rms(best.fun))


def _nearest(curve: np.ndarray, cloud: np.ndarray, points: dict[str, np.ndarray]) -> dict:
    rms = _rms(cloud - curve)
    best = int(rms.argmin())
    difference = np.expm1(cloud[best] - curve)
    theta = {name: float(value[best]) for name, value in points.items()}
    return {**theta, "rms": float(rms[best]), "largest": float(np.abs(difference).max())}


def _rms(difference: np.ndarray) -> np.ndarray:
    """Root mean square over the last two axes (or one), as a fraction of R."""
    axes = tuple(range(max(difference.ndim - 2, 0), difference.ndim))
    return np.sqrt(np.mean(np.expm1(difference) ** 2, axis=axes))
