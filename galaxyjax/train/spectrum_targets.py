"""From a suite of Boltzmann runs to what each network of `models.spectrum` must say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from galaxyjax.core.background import growth_early
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.primordial import eisenstein_hu_no_wiggle
from galaxyjax.models.growth_proxy import matter_fraction, omega_matter
from galaxyjax.models.spectrum import LOG_CONSTANT, PIVOT, Spectrum
from galaxyjax.simulate.design import Range, sobol
from galaxyjax.simulate.suite import Run

_growth_early = jax.jit(growth_early)
_no_wiggle = jax.jit(eisenstein_hu_no_wiggle)
WIGGLE_SMOOTHING = 0.25  # in ln k (Mead et al. 2021, section 2.3)


@dataclass(frozen=True)
class Targets:
    """One network's training set: named inputs, the curves it must give, and where they come from."""

    inputs: dict[str, np.ndarray]  # name -> (n,)
    curves: np.ndarray  # (n, nk) at the model's knots
    run: np.ndarray  # (n,) index of the run, by which validation is split off
    weight: np.ndarray  # (n,)


def shape_and_wiggle(
    model: Spectrum, runs: list[Run], hubbles: int, h_range, seed: int
) -> tuple[Targets, np.ndarray]:
    """ln T^2 at high redshift for many h of every run, and the wiggles in P that HMcode damps.

    In 1/Mpc the early spectrum knows omega_b, omega_cdm and m_nu only: another h is a shift of ln k.

    Returns:
        targets whose curves are ln T^2, and wiggles (n, nk) of the same examples.
    """
    rng = np.random.default_rng([seed, 1])
    knots = model.knots.wavenumbers
    inputs = {name: [] for name in ("omega_b", "omega_cdm", "m_nu", "h")}
    curves, wiggles = [], []
    for run in runs:
        own = run.background
        log_q = np.log(run.k * own["h"])
        log_D = np.log(np.asarray(_growth_early(_cosmology(run), run.z[-1:])))
        transfer = CubicSpline(log_q, run.linear[-1] - _closed_form(run, log_D)[0])
        wiggle = CubicSpline(log_q, _wiggle(run))
        # Stratified in h, the run's own h first.
        low, high = h_range
        h = low + (np.arange(hubbles - 1) + rng.random(hubbles - 1)) / (hubbles - 1) * (high - low)
        h = np.concatenate([[own["h"]], h])
        log_k = np.log(knots)[None, :] + np.log(h)[:, None]
        curves.append(transfer(log_k))
        wiggles.append(wiggle(log_k))
        inputs["h"].append(h)
        for name in ("omega_b", "omega_cdm", "m_nu"):
            inputs[name].append(np.full(hubbles, own[name]))
    index = np.repeat(np.arange(len(runs)), hubbles)
    inputs = _join(inputs)
    curves = np.concatenate(curves) - np.asarray(_baseline_curve(model, inputs))
    weight = np.array([_freedom(run) for run in runs])[index]
    targets = Targets(inputs, curves, index, weight)
    return targets, np.concatenate(wiggles)


def amplitude(model: Spectrum, background, constraints, count: int, z_max: float, seed: int):
    """Features, and ln D over the closed form from the growth equation, at `count` random points."""
    points = sobol((*background, Range("z", 0.0, z_max)), count, seed, constraints)
    x = {name: jnp.asarray(values[:, None], jnp.float32) for name, values in points.items()}
    z = x.pop("z")

    def exact(values, z):
        return jnp.log(growth_early(Cosmology(**values, n_s=1.0, ln10A_s=3.0), z))

    log_D = jax.jit(jax.vmap(exact))({name: v[:, 0] for name, v in x.items()}, z)
    features = jax.jit(model.amplitude_features)(x, z)
    return np.asarray(features)[:, 0], np.asarray(
        log_D - jax.jit(model.closed_form_growth)(x, z)[0], np.float64
    )


def growth(model: Spectrum, weights, runs: list[Run]) -> tuple[Targets, np.ndarray]:
    """What is left of ln P_linear(k, z) after the closed form and the trained shape; features (n, m)."""

    @jax.jit
    def known(x, z):
        """The shape at the knots, the amplitude and the features."""
        x = {name: v[None] for name, v in x.items()}
        components = model.network(weights, "shape", model.shape_features(x))[0, : model.components[0]]
        parts = [("baseline", model.baseline(x)[0]), ("shape", components)]
        shape = model._sum(weights, parts, jnp.asarray(model.knots.wavenumbers, jnp.float32))
        log_D, Omega_m_z, _ = model.background(weights, x, z)
        return shape, log_D, model.growth_features(x, z, log_D, Omega_m_z)

    log_knots = np.log(model.knots.wavenumbers)
    curves, seen = [], []
    for run in runs:
        z = run.z[:-1]
        shape, log_D, features = known(_scalars(run.background), jnp.asarray(z, jnp.float32))
        left = CubicSpline(np.log(run.k), run.linear[:-1] - _closed_form(run, np.asarray(log_D)), axis=-1)(
            log_knots
        )
        curves.append(left - np.asarray(shape))
        seen.append(np.asarray(features))
    index = np.repeat(np.arange(len(runs)), [len(r.z) - 1 for r in runs])
    return Targets({}, np.concatenate(curves), index, np.ones(len(index))), np.concatenate(seen)


def nonlinear(model: Spectrum, weights, runs: list[Run], core: tuple[float, float], outside: float):
    """Boost over the damped linear spectrum and suppression by baryons, with the features the networks see.

    Examples with sigma_8 outside `core` count with weight `outside`.

    Returns:
        boost targets (logT_AGN is among their inputs), suppression curves (n, nk; NaN where a run has none),
        features (n, boost_features).
    """

    @jax.jit
    def features(x, z):
        x = {name: value[:, None] for name, value in x.items()}
        linear = model._linear(weights, x, z)
        inputs, log_moments = model._nonlinear_features(weights, x, z, linear)
        damping = model._damping(
            weights, linear, log_moments, jnp.asarray(model.knots.wavenumbers, jnp.float32)
        )
        return inputs, jnp.log(damping)

    inputs = {name: [] for name in ("ln10A_s", "n_s", "logT_AGN", "sigma8", "z")}
    boosts, suppressions, seen = [], [], []
    log_knots = np.log(model.knots.wavenumbers)
    for run in runs:
        z, draws = run.z[:-1], len(run.draws["n_s"])
        x = {name: jnp.full(draws, value) for name, value in run.background.items()}
        x |= {name: jnp.asarray(run.draws[name], jnp.float32) for name in ("ln10A_s", "n_s")}
        found, log_damping = features(x, jnp.asarray(z, jnp.float32))
        boost = CubicSpline(np.log(run.k), run.boost.astype(np.float64), axis=-1)(log_knots)
        boosts.append((boost - np.asarray(log_damping)).reshape(-1, len(log_knots)).astype(np.float32))
        suppression = np.full_like(boost, np.nan)  # a run without baryons teaches the rest
        if run.suppression is not None:
            suppression = CubicSpline(np.log(run.k), run.suppression.astype(np.float64), axis=-1)(log_knots)
        suppressions.append(suppression.reshape(-1, len(log_knots)).astype(np.float32))
        seen.append(np.asarray(found).reshape(-1, found.shape[-1]))
        sigma8 = run.sigma8[0] * np.exp(0.5 * (run.draws["ln10A_s"] - run.reference["ln10A_s"]))
        inputs["sigma8"].append(np.repeat(sigma8, len(z)))
        inputs["z"].append(np.tile(z, draws))
        for name in ("ln10A_s", "n_s", "logT_AGN"):
            inputs[name].append(np.repeat(run.draws[name], len(z)))
    index = np.repeat(np.arange(len(runs)), [(len(r.z) - 1) * len(r.draws["n_s"]) for r in runs])
    inputs = _join(inputs)
    weight = np.where((inputs["sigma8"] >= core[0]) & (inputs["sigma8"] <= core[1]), 1.0, outside)
    return (
        Targets(inputs, np.concatenate(boosts), index, weight),
        np.concatenate(suppressions),
        np.concatenate(seen),
    )


def _freedom(run: Run) -> float:
    """1 for a run whose shape is free of dark energy, towards 0 where w0 + wa near -0.3 keeps it early on.

    There it moves P(k < 0.005, EARLY_Z) by 2e-3, noise to a network of omega_b, omega_cdm and m_nu.
    """
    own = run.background
    Omega_m = omega_matter(own) / own["h"] ** 2
    fraction = 1.0 - float(matter_fraction(Omega_m, own["w0"], own["wa"], 1.0 / (1.0 + run.z[-1])))
    return 1.0 / (1.0 + (fraction / 3e-3) ** 2)


def _closed_form(run: Run, log_D: np.ndarray) -> np.ndarray:
    """ln of primordial spectrum x growth x constants, (nz, nk), for ln D at every redshift."""
    x = {name: np.float64(v) for name, v in run.background.items()}
    Omega_m = omega_matter(x) / x["h"] ** 2
    amplitude = run.reference["ln10A_s"] + LOG_CONSTANT + 2.0 * np.asarray(log_D) - 2.0 * np.log(Omega_m)
    tilt = (run.reference["n_s"] - 1.0) * np.log(run.k * x["h"] / PIVOT) + np.log(run.k)
    return amplitude[:, None] + tilt[None, :]


@partial(jax.jit, static_argnums=0)
def _baseline_curve(model: Spectrum, x) -> jax.Array:
    """2 ln T_no-wiggle at the knots, (n, nk)."""
    values = model.baseline({name: v[:, None] for name, v in x.items()})[:, 0]
    return model._sum({}, [("baseline", values)], jnp.asarray(model.knots.wavenumbers, jnp.float32))


def _cosmology(run: Run) -> Cosmology:
    return Cosmology(**run.background, ln10A_s=run.reference["ln10A_s"], n_s=run.reference["n_s"])


def _wiggle(run: Run) -> np.ndarray:
    """1 - P_no-wiggle / P at the run's own wavenumbers: P over Eisenstein-Hu, smoothed as in HMcode."""
    log_k = np.linspace(np.log(run.k[0]), np.log(run.k[-1]), 1200)
    step = log_k[1] - log_k[0]
    tilt = run.reference["n_s"] * log_k
    log_power = CubicSpline(np.log(run.k), run.linear[0])(log_k)
    smooth = np.asarray(_no_wiggle(_cosmology(run), np.exp(log_k)), np.float64)
    ratio = np.exp(log_power - tilt - 2.0 * np.log(smooth))
    wiggle = 1.0 - gaussian_filter1d(ratio, WIGGLE_SMOOTHING / step, mode="nearest") / ratio
    # The ends of the table are no wiggles.
    wiggle *= (
        1.0 / (1.0 + np.exp(-(log_k - np.log(2e-3)) / 0.2)) / (1.0 + np.exp((log_k - np.log(4.0)) / 0.2))
    )
    return np.interp(np.log(run.k), log_k, wiggle)


def _scalars(background: dict[str, float]) -> dict[str, jax.Array]:
    return {name: jnp.float32(value) for name, value in background.items()}


def _join(inputs: dict[str, list]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(values).astype(np.float32) for name, values in inputs.items()}
