"""Explanations state facts: shares add up, slopes are slopes, and matter answers where it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import galaxyjax
from galaxyjax.core.errors import DomainError
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.validate.attribution import explain_halo, explain_spectrum, integrated_gradients
from tests.emulator.toy_emulator import NAMES, THETA, closed_form, toy_emulator


def test_shares_of_a_quadratic_form_are_known_in_closed_form():
    """Of f = x^T M x from 0 the share of x_i is x_i (M_s x)_i, with M_s the symmetric part of M."""
    rng = np.random.default_rng(0)
    m, x = jnp.asarray(rng.normal(size=(4, 4))), jnp.asarray(rng.normal(size=4))
    shares = integrated_gradients(lambda v: jnp.stack([v @ m @ v, v[0]]), jnp.zeros(4), x, 2)
    np.testing.assert_allclose(shares[0], x * (0.5 * (m + m.T) @ x), rtol=1e-5)
    np.testing.assert_allclose(shares[1], [x[0], 0, 0, 0], rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_shares_of_a_spectrum_add_up_and_the_closed_form_is_found_again():
    emulator, k = toy_emulator(), np.geomspace(1e-3, 5.0, 30)
    theta = {**THETA, "m_nu": 0.1, "w0": -0.9, "wa": 0.1}
    found = explain_spectrum(emulator, theta, k=k, z=0.5, output="linear")
    assert set(found.attribution) == set(NAMES) and found.completeness < 1e-9
    total = sum(found.attribution.values())
    truth = closed_form(theta, k, [0.5])[0] - closed_form(found.base, k, [0.5])[0]
    np.testing.assert_allclose(total, truth, atol=1e-6)
    np.testing.assert_allclose(found.response["ln10A_s"], 1.0, rtol=1e-9)
    np.testing.assert_allclose(found.response["n_s"], np.log(k * theta["h"] / 0.05), rtol=1e-6, atol=1e-8)
    gain = theta["ln10A_s"] - found.base["ln10A_s"]
    np.testing.assert_allclose(found.attribution["ln10A_s"], gain, rtol=1e-9)
    np.testing.assert_allclose(found.saliency["ln10A_s"], 2.4, rtol=1e-9)  # its domain is 1.6 to 4
    with pytest.raises(DomainError, match="h = 0.9"):
        explain_spectrum(emulator, {**theta, "h": 0.9}, k=k, z=0.5, output="linear")


@pytest.mark.slow
def test_what_moves_a_halo_moves_it():
    mesh = build_mesh("x=1", devices=jax.devices()[:1])
    emulator = galaxyjax.load("nbody_field")
    theta = {"Omega_m": 0.31, "Omega_b": 0.049, "h": 0.68, "n_s": 0.965, "sigma_8": 0.81}
    noise = white_noise(jax.random.key(1), 16, mesh)
    found = explain_halo(emulator, theta, noise, mesh=mesh, nodes=16)
    assert found.completeness < 0.1 and found.height > 3.0 and found.members > 8
    assert found.moves.shape == found.attribution.shape == (16, 16, 16)

    def made(noise):
        return emulator.predict(theta, white_noise=noise, box_size=32.0, mesh=mesh)

    inside = jnp.linalg.norm((made(noise).positions - found.peak + 16.0) % 32.0 - 16.0, axis=-1) < 4.0
    assert int(inside.sum()) == found.members

    def place(noise):
        """Along x."""
        return jnp.sum(made(noise).displacement[..., 0] * inside) / inside.sum()

    slope = jax.jit(jax.grad(place))(noise)
    assert np.all(found.moves >= np.abs(slope) - 1e-6 * found.moves.max())
    along = slope / jnp.linalg.norm(slope)
    moved = (place(noise + 0.1 * along) - place(noise - 0.1 * along)) / 0.2
    np.testing.assert_allclose(moved, jnp.linalg.norm(slope), rtol=0.05)
    # Matter far from home matters less for how dense the halo is.
    lattice = np.stack(np.meshgrid(*(np.arange(16) * 2.0,) * 3, indexing="ij"), axis=-1)
    distance = np.linalg.norm((lattice - found.home + 16.0) % 32.0 - 16.0, axis=-1)
    share = np.abs(found.attribution)
    assert share[distance < 8.0].mean() > 5.0 * share[distance > 14.0].mean()
