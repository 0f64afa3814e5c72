"""Particle-mesh N-body in the growth factor as time: few steps, exact on large scales, differentiable.

With D for time, v = dx/dD, and A = -grad lap^-1 delta / D, a step from D_n to D_n+1 = D_n + 2h is drift,
kick, drift,

    x_mid = x_n + h v_n      v_n+1 = alpha v_n + (1 - alpha) A(x_mid)      x_n+1 = x_mid + h v_n+1

Free fall in the Zel'dovich approximation is then exact for any alpha, since A = v there. "bullfrog" chooses
alpha so that second-order perturbation theory is exact too (Rampf, List & Hahn 2025, JCAP 02, 020, section
4), "fastpm" so that the step is symplectic (Feng et al. 2016, MNRAS 463, 2273). Steps can begin at D = 0,
where x = q and v = psi1 are the exact initial conditions.

A step is reversible, so the gradient runs it backwards and keeps nothing: its memory does not grow with the
number of steps.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from galaxyjax.core.background import expansion, growth_factor, growth_rate
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.core.growth_second import second_growth
from galaxyjax.fields import lpt
from galaxyjax.fields.gravity import DEFAULT, Force, acceleration, check_lattice
from galaxyjax.mesh import fft

KICKS = ("bullfrog", "fastpm")


class Steps(NamedTuple):
    """Coefficients of a run of steps, each (steps,): half drift h, and v <- keep v + pull A D_mid."""

    drift: Array
    keep: Array
    pull: Array


def schedule(
    cosmology: Cosmology, z: Array, steps: int, kick: str = "bullfrog", z_start=None, pace: float = 1.0
) -> Steps:
    """Return the coefficients of `steps` steps, equal in D^pace, from D = 0 (or from z_start) to redshift z.

    A pace above 1 shortens the late steps, in which particles orbit inside haloes, at the cost of the early
    ones, which perturbation theory gets nearly right anyway. Differentiable in the cosmology and z.

    Raises UnknownName for a kick; ConfigError for fewer than one step, a pace below 1, and "fastpm" without
    z_start: at D = 0 its momentum vanishes, and a step from there forgets v, so that it could not be undone.
    """
    if steps < 1:
        raise ConfigError(f"N-body: steps={steps} must be at least 1")
    if not pace >= 1.0:
        raise ConfigError(f"N-body: pace={pace} must be at least 1")
    if kick not in KICKS:
        raise unknown_name("kick", kick, KICKS)
    if kick == "fastpm" and z_start is None:
        raise ConfigError("N-body: kick='fastpm' cannot begin at D = 0; give z_start, or take 'bullfrog'")
    # In NumPy: under `jit` an operation of JAX would be traced, even on a number at hand.
    if z_start is not None and not isinstance(z, jax.core.Tracer) and np.max(z) >= z_start:
        raise ConfigError(f"N-body: z_start={z_start:g} must lie before z={float(np.max(z)):g}")
    end = growth_factor(cosmology, z)
    shares = np.linspace(0.0, 1.0, steps + 1)
    if z_start is None:  # apart, since 0^pace has no derivative
        edges = end * jnp.asarray(shares ** (1.0 / pace), end.dtype)
    else:
        start, shares = growth_factor(cosmology, z_start) ** pace, jnp.asarray(shares, end.dtype)
        edges = (start + (end**pace - start) * shares) ** (1.0 / pace)
    return _coefficients(cosmology, edges, kick)


def _coefficients(cosmology: Cosmology, edges: Array, kick: str) -> Steps:
    low, high = edges[:-1], edges[1:]
    half = 0.5 * (high - low)
    middle = low + half
    if kick == "bullfrog":
        second, slope = _second(cosmology, edges)
        # Of a second-order particle at the middle: the part of A along psi2.
        free = (second[:-1] + slope[:-1] * half) / middle - middle
        keep = (slope[1:] - free) / (slope[:-1] - free)
    else:
        momentum = _momentum(cosmology, edges)
        keep = momentum[:-1] / momentum[1:]
    return Steps(half, keep, (1.0 - keep) / middle)


def _second(cosmology: Cosmology, growth: Array) -> tuple[Array, Array]:
    """D2 and dD2/dD where the growth factor is `growth`; exactly 0 at 0."""
    z = _redshift(cosmology, growth)
    second, rate = second_growth(cosmology, z)
    safe = jnp.where(growth > 0, growth, 1.0)
    slope = second * rate / growth_rate(cosmology, z) / safe
    # Rounding in z: the ratio to D^2 is what is smooth.
    scale = jnp.where(growth > 0, growth / growth_factor(cosmology, z), 0.0)
    return second * scale**2, slope * scale


def _momentum(cosmology: Cosmology, growth: Array) -> Array:
    """a^3 H dD/da / H0, by which dx/dD becomes the canonical momentum."""
    z = _redshift(cosmology, growth)
    a = 1.0 / (1.0 + z)
    found = a**2 * expansion(cosmology, z) * growth_rate(cosmology, z) * growth_factor(cosmology, z)
    return jnp.where(growth > 0, found, 0.0)


def _redshift(cosmology: Cosmology, growth: Array) -> Array:
    """The redshift at which the growth factor is `growth`, at most 900: Newton's method in ln a."""
    floor = growth_factor(cosmology, jnp.asarray(900.0, growth.dtype))
    target = jnp.maximum(growth, floor)
    lna = jnp.log(target / growth_factor(cosmology, jnp.asarray(0.0, growth.dtype)))
    for _ in range(6):
        z = jnp.expm1(-jnp.clip(lna, -jnp.log(901.0), 0.0))
        error = jnp.log(growth_factor(cosmology, z) / target)
        lna = jnp.clip(lna - error / growth_rate(cosmology, z), -jnp.log(901.0), 0.0)
    return jnp.expm1(-lna)


def nbody(
    modes: fft.Spectrum,
    cosmology: Cosmology,
    z: Array | float,
    mesh: Mesh,
    *,
    box_size: float,
    steps: int = 10,
    z_start: float | None = None,
    force: Force = DEFAULT,
    kick: str = "bullfrog",
    pace: float = 1.0,
) -> tuple[Array, Array]:
    """Return displacement (n, n, n, 3) in Mpc/h and its derivative by the growth factor, at redshift z.

    Args:
        modes: of the linear density contrast today, as `gaussian.linear_modes` makes them.
        z: one redshift. box_size: Mpc/h.
        steps: equal in D^pace, see `schedule`. z_start: where they begin, from second-order perturbation
            theory; None for D = 0, which is for few steps: waves near the mesh's resolution are pulled too
            weakly, and the more steps lie near D = 0 the longer they are.

    NaN where a particle strays beyond the halo of `force` on an axis of several devices. Differentiable in
    modes, cosmology and z, with memory that does not depend on the steps. Raises ConfigError when something
    does not divide. `velocity` turns dx/dD into km/s.
    """
    dtype = modes.kx.dtype
    cosmology = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), cosmology)
    state = begin(modes, cosmology, z_start, mesh)
    check_lattice(state[0].shape, mesh, force)
    plan = schedule(cosmology, jnp.asarray(z, dtype), steps, kick, z_start, pace)
    return evolve(*state, plan, mesh, box_size, force)


def begin(
    modes: fft.Spectrum, cosmology: Cosmology, z_start: float | None, mesh: Mesh
) -> tuple[Array, Array]:
    """Return displacement and dx/dD where steps begin: on the lattice, or of second order at z_start."""
    first = lpt.first_order(modes, mesh)
    if z_start is None:
        return jnp.zeros_like(first), first
    z = jnp.asarray(z_start, first.dtype)
    growth = growth_factor(cosmology, z)
    second, rate = second_growth(cosmology, z)
    psi2 = lpt.second_order(modes, mesh)
    slope = second * rate / (growth * growth_rate(cosmology, z))
    return growth * first + second * psi2, first + slope * psi2


def velocity(derivative: Array, cosmology: Cosmology, z: Array | float) -> Array:
    """Return peculiar velocities in km/s from dx/dD in Mpc/h, same shape: a H f D dx/dD."""
    z = jnp.asarray(z, derivative.dtype)
    cosmology = jax.tree.map(lambda leaf: jnp.asarray(leaf, derivative.dtype), cosmology)
    rate = 100.0 * expansion(cosmology, z) / (1.0 + z) * growth_rate(cosmology, z)
    return rate * growth_factor(cosmology, z) * derivative


@partial(jax.jit, static_argnums=(3, 4, 5))
def evolve(
    displacement: Array, derivative: Array, plan: Steps, mesh: Mesh, box_size: float, force: Force
) -> tuple[Array, Array]:
    """Return displacement and dx/dD after the steps of a plan; see `nbody`."""
    return _evolve(displacement, derivative, plan, mesh, box_size, force)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _evolve(displacement, derivative, plan, mesh, box_size, force):
    def step(state, now: Steps):
        x, v = state
        x = x + now.drift * v
        v = now.keep * v + now.pull * acceleration(x, box_size, mesh, force)
        return (x + now.drift * v, v), None

    return jax.lax.scan(step, (displacement, derivative), plan)[0]


def _evolve_forward(displacement, derivative, plan, mesh, box_size, force):
    end = _evolve(displacement, derivative, plan, mesh, box_size, force)
    return end, (end, plan)


def _evolve_backward(mesh, box_size, force, kept, cotangents):
    """The steps backwards, each undone and then differentiated at the state that it came from."""
    end, plan = kept
    pulls = lambda x: acceleration(x, box_size, mesh, force)  # noqa: E731

    def step(state, now: Steps):
        x, v, x_bar, v_bar = state
        middle = x - now.drift * v
        pull, transpose = jax.vjp(pulls, middle)
        before = (v - now.pull * pull) / now.keep
        v_bar = v_bar + now.drift * x_bar
        drift_bar = jnp.vdot(x_bar, v)
        pull_bar, keep_bar = jnp.vdot(v_bar, pull), jnp.vdot(v_bar, before)
        x_bar = x_bar + transpose(now.pull * v_bar)[0]
        drift_bar = drift_bar + jnp.vdot(x_bar, before)
        v_bar = now.keep * v_bar + now.drift * x_bar
        return (middle - now.drift * before, before, x_bar, v_bar), Steps(drift_bar, keep_bar, pull_bar)

    (_, _, x_bar, v_bar), plan_bar = jax.lax.scan(step, (*end, *cotangents), plan, reverse=True)
    return x_bar, v_bar, plan_bar


_evolve.defvjp(_evolve_forward, _evolve_backward)
