"""Other descriptions of what baryons do to the matter power spectrum, to hold a measured response against.

- CAMELS: closed forms of P_hydro / P_N-body by symbolic regression to the Latin hypercubes of four codes
  (Kammerer et al. 2025, arXiv:2506.08783; coefficients as published there and, under MIT licence, in
  github.com/DeaglanBartlett/symbolic_pofk, symbolic_pofk/syren_baryon.py). Boxes of 25 Mpc/h hold few groups
  and no clusters, which the suppression at k < 1 h/Mpc comes from.
- ANTILLES: pyspk (Salcido et al. 2023, MNRAS 523, 2247; LGPL-3.0-or-later), from haloes' baryons.
- HMcode2020's logT_AGN (Mead et al. 2021, MNRAS 502, 1401), through CAMB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.simulate import boltzmann


@dataclass(frozen=True)
class Camels:
    """Parameters of a CAMELS run: 1 is each code's fiducial feedback."""

    Omega_m: float = 0.3
    sigma_8: float = 0.8
    A_SN1: float = 1.0
    A_SN2: float = 1.0
    A_AGN1: float = 1.0
    A_AGN2: float = 1.0


def illustris_tng(k: np.ndarray, z: float, p: Camels) -> np.ndarray:
    """ln R (nk,) of CAMELS IllustrisTNG at k in h/Mpc; A_AGN1 does not matter."""
    depth = (0.9007 * p.A_AGN2 - 0.5901 * p.A_SN1 - 1.5576 * p.A_SN2 + 2.6846 * p.sigma_8) / p.A_SN2
    fading = (3592.322 * p.Omega_m) ** (-0.0087 * k - 0.059 * z)
    growing = (0.79265536265842 * p.Omega_m**0.193) ** z
    suppression = 0.0109 * p.A_SN2 / p.Omega_m * k * fading * (1.0 + depth * (growing - 0.048 * k))
    return 0.022 * np.exp(-0.021 * np.exp(0.797 * z) / k) - suppression


def simba(k: np.ndarray, z: float, p: Camels) -> np.ndarray:
    """ln R (nk,) of CAMELS SIMBA at k in h/Mpc."""
    strength = p.Omega_m * (25.727 * p.A_AGN1 + 153.382 * p.A_AGN2 - 70.6364 * p.A_SN1 + 260.812 * p.sigma_8)
    late = 0.6024 * z + (0.0553 * k) ** (0.79055 * z)
    turn = 16.01 * z + 12.0685 * (1.0047 * p.A_SN2) ** (0.6788 * p.A_SN1) + k**1.594
    cooling = 4.4661 * np.exp(-114.529 * np.exp(-1.21 * z) / k - 2.0 * z)
    return cooling - 0.00133 / p.Omega_m**2 * k * (strength + k) / (late * turn)


def astrid(k: np.ndarray, z: float, p: Camels) -> np.ndarray:
    """ln R (nk,) of CAMELS Astrid at k in h/Mpc."""
    winds = 0.23 * p.A_AGN1 - p.A_AGN2 - 0.71 * p.A_SN1 + 3.107 * p.sigma_8
    end = 1.622 * p.A_AGN2 + 0.849 * p.A_SN1 + 5.092 * p.A_SN2**2 * winds
    rise = 7.9 * p.A_SN2 / p.Omega_m * k * (0.0014 * k) ** (0.937 * p.A_SN2)
    width = (
        p.A_AGN2 * (19.756 * p.Omega_m + 2.8478) + (1.7347 * p.A_AGN2 + 11.389 * p.Omega_m + 1.642) * k + k**2
    )
    cooling = (0.0224 * k - 1.0 + np.exp(-0.029 * k)) * np.exp(-0.063 * z)
    return rise * (end - z) / ((0.78 * z - 0.677 ** (-2.0 * z)) * width) + cooling


def swift_eagle(k: np.ndarray, z: float, p: Camels) -> np.ndarray:
    """ln R (nk,) of CAMELS Swift-EAGLE at k in h/Mpc."""
    m = p.Omega_m**1.625
    ratio = 1.0 / (m * (6.528 * p.A_AGN2 + 12.855 * p.A_SN1))
    first = (6.13845 * p.A_SN1 - 0.2588 * p.A_AGN1) * ratio
    second = (0.9788 - 0.1659 * p.A_SN1) * (8.877 * p.A_SN1 - 0.3745 * p.A_AGN1) * ratio
    bend = (first * k + second) / (9.2437 * z + 9.2965 * p.A_SN2 + 18.4 + k)
    high = (1.1166 * k * z + k**2) / (54.3014 * m * k + 0.12055 * m * (4822.2 * p.A_SN1 + 8228.9 * p.Omega_m))
    level = (0.034 * p.Omega_m - 0.02 * p.sigma_8 - 0.0204 * k + 0.004 * z) / m
    front = (0.272 * p.Omega_m) ** (0.22 / k + 0.0168 * k + 0.074 * z)
    return front * (level + bend + high) + 2.287 * np.exp(-130.0 * np.exp(-z) / k - np.exp(0.565 * z))


CAMELS = {"IllustrisTNG": illustris_tng, "SIMBA": simba, "Astrid": astrid, "Swift-EAGLE": swift_eagle}


def camels(code: str, k: np.ndarray, z: np.ndarray, parameters: Camels = Camels()) -> np.ndarray:  # noqa: B008
    """ln R (nz, nk) of a code in CAMELS at k (nk,) h/Mpc and z (nz,)."""
    return np.stack([CAMELS[code](np.asarray(k, float), float(value), parameters) for value in z])


def antilles(k: np.ndarray, z: float, fraction: float, slope: float) -> np.ndarray:
    """ln R (nk,) by pyspk at k <= 12 h/Mpc: haloes hold `fraction` (M_500 / 10^13.5 Msun)^slope of f_b.

    Raises ConfigError where pyspk is not installed.
    """
    try:
        import pyspk
    except ImportError as missing:
        raise ConfigError("pyspk is not installed: pip install 'galaxyjax[baryons]'") from missing
    _, suppression = pyspk.sup_model(
        SO=500, z=z, fb_a=fraction, fb_pow=slope, fb_pivot=10**13.5, k_array=np.asarray(k, float)
    )
    return np.log(np.asarray(suppression))


# FLAMINGO's own (Schaye et al. 2023, MNRAS 526, 4978): Omega_m 0.306, Omega_b 0.0486, A_s 2.099e-9; 0.06 eV.
COSMOLOGY = {
    "omega_b": 0.02254,
    "omega_cdm": 0.11873,
    "h": 0.681,
    "n_s": 0.967,
    "ln10A_s": 3.044,
    "m_nu": 0.06,
}


def hmcode(k: np.ndarray, z: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """ln R (nt, nz, nk) of HMcode2020 in FLAMINGO's cosmology for logT_AGN (nt,), by CAMB."""
    rows = []
    for value in temperatures:
        theta = COSMOLOGY | {"logT_AGN": float(value)}
        rows.append(np.log(boltzmann.power(theta, z, k, ("baryon_suppression",))["baryon_suppression"]))
    return np.array(rows)
