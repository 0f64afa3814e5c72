"""Bispectra against a sum over triangles by hand, a Gaussian's scatter, and a quadratic field's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from galaxyjax.core.errors import ConfigError
from galaxyjax.fields.bispectrum import bispectrum, triangles_of
from galaxyjax.fields.paint import window
from galaxyjax.mesh.topology import GRID, build_mesh

BOX = 50.0
UNIT = 2 * np.pi / BOX
ONE = build_mesh("data=1")


def by_hand(grid, edges, shells, box):
    """Every pair of modes, the third that closes; float64."""
    n, volume = len(grid), box**3
    modes = np.fft.fftn(grid) * volume / n**3
    reach = np.arange(-n // 3, n // 3 + 1)
    vectors = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    k = np.linalg.norm(vectors, axis=1) * 2 * np.pi / box
    within = [vectors[(k >= a) & (k < b)] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    sets = [set(map(tuple, part)) for part in within]
    results = []
    for i, j, m in shells:
        total, count = 0.0, 0
        for first in within[i]:
            for second in within[j]:
                third = tuple(-first - second)
                if third in sets[m]:
                    total += (modes[tuple(first)] * modes[tuple(second)] * modes[third]).real
                    count += 1
        results.append((total / count / volume, count))
    return np.array(results).T


def test_it_is_the_sum_over_triangles(float64):
    """Values and counts, whatever the mean is, and with a cloud's window divided out."""
    n, edges = 12, UNIT * np.array([0.5, 1.5, 2.5, 3.5])
    grid = np.random.default_rng(0).normal(size=(n, n, n)) ** 2
    shells = triangles_of(edges)
    expected, count = by_hand(grid, edges, shells, BOX)
    assert (0, 0, 2) in shells and (0, 0, 2) not in triangles_of(UNIT * np.array([0.5, 1.0, 2.0, 3.0]))
    found = bispectrum(jnp.asarray(grid + 3.0), edges, box_size=BOX, mesh=ONE)
    np.testing.assert_allclose(found.bispectrum, expected, rtol=1e-10)
    np.testing.assert_array_equal(found.triangles, count)
    k = 2 * np.pi * np.fft.fftfreq(n)
    clouds = np.asarray(window(jnp.asarray(k), "cic"))
    smoothed = np.fft.ifftn(
        np.fft.fftn(grid) * clouds[:, None, None] * clouds[None, :, None] * clouds[None, None, :]
    ).real
    found = bispectrum(
        jnp.asarray(smoothed), edges, box_size=BOX, mesh=ONE, scheme="cic", shells=((2, 1, 1),)
    )
    assert found.shells == ((1, 1, 2),)
    at = shells.index((1, 1, 2))
    np.testing.assert_allclose(found.bispectrum, expected[at : at + 1], rtol=1e-10)


def gaussian(key, n, k_max, power, box):
    """A contrast with flat power in (Mpc/h)^3 below k_max, none above."""
    noise = jax.random.normal(key, (n, n, n))
    k = 2 * jnp.pi / box * jnp.fft.fftfreq(n, 1 / n)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2
    kept = jnp.fft.fftn(noise) * ((k2 < k_max**2) & (k2 > 0))
    return jnp.fft.ifftn(kept).real * jnp.sqrt(power * n**3 / box**3)


def test_a_gaussian_has_none_and_a_square_has_what_theory_says():
    """delta = g + f (g^2 - <g^2>): B = 2 f (P1 P2 + P2 P3 + P3 P1) (e.g. Komatsu & Spergel 2001, eq. 4)."""
    n, seeds, power, f = 24, 24, 40.0, 0.3
    edges = UNIT * np.array([1.5, 3.0, 4.5, 6.0])

    @jax.jit
    def run(key):
        g = gaussian(key, n, 6.2 * UNIT, power, BOX)
        plain, up, down = (bispectrum(g + c * g**2, edges, box_size=BOX, mesh=ONE) for c in (0.0, f, -f))
        return plain, 0.5 * (up.bispectrum - down.bispectrum)

    plain, odd = zip(*map(run, jax.random.split(jax.random.key(4), seeds)), strict=True)
    b = np.array([p.bispectrum for p in plain])
    same = np.array([{1: 6.0, 2: 2.0, 3: 1.0}[len(set(shell))] for shell in plain[0].shells])
    scatter = np.sqrt(same * BOX**3 * power**3 / np.asarray(plain[0].triangles))
    assert np.all(np.abs(b.mean(0)) < 4 * scatter / np.sqrt(seeds))
    np.testing.assert_allclose(b.std(0), scatter, rtol=4.5 / np.sqrt(2 * seeds))
    np.testing.assert_allclose(np.mean([p.power for p in plain], 0), power, rtol=0.1)
    odd = np.array(odd)
    error = odd.std(0) / np.sqrt(seeds)
    expected = 6.0 * f * power**2
    # The cube of f adds a few per cent, with the variance of g.
    assert np.all(np.abs(odd.mean(0) - expected) < 4 * error + 0.06 * expected)
    assert np.median(error) < 0.06 * expected and np.all(error < 0.2 * expected)


def test_eight_devices_measure_as_one_and_it_is_differentiable():
    n, edges = 16, UNIT * np.array([0.5, 2.0, 3.5, 5.0])
    grid = np.random.default_rng(1).normal(size=(n, n, n)).astype(np.float32) ** 2
    results = []
    for shape in ("data=1", "x=2,y=4"):
        mesh = build_mesh(shape)
        placed = jax.device_put(grid, NamedSharding(mesh, GRID))
        score = lambda g, mesh=mesh: jnp.sum(bispectrum(g, edges, box_size=BOX, mesh=mesh).reduced)  # noqa: E731
        found = bispectrum(placed, edges, box_size=BOX, mesh=mesh)
        results.append((found.bispectrum, found.triangles, found.k, jax.jit(jax.grad(score))(placed)))
    for one, eight in zip(*results, strict=True):
        one, eight = np.asarray(one, float), np.asarray(eight, float)
        assert np.linalg.norm(eight - one) < 3e-5 * np.linalg.norm(one)
    with jax.enable_x64(True):
        exact = jnp.asarray(grid, jnp.float64)
        score = jax.jit(lambda g: jnp.sum(bispectrum(g, edges, box_size=BOX, mesh=ONE).reduced))
        way, step = np.random.default_rng(2).normal(size=grid.shape), 1e-5
        slope = (score(exact + step * way) - score(exact - step * way)) / (2 * step)
        slopes = np.asarray(jax.jit(jax.grad(score))(exact))
    np.testing.assert_allclose(np.vdot(slopes, way), slope, rtol=1e-6)
    assert np.linalg.norm(results[0][3] - slopes) < 1e-4 * np.linalg.norm(slopes)


def test_what_makes_no_sense_is_refused():
    grid = jnp.zeros((12, 12, 12))
    with pytest.raises(ConfigError, match="2/3 of Nyquist"):
        bispectrum(grid, UNIT * np.array([0.5, 4.5]), box_size=BOX, mesh=ONE)
    with pytest.raises(ConfigError, match="two rising wavenumbers"):
        bispectrum(grid, UNIT * np.array([2.0, 1.0]), box_size=BOX, mesh=ONE)
    with pytest.raises(ConfigError, match=r"no triangle closes in shells \(0, 0, 2\)"):
        edges = UNIT * np.array([0.5, 1.0, 2.5, 3.5])
        bispectrum(grid, edges, box_size=BOX, mesh=ONE, shells=((0, 0, 2),))
