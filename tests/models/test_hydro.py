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
from galaxyjax.models.hydro import Hydro
from galaxyjax.models.hydro_features import features_block, log_density
from galaxyjax.models.hydro_fields import IDEAL, Baryons, Heads, drawn, fields, missed

COMMON = tuple((0.1 * ((i * 7) % 5 - 2), 0.05 * ((i * 3) % 4)) for i in range(12))
MODEL = Hydro(
    spacing=1.0, widths=(2, 4), blocks=(1, 1), tides=(1.0,), flow_widths=(2,), flow_blocks=(1,), ideal=False,
    common=COMMON, early=True,
)  # fmt: skip
SHARED = jnp.array([[0.7, -1.2]])
STYLE = jnp.array([[0.31, 0.82, 1.0]])


def matter(cells=8, dtype=jnp.float32):
    field = jnp.exp(jax.random.normal(jax.random.key(4), (1, cells, cells, cells), dtype))
    return field / field.mean()


@partial(jax.jit, static_argnames=("mesh", "model", "steps"))
def heads(params, field, style, noise, mesh, model=MODEL, steps=2):
    """Latents of the mean head, of the physics alone, and of one draw; then typical latents and scatter."""

    def local(params, field, style, noise):
        made, features, baseline = model.mean_block(params, field, style)
        state = model.flowed(params, noise, made, features, style, steps)
        shared = SHARED.astype(field.dtype)
        return made.mean, baseline, drawn(made, state, model.common, shared), made.typical, made.scatter

    specs = (REPLICATED, P(*FIELD[:-1]), BATCH, FIELD)
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=(FIELD,) * 5)(
        params, field, style, noise
    )


@pytest.fixture(scope="module")
def found():
    noise = jax.random.normal(jax.random.key(6), (1, 8, 8, 8, MODEL.channels))
    params = MODEL.init(jax.random.key(2))
    return [heads(params, matter(), STYLE, noise, build_mesh(shape)) for shape in ("x=1", "x=2,y=2")]


def test_baryon_mass_is_the_mean_of_matter_and_every_field_positive(found):
    for latents in found[0][:3]:
        made = fields(latents)
        np.testing.assert_allclose(jnp.mean(made.gas + made.stars), 1.0, rtol=2e-6)
        assert min(float(values.min()) for values in made) > 0.0
        assert all(np.isfinite(values).all() for values in made)


def test_eight_devices_equal_one(found):
    for one, several in zip(*found, strict=True):
        np.testing.assert_allclose(several, one, atol=3e-5 * float(jnp.abs(one).max()))


def test_what_the_mean_head_misses_leads_back_to_the_truth(found):
    """drawn(heads, missed(heads, truth)) is the truth, wherever it is known."""
    latents = Heads(found[0][0], *found[0][3:])
    rng = np.random.default_rng(1)
    field = lambda low, high: jnp.asarray(rng.uniform(low, high, (1, 8, 8, 8)), jnp.float32)  # noqa: E731
    total, share, heat = field(0.1, 9.0), field(0.0, 0.6), 10.0 ** field(3.5, 6.0)
    total = total / total.mean()
    gas = total * (1 - share)
    truth = Baryons(gas, total * share, heat, gas * IDEAL * heat * field(0.5, 1.0))
    step, known = missed(latents, truth, False)
    assert known.all()
    made = jax.jit(jax.shard_map(drawn, mesh=build_mesh("x=1"), in_specs=(FIELD, FIELD), out_specs=FIELD))(
        latents, step
    )
    for mine, own in zip(fields(made), truth, strict=True):
        np.testing.assert_allclose(mine, own, rtol=2e-4, atol=1e-4)
    empty = truth._replace(gas=gas.at[0, 0, 0, 0].set(0.0), temperature=heat.at[0, 0, 0, 0].set(0.0))
    step, known = missed(latents, empty, False)
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
    made, x = fields(baseline), float(log_density(jnp.ones(())))
    np.testing.assert_allclose(made.gas + made.stars, 1.0, rtol=1e-6)
    np.testing.assert_allclose(made.temperature, np.exp(9.0 + 0.7 * x + 0.1 * x**2), rtol=1e-5)
    np.testing.assert_allclose(made.pressure, made.gas * IDEAL * made.temperature, rtol=1e-5)


def test_what_networks_see_turns_with_the_box():
    """Scalars: features of a box turned by 90 degrees are the features turned."""
    see = jax.jit(
        jax.shard_map(
            lambda m: features_block(
                m, jnp.ones(1), (8.0,) * 3, jnp.full(1, 0.4), (0.8,), (1.5,), (1.5, 2.0)
            )[0],
            mesh=build_mesh("x=1"),
            in_specs=P(*FIELD[:-1]),
            out_specs=FIELD,
        )
    )
    seen, turned = see(matter()), see(jnp.rot90(matter(), axes=(1, 3)))
    assert seen.shape[-1] == 1 + 1 + 1 + 4
    np.testing.assert_allclose(turned, jnp.rot90(seen, axes=(1, 3)), atol=2e-4)


def test_a_plane_wave_has_the_shear_and_slope_of_a_plane_wave():
    """delta = e cos(k x): one tidal eigenvalue delta, so q = |delta|, and the slope is e k sin(k x)."""
    x = jnp.arange(32) * 0.25
    k, e, r = 2 * jnp.pi / 8.0, 0.5, 0.3
    wave = jnp.broadcast_to((1.0 + e * jnp.cos(k * x))[None, :, None, None], (1, 32, 32, 32))
    see = jax.jit(
        jax.shard_map(
            lambda m: features_block(m, jnp.ones(1), (8.0,) * 3, jnp.full(1, 0.4), (), (), (r,))[0],
            mesh=build_mesh("x=1"),
            in_specs=P(*FIELD[:-1]),
            out_specs=FIELD,
        )
    )
    size = e * jnp.exp(-0.5 * (k * r) ** 2)
    shear = 0.5 * jnp.log((size * jnp.cos(k * x)) ** 2 + 0.01)
    slope = 0.5 * jnp.log((size * k * r * jnp.sin(k * x)) ** 2 + 0.01)
    seen = see(wave)[0, :, 3, 5]
    np.testing.assert_allclose(seen[:, 1] * 0.65 - 0.4, shear, atol=1e-4)
    np.testing.assert_allclose(seen[:, 2] * 0.85 - 1.1, slope, atol=1e-4)


def test_with_early_the_temperature_is_blind_to_cosmology_but_for_depth():
    """Gas sees sigma_8 Omega_m^-0.2, the same for two cosmologies; temperature the scale factor alone."""
    one, other = jnp.array([[0.3, 0.8, 0.5]]), jnp.array([[0.25, 0.8 * (0.25 / 0.3) ** 0.2, 0.5]])
    for a, b in zip(MODEL.normalised_style(one), MODEL.normalised_style(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert [v.shape[1] for v in MODEL.normalised_style(one)] == list(MODEL.styles) == [2, 1]


def test_hyperparameters_rebuild_the_model():
    assert MODEL.multiple == 2 and MODEL.channels == 4
    assert Hydro(**MODEL.hyperparameters()) == MODEL


def test_bad_hyperparameters_say_so():
    with pytest.raises(ConfigError, match="must have 3 numbers"):
        Hydro(spacing=1.0, centre=(0.3, 0.8))
    with pytest.raises(ConfigError, match="must be among style"):
        Hydro(spacing=1.0, logarithmic=("A_SN1",))
    with pytest.raises(ConfigError, match="early asks for Omega_m and sigma_8"):
        Hydro(spacing=1.0, early=True, style=("sigma_8", "Omega_m"))
    with pytest.raises(ConfigError, match="common has 2 rows and must have 9"):
        Hydro(spacing=1.0, common=((0.1,), (0.2,)))
    with pytest.raises(ConfigError, match="spacing must be positive"):
        Hydro(spacing=0.0)
