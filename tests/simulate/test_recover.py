"""Phases recovered from an initial snapshot: of our own displacements, and of real GADGET-4 runs."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.background import growth_factor
from galaxyjax.fields import lpt
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.fields.gravity import Force, density
from galaxyjax.fields.spectra import coherence
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.fields import cosmology_of, linear_field, noise_of, read_run
from galaxyjax.simulate.recover import growth_without_radiation, linear_modes_of, recover

THETA = {"Omega_m": 0.3, "Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624, "sigma_8": 0.8}
DATA = os.environ.get("GALAXYJAX_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="GALAXYJAX_DATA names no folder of real data")


def test_modes_come_back_from_second_order_displacements():
    mesh, z, box = build_mesh("x=1"), 49.0, 32.0
    theta = {name: jnp.float32(value) for name, value in THETA.items()}
    modes = linear_field(theta, white_noise(jax.random.key(1), 16, mesh), box, mesh)
    cosmology = cosmology_of(theta)
    moved, _ = lpt.displace(modes, cosmology, z, mesh)
    found = linear_modes_of(np.asarray(moved), float(growth_factor(cosmology, z)), box, mesh)
    # Planes of Nyquist carry no odd derivative: they cannot come back.
    inside = (jnp.abs(modes.kx) < 1.5) & (jnp.abs(modes.ky) < 1.5) & (modes.kz < 1.5)
    error = jnp.where(inside, found.values - modes.values, 0.0)
    size = jnp.where(inside, modes.values, 0.0)
    # What is left is the second order of waves near Nyquist, which the lattice does not hold.
    assert float(jnp.linalg.norm(error) / jnp.linalg.norm(size)) < 5e-3


def test_growth_without_radiation_is_that_of_matter_where_it_rules():
    # Einstein-de Sitter: D = a; and today it is 1.
    assert growth_without_radiation(1.0 - 1e-9, 49.0) == pytest.approx(0.02, rel=1e-6)
    assert growth_without_radiation(0.3, 0.0) == 1.0


@needs_data
def test_a_gadget_run_is_met_by_our_steps_from_its_own_phases(tmp_path):
    """Ten coarse steps from the recovered noise have GADGET-4's phases at z = 0: r > 0.999 to k = 1 h/Mpc."""
    mesh, pairs = build_mesh("x=1"), Path(DATA) / "pairs"
    later = [pairs / "pair_00_dmo_z0.hdf5"]
    path = recover(THETA, pairs / "pair_00_dmo_z49.hdf5", later, tmp_path, 0, mesh)
    run, noise = read_run(path), noise_of(path, mesh)
    model = Displacement(spacing=25 / 32, steps=10, refine=2)
    coarse = model.coarse(linear_field(THETA, noise, 25.0, mesh), cosmology_of(THETA), 0.0, 25.0, mesh)
    grids = [
        density(moved, 25.0, mesh, Force(refine=1)) for moved in (coarse.displacement, run.displacement[0])
    ]
    k, r = coherence(*grids, box_size=25.0, mesh=mesh, edges=np.array([0.2, 0.6, 1.0, 1.5]))
    assert np.all(np.asarray(r) > [0.999, 0.998, 0.995])
