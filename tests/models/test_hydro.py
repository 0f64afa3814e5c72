"""Baryons from matter: what is conserved, what inverts what, and one device against eight."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.topology import BATCH, FIELD, REPLICATED, build_mesh
from galaxyjax.models.hydro import IDEAL, Baryons, Hydro, log_density

MODEL = Hydro(spacing=1.0, widths=(2, 4), blocks=(1, 1), flow_widths=(2,), flow_blocks=(1,), ideal=False)
STYLE = jnp.array([[0.31, 0.82, 1.0]])


def matter(cells=8, dtype=jnp.float32):
    field = jnp.exp(jax.random.normal(jax.random.key(4), (1, cells, cells, cells), dtype))
    return field / field.mean()


@partial(jax.jit, static_argnames=("mesh", "model", "steps"))
def heads(params, field, style, noise, mesh, model=MODEL, steps=2):
    """Latents of the mean head, of the physics alone, and of one draw."""

    def local(params, field, style, noise):
        latents, features, baseline = model.mean_block(params, field, style)
        state = model.flowed(params, noise, latents, features, style, steps)
        return latents, baseline, model.sampled(latents, state)

    specs = (REPLICATED, P(*FIELD[:-1]), BATCH, FIELD)
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=(FIELD,) * 3)(
        params, field, style, noise
    )


@pytest.fixture(scope="module")
def found():
    noise = jax.random.normal(jax.random.key(6), (1, 8, 8, 8, MODEL.channels))
    params = MODEL.init(jax.random.key(2))
    return [heads(params, matter(), STYLE, noise, build_mesh(shape)) for shape in ("x=1", "x=2,y=2")]


def test_baryon_mass_is_the_mean_of_matter_and_every_field_positive(found):
    for latents in found[0]:
        made = MODEL.fields(latents)
        np.testing.assert_allclose(jnp.mean(made.gas + made.stars), 1.0, rtol=2e-6)
        assert min(float(values.min()) for values in made) > 0.0
        assert all(np.isfinite(values).all() for values in made)


def test_eight_devices_equal_one(found):
    for one, several in zip(*found, strict=True):
        np.testing.assert_allclose(several, one, atol=3e-5 * float(jnp.abs(one).max()))


def test_what_the_mean_head_misses_leads_back_to_the_truth(found):
    """sampled(latents, missed(latents, truth)) is the truth, wherever it is known."""
    latents = found[0][0]
    rng = np.random.default_rng(1)
    field = lambda low, high: jnp.asarray(rng.uniform(low, high, (1, 8, 8, 8)), jnp.float32)  # noqa: E731
    total, share, heat = field(0.1, 9.0), field(0.0, 0.6), 10.0 ** field(3.5, 6.0)
    total = total / total.mean()
    gas = total * (1 - share)
    truth = Baryons(gas, total * share, heat, gas * IDEAL * heat * field(0.5, 1.0))
    step, known = MODEL.missed(latents, truth)
    assert known.all()
    made = jax.jit(
        jax.shard_map(MODEL.sampled, mesh=build_mesh("x=1"), in_specs=(FIELD, FIELD), out_specs=FIELD)
    )(latents, step)
    for mine, own in zip(MODEL.fields(made), truth, strict=True):
        np.testing.assert_allclose(mine, own, rtol=2e-4, atol=1e-4)
    empty = truth._replace(gas=gas.at[0, 0, 0, 0].set(0.0), temperature=heat.at[0, 0, 0, 0].set(0.0))
    step, known = MODEL.missed(latents, empty)
    assert not known[0, 0, 0, 0, 2] and np.isfinite(step).all() and float(step[0, 0, 0, 0, 2]) == 0.0


def test_gradients_by_matter_and_style_are_those_of_differences(float64):
    params = jax.tree.map(lambda a: a.astype(jnp.float64), MODEL.init(jax.random.key(2)))
    field, style = matter(4, jnp.float64), STYLE.astype(jnp.float64)
    weights = jax.random.normal(jax.random.key(8), (1, 4, 4, 4, MODEL.channels), jnp.float64)
    mesh = build_mesh("x=1")

    @jax.jit
    def value(field, style):
        return jnp.sum(weights * heads(params, field, style, weights, mesh)[2])

    along = jax.random.normal(jax.random.key(9), field.shape, jnp.float64) * 0.1, 0.1 * jnp.ones_like(style)
    slopes = jax.grad(value, (0, 1))(field, style)
    for which, step in enumerate(along):
        at = lambda s, which=which, step=step: value(  # noqa: E731
            *(part + s * step if i == which else part for i, part in enumerate((field, style)))
        )
        wanted = (at(1e-5) - at(-1e-5)) / 2e-5
        np.testing.assert_allclose(jnp.sum(slopes[which] * step), wanted, rtol=1e-6)


def test_without_networks_smoothed_matter_and_a_relation_remain(found):
    """The baseline's temperature is the polynomial of its own density, and of a uniform box exactly 1."""
    model = replace(MODEL, relation=(9.0, 0.7, 0.1, 0.0, 0.0, 0.0))
    uniform = jnp.ones((1, 4, 4, 4))
    zeros = jnp.zeros((1, 4, 4, 4, MODEL.channels))
    params = model.init(jax.random.key(0))
    baseline = heads(params, uniform, STYLE, zeros, build_mesh("x=1"), model)[1]
    made, x = model.fields(baseline), float(log_density(jnp.ones(())))
    np.testing.assert_allclose(made.gas + made.stars, 1.0, rtol=1e-6)
    np.testing.assert_allclose(made.temperature, np.exp(9.0 + 0.7 * x + 0.1 * x**2), rtol=1e-5)
    np.testing.assert_allclose(made.pressure, made.gas * IDEAL * made.temperature, rtol=1e-5)


def test_hyperparameters_rebuild_the_model():
    assert MODEL.multiple == 2 and MODEL.channels == 4
    assert Hydro(**MODEL.hyperparameters()) == MODEL


def test_bad_hyperparameters_say_so():
    with pytest.raises(ConfigError, match="must have 3 numbers"):
        Hydro(spacing=1.0, centre=(0.3, 0.8))
    with pytest.raises(ConfigError, match="must be among style"):
        Hydro(spacing=1.0, logarithmic=("A_SN1",))
    with pytest.raises(ConfigError, match="spacing must be positive"):
        Hydro(spacing=0.0)
