"""Intrinsic alignment of galaxies: the linear model with the non-linear spectrum (NLA).

Hirata & Seljak 2004 (PRD 70, 063526), Bridle & King 2007 (NJP 9, 444). A galaxy's intrinsic shear follows the
tidal field, so alignment enters the projection as a second kernel beside lensing:

    P_GI = F(z) P(k, z),   P_II = F(z)^2 P(k, z),   F(z) = -A_IA C1 rho_crit Omega_m / D(z),

times ((1 + z) / (1 + z_0))^eta_IA where the alignment may evolve (NLA-z). `tatt` has tidal torques as well.
"""

import jax.numpy as jnp
from jax import Array

from galaxyjax.core import units

C1_RHO_CRIT = 5e-14 * units.RHO_CRIT * 1e10
"""C1 rho_crit = 0.01388: C1 = 5e-14 Mpc^3 / (h^2 Msun) (Brown et al. 2002) times the critical density.

The published KiDS-1000 pipeline and pyccl multiply the same two numbers. Papers often print 0.0134, which
would make A_IA larger by 3.6% and change nothing else.
"""

Z_PIVOT = 0.62
"""Redshift at which eta_IA changes nothing (Troxel et al. 2018, PRD 98, 043528; DES Y1 and Y3)."""


def alignment_amplitude(
    A_IA: Array,
    omega_m: Array,
    growth: Array,
    c1_rho_crit: float = C1_RHO_CRIT,
    one_plus_z: Array | None = None,
    eta_IA: Array | float = 0.0,
) -> Array:
    """Return F(z), shape of growth, dimensionless: negative for A_IA > 0, galaxies point along the filaments.

    A_IA, omega_m: scalars, the amplitude and total Omega_m today. growth: D(z), 1 today. With one_plus_z
    (shape of growth) and eta_IA (scalar), F gains ((1 + z) / (1 + Z_PIVOT))^eta_IA (NLA-z; Joachimi et al.
    2011, A&A 527, A26, without luminosity).
    """
    amplitude = -A_IA * c1_rho_crit * omega_m / jnp.asarray(growth)
    if one_plus_z is None or (isinstance(eta_IA, (int, float)) and eta_IA == 0.0):
        return amplitude
    return amplitude * jnp.exp(eta_IA * jnp.log(one_plus_z / (1.0 + Z_PIVOT)))
