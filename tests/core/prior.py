"""Points of the prior for the tests of core, and CAMB told the same universe."""

import numpy as np

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.units import N_EFF

LOW = np.array([0.019, 0.051, 0.60, 0.84, 1.6, 0.0, -1.3, -2.0])
HIGH = np.array([0.026, 0.255, 0.85, 1.10, 4.0, 0.5, -0.4, 0.5])
NAMES = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa")
PLANCK = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.67, "n_s": 0.965, "ln10A_s": 3.045, "m_nu": 0.06}


def draw(count: int, seed: int) -> list[Cosmology]:
    """Uniform draws from the prior with w0 + wa <= -0.3."""
    points = LOW + np.random.default_rng(seed).random((count, 8)) * (HIGH - LOW)
    points[:, 7] = np.minimum(points[:, 7], -0.3 - points[:, 6])
    return [Cosmology(*map(float, point)) for point in points]


def camb_params(cosmology: Cosmology):
    """The parameters of CAMB for the same universe: three degenerate neutrinos, PPF dark energy."""
    import camb

    params = camb.CAMBparams()
    params.set_cosmology(
        H0=100 * cosmology.h,
        ombh2=cosmology.omega_b,
        omch2=cosmology.omega_cdm,
        mnu=cosmology.m_nu,
        num_massive_neutrinos=3,
        nnu=N_EFF,
        neutrino_hierarchy="degenerate",
    )
    params.set_dark_energy(w=cosmology.w0, wa=cosmology.wa, dark_energy_model="ppf")
    params.InitPower.set_params(As=float(np.exp(cosmology.ln10A_s)) * 1e-10, ns=cosmology.n_s)
    return params
