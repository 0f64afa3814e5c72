"""A coarse simulation and its correction: what vanishes, what moves along, and one device against eight."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError
from galaxyjax.fields import lpt
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.fields import cosmology_of, linear_field

THETA = {"Omega_m": 0.31, "Omega_b": 0.049, "h": 0.68, "n_s": 0.965, "sigma_8": 0.81}
MODEL = Displacement(spacing=4.0, widths=(4, 8), blocks=(1, 1), steps=2, refine=1)


@partial(jax.jit, static_argnames=("mesh", "model", "cells", "dtype"))
def coarse_of(mesh, model, cells, z, dtype):
    noise = jax.random.normal(jax.random.key(3), (cells,) * 3, dtype)
    theta = {name: jnp.asarray(value, dtype) for name, value in THETA.items()}
    box = cells * model.spacing
    return model.coarse(linear_field(theta, noise, box, mesh), cosmology_of(theta), z, box, mesh)


def features(mesh, model=MODEL, cells=8, z=0.0, dtype=jnp.float32):
    coarse = coarse_of(mesh, model, cells, z, dtype)
    return model.features(coarse)[None], coarse


@partial(jax.jit, static_argnames=("mesh", "model"))
def apply(params, made, style, mesh, model=MODEL):
    return model.apply(params, made, style, mesh)


def style(growth, dtype=jnp.float32):
    return jnp.array([[0.31, growth]], dtype)


def test_the_correction_vanishes_with_growth():
    mesh = build_mesh("x=1")
    params = MODEL.init(jax.random.key(0))
    made, _ = features(mesh)
    sizes = [float(jnp.abs(apply(params, made, style(d), mesh)[..., :3]).max()) for d in (1e-1, 1e-2, 0.0)]
    # Growth squared times a network that stays of order one.
    assert sizes[1] < 0.02 * sizes[0] and sizes[2] == 0.0


def test_a_bulk_flow_changes_nothing():
    mesh = build_mesh("x=1")
    params = MODEL.init(jax.random.key(0))
    made, _ = features(mesh)
    moved = made + jnp.arange(12.0)  # a uniform shift of every channel, also of the derivatives
    both = [apply(params, one, style(0.8), mesh) for one in (made, moved)]
    np.testing.assert_allclose(*both, atol=2e-5)


def test_the_second_half_is_the_derivative_of_the_first_along_the_path(float64):
    """R(x + dD v, D + dD) - R(x - dD v, D - dD) over 2 dD, in float64."""
    mesh = build_mesh("x=1")
    params = jax.tree.map(lambda a: a.astype(jnp.float64), MODEL.init(jax.random.key(0)))
    made, _ = features(mesh, dtype=jnp.float64)
    here, along, step = made[..., :6], made[..., 6:], 1e-5

    def at(s):
        moved = jnp.concatenate([here + s * along, along], axis=-1)
        return apply(params, moved, style(0.7 + s, jnp.float64), mesh)[..., :3]

    slope = apply(params, made, style(0.7, jnp.float64), mesh)[..., 3:]
    np.testing.assert_allclose(
        (at(step) - at(-step)) / (2 * step), slope, atol=1e-7 * float(jnp.abs(slope).max())
    )


def test_eight_devices_equal_one():
    params = MODEL.init(jax.random.key(0))
    found = []
    for shape in ("x=1", "x=2,y=2"):
        mesh = build_mesh(shape)
        model = Displacement(spacing=4.0, widths=(4, 8), blocks=(1, 1), steps=2, refine=1, halo=20.0)
        made, _ = features(mesh, model, cells=16)
        found.append(np.asarray(apply(params, made, style(1.0), mesh, model)))
    assert np.isfinite(found[1]).all()
    np.testing.assert_allclose(found[1], found[0], atol=2e-5)


def test_without_steps_it_is_perturbation_theory():
    mesh = build_mesh("x=1")
    model = Displacement(spacing=4.0, widths=(4,), blocks=(1,), steps=0)
    made, coarse = features(mesh, model, z=1.0)

    @jax.jit
    def wanted():
        theta = {name: jnp.float32(value) for name, value in THETA.items()}
        noise = jax.random.normal(jax.random.key(3), (8, 8, 8))
        return lpt.displace(linear_field(theta, noise, 32.0, mesh), cosmology_of(theta), 1.0, mesh)[0]

    np.testing.assert_allclose(coarse.displacement, wanted(), atol=1e-4 * float(jnp.abs(wanted()).max()))


def test_bad_hyperparameters_say_so():
    with pytest.raises(ConfigError, match="spacing=-1.0"):
        Displacement(spacing=-1.0)
    with pytest.raises(ConfigError, match="refine=0"):
        Displacement(spacing=1.0, refine=0)
