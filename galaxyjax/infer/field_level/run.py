"""One reconstruction from a survey to files: posterior, chains, maps, summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import jax
import numpy as np

from galaxyjax.core.files import atomic_path, write_json
from galaxyjax.fields.spectra import shell_edges
from galaxyjax.infer.field_level.evolve import Evolution
from galaxyjax.infer.field_level.posterior import FieldPosterior, Latent, field_posterior, shells_of
from galaxyjax.infer.field_level.sample import FieldChains, FieldSampler, sample_field
from galaxyjax.infer.field_level.survey import TracerSurvey
from galaxyjax.infer.field_level.tracer import TracerModel
from galaxyjax.infer.priors import Prior
from galaxyjax.mesh import fft

MAPS, SUMMARY = "posterior.h5", "summary.json"


def reconstruct(
    survey: TracerSurvey,
    evolution: Evolution,
    prior: Prior,
    mesh: jax.sharding.Mesh,
    folder: str | Path,
    sampler: FieldSampler = FieldSampler(),  # noqa: B008 (frozen)
    redshift_space: bool = False,
    halo: float = 20.0,
) -> dict:
    """Sample initial conditions and parameters of a survey into `folder`; return the summary written there.

    The folder gets field_state.npz while sampling (a stopped run goes on from it), posterior.h5 (mean, std
    and samples of the linear contrast today, Wiener's linear reconstruction, chains) and summary.json.
    Raises as `field_posterior` and `sample_field`.
    """
    model = TracerModel(survey.cells, survey.box_size, survey.z, mesh, evolution, redshift_space, halo)
    posterior = field_posterior(model, survey.contrast, survey.noise_std, prior)
    chains = sample_field(posterior, sampler, folder)
    k, quality = judge(chains, survey)
    summary = summarise(chains, survey, k, quality, sampler)
    write_maps(Path(folder) / MAPS, chains, survey, k)
    write_json(Path(folder) / SUMMARY, summary)
    return summary


def linear_reconstruction(posterior: FieldPosterior, parameters: np.ndarray) -> np.ndarray:
    """Return the linear contrast today that Wiener's filter makes of the tracer, (n, n, n).

    parameters: (d,) values of the prior's sampled names, at which linear theory is taken.
    """

    def filtered(p: FieldPosterior, u):
        theta = p.prior.constrain(u)
        modes = p.model.noise_modes(p.contrast)
        mean, _ = p.linear_theory(theta, modes)
        return fft.inverse(p.model.linear_matter(theta, modes.replace(mean)), p.model.mesh)

    named = dict(zip(posterior.prior.names, parameters, strict=True))
    u = posterior.prior.unconstrain(named) if named else np.zeros(0)
    return np.asarray(jax.jit(filtered)(posterior, np.asarray(u, posterior.contrast.dtype)))


def judge(chains: FieldChains, survey: TracerSurvey) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return k of the shells, and per shell what is known of the recovered modes.

    "expected": coherence of mean and truth that the posterior itself expects, sqrt(P_mean / P_draws).
    "wiener_limit": that of linear theory, sqrt(1 - s^2). For a mock also "posterior" and "linear": coherence
    of the posterior's mean, and of linear reconstruction, with the truth.
    """
    posterior = chains.target
    shells = lambda a: np.asarray(shells_of(posterior, np.asarray(a, posterior.contrast.dtype)), float)  # noqa: E731
    parameters = chains.observed["parameters"].reshape(-1, posterior.prior.dimension).mean(0)
    linear = linear_reconstruction(posterior, parameters)
    power_mean = shells(chains.mean)
    volume = survey.box_size**3 / survey.cells**6
    drawn = chains.observed["power"].reshape(-1, len(power_mean)).mean(0) / volume
    still = Latent(np.zeros_like(linear), np.zeros(posterior.prior.dimension, linear.dtype))
    found = {
        "expected": np.sqrt(power_mean / drawn),
        "wiener_limit": np.sqrt(np.maximum(1.0 - np.asarray(_variance(posterior, still), float), 0.0)),
    }
    if survey.truth is not None:
        own = shells(survey.truth)
        for name, guess in (("posterior", chains.mean), ("linear", linear)):
            cross = (shells(guess + survey.truth) - shells(guess - survey.truth)) / 4.0
            found[name] = cross / np.sqrt(shells(guess) * own)
    edges = shell_edges(survey.cells, survey.box_size)
    return 0.5 * (edges[1:] + edges[:-1]), found


@jax.jit
def _variance(posterior: FieldPosterior, latent: Latent):
    modes = posterior.model.noise_modes(latent.field)
    _, scale = posterior.linear_theory(posterior.theta(latent.parameters)[0], modes)
    return posterior.shells(modes.replace(scale.astype(modes.values.dtype)))


def summarise(
    chains: FieldChains, survey: TracerSurvey, k, quality: Mapping[str, np.ndarray], sampler: FieldSampler
) -> dict:
    """Return what a reader wants first, in JSON's own types."""
    names = chains.target.prior.names
    flat = chains.observed["parameters"].reshape(-1, len(names))
    parameters = {
        name: {"mean": float(column.mean()), "std": float(column.std()), **(
            {"truth": survey.theta[name]} if name in survey.theta else {})}
        for name, column in zip(names, flat.T, strict=True)
    }  # fmt: skip
    look = {
        name: {
            "max_rhat": found.max_r_hat,
            "min_ess": float(found.ess_bulk.min()),
            "evaluations_per_sample": chains.evaluations_per_sample(name).round(1).tolist(),
        }
        for name, found in chains.convergence.items()
    }
    return {
        "method": sampler.method,
        "cells": survey.cells,
        "box_size": survey.box_size,
        "z": survey.z,
        "parameters": parameters,
        "convergence": look,
        "converged": bool(chains.converged),
        "draws": int(np.prod(chains.log_density.shape)),
        "gradients": chains.gradients,
        "warmup_gradients": chains.warmup_gradients,
        "energy_error": chains.energy,
        "wall_s": chains.wall_s,
        "k": np.asarray(k).tolist(),
        "coherence": {name: np.asarray(values).tolist() for name, values in quality.items()},
    }


def write_maps(path: Path, chains: FieldChains, survey: TracerSurvey, k) -> None:
    """Write maps and chains to one HDF5 file, atomically."""
    parameters = chains.observed["parameters"].reshape(-1, chains.target.prior.dimension).mean(0)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["box_size"], file.attrs["z"] = survey.box_size, survey.z
        about = "linear density contrast today, no unit"
        maps = {"mean": chains.mean, "std": chains.std, "samples": chains.samples,
                "linear_reconstruction": linear_reconstruction(chains.target, parameters)}  # fmt: skip
        for name, values in maps.items():
            file.create_dataset(name, data=np.asarray(values, np.float32)).attrs["units"] = about
        drawn = file.create_group("chains")
        for name in ("parameters", "power"):
            drawn[name] = chains.observed[name]
        drawn["log_density"], drawn["k"] = chains.log_density, k
        drawn.attrs["names"] = list(chains.target.prior.names)
