"""Clouds on a grid against their B-splines summed by hand, and the transposes and gradients that follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import UnknownName
from galaxyjax.fields import paint as clouds
from galaxyjax.fields.paint import window

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


def test_many_particles_are_summed_in_two_halves_that_agree():
    """Beyond 2^16 particles the sum is taken in two halves; it is the sum of many small paintings still."""
    positions, weights = some((8, 8, 8), 70_001)
    parts = [slice(low, low + 7_000) for low in range(0, 70_001, 7_000)]
    expected = sum(np.asarray(paint(jnp.zeros((8, 8, 8)), positions[p], weights[p]), float) for p in parts)
    np.testing.assert_allclose(paint(jnp.zeros((8, 8, 8)), positions, weights), expected, rtol=2e-5)
