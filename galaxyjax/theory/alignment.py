"""Intrinsic alignment of galaxies: the linear model with the non-linear spectrum (NLA).

Hirata & Seljak 2004 (PRD 70, 063526), Bridle & King 2007 (NJP 9, 444). A galaxy's intrinsic shear follows the
tidal field, so alignment enters the projection as a second kernel beside lensing:

    P_GI = F(z) P(k, z),   P_II = F(z)^2 P(k, z),   F(z) = -A_IA C1 rho_crit Omega_m / D(z).
"""

import jax.numpy as jnp
from jax import Array

from galaxyjax.core import units

C1_RHO_CRIT = 5e-14 * units.RHO_CRIT * 1e10
"""C1 rho_crit = 0.01388: C1 = 5e-14 Mpc^3 / (h^2 Msun) (Brown et al. 2002) times the critical density.

The published KiDS-1000 pipeline and pyccl multiply the same two numbers. Papers often print 0.0134, which
would make A_IA larger by 3.6% and change nothing else.
"""


def alignment_amplitude(
    A_IA: Array, omega_m: Array, growth: Array, c1_rho_crit: float = C1_RHO_CRIT
) -> Array:
    """Return F(z), shape of growth, dimensionless: negative for A_IA > 0, galaxies point along the filaments.

    A_IA, omega_m: scalars, the amplitude and total Omega_m today. growth: D(z), 1 today.
    """
    return -A_IA * c1_rho_crit * omega_m / jnp.asarray(growth)
