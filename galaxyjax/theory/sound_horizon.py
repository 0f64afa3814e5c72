"""The sound horizon at the drag epoch: the standard ruler of baryon acoustic oscillations.

    r_drag = int_{z_drag}^inf c_s / H dz,   c_s = c / sqrt(3 (1 + R)),   R = 3 rho_b / (4 rho_photon)

(Eisenstein & Hu 1998, ApJ 496, 605, eqs 5 and 6). The integral is done, with massive neutrinos, by the
project's own background. Only z_drag needs atomic physics: its logarithm is a polynomial fitted to CAMB's
recombination (RECFAST, helium from big-bang nucleosynthesis, N_eff = 3.044) over omega_b 0.017 to 0.028,
omega_cdm 0.03 to 0.28 and m_nu 0 to 0.6 eV. `benchmarks/sound_horizon.py` fits it and measures r_drag against
CAMB on points it has not seen.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.background import early_expansion
from galaxyjax.core.cosmology import Cosmology

# ln z_drag = sum_ij c_ij x^i y^j + m_nu (d_0 + d_1 x + d_2 y), x and y the logarithms of omega_b / 0.0224 and
# of omega_cdm / 0.12, m_nu in eV.
COEFFICIENTS = (
    (6.9660026, 0.0081395837, 0.0023496485, 0.00027335887),
    (0.048868547, -0.0049346202, -0.00099353938),
    (0.0048577413, 0.00076850939),
    (-0.00012058256,),
)
NEUTRINOS = (0.000194086, -0.000109295, -8.88896e-05)

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS


@jax.jit
def drag_redshift(cosmology: Cosmology) -> Array:
    """Return z_drag, where baryons are released from the photons; scalar."""
    x = jnp.log(jnp.asarray(cosmology.omega_b) / 0.0224)
    y = jnp.log(jnp.asarray(cosmology.omega_cdm) / 0.12)
    total = jnp.zeros_like(x + y)
    for row in reversed(COEFFICIENTS):  # Horner in x, then in y
        inner = jnp.zeros_like(y)
        for coefficient in reversed(row):
            inner = inner * y + coefficient
        total = total * x + inner
    mass = NEUTRINOS[0] + NEUTRINOS[1] * x + NEUTRINOS[2] * y
    return jnp.exp(total + cosmology.m_nu * mass)


@jax.jit
def sound_horizon(cosmology: Cosmology, z: Array) -> Array:
    """Return the comoving sound horizon at each z in Mpc/h, shape of z.

    With u = sqrt(a) the integrand is smooth down to a = 0, and 24 Gauss-Legendre nodes leave 1e-8.
    """
    z = jnp.asarray(z, jnp.result_type(1.0, z, *jax.tree_util.tree_leaves(cosmology)))
    u = jnp.asarray(_NODES, z.dtype) / jnp.sqrt(1.0 + z)[..., None]
    a = u**2
    ratio = 0.75 * cosmology.omega_b / units.OMEGA_GAMMA * a
    # dr = c_s da / (a^2 H) and da = 2 u du.
    speed = early_expansion(cosmology, a)
    integrand = 2.0 * u / (speed * jnp.sqrt(3.0 * (1.0 + ratio)))
    integral = jnp.sum(jnp.asarray(_WEIGHTS, z.dtype) * integrand, axis=-1) / jnp.sqrt(1.0 + z)
    return units.HUBBLE_DISTANCE * integral


def drag_horizon(cosmology: Cosmology) -> Array:
    """Return r_drag in Mpc/h (times 1 / h for Mpc); scalar."""
    return sound_horizon(cosmology, drag_redshift(cosmology))
