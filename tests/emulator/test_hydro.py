"""The emulator of baryons: values, slopes against differences, meshes, composition, errors."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydro_toys import BOX, CELLS, MODEL, small

from galaxyjax.core.errors import ConfigError, DataError, DomainError
from galaxyjax.core.units import RHO_CRIT
from galaxyjax.emulator.chain import baryons
from galaxyjax.emulator.store import load
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.fields.gravity import Force
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.hydro import Hydro
from galaxyjax.theory.gas_maps import compton_y

THETA = {"Omega_m": 0.31, "sigma_8": 0.81}
FIVE = {**THETA, "Omega_b": 0.049, "h": 0.68, "n_s": 0.965}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    return small(tmp_path_factory.mktemp("shelf") / "small")


def matter(dtype=jnp.float32):
    field = jnp.exp(0.8 * jax.random.normal(jax.random.key(4), (CELLS,) * 3, dtype))
    return field / field.mean() - 1.0


def test_it_comes_back_from_disk_and_conserves_baryons_on_every_mesh(emulator, tmp_path):
    again = load(small(tmp_path / "copy") and tmp_path / "copy")
    options = dict(matter=matter(), box_size=BOX, z=0.5)
    one = emulator.predict(THETA, **options)
    np.testing.assert_array_equal(one.gas, again.predict(THETA, **options).gas)
    key = jax.random.key(3)
    several = emulator.sample(THETA, key=key, mesh=build_mesh("x=2,y=2"), steps=2, **options)
    alone = emulator.sample(THETA, key=key, steps=2, **options)
    for made in (one, several, alone):
        total = np.mean(made.gas + made.stars, dtype=np.float64)
        np.testing.assert_allclose(total, 0.049 * RHO_CRIT, rtol=2e-6)
    for name in ("gas", "temperature", "pressure"):
        mine, other = getattr(alone, name), getattr(several, name)
        np.testing.assert_allclose(other, mine, rtol=2e-4)
        assert not np.allclose(mine, getattr(one, name), rtol=1e-2)  # a draw is not the mean


def test_pressure_of_a_draw_is_that_of_the_ideal_gas(emulator):
    """k_B T / (mu m_p) of ionised gas, mu = 0.588: 1e7 K are (374 km/s)^2."""
    made = emulator.sample(THETA, matter=matter(), box_size=BOX, key=jax.random.key(2), steps=1)
    speed = np.asarray(made.pressure / made.gas / made.temperature) * 1e7
    np.testing.assert_allclose(np.sqrt(speed), 374.8, rtol=2e-3)


@pytest.mark.slow
def test_a_tsz_map_has_its_slope_by_sigma_8_and_phases_from_initial_conditions(emulator, float64):
    """White noise and cosmology -> matter -> baryons -> Compton y: one gradient, against differences."""
    mesh, force = build_mesh("x=2"), Force(refine=1, scheme="tsc", halo=4.0)
    emulator = jax.tree.map(lambda a: a.astype(jnp.float64), emulator)
    noise = white_noise(jax.random.key(5), CELLS, mesh, jnp.float64)

    @jax.jit
    def brightness(sigma_8, noise):
        theta = {**FIVE, "sigma_8": sigma_8}
        made = baryons(theta, white_noise=noise, box_size=BOX, z=1.0, mesh=mesh, hydro=emulator, force=force)
        return 1e8 * jnp.mean(compton_y(made.pressure, BOX, theta["h"], 1.0))

    sigma_8, step = jnp.float64(0.8), 1e-4
    slope, slopes = jax.jit(jax.grad(brightness, (0, 1)))(sigma_8, noise)
    wanted = (brightness(sigma_8 + step, noise) - brightness(sigma_8 - step, noise)) / (2 * step)
    np.testing.assert_allclose(slope, wanted, rtol=1e-5)
    along = jax.random.normal(jax.random.key(7), noise.shape, jnp.float64)
    wanted = (brightness(sigma_8, noise + step * along) - brightness(sigma_8, noise - step * along)) / (
        2 * step
    )
    np.testing.assert_allclose(jnp.sum(slopes * along), wanted, rtol=1e-4)


def test_outside_its_promise_it_says_so(emulator):
    options = dict(matter=matter(), box_size=BOX)
    with pytest.raises(DomainError, match="sigma_8 = 0.95"):
        emulator.predict({**THETA, "sigma_8": 0.95}, **options)
    with pytest.raises(ConfigError, match="8 cells in 10 Mpc/h"):
        emulator.predict(THETA, matter=matter(), box_size=10.0)
    with pytest.raises(DataError, match="real contrasts"):
        emulator.predict(THETA, matter=matter()[0], box_size=BOX)
    hot = jax.jit(lambda s: emulator.predict({**THETA, "sigma_8": s}, **options).gas)(0.95)
    assert np.isnan(hot).all()


def test_a_map_is_equal_layers_and_without_a_flow_nothing_is_drawn(emulator, tmp_path):
    flat = small(tmp_path / "flat", replace(MODEL, flat=True))
    layers = jnp.repeat(matter()[:, :, :1], MODEL.multiple, axis=2)
    options = dict(matter=layers, box_size=BOX)
    for made in (
        flat.predict(THETA, **options),
        flat.sample(THETA, key=jax.random.key(1), **options, steps=1),
    ):
        np.testing.assert_allclose(made.temperature[..., 0], made.temperature[..., 1], rtol=1e-5)
    with pytest.raises(DataError, match="real contrasts"):
        emulator.predict(THETA, **options)
    plain = small(tmp_path / "plain", Hydro(spacing=2.0, widths=(2,), blocks=(0,)))
    with pytest.raises(ConfigError, match="no flow to sample from"):
        plain.sample(THETA, matter=matter(), box_size=BOX, key=jax.random.key(0))
