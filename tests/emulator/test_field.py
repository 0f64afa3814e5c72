"""The emulator of fields: values, gradients against finite differences, meshes, clear errors."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError, DomainError, UnknownName
from galaxyjax.emulator.contract import Contract, Input, Output
from galaxyjax.emulator.store import load, save
from galaxyjax.fields import nbody
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.fields import cosmology_of, linear_field

THETA = {"Omega_m": 0.31, "Omega_b": 0.049, "h": 0.68, "n_s": 0.965, "sigma_8": 0.81}
CELLS, SPACING = 8, 4.0
BOX = CELLS * SPACING


def small_contract(model: Displacement) -> Contract:
    inputs = tuple(Input(name, "", 0.5 * value, 1.5 * value, None, "") for name, value in THETA.items())
    outputs = (Output("displacement", "Mpc/h", tuple(THETA), "of particles"),)
    return Contract(
        name="small_field",
        version="0.1.0",
        description="for tests",
        licence="Apache-2.0",
        family="displacement",
        hyperparameters=model.hyperparameters(),
        inputs=inputs,
        constraints=(),
        outputs=outputs,
        derived=(),
        refused=(),
        k_range=(0.01, 1.0),
        z_range=(0.0, 3.0),
        truth={},
        calibrated=(),
        error={},
        notes=(),
    )


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    model = Displacement(spacing=SPACING, widths=(4, 8), blocks=(1, 1), steps=2, refine=2, halo=12.0)
    return save(
        tmp_path_factory.mktemp("shelf") / "small", model.init(jax.random.key(1)), small_contract(model)
    )


def noise(mesh=None, dtype=jnp.float32):
    return white_noise(jax.random.key(5), CELLS, mesh or build_mesh("x=1"), dtype)


def test_it_comes_back_from_disk_as_it_was(emulator, tmp_path):
    again = load(save(tmp_path / "copy", emulator.weights, emulator.contract) and tmp_path / "copy")
    options = dict(white_noise=noise(), box_size=BOX, z=0.5)
    one, two = emulator.predict(THETA, **options), again.predict(THETA, **options)
    np.testing.assert_array_equal(one.displacement, two.displacement)
    assert one.displacement.shape == one.velocity.shape == (CELLS,) * 3 + (3,)


def test_mass_is_conserved_on_every_mesh_of_painting(emulator):
    found = emulator.predict(THETA, white_noise=noise(), box_size=BOX)
    for cells in (CELLS, 2 * CELLS):
        assert abs(float(found.density(cells).mean())) < 1e-5
    assert found.positions.min() >= 0 and found.positions.max() <= BOX
    with pytest.raises(ConfigError, match="multiple of the lattice's 8"):
        found.density(12)


def test_eight_devices_equal_one(emulator):
    found = []
    for shape in ("x=1", "x=2,y=2"):
        mesh = build_mesh(shape)
        found.append(emulator.predict(THETA, white_noise=noise(mesh), box_size=BOX, z=0.3, mesh=mesh))
    one, eight = found
    assert len(eight.displacement.sharding.device_set) == 4
    np.testing.assert_allclose(eight.displacement, one.displacement, atol=1e-4)
    np.testing.assert_allclose(eight.velocity, one.velocity, atol=1e-2)
    np.testing.assert_allclose(eight.density(), one.density(), atol=1e-3)


def test_gradients_equal_finite_differences(emulator, float64):
    """Of a scalar of the density and velocity by cosmology, redshift and modes, through the whole box."""
    w = noise(dtype=jnp.float64)
    probe = np.random.default_rng(1).normal(size=w.shape)

    def scalar(theta, z, w):
        made = emulator.predict(theta, white_noise=w, box_size=BOX, z=z)
        return jnp.sum(probe * made.displacement[..., 0]) + 1e-3 * jnp.sum(probe * made.velocity[..., 1])

    theta = {name: jnp.asarray(value, jnp.float64) for name, value in THETA.items()}
    by_theta, by_z, by_w = jax.jit(jax.grad(scalar, argnums=(0, 1, 2)))(theta, jnp.float64(0.4), w)
    run = jax.jit(scalar)
    for name, value in theta.items():
        h = 1e-5 * value
        slope = run({**theta, name: value + h}, 0.4, w) - run({**theta, name: value - h}, 0.4, w)
        np.testing.assert_allclose(by_theta[name], slope / (2 * h), rtol=1e-4)
    np.testing.assert_allclose(by_z, (run(theta, 0.4001, w) - run(theta, 0.3999, w)) / 2e-4, rtol=1e-4)
    way = np.random.default_rng(2).normal(size=w.shape)
    slope = (run(theta, 0.4, w + 1e-5 * way) - run(theta, 0.4, w - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose(jnp.sum(by_w * way), slope, rtol=1e-4)


def test_velocity_is_the_derivative_along_growth(emulator):
    """It is not a second network: with weights of zero it is the coarse simulation's."""
    still = jax.tree.map(jnp.zeros_like, emulator.weights)
    bare = replace(emulator, weights=still)
    made = bare.predict(THETA, white_noise=noise(), box_size=BOX)
    mesh = build_mesh("x=1")
    theta = {name: jnp.float32(value) for name, value in THETA.items()}
    modes = linear_field(theta, noise(), BOX, mesh)

    @jax.jit
    def wanted(modes):
        coarse = emulator.model.coarse(modes, cosmology_of(theta), 0.0, BOX, mesh)
        return nbody.velocity(coarse.derivative, cosmology_of(theta), 0.0)

    np.testing.assert_allclose(made.velocity, wanted(modes), rtol=1e-4, atol=1e-2)


def test_a_halo_wider_than_a_block_is_shortened_and_values_agree(emulator):
    """Blocks of 16 Mpc/h, a halo of 20: what fits is enough, or the error says that it was not."""
    wide = replace(emulator, model=replace(emulator.model, halo=20.0))
    found = []
    for shape in ("x=1", "x=2"):
        mesh = build_mesh(shape)
        found.append(wide.predict(THETA, white_noise=noise(mesh), box_size=BOX, z=0.3, mesh=mesh))
    np.testing.assert_allclose(found[1].displacement, found[0].displacement, atol=1e-4)
    np.testing.assert_allclose(found[1].density(scheme="tsc"), found[0].density(scheme="tsc"), atol=1e-3)
    mesh, loud = build_mesh("x=4"), {**THETA, "sigma_8": 1.2}  # blocks of 8 Mpc/h
    with pytest.raises(DataError, match=r"further than 4.* Mpc/h.*use fewer devices"):
        wide.predict(loud, white_noise=3.0 * noise(mesh), box_size=BOX, mesh=mesh)


def test_errors_name_what_is_wrong(emulator):
    good = dict(white_noise=noise(), box_size=BOX)
    with pytest.raises(DataError, match=r"shape \(8, 8\) must be a cube"):
        emulator.predict(THETA, **{**good, "white_noise": noise()[0]})
    with pytest.raises(ConfigError, match="8 cells in 40 Mpc/h are 5 Mpc/h apart; it was trained at 4"):
        emulator.predict(THETA, **{**good, "box_size": 40.0})
    with pytest.raises(DomainError, match="Omega_m = 0.9 is above"):
        emulator.predict({**THETA, "Omega_m": 0.9}, **good)
    with pytest.raises(DomainError, match="z = 5 is above 3"):
        emulator.predict(THETA, **good, z=5.0)
    with pytest.raises(UnknownName, match="omega_m"):
        emulator.predict({**THETA, "omega_m": 0.1}, **good)
    with pytest.raises(ConfigError, match="sigma_8 is missing"):
        emulator.predict({k: v for k, v in THETA.items() if k != "sigma_8"}, **good)
    with pytest.raises(ConfigError, match="8 cells along x do not divide over x=8"):
        emulator.predict(THETA, **good, mesh=build_mesh("x=8"))
    outside = jax.jit(lambda t: emulator.predict(t, **good).displacement)({**THETA, "Omega_m": 0.9})
    assert np.isnan(outside).all()


def test_any_linear_spectrum_can_be_given(emulator):
    def power(k):
        return 100.0 * jnp.exp(-(k**2))

    made = emulator.predict(THETA, white_noise=noise(), box_size=BOX, power=power)
    assert np.isfinite(made.displacement).all()
