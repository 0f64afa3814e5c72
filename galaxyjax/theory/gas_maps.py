"""What a telescope sees of gas in a box along one axis: the thermal SZ effect and free-free X-rays.

Pure functions of grids in the project's units; sharded grids give maps sharded alike, as the line of sight is
the axis that is never divided.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

HYDROGEN = 0.76
THOMSON_CM2 = 6.6524587321e-25
ELECTRON_REST_ERG = 8.1871057769e-7  # m_e c^2
MPC_CM = 3.0856775815e24
MASS_G = 1.98840987e43  # 1e10 solar masses
PROTON_G = 1.67262192369e-24
# Electron pressure over that of all particles of ionised gas: (2 + 2 X) / (3 + 5 X).
ELECTRON_SHARE = (2.0 + 2.0 * HYDROGEN) / (3.0 + 5.0 * HYDROGEN)
HOT_K = 10.0**5.5  # below it lines, not free-free, cool the gas


def compton_y(pressure: Array, box_size: float, h: Array | float, z: Array | float) -> Array:
    """Return the Compton parameter (n, n) of a box seen along its last axis.

    y = sigma_T / (m_e c^2) int P_e dl (Sunyaev & Zeldovich 1972), of fully ionised gas. pressure: (n, n, n)
    thermal, comoving 1e10 Msun/h (Mpc/h)^-3 (km/s)^2. box_size: Mpc/h. Differentiable.
    """
    unit = THOMSON_CM2 / ELECTRON_REST_ERG * ELECTRON_SHARE * MASS_G * 1e10 / MPC_CM**2
    cell = box_size / pressure.shape[2]
    # (1 + z)^3 h^2 makes it physical, and the way through a cell is cell / h / (1 + z).
    return unit * cell * h * (1.0 + z) ** 2 * jnp.sum(pressure, axis=2)


def xray_brightness(
    gas: Array, temperature: Array, box_size: float, h: Array | float, z: Array | float
) -> Array:
    """Return the bolometric free-free surface brightness (n, n), erg/s/cm^2/sr, of a box along its last axis.

    1.4e-27 sqrt(T) n_e sum(Z^2 n_i) g with g = 1.2 (Rybicki & Lightman 1979, eq. 5.15b), dimmed by (1 + z)^4;
    gas below HOT_K fades out smoothly. gas: (n, n, n) comoving 1e10 Msun/h (Mpc/h)^-3; temperature: K.
    Clumps smaller than a cell are not counted. No absorption, no lines.
    """
    # Hydrogen nuclei, electrons and ions per proton mass; helium's Z^2 is 4.
    electrons, charges = 0.5 * (1.0 + HYDROGEN), HYDROGEN + (1.0 - HYDROGEN)
    density = MASS_G / MPC_CM**3 / PROTON_G  # protons' masses a cm^3
    unit = 1.4e-27 * 1.2 * electrons * charges * density**2 * MPC_CM / (4.0 * jnp.pi)
    hot = jax.nn.sigmoid(4.0 * jnp.log(temperature / HOT_K))
    cell = box_size / gas.shape[2]
    # (1 + z)^6 h^4 for two densities, 1 / (h (1 + z)) for the way, (1 + z)^-4 for the dimming.
    return unit * cell * h**3 * (1.0 + z) * jnp.sum(hot * jnp.sqrt(temperature) * gas**2, axis=2)
