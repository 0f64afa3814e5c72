"""The force mesh against the force summed by hand, what gravity conserves, on one device and eight."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.fields import gravity
from galaxyjax.fields.gravity import Force
from galaxyjax.fields.paint import window
from galaxyjax.mesh.budget import collectives, count
from galaxyjax.mesh.topology import LATTICE, build_mesh

N, BOX = 8, 20.0
SETTINGS = [("cic", 1), ("cic", 2), ("tsc", 1), ("tsc", 3)]

acceleration = jax.jit(gravity.acceleration, static_argnums=(1, 2, 3))
density = jax.jit(gravity.density, static_argnums=(1, 2, 3))


def moved(scale, n=N, seed=0):
    return np.random.default_rng(seed).normal(0.0, scale, (n, n, n, 3))


def shares(x, cells, scheme):
    """Share (particles, cells) of every cell of a periodic axis; x in cells."""
    d = np.abs((x[:, None] - np.arange(cells) + cells / 2) % cells - cells / 2)
    if scheme == "cic":
        return np.maximum(1 - d, 0)
    return np.where(d < 0.5, 0.75 - d**2, np.where(d < 1.5, 0.5 * (1.5 - d) ** 2, 0))


def by_hand(psi, box, force):
    """Density contrast and -grad lap^-1 of it at the particles, by NumPy in float64."""
    n, cells = len(psi), len(psi) * force.refine
    lattice = force.refine * np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1)
    x = (lattice + psi * cells / box).reshape(-1, 3)
    clouds = [shares(x[:, axis], cells, force.scheme) for axis in range(3)]
    contrast = np.einsum("pa,pb,pc->abc", *clouds, optimize=True) * force.refine**3 - 1
    k = 2 * np.pi / box * np.fft.fftfreq(cells, 1 / cells)
    grids = np.meshgrid(k, k, k, indexing="ij")
    k2 = sum(part**2 for part in grids)
    potential = -np.fft.fftn(contrast) / np.where(k2 > 0, k2, np.inf)
    pull = []
    for part in grids:
        odd = np.where(np.abs(part) > 0.999 * np.abs(k).max(), 0.0, part)
        grid = np.fft.ifftn(-1j * odd * potential).real
        pull.append(np.einsum("abc,pa,pb,pc->p", grid, *clouds, optimize=True))
    return contrast, np.stack(pull, -1).reshape(psi.shape)


@pytest.mark.parametrize("scheme, refine", SETTINGS)
def test_density_and_force_are_those_summed_by_hand(scheme, refine, float64):
    mesh, psi, force = build_mesh("data=1"), moved(2.0), Force(refine=refine, scheme=scheme)
    contrast, pull = by_hand(psi, BOX, force)
    np.testing.assert_allclose(density(psi, BOX, mesh, force), contrast, atol=1e-12)
    np.testing.assert_allclose(acceleration(psi, BOX, mesh, force), pull, atol=1e-11)


@pytest.mark.parametrize("scheme, refine", SETTINGS[1::2])
def test_mass_and_momentum_are_conserved(scheme, refine):
    """The contrast has no mean, and nobody pulls without being pulled: forces sum to rounding."""
    mesh, psi, force = build_mesh("data=1"), moved(3.0, 16).astype(np.float32), Force(refine, scheme=scheme)
    contrast = np.asarray(density(psi, BOX, mesh, force), float)
    assert contrast.shape == (16 * refine,) * 3 and abs(contrast.mean()) < 1e-6 * contrast.std()
    pull = np.asarray(acceleration(psi, BOX, mesh, force), float)
    assert np.all(np.abs(pull.mean((0, 1, 2))) < 1e-6 * pull.std())


def test_a_wave_is_pulled_by_its_own_displacement():
    """Zel'dovich: to first order the force is the displacement, but for the cloud's window, twice."""
    n, box, mode = 32, 64.0, 2
    mesh, k = build_mesh("data=1"), 2 * np.pi * mode / box
    psi = np.zeros((n, n, n, 3), np.float32)
    psi[..., 1] = 0.4 * np.sin(k * box / n * np.arange(n))[None, :, None]
    for scheme in ("cic", "tsc"):
        plain, sharp = (
            acceleration(psi, box, mesh, Force(refine=1, scheme=scheme, sharpen=sharpen))
            for sharpen in (False, True)
        )
        amplitude = lambda pull: float(np.vdot(pull[..., 1], psi[..., 1]) / np.vdot(psi, psi))  # noqa: E731
        assert amplitude(plain) == pytest.approx(float(window(k * box / n, scheme)) ** 2, abs=6e-3)
        assert amplitude(sharp) == pytest.approx(1.0, abs=6e-3)
        assert np.abs(plain[..., (0, 2)]).max() < 1e-5


def test_eight_devices_pull_as_one_and_a_stray_is_nan():
    psi, results = moved(1.2, 16).astype(np.float32), []
    force = Force(refine=2, halo=6.0, scheme="tsc")
    for shape in ("data=1", "x=2,y=4"):
        mesh = build_mesh(shape)
        placed = jax.device_put(psi, NamedSharding(mesh, LATTICE))
        pull = acceleration(placed, 40.0, mesh, force)
        assert pull.sharding.is_equivalent_to(NamedSharding(mesh, LATTICE), 4)
        results.append((np.asarray(pull), np.asarray(density(placed, 40.0, mesh, force))))
    for one, eight in zip(*results, strict=True):
        np.testing.assert_allclose(eight, one, atol=2e-5)
    psi[3, 4, 5, 1] = 7.0
    assert np.isnan(acceleration(psi, 40.0, mesh, force)).all()
    # Along an axis of one device nobody strays.
    assert np.isfinite(acceleration(psi, 40.0, build_mesh("data=1"), force)).all()


def test_the_gradient_is_that_of_finite_differences(float64):
    mesh, psi, force = build_mesh("x=2,y=2"), moved(0.7), Force(refine=2, halo=5.0, scheme="tsc")
    weights = np.random.default_rng(1).normal(size=psi.shape)
    score = jax.jit(lambda p: jnp.sum(weights * gravity.acceleration(p, BOX, mesh, force)))
    slopes, step = jax.jit(jax.grad(score))(psi), 1e-5
    for seed in (2, 3):
        way = moved(1.0, seed=seed)
        found = (score(psi + step * way) - score(psi - step * way)) / (2 * step)
        np.testing.assert_allclose(np.vdot(slopes, way), found, rtol=1e-5)


def test_only_what_must_be_sent_is_sent():
    """Slabs to two neighbours an axis, each way of the pencil's transforms, a count: no gather of a field."""
    mesh, force = build_mesh("x=2,y=4"), Force(refine=2, halo=4.0)
    lattice = jax.ShapeDtypeStruct((16, 16, 16, 3), jnp.float32, sharding=NamedSharding(mesh, LATTICE))
    pull = partial(gravity.acceleration, box_size=40.0, mesh=mesh, force=force)
    forward = collectives(jax.jit(pull).lower(lattice).compile())
    both = collectives(jax.jit(lambda p, w: jax.vjp(pull, p)[1](w)).lower(lattice, lattice).compile())
    for found, times in ((forward, 1), (both, 2)):
        assert {c.kind for c in found} <= {"all-to-all", "collective-permute", "all-reduce"}
        assert count(found, "all-to-all") == 4 * times  # two a transform, forth and back
        assert count(found, "collective-permute") == 8 * times  # painting and reading, two axes, both ways
        reduced = [c for c in found if c.kind == "all-reduce"]
        assert len(reduced) <= 4 and sum(c.bytes for c in reduced) <= 32


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="refine=0 must be"):
        Force(refine=0)
    with pytest.raises(ConfigError, match="halo=-1"):
        Force(halo=-1.0)
    with pytest.raises(UnknownName, match="cic"):
        Force(scheme="ngp")
    with pytest.raises(ConfigError, match="sharpen"):
        Force(refine=2, sharpen=True)
    with pytest.raises(ConfigError, match="9 cells along x do not divide over x=2"):
        gravity.acceleration(jnp.zeros((9, 8, 8, 3)), BOX, build_mesh("x=2"))
    with pytest.raises(ConfigError, match="6 cells along y do not divide over x=4"):
        gravity.acceleration(jnp.zeros((8, 6, 8, 3)), BOX, build_mesh("x=4"), Force(refine=1))
    with pytest.raises(ConfigError, match="smaller halo"):
        gravity.acceleration(jnp.zeros((8, 8, 8, 3)), BOX, build_mesh("x=4"), Force(halo=10.0))
