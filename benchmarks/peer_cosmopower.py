"""cosmopower-jax as a peer: its networks as plain functions, and CAMB set to the physics it was trained on.

A package of its own (`pip install cosmopower-jax`; GPL-3 with a non-commercial clause): benchmarks measure it
and nothing of it ships. It was trained with massless neutrinos and HMcode2016 (Mead et al. 2016), whose
baryons have two parameters, and gives 420 wavenumbers in 1/Mpc (spectra in Mpc^3) at one redshift a call.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from galaxyjax.simulate import boltzmann

NAMES = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s")
LOW = np.array([0.019, 0.06, 0.64, 0.84, 1.61])
HIGH = np.array([0.025, 0.25, 0.82, 1.1, 3.91])
C_MIN, ETA_0 = 3.13, 0.603  # HMcode2016 without baryons
SETTINGS = boltzmann.CambSettings(N_eff=3.046, nonlinear="mead2016")


def networks() -> tuple[dict[str, Callable], np.ndarray]:
    """Return output -> function of (parameters (5,), z) giving (420,), and k in 1/Mpc. Raises ImportError.

    The non-linear one takes (c_min, eta_0) as a third argument; without it there are no baryons.
    """
    from cosmopower_jax.cosmopower_jax import CosmoPowerJAX

    linear = CosmoPowerJAX(probe="mpk_lin", verbose=False)
    boost = CosmoPowerJAX(probe="mpk_boost", verbose=False)

    def linear_at(v, z):
        return linear.predict(jnp.concatenate([v, jnp.atleast_1d(z)]))

    def nonlinear_at(v, z, baryons=(C_MIN, ETA_0)):
        inputs = jnp.concatenate([v, jnp.asarray(baryons), jnp.atleast_1d(z)])
        return linear_at(v, z) * boost.predict(inputs)

    return {"linear": linear_at, "nonlinear": nonlinear_at}, np.asarray(linear.modes)


def truth(theta: Mapping[str, float], z, k, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return output -> (nz, nk) in Mpc^3 at k in 1/Mpc, from CAMB as the peer knows it, without baryons."""
    h = theta["h"]
    results = boltzmann.transfer({**theta, "m_nu": 0.0}, z, SETTINGS)
    boltzmann.set_primordial(results, theta["ln10A_s"], theta["n_s"])
    tables = {"linear": boltzmann.linear_table(results)}
    if "nonlinear" in outputs:
        tables["nonlinear"] = boltzmann.nonlinear_table(results, SETTINGS.nonlinear)
    found = {}
    for output in outputs:
        k_table, z_table, table = tables[output]
        rows = [int(np.argmin(np.abs(z_table - value))) for value in np.atleast_1d(z)]
        found[output] = np.exp(boltzmann.resample(k_table, table[rows], np.asarray(k) / h)) / h**3
    return found
