"""Steps in the growth factor against perturbation theory, an exact solution, autodiff, differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from galaxyjax.core.background import growth_factor, growth_rate
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.core.growth_second import second_growth
from galaxyjax.fields import gaussian, lpt, nbody
from galaxyjax.fields.gravity import Force, acceleration
from galaxyjax.mesh import fft
from galaxyjax.mesh.budget import temp_bytes
from galaxyjax.mesh.topology import GRID, build_mesh

LCDM = Cosmology(0.0224, 0.12, 0.67, 0.965, 3.05, m_nu=0.0)
EMPTY = Cosmology(0.0224, 0.4266 - 0.0224, 0.67, 0.965, 3.05, m_nu=0.0)  # Omega_m = 0.95: nearly EdS
ONE = build_mesh("data=1")
SHARP = Force(refine=1, scheme="tsc", sharpen=True)
COARSE = Force(refine=1, scheme="tsc", halo=8.0)


def smooth_modes(n, box, amplitude, mesh=ONE, dtype=jnp.float32, seed=0):
    """Modes of a field with power in waves of a third of the box and longer, and that rms contrast today."""
    noise = gaussian.white_noise(jax.random.key(seed), n, mesh, dtype)
    power = lambda k: jnp.where(k < 3.5 * 2 * jnp.pi / box, 1.0, 0.0)  # noqa: E731
    modes = gaussian.linear_modes(noise, power, box, mesh)
    spread = jnp.std(fft.inverse(modes, mesh))
    return modes.replace(modes.values * amplitude / spread)


def norm(array):
    return float(np.linalg.norm(np.asarray(array, float)))


def test_kicks_keep_the_growth_of_perturbation_theory():
    """Of first order (dx/dD = psi1) by any kick; of second order (dD2/dD) by bullfrog, at every step."""
    z, steps = 0.0, 6
    for kick, start in (("bullfrog", None), ("fastpm", 9.0)):
        plan = nbody.schedule(LCDM, jnp.float32(z), steps, kick, start)
        edges = np.linspace(float(growth_factor(LCDM, start)) if start else 0.0, 1.0, steps + 1)
        middle = 0.5 * (edges[1:] + edges[:-1])
        np.testing.assert_allclose(plan.drift, np.diff(edges) / 2, rtol=1e-4)
        np.testing.assert_allclose(plan.keep + plan.pull * middle, 1.0, rtol=1e-5)
    plan = nbody.schedule(LCDM, jnp.float32(z), steps)
    redshifts = [np.interp(1 - d, 1 - GROWTH[1][::-1], GROWTH[0][::-1]) for d in np.arange(1, 7) / 6]
    d2 = s2 = 0.0
    for step, (h, keep, pull) in enumerate(zip(*map(np.asarray, plan), strict=True)):
        middle = (step + 0.5) / steps
        # -grad lap^-1 delta to second order at a particle: D psi1 + (D2 - D^2) psi2.
        s2_next = keep * s2 + pull * (d2 + h * s2 - middle**2)
        d2, s2 = d2 + h * s2 + h * s2_next, s2_next
        second, rate = second_growth(LCDM, jnp.float32(redshifts[step]))
        growth = (step + 1) / steps
        slope = float(second * rate / growth_rate(LCDM, jnp.float32(redshifts[step])) / growth)
        assert s2 == pytest.approx(slope, rel=2e-2)
        assert d2 == pytest.approx(float(second), rel=2e-2)


GROWTH = (np.linspace(20.0, 0.0, 4001), np.asarray(growth_factor(LCDM, jnp.linspace(20.0, 0.0, 4001))))


@pytest.mark.parametrize("start", [None, 9.0])
def test_steps_are_equal_in_a_power_of_growth(start):
    plan = nbody.schedule(LCDM, jnp.float32(0.5), 5, z_start=start, pace=1.5)
    first, last = (float(growth_factor(LCDM, z)) if z is not None else 0.0 for z in (start, 0.5))
    edges = first + np.concatenate([[0.0], 2.0 * np.cumsum(np.asarray(plan.drift))])
    assert edges[-1] == pytest.approx(last, rel=1e-5)
    np.testing.assert_allclose(np.diff(edges**1.5), (last**1.5 - first**1.5) / 5, rtol=1e-4)
    np.testing.assert_allclose(plan.keep + plan.pull * 0.5 * (edges[1:] + edges[:-1]), 1.0, rtol=1e-5)


def test_in_a_flat_universe_of_matter_the_kick_is_a_fraction():
    """Einstein-de Sitter: what keeps D2 = -3/7 D^2, worked out in units of half a step."""
    plan = nbody.schedule(
        EMPTY, jnp.float32(3.0), 4
    )  # there dark energy is 0.1%, radiation 0.04% and more before
    for n, keep in enumerate(np.asarray(plan.keep)):
        free = -12 / 7 * (n**2 + n) / (2 * n + 1) - (2 * n + 1)
        exact = (-12 / 7 * (n + 1) - free) / (-12 / 7 * n - free)
        assert keep == pytest.approx(exact, rel=5e-3)


def test_one_step_from_nothing_is_second_order_perturbation_theory():
    """What is left against 2LPT is a small part of the second order itself, in displacement and dx/dD."""
    n, box, z = 32, 100.0, 3.0
    modes = smooth_modes(n, box, 0.8)
    run = jax.jit(partial(nbody.nbody, mesh=ONE, box_size=box, steps=1, force=SHARP))
    x, v = run(modes, LCDM, z)
    growth = growth_factor(LCDM, jnp.float32(z))
    second, rate = second_growth(LCDM, jnp.float32(z))
    psi1, psi2 = lpt.first_order(modes, ONE), lpt.second_order(modes, ONE)
    slope = second * rate / (growth * growth_rate(LCDM, jnp.float32(z)))
    assert norm(growth * psi1) < 0.2 * box * n  # a rms displacement well below the waves
    assert norm(x - growth * psi1 - second * psi2) < 0.15 * norm(second * psi2)
    assert norm(v - psi1 - slope * psi2) < 0.15 * norm(slope * psi2)


def test_a_plane_wave_falls_as_zeldovich_until_it_crosses():
    """In one dimension x = q + D psi(q) is the exact solution (Zel'dovich 1970), here to 90% of crossing."""
    n, box, mode = 32, 64.0, 1
    k, q = 2 * np.pi * mode / box, box / n * np.arange(n)
    psi = np.zeros((n, n, n, 3), np.float32)
    psi[..., 0] = (0.9 / k * np.sin(k * q))[:, None, None]
    for kick, start in (("bullfrog", None), ("fastpm", 9.0)):
        plan = nbody.schedule(LCDM, jnp.float32(0.0), 8, kick, start)
        begun = 0.0 if start is None else float(growth_factor(LCDM, start))
        x, v = nbody.evolve(begun * psi, jnp.asarray(psi), plan, ONE, box, SHARP)
        assert np.abs(x - psi).max() < 0.01 * psi.max() and np.abs(v - psi)[..., 0].max() < 0.1 * psi.max()
        assert norm(v - psi) < 0.03 * norm(psi) and np.abs(x[..., 1:]).max() < 1e-4


def test_steps_converge_as_their_square_and_the_derivative_is_one():
    n, box = 16, 64.0
    modes = smooth_modes(n, box, 0.6)

    def run(steps, z=0.0):
        return nbody.nbody(modes, LCDM, z, ONE, box_size=box, steps=steps, z_start=9.0, force=COARSE)

    runs = {steps: run(steps)[0] for steps in (4, 8, 16, 64)}
    errors = [norm(runs[steps] - runs[64]) for steps in (4, 8, 16)]
    assert errors[0] > 2.9 * errors[1] > 9.0 * errors[2] and errors[2] < 2e-3 * norm(runs[64])
    # dx/dD: the displacement at nearby redshifts, over the difference of the growth factor.
    low, high = (run(16, z)[0] for z in (0.55, 0.45))
    early, late = (growth_factor(LCDM, jnp.float32(z)) for z in (0.55, 0.45))
    middle = run(16, 0.5)[1]
    assert norm((high - low) / (late - early) - middle) < 1e-2 * norm(middle)
    v = nbody.velocity(middle, LCDM, 0.5)
    assert float(v[0, 0, 0, 0] / middle[0, 0, 0, 0]) == pytest.approx(
        100
        * np.sqrt(0.31725 * 1.5**3 + 0.68275)
        / 1.5
        * float(growth_rate(LCDM, 0.5) * growth_factor(LCDM, 0.5)),
        rel=2e-3,
    )


def unrolled(x, v, plan, box, force):
    """The steps as a plain loop, without any rule for their gradient."""
    for drift, keep, pull in zip(*plan, strict=True):
        x = x + drift * v
        v = keep * v + pull * acceleration(x, box, ONE, force)
        x = x + drift * v
    return x, v


@pytest.mark.parametrize("kick, start, pace", [("bullfrog", None, 2.0), ("fastpm", 9.0, 1.0)])
def test_the_gradient_is_that_of_plain_autodiff_and_of_differences(kick, start, pace, float64):
    n, box, steps = 8, 32.0, 2
    mode_values = smooth_modes(n, box, 0.5, dtype=jnp.float64)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, n, n, n, 3))

    def score(evolve, values, cosmology, z):
        modes = mode_values.replace(values)
        state = nbody.begin(modes, cosmology, start, ONE)
        x, v = evolve(*state, nbody.schedule(cosmology, z, steps, kick, start, pace))
        return jnp.sum(weights[0] * x) + jnp.sum(weights[1] * v**2)

    ours = partial(score, lambda x, v, plan: nbody.evolve(x, v, plan, ONE, box, COARSE))
    plain = partial(score, lambda x, v, plan: unrolled(x, v, plan, box, COARSE))
    at = (mode_values.values, jax.tree.map(jnp.float64, LCDM), jnp.float64(0.3))
    found, expected = (jax.jit(jax.grad(f, (0, 1, 2)))(*at) for f in (ours, plain))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10 * float(np.abs(other).max()))
    value, step = jax.jit(ours), 1e-5
    ways = [
        (at[0] * 0.3, jax.tree.map(jnp.zeros_like, at[1]), 0.0),
        (0 * at[0], Cosmology(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0),
        (0 * at[0], Cosmology(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 0.0),
        (0 * at[0], jax.tree.map(jnp.zeros_like, at[1]), 1.0),
    ]
    for way in ways:
        up, down = (value(*jax.tree.map(lambda a, b, s=s: a + s * step * b, at, way)) for s in (1, -1))
        # The cotangent of a complex number is of its conjugate.
        along = sum(jnp.sum((g * w).real) for g, w in zip(*map(jax.tree.leaves, (found, way)), strict=True))
        np.testing.assert_allclose(along, (up - down) / (2 * step), rtol=2e-6)


def test_gradients_in_single_precision_survive_undoing_the_steps():
    """Twenty steps undone in float32: the state comes back, and the gradient with it, to 1e-4."""
    n, box, slopes = 8, 32.0, []
    weights = np.random.default_rng(2).normal(size=(n, n, n, 3))
    for double in (True, False):
        with jax.enable_x64(double):
            dtype = jnp.float64 if double else jnp.float32
            psi = lpt.first_order(smooth_modes(n, box, 0.6, dtype=jnp.float32), ONE).astype(dtype)
            plan = jax.tree.map(lambda a, t=dtype: a.astype(t), PLAN)
            run = lambda v, plan=plan: nbody.evolve(0.1 * v, v, plan, ONE, box, COARSE)[0]  # noqa: E731
            slopes.append(
                jax.jit(jax.grad(lambda v, run=run: jnp.sum(weights.astype(v.dtype) * run(v))))(psi)
            )
    assert slopes[1].dtype == np.float32
    assert norm(np.asarray(slopes[1], float) - np.asarray(slopes[0])) < 1e-4 * norm(slopes[0])


PLAN = nbody.schedule(LCDM, jnp.float32(0.0), 20, z_start=9.0)


def test_eight_devices_evolve_as_one_and_strays_are_nan():
    n, box, results = 16, 64.0, []
    force = Force(refine=2, halo=9.0, scheme="tsc")
    noise = gaussian.white_noise(jax.random.key(3), n, ONE)
    power = lambda k: 300.0 * jnp.exp(-((k * 4.0) ** 2))  # noqa: E731
    for shape in ("data=1", "x=2,y=4"):
        mesh = build_mesh(shape)

        def score(noise, z, mesh=mesh):
            modes = gaussian.linear_modes(noise, power, box, mesh)
            state = nbody.nbody(modes, LCDM, z, mesh, box_size=box, steps=3, force=force)
            return jnp.sum(state[0] * state[1]), state

        run = jax.jit(jax.value_and_grad(score, (0, 1), has_aux=True))
        (_, state), slopes = run(jax.device_put(noise, NamedSharding(mesh, GRID)), jnp.float32(0.0))
        results.append([np.asarray(a, float) for a in (*state, *slopes)])
    for one, eight in zip(*results, strict=True):
        assert norm(eight - one) < 2e-5 * norm(one)
    assert 1.0 < np.abs(results[0][0][..., :2]).max() < 9.0
    state, _ = run(jax.device_put(8.0 * noise, NamedSharding(mesh, GRID)), jnp.float32(0.0))
    assert np.isnan(state[1][0]).all()


def test_memory_of_a_gradient_does_not_grow_with_the_steps():
    lattice = jax.ShapeDtypeStruct((16, 16, 16, 3), jnp.float32)

    def memory(steps):
        plan = nbody.schedule(LCDM, jnp.float32(0.0), steps)
        run = lambda x, v: jnp.sum(nbody.evolve(x, v, plan, ONE, 64.0, COARSE)[0] ** 2)  # noqa: E731
        return temp_bytes(jax.jit(jax.grad(run, (0, 1))).lower(lattice, lattice).compile())

    assert memory(64) < 1.01 * memory(4) + 1024


def test_what_makes_no_sense_is_refused():
    modes = smooth_modes(8, 32.0, 0.1)
    with pytest.raises(ConfigError, match="steps=0 must be at least 1"):
        nbody.nbody(modes, LCDM, 0.0, ONE, box_size=32.0, steps=0)
    with pytest.raises(ConfigError, match="pace=0.5 must be at least 1"):
        nbody.nbody(modes, LCDM, 0.0, ONE, box_size=32.0, pace=0.5)
    with pytest.raises(UnknownName, match="bullfrog"):
        nbody.nbody(modes, LCDM, 0.0, ONE, box_size=32.0, kick="leapfrog")
    with pytest.raises(ConfigError, match="fastpm.*z_start"):
        nbody.nbody(modes, LCDM, 0.0, ONE, box_size=32.0, kick="fastpm")
    with pytest.raises(ConfigError, match="z_start=1"):
        nbody.nbody(modes, LCDM, 2.0, ONE, box_size=32.0, z_start=1.0)
