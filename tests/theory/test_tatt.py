"""TATT: exact limits of its one-loop spectra, FAST-PT's numbers, and what it adds to shear."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.theory.tatt import Templates, templates
from galaxyjax.theory.tatt_projection import Torque, project_tatt
from galaxyjax.theory.two_point import Block, Nuisances, TwoPoint

ORACLE = Path(__file__).with_name("fastpt_tatt.json")  # made by benchmarks/data_vectors.py --store
K = np.logspace(-4, np.log10(40.0), 1000)


def linear_power(k):
    """A spectrum like that of matter, wiggles and all, in closed form."""
    smooth = 2.4e4 * (k / 0.02) ** 0.96 / (1.0 + (k / 0.018) ** 1.55) ** 2.35
    return smooth * (1.0 + 0.05 * np.sin(103.0 * k) * np.exp(-((k / 0.15) ** 1.4)))


@pytest.fixture(scope="module")
def loops():
    with jax.enable_x64(True):
        k = np.array([3e-4, *np.geomspace(1e-3, 5.0, 25)])
        return k, templates(k, np.log(K), np.log(linear_power(K)))


def test_the_white_limit_of_large_scales(loops):
    """As k -> 0 a product of two tides at q and -q: 8/15 and 2/15 ... of int P^2, E and B alike."""
    _, found = loops
    noise = np.trapezoid(K**3 * linear_power(K) ** 2 / (2.0 * np.pi**2), np.log(K))
    # <(qx^2 - qy^2)^2> = <(2 qx qy)^2> = 4/15 over the sphere, and the torque is a third of the tide.
    for name, share in (("EE_0E", 8 / 15), ("BB_0B", 8 / 15), ("EE_E2", 8 / 135), ("BB_B2", 8 / 135)):
        assert float(getattr(found, name)[0]) == pytest.approx(share * noise, rel=1e-3)
    assert float(found.EE_mixed[0]) == pytest.approx(8 / 45 * noise, rel=1e-3)


def test_all_eight_are_fast_pts(loops):
    k, found = loops
    oracle = json.loads(ORACLE.read_text(encoding="utf-8"))
    np.testing.assert_allclose(k[1:], oracle["k"], rtol=1e-6)
    for name in Templates._fields:
        peer = np.array(oracle[name])
        np.testing.assert_allclose(getattr(found, name)[1:], peer, atol=2e-4 * np.abs(peer).max())


@pytest.fixture(scope="module")
def model():
    z = 0.05 * (np.arange(50) + 0.5)
    sources = np.stack([z**2 * np.exp(-((z / p) ** 2.2)) for p in (0.5, 0.9)])
    lenses = np.exp(-0.5 * ((z - 0.4) / 0.08) ** 2)[None]
    ell = np.array([3.0, 10.0, 40.0, 150.0, 500.0, 2000.0])
    blocks = (Block("shear", [(0, 0), (0, 1)], np.eye(6)), Block("galaxy_shear", [(0, 0)], np.eye(6)))
    return TwoPoint.from_histograms(z, sources, lenses, ell, blocks)


def test_b_modes_are_alignments_alone(model, power, cosmology, float64):
    nuisances = Nuisances(jnp.zeros(2), 1.0, lens_shift=jnp.zeros(1), bias=jnp.ones(1))
    table, linear = model.table(power, cosmology), (jnp.log(K), jnp.log(linear_power(K)))
    torque = Torque(-0.8, 0.3, 0.6)
    b = jax.jit(lambda table, linear: project_tatt(model, table, linear, cosmology, nuisances, torque, True))
    found = np.asarray(b(table, linear))
    assert np.all(found[:6] > 0.0) and np.all(found[12:] == 0.0)
    np.testing.assert_allclose(np.asarray(b(2.0 * table, linear)), found, rtol=1e-12)


def test_all_grow_as_the_fourth_power_of_the_field(loops):
    """d ln(spectrum) / d ln P, summed over all wavenumbers of the linear spectrum, is 2."""
    k, found = loops
    with jax.enable_x64(True):
        log_k, log_p = jnp.log(K), jnp.log(linear_power(K))
        slope = jax.jit(lambda p, ones: jax.jvp(lambda p: templates(k[:3], log_k, p), (p,), (ones,))[1])
        for value, change in zip(found, slope(log_p, jnp.ones_like(log_p)), strict=True):
            np.testing.assert_allclose(change, 2.0 * np.asarray(value)[:3], rtol=1e-9)


@pytest.mark.slow
def test_in_the_data_vector(model, power, cosmology, float64):
    """Without torque it is NLA; it is quadratic in (A_IA, A_2) and its slopes are finite differences'."""
    nuisances = {"shift": jnp.zeros(2), "lens_shift": jnp.zeros(1), "bias": jnp.ones(1), "eta_IA": 0.5}
    linear = jnp.log(K), jnp.log(linear_power(K))
    table = model.table(power, cosmology)

    def vector(p, table, linear):
        tatt = Torque(p[1], 0.3, p[2])
        return project_tatt(model, table, linear, cosmology, Nuisances(A_IA=p[0], **nuisances), tatt)

    # Tables are arguments: as constants XLA would integrate them while it compiles.
    value = jax.jit(lambda p, *tables: (vector(p, *tables), jax.jacfwd(vector)(p, *tables)))
    nla = model.project(table, cosmology, Nuisances(A_IA=1.0, **nuisances))
    np.testing.assert_allclose(value(jnp.array([1.0, 0.0, 0.0]), table, linear)[0], nla, rtol=1e-12)
    at = jnp.array([1.0, -0.8, 0.6])
    slopes = np.asarray(value(at, table, linear)[1])
    for i in range(3):
        up, down = (np.asarray(value(at.at[i].add(step), table, linear)[0]) for step in (1e-3, -1e-3))
        np.testing.assert_allclose(slopes[:, i], (up - down) / 2e-3, rtol=1e-7, atol=1e-7 * np.abs(up).max())
