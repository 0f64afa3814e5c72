"""One-point distributions: what is kept, a Gaussian's, means over spheres, gradients, many devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from scipy.stats import norm

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.fields.pdf import pdf, smooth
from galaxyjax.mesh.topology import GRID, build_mesh

N, BOX = 16, 40.0
ONE = build_mesh("data=1")


def field(seed=0, n=N):
    return np.random.default_rng(seed).normal(size=(n, n, n)).astype(np.float32)


def test_sum_and_mean_are_kept_and_the_variance_nearly():
    values = np.exp(0.5 * field())
    centres = np.linspace(0.0, 12.0, 121)
    density = np.asarray(pdf(values, centres, ONE), float)
    step = centres[1]
    assert density.sum() * step == pytest.approx(1.0, rel=1e-5) and density.min() >= 0
    mean = (centres * density).sum() * step
    assert mean == pytest.approx(values.mean(dtype=float), rel=1e-5)
    variance = ((centres - mean) ** 2 * density).sum() * step
    assert 0 < variance - values.var(dtype=float) < step**2 / 4
    # What lies outside is left out, and the sum says so.
    part = np.asarray(pdf(values, np.linspace(0.5, 1.5, 11), ONE), float).sum() * 0.1
    assert part == pytest.approx(((values >= 0.5) & (values <= 1.5)).mean(), abs=1e-5)


def test_a_gaussian_has_a_gaussians():
    values, centres = field(1, 48), np.linspace(-5, 5, 41)
    density = np.asarray(pdf(values, centres, ONE), float)
    step = centres[1] - centres[0]
    # A bin is a triangle two steps wide; its counts scatter as Poisson's with two thirds of the variance.
    fine = np.linspace(-1, 1, 201)
    weights = (1 - np.abs(fine)) / (1 - np.abs(fine)).sum()
    expected = (norm.pdf(centres[:, None] + step * fine) * weights).sum(1)
    scatter = np.sqrt(expected * step * 2 / 3 / values.size) / step
    full = expected * step * values.size > 10
    assert np.all(np.abs(density - expected)[full] < 4.5 * scatter[full])


@pytest.mark.parametrize("shape, size", [("sphere", 7.0), ("cube", 10.0)])
def test_smoothing_is_the_mean_over_a_sphere_or_cube(shape, size):
    """A point's mass is spread evenly: as far as cells can tell, 1 / volume inside and nothing outside."""
    n = 64
    grid = jnp.zeros((n, n, n)).at[0, 0, 0].set(1.0)
    blurred = np.asarray(smooth(grid, size, BOX, ONE, shape), float)
    assert blurred.sum() == pytest.approx(1.0, rel=1e-5)
    x = (np.arange(n) * BOX / n + BOX / 2) % BOX - BOX / 2
    x = np.stack(np.meshgrid(x, x, x, indexing="ij"))
    far = np.linalg.norm(x, axis=0) / size if shape == "sphere" else 2 * np.abs(x).max(0) / size
    volume = (4 / 3 * np.pi * size**3 if shape == "sphere" else size**3) / (BOX / n) ** 3
    assert blurred[far < 0.8].mean() * volume == pytest.approx(1.0, abs=0.02)
    assert abs(blurred[far > 1.2].mean()) * volume < 0.01
    # Of a smooth field at one cell: the mean over points of the sphere, by Monte Carlo.
    wave = np.cos(2 * np.pi / BOX * (2 * np.arange(n) * BOX / n))[:, None, None] * np.ones((n, n, n))
    points = np.random.default_rng(0).uniform(-1, 1, (400_000, 3))
    points = points[np.linalg.norm(points, axis=1) < 1] * size if shape == "sphere" else points * size / 2
    mean = np.cos(2 * np.pi / BOX * 2 * points[:, 0]).mean()
    assert float(smooth(wave.astype(np.float32), size, BOX, ONE, shape)[0, 0, 0]) == pytest.approx(
        mean, abs=5e-3
    )


def test_eight_devices_count_as_one_and_gradients_are_differences():
    centres, weights, results = np.linspace(-3, 3, 13), np.random.default_rng(3).normal(size=13), []

    def score(grid, mesh):
        return jnp.sum(weights.astype(grid.dtype) * pdf(smooth(grid, 4.0, BOX, mesh), centres, mesh))

    for shape in ("data=1", "x=2,y=4"):
        mesh = build_mesh(shape)
        placed = jax.device_put(3 * field(), NamedSharding(mesh, GRID))
        slopes = jax.jit(jax.grad(lambda g, mesh=mesh: score(g, mesh)))(placed)
        results.append((np.asarray(pdf(smooth(placed, 4.0, BOX, mesh), centres, mesh)), np.asarray(slopes)))
    np.testing.assert_allclose(results[1][0], results[0][0], atol=1e-5)
    assert np.linalg.norm(results[1][1] - results[0][1]) < 1e-3 * np.linalg.norm(results[0][1])
    with jax.enable_x64(True):
        exact, way, step = 3.0 * field().astype(float), np.random.default_rng(4).normal(size=(N,) * 3), 1e-9
        run = jax.jit(lambda g: score(g, ONE))
        slope = (run(exact + step * way) - run(exact - step * way)) / (2 * step)
        np.testing.assert_allclose(np.vdot(jax.grad(run)(exact), way), slope, rtol=1e-4)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="rising by equal steps"):
        pdf(field(), np.array([0.0, 1.0, 3.0]), ONE)
    with pytest.raises(ConfigError, match="sphere of 30 Mpc/h does not fit"):
        smooth(field(), 30.0, BOX, ONE)
    with pytest.raises(UnknownName, match="sphere"):
        smooth(field(), 3.0, BOX, ONE, "ball")
