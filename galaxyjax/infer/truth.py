"""Band powers with a Boltzmann code's spectrum in the emulator's place: the check of a forecast."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from galaxyjax.infer.audit import K_TABLE
from galaxyjax.infer.shear import ShearModel
from galaxyjax.simulate import boltzmann

# Half widths of central differences: wide against CAMB's noise of 1e-5, narrow against curvature.
STEPS = {
    "omega_b": 4e-4,
    "omega_cdm": 3e-3,
    "h": 0.01,
    "n_s": 0.01,
    "ln10A_s": 0.02,
    "logT_AGN": 0.05,
    "m_nu": 0.02,
    "w0": 0.02,
    "wa": 0.05,
    "A_IA": 0.05,
    "eta_IA": 0.1,
}
SHIFT_STEP = 2e-3  # of n(z)


def steps(names) -> dict[str, float]:
    """Return the half width of a central difference for each parameter; shifts of n(z) included."""
    return {name: SHIFT_STEP if name.startswith("dz_") else STEPS[name] for name in names}


def truth_vector(model: ShearModel, values: Mapping[str, float], truth=boltzmann.smooth_power) -> np.ndarray:
    """Return band powers (ndata,) in float64 with P(k, z) of `truth` (CAMB), everything else the model's own.

    truth: (theta, z, k, outputs) -> output -> (nz, nk). The amplitude must be named as such (ln10A_s or A_s):
    S8 would be turned into it by the emulator.
    """
    z, k = model.shear.z_nodes, np.geomspace(*K_TABLE)
    with jax.enable_x64(True):
        values = {name: jnp.asarray(value, jnp.float64) for name, value in values.items()}
        cosmo = model.cosmology(values)
        theta = {name: float(value) for name, value in model.theta(values, cosmo).items()}
        spectrum = np.asarray(truth(theta, z, k, (model.output,))[model.output])
        splines = [CubicSpline(np.log(k), np.log(row)) for row in spectrum]

        def power(k, z):
            inside = np.log(np.clip(np.asarray(k), *K_TABLE[:2]))
            rows = [spline(row) for spline, row in zip(splines, inside, strict=True)]
            return jnp.asarray(np.exp(np.stack(rows)), jnp.float64)

        table = model.shear.table(power, cosmo)
        return np.asarray(model.from_table(values, table, model.camb_others(theta)))
