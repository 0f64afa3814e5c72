"""Temperature of gas from its specific energy."""

import numpy as np
from numpy.typing import ArrayLike

PROTON_MASS_G = 1.67262192e-24
"""Mass of the proton in g (CODATA 2018)."""

BOLTZMANN_ERG_K = 1.380649e-16
"""Boltzmann's constant in erg/K (exact)."""

GAMMA = 5.0 / 3.0
"""Adiabatic index of a monatomic gas."""

HYDROGEN_FRACTION = 0.76
"""Share of hydrogen in the gas's mass that GADGET and AREPO assume when they store electrons per hydrogen."""


def mean_molecular_weight(electrons: ArrayLike, hydrogen_fraction: float = HYDROGEN_FRACTION) -> np.ndarray:
    """Return mu = 4 / (1 + 3 X + 4 X x_e), shape of electrons (x_e: free electrons a hydrogen nucleus).

    X of hydrogen and the rest helium, metals neglected (Nelson et al. 2019, section 5.1 of the TNG data
    release; the same in GADGET's cooling). 1.22 neutral, 0.59 fully ionised, at X = 0.76.
    """
    x = hydrogen_fraction
    return 4.0 / (1.0 + 3.0 * x + 4.0 * x * np.asarray(electrons))


def temperature(energy: ArrayLike, mu: ArrayLike, gamma: float = GAMMA) -> np.ndarray:
    """Return T = (gamma - 1) u mu m_p / k_B in K, shape of energy (u in (km/s)^2), in its dtype.

    Nelson et al. (2019), section 5.1. Of star-forming gas it is the effective temperature of the model.
    """
    energy = np.asarray(energy)
    scale = (gamma - 1.0) * 1e10 * PROTON_MASS_G / BOLTZMANN_ERG_K
    return (energy * np.asarray(mu, energy.dtype) * energy.dtype.type(scale)).astype(energy.dtype, copy=False)
