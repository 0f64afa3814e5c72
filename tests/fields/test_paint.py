"""Clouds on a grid against their B-splines summed by hand, and the transposes and gradients that follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import UnknownName
from galaxyjax.fields import paint as clouds
from galaxyjax.fields.paint import window
from galaxyjax.mesh.topology import build_mesh

paint = jax.jit(clouds.paint, static_argnames=("scheme", "periodic"))
gather = jax.jit(clouds.gather, static_argnames=("scheme", "periodic"))

SCHEMES = ("ngp", "cic", "tsc")


def spline(scheme, d):
    """The cloud at distance d of a grid point, in cells."""
    d = np.abs(d)
    if scheme == "ngp":
        return (d < 0.5).astype(float)
    if scheme == "cic":
        return np.maximum(1 - d, 0)
    return np.where(d < 0.5, 0.75 - d**2, np.where(d < 1.5, 0.5 * (1.5 - d) ** 2, 0))


def by_hand(shape, positions, weights, scheme, periodic):
    """Sum every particle's cloud over every cell, in float64, nearest image where periodic."""
    parts = []
    for axis, n in enumerate(shape):
        d = np.arange(n)[None] - positions[:, axis, None].astype(float)
        images = (-n, 0, n) if periodic[axis] else (0,)
        parts.append(sum(spline(scheme, d + shift) for shift in images))
    return np.einsum("p,px,py,pz->xyz", weights, *parts)


def some(shape, count=60, seed=0):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 1, (count, 3)) * shape
    return positions.astype(np.float32), rng.normal(1, 1, count).astype(np.float32)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("periodic", [(True, True, True), (False, True, False)])
def test_clouds_are_their_b_splines(scheme, periodic):
    shape = (5, 4, 6)
    positions, weights = some(shape)
    if not all(periodic):  # some of them outside
        positions = positions * 1.5 - 1.0
        positions[:, 1] %= 4
    grid = paint(jnp.ones(shape), positions, weights, scheme, periodic)
    expected = 1 + by_hand(shape, positions, weights, scheme, periodic)
    np.testing.assert_allclose(grid, expected, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_are_conserved_and_gather_is_the_transpose(scheme):
    """sum(grid) = sum(weights), and <paint(w), g> = <w, gather(g)> for any g; axes of 1 cell as well."""
    for shape in ((8, 8, 8), (1, 2, 3)):
        positions, weights = some(shape, 40)
        field = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        painted = paint(jnp.zeros(shape), positions, weights, scheme)
        np.testing.assert_allclose(float(painted.sum()), weights.sum(), rtol=1e-5)
        left = np.vdot(np.asarray(painted, float), field.astype(float))
        right = np.vdot(weights.astype(float), np.asarray(gather(field, positions, scheme), float))
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["cic", "tsc"])
def test_gradients_are_finite_differences(scheme, float64):
    shape = (4, 5, 4)
    positions, weights = (x.astype(np.float64) for x in some(shape, 12))
    field = np.random.default_rng(2).normal(size=shape)

    def score(positions, weights):
        grid = paint(jnp.zeros(shape), positions, weights, scheme)
        return jnp.sum(grid**2 * field) + jnp.sum(gather(jnp.asarray(field), positions, scheme) ** 3)

    value = jax.jit(score)
    slopes = jax.jit(jax.grad(score, (0, 1)))(positions, weights)
    step = 1e-6
    for row, axis in ((0, 0), (5, 1), (11, 2)):
        moved = [positions.copy(), positions.copy()]
        moved[0][row, axis] += step
        moved[1][row, axis] -= step
        slope = (value(moved[0], weights) - value(moved[1], weights)) / (2 * step)
        np.testing.assert_allclose(slopes[0][row, axis], slope, rtol=1e-5, atol=1e-7)
    heavier = weights.copy()
    heavier[3] += step
    slope = (value(positions, heavier) - value(positions, weights)) / step
    np.testing.assert_allclose(slopes[1][3], slope, rtol=1e-4, atol=1e-6)


def test_the_window_undoes_the_cloud_of_one_wave():
    """Particles spread evenly but for a small wave: what is painted is the window times the wave."""
    n, fine, mode, amplitude = 16, 64, 3, 1e-3
    lattice = (np.arange(n * fine) + 0.5) / fine
    k = 2 * np.pi * mode / n
    weights = (1 + amplitude * np.cos(k * lattice)).astype(np.float32)
    positions = np.stack([lattice, 0 * lattice, 0 * lattice], 1).astype(np.float32)
    for scheme in SCHEMES:
        grid = np.asarray(paint(jnp.zeros((n, 1, 1)), positions, weights, scheme), float)[:, 0, 0] / fine
        measured = 2 * np.abs(np.fft.fft(grid)[mode]) / n
        np.testing.assert_allclose(measured / amplitude, float(window(jnp.float32(k), scheme)), rtol=5e-3)


def test_a_lattice_on_the_points_is_uniform():
    points = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    for scheme in SCHEMES:
        np.testing.assert_allclose(paint(jnp.zeros((4, 4, 4)), points, 2.0, scheme), 2.0, rtol=1e-6)


def test_another_scheme_is_refused():
    with pytest.raises(UnknownName, match="ngp"):
        paint(jnp.zeros((2, 2, 2)), np.zeros((1, 3), np.float32), 1.0, "ncp")


@pytest.mark.parametrize("scheme", ["cic", "tsc"])
def test_pieces_of_the_particles_add_up_values_and_slopes(scheme, monkeypatch, float64):
    """1,001 particles in 4 pieces, the last with a row to spare: as in one piece, forwards and backwards."""
    shape = (6, 5, 4)
    positions, weights = (x.astype(np.float64) for x in some(shape, 1001))
    direction = np.random.default_rng(3).normal(size=positions.shape)

    def score(positions, weights):
        return jnp.sum(clouds.paint(jnp.ones(shape), positions, weights, scheme) ** 2)

    def everything():
        slopes = jax.grad(score, (0, 1))(positions, weights)
        forward = jax.jvp(lambda x: score(x, weights), (positions,), (direction,))[1]
        return score(positions, weights), *slopes, forward

    whole = jax.jit(lambda: everything())()  # a new function: the other trace is not used again
    monkeypatch.setattr(clouds, "ROWS", 256)
    parts = jax.jit(lambda: everything())()
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.vdot(parts[1], direction), parts[3], rtol=1e-9)
    assert float(jnp.sum(clouds.paint(jnp.zeros(shape), positions, weights, scheme))) == pytest.approx(
        weights.sum(), rel=1e-12
    )


def test_blocks_of_particles_on_devices_add_up(monkeypatch):
    """Eight devices paint their own particles on the whole grid: summed, one device's grid and its slopes."""
    monkeypatch.setattr(clouds, "ROWS", 50)
    shape, mesh = (4, 4, 4), build_mesh("data=8")
    positions, weights = some(shape, 800)
    field = np.random.default_rng(4).normal(size=shape).astype(np.float32)

    def alone(positions, weights, field):
        painted = clouds.paint(jnp.zeros(shape), positions, weights)
        return jnp.vdot(painted, field) + jnp.sum(clouds.gather(field, positions) ** 2)

    rows = jax.P("data")
    shared = jax.shard_map(
        lambda *arrays: jax.lax.psum(alone(*arrays), "data"),
        mesh=mesh,
        in_specs=(rows, rows, jax.P()),
        out_specs=jax.P(),
    )
    expected = jax.jit(jax.value_and_grad(alone, (0, 1, 2)))(positions, weights, field)
    found = jax.jit(jax.value_and_grad(shared, (0, 1, 2)))(positions, weights, field)
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4)


def test_no_particles_leave_the_grid_as_it_was():
    grid = np.random.default_rng(5).normal(size=(3, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(paint(grid, np.zeros((0, 3), np.float32)), grid)
    assert gather(grid, np.zeros((0, 3), np.float32)).shape == (0,)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("periodic", [(True, True, True), (False, True, False)])
def test_channels_are_read_together_as_one_by_one(scheme, periodic):
    positions, _ = some((5, 4, 6))
    field = np.random.default_rng(6).normal(size=(5, 4, 6, 3)).astype(np.float32)
    found = gather(field, positions * 1.2 - 0.5, scheme, periodic)
    for channel in range(3):
        one = gather(field[..., channel], positions * 1.2 - 0.5, scheme, periodic)
        np.testing.assert_allclose(found[:, channel], one, rtol=1e-6, atol=1e-6)
