"""A chain against the truth: thinned samples re-evaluated with CAMB itself, and reweighted.

If w_i = exp(-Delta chi2_i / 2) with Delta chi2_i = chi2_CAMB - chi2_emulator, then the chain with weights w
is the posterior that CAMB would have given. Near-equal weights say that the emulator was good enough; their
effective number (Kish 1965), (sum w)^2 / sum w^2, says how nearly.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.interpolate import CubicSpline

import galaxyjax
from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import write_json
from galaxyjax.core.progress import Progress
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer.chains import read_columns
from galaxyjax.infer.run import read_run
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.summary import statistics
from galaxyjax.mesh.rows import over_data
from galaxyjax.simulate import boltzmann

AUDIT = "audit.json"
K_TABLE = (1e-4, 10.0, 600)  # h/Mpc; a spline in ln k between, 12 wavenumbers a wiggle
EDGE = 0.02  # of an input's width
AT_ONCE = 32  # draws on a device: each takes some megabytes


def audit(
    folder: str | Path,
    samples: int = 100,
    emulator: str | Path | Emulator | None = None,
    executor: Executor | None = None,
    truth=boltzmann.power,
    mesh: Mesh | None = None,
) -> dict:
    """Audits a finished run and writes audit.json beside its chains.

    Args:
        folder: of a run. samples: how many draws, evenly thinned over all chains.
        emulator: as for `run`; None takes the name that the run wrote down.
        executor: where CAMB runs; a pool of processes by default (CAMB takes 1 to 3 s a sample).
        truth: (theta, z, k, outputs) -> output -> (nz, nk), picklable; CAMB by default.
        mesh: the draws are divided over its axis "data"; None for one device.

    Returns:
        delta_chi2 (mean, std, largest absolute value), effective_samples and effective_fraction (Kish) of the
        weights, shift_in_sigma of every parameter's mean by reweighting, near_domain_edge (fraction of
        samples within 2% of an end of an emulator input's interval, by input), and chi2 of each sample by
        both.

    Raises FileError when the folder holds no finished run, ConfigError when CAMB or the samples are missing.
    """
    folder = Path(folder)
    analysis, survey, configuration = read_run(folder)
    columns = read_columns(folder)
    if samples < 2:
        raise ConfigError(f"audit: {samples} samples; give 2 or more")
    if not isinstance(emulator, Emulator):
        emulator = galaxyjax.load(emulator or configuration["emulator"]["name"])
    flat = {name: column.ravel() for name, column in columns.items()}
    total = len(flat["lp"])
    chosen = np.unique(np.linspace(0, total - 1, min(samples, total)).round().astype(int))
    prior = analysis.prior(survey)
    model = analysis.model(emulator, survey)
    likelihood = likelihood_of(model, survey, analysis.fiducial(survey) if analysis.emulator_error else None)
    points = [{name: float(flat[name][i]) for name in prior.names} | prior.fixed for i in chosen]

    stacked = {name: np.asarray([point[name] for point in points], float) for name in points[0]}
    # S8 is turned into ln10A_s as the chain did it.
    theta = jax.jit(jax.vmap(lambda v: model.theta(v, model.cosmology(v))))
    columns_in = over_data(theta, stacked, mesh)
    thetas = [{name: float(column[i]) for name, column in columns_in.items()} for i in range(len(points))]
    own = [{name: value for name, value in one.items() if name in emulator.contract.domain} for one in thetas]
    spectra = _spectra(own, model.shear.z_nodes, analysis.output, executor, truth)
    if analysis.baryons:  # CAMB knows nothing of a measured response: the same one multiplies both sides
        k, z = np.geomspace(*K_TABLE), model.shear.z_nodes
        factors = [np.asarray(model.emulator.factor(one, k, z), float) for one in thetas]
        spectra = [spectrum * factor for spectrum, factor in zip(spectra, factors, strict=True)]
    others = [model.camb_others(one) for one in thetas] if truth is boltzmann.power else None
    chi2 = _chi2_pairs(model, likelihood, stacked, spectra, mesh, others)
    report = _report(chi2, {name: flat[name] for name in columns if name != "lp"}, chosen)
    report |= {
        "samples": len(chosen),
        "of": total,
        "emulator": configuration["emulator"],
        "truth": boltzmann.CambSettings().as_dict() if truth is boltzmann.power else str(truth),
        "near_domain_edge": _edges(thetas, model.emulator),
    }
    write_json(folder / AUDIT, report)
    return report


def _one(job):
    """One truth spectrum (nz, nk); at the top level, so that a process can be handed it."""
    truth, theta, z, output = job
    return np.asarray(truth(theta, z, np.geomspace(*K_TABLE), (output,))[output])


def _spectra(thetas, z, output, executor, truth) -> list[np.ndarray]:
    """Truth spectra of all samples, in order, with a progress bar."""
    own = executor is None
    # Spawned, not forked: JAX's threads do not survive a fork.
    pool = ProcessPoolExecutor(mp_context=get_context("spawn")) if own else executor
    try:
        futures = {
            pool.submit(_one, (truth, theta, np.asarray(z), output)): i for i, theta in enumerate(thetas)
        }
        spectra: list = [None] * len(thetas)
        with Progress(len(thetas), "audit", unit="CAMB spectra") as progress:
            for future in as_completed(futures):
                spectra[futures[future]] = future.result()
                progress.advance()
        return spectra
    finally:
        if own:
            pool.shutdown(cancel_futures=True)


def _chi2_pairs(model, likelihood, points, spectra, mesh: Mesh | None = None, others=None) -> np.ndarray:
    """chi2 (n, 2) of samples with the emulator's spectrum and with the truth's, through the same
    projection; others: of each sample, the truth's distances (m,) or None.
    """
    log_k = np.log(np.geomspace(*K_TABLE))

    def true(values, table, others=None):
        return likelihood.chi2(model.from_table(values, table, others))

    def table(k, spectrum):
        splines = [CubicSpline(log_k, np.log(row)) for row in spectrum]

        def power(k, z):
            inside = np.log(np.clip(np.asarray(k, float), *K_TABLE[:2]))
            return jnp.asarray(
                np.exp([spline(row) for spline, row in zip(splines, inside, strict=True)]), k.dtype
            )

        k = jnp.asarray(k)
        return np.asarray(model.shear.extension.table(power, k, jnp.asarray(model.shear.z_nodes, k.dtype)))

    by_row = lambda function: jax.jit(jax.vmap(function))  # noqa: E731
    over = partial(over_data, mesh=mesh, most=AT_ONCE)
    ours = over(by_row(lambda values: likelihood.chi2(model.vector(values))), points)
    nodes = over(by_row(lambda values: model.shear.k_nodes(model.cosmology(values))), points)
    tables = np.stack([table(k, spectrum) for k, spectrum in zip(nodes, spectra, strict=True)])
    rows = (points, tables) if others is None or others[0] is None else (points, tables, np.stack(others))
    theirs = over(by_row(lambda row: true(*row)), rows)
    return np.stack([ours, theirs], axis=1).astype(float)


def _report(chi2, columns: Mapping[str, np.ndarray], chosen) -> dict:
    """Everything that follows from chi2 (n, 2), emulator then truth, of the chosen samples."""
    difference = chi2[:, 1] - chi2[:, 0]
    weight = np.exp(-0.5 * (difference - difference.min()))
    weight /= weight.sum()
    kish = float(1.0 / np.sum(weight**2))
    shifts = {}
    for name, column in columns.items():
        thin, spread = column[chosen], column.std()
        if spread > 0:
            shifts[name] = float((np.sum(weight * thin) - thin.mean()) / spread)
    return {
        "delta_chi2": {
            "mean": float(difference.mean()),
            "std": float(difference.std(ddof=1)),
            "max_abs": float(np.abs(difference).max()),
        },
        "effective_samples": kish,
        "effective_fraction": kish / len(chosen),
        "shift_in_sigma": shifts,
        "max_shift_in_sigma": max(map(abs, shifts.values())),
        "chi2_emulator": chi2[:, 0].tolist(),
        "chi2_truth": chi2[:, 1].tolist(),
        "S8": statistics(columns["S8"]) if "S8" in columns else None,
    }


def _edges(thetas, emulator: Emulator) -> dict[str, float]:
    """Fraction of samples within 2% of the width of an input's domain from either end, by input; zeros left
    out.
    """
    shares = {}
    for name in thetas[0]:
        entry = emulator.contract.domain[name]
        values = np.array([theta[name] for theta in thetas])
        margin = EDGE * (entry.high - entry.low)
        share = float(np.mean((values < entry.low + margin) | (values > entry.high - margin)))
        if share > 0 and np.ptp(values) > 0:
            shares[name] = share
    return shares
