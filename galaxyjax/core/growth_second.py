"""Growth of the second order of Lagrangian perturbations, from its own differential equation.

Apart from `background` because only fields need it. Pure JAX, compiled, differentiable, float32 and float64.
"""

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core import background
from galaxyjax.core.cosmology import Cosmology


@jax.jit
def second_growth(cosmology: Cosmology, z: Array) -> tuple[Array, Array]:
    """Return D2(z) and f2 = d ln D2 / d ln a, shapes of z; NaN outside 0 <= z <= 999.

    D2 is negative, -3/7 D^2 in an Einstein-de Sitter universe, with D the growth factor that is 1 today; so
    a displacement is D psi1 + D2 psi2 with psi2 as in Bouchet et al. (1995, A&A 296, 575), eq. 10. Solves
    D2'' + (2 + dlnE/dlna) D2' = 3/2 Omega_m(a) (D2 - D^2), derivatives by ln a. Neutrinos, as in
    `background.growth_factor`, cluster like the rest.
    """
    z, dtype = background._prepare(cosmology, z)
    q, slope = background._growth_at(_table(cosmology, dtype), z)
    first, rate = background.growth_factor(cosmology, z), background.growth_rate(cosmology, z)
    return -3.0 / 7.0 * q * first**2, 2.0 * rate + slope / q


def _table(cosmology: Cosmology, dtype) -> tuple[Array, Array, Array]:
    """Return q = D2 / (-3/7 D^2), q' and q'' at the steps of `background`'s table.

    q is 1 in an Einstein-de Sitter universe and stays within percents of it, so float32 keeps its digits.
    """
    lna = jnp.asarray(background._GROWTH_LNA, dtype)
    damping, matter = _coefficients(cosmology, lna, dtype)
    g, slope, curve = background._growth_table(cosmology, dtype)
    rate = _with_midpoints(1.0 + slope / g, curve / g - (slope / g) ** 2)
    # From (D^2 q)'' + damping (D^2 q)' = M D^2 q + 7/3 M D^2 and D'' + damping D' = M D:
    # q'' = -(damping + 4 f) q' - (M + 2 f^2) q + 7/3 M, with M = 3/2 Omega_m(a).
    pull, push = matter + 2.0 * rate**2, 7.0 / 3.0 * matter
    drag = damping + 4.0 * rate

    def derivative(state, i):
        q, p = state
        return jnp.stack([p, push[i] - pull[i] * q - drag[i] * p])

    step = background._GROWTH_STEP

    def advance(state, i):
        k1 = derivative(state, i)
        k2 = derivative(state + 0.5 * step * k1, i + 1)
        k3 = derivative(state + 0.5 * step * k2, i + 1)
        k4 = derivative(state + step * k3, i + 2)
        state = state + step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        return state, state

    start = jnp.stack([push[0] / pull[0], jnp.zeros((), dtype)])
    nodes = jnp.arange(0, len(background._GROWTH_LNA) - 1, 2)
    q, p = jnp.concatenate([start[None], jax.lax.scan(advance, start, nodes)[1]]).T
    return q, p, push[::2] - pull[::2] * q - drag[::2] * p


def _coefficients(cosmology: Cosmology, lna: Array, dtype) -> tuple[Array, Array]:
    """Return 2 + dlnE/dlna and 3/2 Omega_m(a), at every node and midpoint."""
    matter, photons, kinetic, dark = background._densities(cosmology, lna, dtype)
    a = jnp.exp(lna)
    neutrinos = background._neutrinos(cosmology, a, dtype)[1] / cosmology.h**2 / a**4
    pressure = photons / 3.0 + neutrinos + (cosmology.w0 + cosmology.wa * (1.0 - a)) * dark
    total = matter + photons + kinetic + dark
    return 0.5 - 1.5 * pressure / total, 1.5 * matter / total


def _with_midpoints(value: Array, derivative: Array) -> Array:
    """Values at nodes and midpoints (2 n + 1,) from those and slopes at nodes (n + 1,): cubic Hermite."""
    step = background._GROWTH_STEP
    middle = 0.5 * (value[:-1] + value[1:]) + step / 8.0 * (derivative[:-1] - derivative[1:])
    both = jnp.stack([value[:-1], middle], axis=1).reshape(-1)
    return jnp.concatenate([both, value[-1:]])
