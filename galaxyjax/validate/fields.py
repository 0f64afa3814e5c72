"""A field emulator against simulations it never saw: spectra, phases, velocities, and a slope.

Everything is compared mode by mode from the same white noise, so that the scatter between boxes cancels.
Models beside the emulator, on the same lattice: perturbation theory of first and second order, the coarse
simulation that the emulator corrects, and FastPM's ten steps, equal in D, on the same force mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from galaxyjax.core.background import growth_factor
from galaxyjax.core.errors import DataError
from galaxyjax.core.progress import Progress, track
from galaxyjax.emulator.field import FieldEmulator
from galaxyjax.fields import gaussian, nbody
from galaxyjax.fields.gravity import Force, density, weighted_density
from galaxyjax.fields.spectra import power_spectrum, shell_edges
from galaxyjax.mesh import fft
from galaxyjax.simulate.fields import (
    FieldSuite,
    cosmology_of,
    linear_field,
    noise_of,
    read_run,
    run_fields,
    run_paths,
)

MODELS = ("emulator", "coarse", "fastpm", "lpt2", "lpt1")
# Of density, lattice velocity and momentum against the truth's, in the order of `compare_models`.
QUANTITIES = (
    "ratio",
    "coherence",
    "velocity_ratio",
    "velocity_coherence",
    "momentum_ratio",
    "momentum_coherence",
)
EDGES = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.55])
SLOPE_STEP = 0.01  # of Omega_m


def validate(
    emulator: FieldEmulator,
    suite: FieldSuite,
    folder: str | Path,
    mesh: Mesh,
    *,
    runs: int | None = None,
    redshifts: tuple[float, ...] | None = None,
    slopes: int = 2,
) -> dict:
    """Return how an emulator and simpler models do against the runs of a suite in `folder`.

    Args:
        runs: only the first so many. redshifts: of the suite's; when not given the first, the last and
            the last but two, or all where there are no more than two.
        slopes: cosmologies at which d ln P / d Omega_m is checked against the simulator; 0 for none.

    Returns:
        k (nk,) h/Mpc; z (nz,); theta (runs, 5); and per model of `MODELS`, (runs, nz, nk): ratio, P over the
        truth's; coherence, of density; velocity_ratio and velocity_coherence, of the lattice's velocities;
        momentum_ratio and momentum_coherence, of painted (1 + delta) v. slope: see `slope`. summary: the
        numbers of the project's table.

    Raises:
        DataError: a redshift is not among the suite's.
    """
    paths = run_paths(folder, runs)
    if redshifts is None:
        known = suite.redshifts
        redshifts = tuple(dict.fromkeys((known[0], *known[-3::2]))) if len(known) > 2 else known
    for z in redshifts:
        if z not in suite.redshifts:
            raise DataError(f"validation: z = {z:g} is not among the runs' {suite.redshifts}")
    edges = held(EDGES * (2.0 / emulator.spacing), suite.cells, suite.box_size)
    measure = jax.jit(partial(_measure, box_size=suite.box_size, mesh=mesh, edges=edges))
    found = {name: {model: [] for model in MODELS} for name in QUANTITIES}
    thetas = []
    with Progress(len(paths) * len(redshifts), "validation", unit="field") as progress:
        for path in paths:
            run = read_run(path)
            thetas.append(list(run.theta.values()))
            noise = noise_of(path, mesh)
            rows = {name: {model: [] for model in MODELS} for name in QUANTITIES}
            for z in redshifts:
                at = list(run.z).index(z)
                truth = jnp.asarray(run.displacement[at]), jnp.asarray(run.derivative[at])
                for model, state in _models(emulator, run.theta, noise, z, suite.box_size, mesh).items():
                    k, numbers = measure(*state, *truth)
                    for name, values in zip(QUANTITIES, np.asarray(numbers), strict=True):
                        rows[name][model].append(values)
                progress.advance()
            for name in QUANTITIES:
                for model in MODELS:
                    found[name][model].append(rows[name][model])
    result = {name: {model: np.array(v) for model, v in by.items()} for name, by in found.items()}
    result |= {"k": np.asarray(k), "z": np.array(redshifts), "theta": np.array(thetas)}
    if slopes:
        result["slope"] = [slope(emulator, suite, read_run(path), mesh) for path in paths[:slopes]]
    result["summary"] = summary(result)
    return result


def example(emulator: FieldEmulator, suite: FieldSuite, folder: str | Path, mesh: Mesh) -> dict:
    """Return what the first run of a suite looks like at its last redshift.

    Returns:
        densities: title -> contrast (n, n, n), painted by TSC, of 2LPT, the emulator and the simulation, and
        the linear field where the simulation starts.
        k (nk,) h/Mpc, up to the lattice's Nyquist, and power: model of `MODELS` or "simulation" -> (nk,)
        (Mpc/h)^3. theta, z, box_size: the run's.
    """
    path = run_paths(folder)[0]
    run, noise = read_run(path), noise_of(path, mesh)
    z, early = float(run.z[-1]), suite.z_start
    states = _models(emulator, run.theta, noise, z, run.box_size, mesh)
    moved = {model: states[model][0] for model in MODELS}
    moved["simulation"] = jnp.asarray(run.displacement[-1])
    theta = {name: jnp.float32(value) for name, value in run.theta.items()}
    grid = jax.device_get(_linear_at(theta, noise, jnp.float32(early), run.box_size, mesh))
    shown, power = {f"linear, $z={early:g}$": grid}, {}
    titles = {"lpt2": "2LPT", "emulator": "emulator", "simulation": "simulation"}
    for name, x in moved.items():
        grid, k, power[name] = jax.device_get(_appearance(x, run.box_size, mesh))
        if name in titles:
            shown[titles[name]] = grid
    return {
        "densities": shown,
        "k": k,
        "power": power,
        "theta": run.theta,
        "z": z,
        "box_size": run.box_size,
    }


@partial(jax.jit, static_argnames=("box_size", "mesh"))
def _linear_at(theta: dict, noise, z, box_size: float, mesh: Mesh):
    """The linear density contrast at redshift z."""
    modes = linear_field(theta, noise, box_size, mesh)
    return growth_factor(cosmology_of(theta), z).astype(noise.dtype) * fft.inverse(modes, mesh)


@partial(jax.jit, static_argnames=("box_size", "mesh"))
def _appearance(x, box_size: float, mesh: Mesh):
    """A density to look at, and k and P to the lattice's Nyquist wavenumber."""
    shells = power_spectrum(
        _density(x, box_size, mesh),
        box_size=box_size,
        mesh=mesh,
        scheme="tsc",
        edges=shell_edges(x.shape[0], box_size),
    )
    return density(x, box_size, mesh, Force(refine=1, scheme="tsc")), shells.k, shells.power


def summary(result: Mapping) -> dict:
    """Return the table's numbers at the last redshift: worst of the mean over runs, and of 95% of the runs.

    Per model: power to k = 0.5, 0.8 and 1 h/Mpc (largest abs(ratio - 1)), missing = 1 - r^2 of density in the
    shell below 0.5, velocity power and coherence to 0.5, the same of momentum.
    """
    k, out = result["k"], {}
    last = int(np.argmin(result["z"]))
    at_half = int(np.argmin(np.abs(k - 0.45 * k[-1] / 1.475)))
    scale = k[-1] / 1.475  # wavenumbers of the table are those of a lattice of 2 Mpc/h
    for model in MODELS:
        get = lambda name: result[name][model][:, last]  # noqa: B023, E731
        numbers = {}
        for limit in (0.5, 0.8, 1.0):
            inside = k <= limit * scale
            error = get("ratio")[:, inside] - 1.0
            numbers[f"power_to_{limit:g}"] = float(np.abs(error.mean(axis=0)).max())
            numbers[f"power_to_{limit:g}_each"] = float(np.quantile(np.abs(error).max(axis=1), 0.95))
        numbers["missing_at_0.5"] = float(1.0 - np.mean(get("coherence")[:, at_half] ** 2))
        inside = k <= 0.5 * scale
        for name in ("velocity", "momentum"):
            numbers[f"{name}_to_0.5"] = float(
                np.abs(get(f"{name}_ratio")[:, inside].mean(axis=0) - 1.0).max()
            )
            numbers[f"{name}_coherence"] = float(get(f"{name}_coherence")[:, inside].mean(axis=0).min())
        out[model] = numbers
    if "slope" in result:
        out["slope_error"] = max(float(one["error"]) for one in result["slope"])
    return out


def slope(emulator: FieldEmulator, suite: FieldSuite, run, mesh: Mesh) -> dict:
    """Return d ln P / d Omega_m at z = 0, at fixed sigma_8 and white noise, where 0.1 <= k <= 0.8.

    emulator: by reverse-mode differentiation. simulator: by central differences of whole runs. error: the
    largest difference over the largest slope.
    """
    asked = np.array([0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) * (2.0 / emulator.spacing)
    edges = held(asked, suite.cells, suite.box_size)
    noise = gaussian.white_noise(suite.key(run.index), suite.cells, mesh)
    theta = {name: jnp.float32(value) for name, value in run.theta.items()}
    spectrum = partial(_log_power, box_size=suite.box_size, mesh=mesh, edges=edges)

    @jax.jit
    def simulated(omega_m):
        return spectrum(run_fields({**theta, "Omega_m": omega_m}, noise, suite, mesh)[-1][0])

    def emulated(omega_m):
        options = dict(white_noise=noise, box_size=suite.box_size, mesh=mesh)
        return spectrum(emulator.predict({**theta, "Omega_m": omega_m}, **options).displacement)

    at = theta["Omega_m"]
    truth = (simulated(at + SLOPE_STEP) - simulated(at - SLOPE_STEP)) / (2.0 * SLOPE_STEP)
    rows = jax.jit(lambda x, bar: jax.vjp(emulated, x)[1](bar)[0])
    bars = np.eye(len(edges) - 1, dtype=np.float32)
    found = np.array([rows(at, bar) for bar in track(bars, "slope of the emulator", unit="shell")])
    truth, k = np.asarray(truth), np.sqrt(edges[1:] * edges[:-1])
    error = np.abs(found - truth).max() / np.abs(truth).max()
    return {"k": k, "emulator": found, "simulator": truth, "error": float(error), "theta": dict(run.theta)}


def held(edges: np.ndarray, cells: int, box_size: float) -> np.ndarray:
    """Return edges of shells that all hold modes of a box: one that holds none is joined to the next.

    In a small box the lowest shells lie between or below its modes, and would be 0 / 0.
    """
    unit = 2.0 * np.pi / box_size
    square = (unit * np.fft.fftfreq(cells, 1.0 / cells)) ** 2
    k = np.sqrt(square[:, None, None] + square[:, None] + square).ravel()
    kept = [edges[0]]
    for edge in edges[1:]:
        if np.any((k >= kept[-1]) & (k < edge)):
            kept.append(edge)
    return np.array(kept)


def compare_models(
    emulator: FieldEmulator, theta: Mapping, noise, z: float, box_size: float, mesh: Mesh, truth, edges
) -> tuple:
    """Return k (nk,) and model -> (6, nk) against one snapshot, whoever made it.

    truth: displacement and its derivative by the growth factor, (n, n, n, 3) Mpc/h. edges: of the shells,
    h/Mpc. Rows: `QUANTITIES`; see `validate`.
    """
    measure = jax.jit(partial(_measure, box_size=box_size, mesh=mesh, edges=edges))
    rows = {}
    for model, state in _models(emulator, theta, noise, z, box_size, mesh).items():
        k, rows[model] = measure(*state, *truth)
    return k, rows


def _models(emulator: FieldEmulator, theta: Mapping, noise, z: float, box_size: float, mesh: Mesh) -> dict:
    """(displacement, dx/dD) of every model at one redshift."""
    theta = {name: jnp.float32(value) for name, value in theta.items()}
    out = _all_models(emulator, theta, noise, jnp.float32(z), box_size, mesh)
    prediction = emulator.predict(theta, white_noise=noise, box_size=box_size, z=jnp.float32(z), mesh=mesh)
    cosmology = cosmology_of(theta)
    per_km_s = nbody.velocity(jnp.ones(()), cosmology, z)
    return {"emulator": (prediction.displacement, prediction.velocity / per_km_s), **out}


@partial(jax.jit, static_argnames=("box_size", "mesh"))
def _all_models(emulator, theta, noise, z, box_size, mesh):
    model, cosmology = emulator.model, cosmology_of(theta)
    modes = linear_field(theta, noise, box_size, mesh)
    first = model.coarse(modes, cosmology, z, box_size, mesh)
    steps = dict(steps=10, z_start=model.z_start, kick="fastpm", force=model.force)
    fastpm = nbody.nbody(modes, cosmology, z, mesh, box_size=box_size, **steps)
    second = replace(model, steps=0).coarse(modes, cosmology, z, box_size, mesh)
    return {
        "coarse": (first.displacement, first.derivative),
        "fastpm": fastpm,
        "lpt2": (second.displacement, second.derivative),
        "lpt1": (first.linear, first.linear_derivative),
    }


def _measure(x, v, x_true, v_true, *, box_size, mesh, edges):
    """k and (6, nk): ratio and coherence of density, lattice velocity and momentum."""
    options = dict(box_size=box_size, mesh=mesh, edges=edges)
    rows = []
    densities = [_density(moved, box_size, mesh) for moved in (x, x_true)]
    k, row = _compare([densities[0]], [densities[1]], options)
    rows += row
    rows += _compare([v[..., i] for i in range(3)], [v_true[..., i] for i in range(3)], options)[1]
    flows = [
        [_momentum(a, b[..., i], box_size, mesh) for i in range(3)] for a, b in ((x, v), (x_true, v_true))
    ]
    rows += _compare(*flows, options)[1]
    return k, jnp.stack(rows)


def _compare(found, true, options):
    """k, [ratio of summed powers, coherence of summed powers] of fields with several components."""
    total = lambda a, b: sum(power_spectrum(p, q, **options).power for p, q in zip(a, b, strict=True))  # noqa: E731
    own, other, cross = total(found, found), total(true, true), total(found, true)
    k = power_spectrum(found[0], **options).k
    return k, [own / other, cross / jnp.sqrt(own * other)]


def _density(displacement, box_size, mesh):
    """Painted by TSC on a mesh twice as fine; the cloud's window cancels in ratios."""
    return density(displacement, box_size, mesh, Force(refine=2, scheme="tsc"))


def _momentum(displacement, component, box_size, mesh):
    return weighted_density(displacement, component, box_size, mesh, Force(refine=1))


def _log_power(displacement, *, box_size, mesh, edges):
    grid = _density(displacement, box_size, mesh)
    return jnp.log(power_spectrum(grid, box_size=box_size, mesh=mesh, edges=edges).power)
