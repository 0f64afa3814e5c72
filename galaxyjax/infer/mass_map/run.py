"""One mass map from shear to files, with the baselines that it has to beat."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from jax.sharding import Mesh

from galaxyjax.core.files import atomic_path, write_json
from galaxyjax.data.shear_maps import ShearMaps
from galaxyjax.infer.field_level.sample import FieldChains, FieldSampler, sample_field
from galaxyjax.infer.mass_map.marginal import Marginal
from galaxyjax.infer.mass_map.posterior import ks_map, mass_map
from galaxyjax.infer.mass_map.prior import MapGrid

MAPS, SUMMARY = "mass_map.h5", "summary.json"
SMOOTHING = 3.0  # pixels, of the Kaiser-Squires map


def map_mass(
    maps: ShearMaps,
    pixel: float,
    variance: np.ndarray,
    marginal: Marginal | None,
    mesh: Mesh,
    folder: str | Path,
    sampler: FieldSampler = FieldSampler(),  # noqa: B008 (frozen)
    noise: str = "scaled",
    truth: np.ndarray | None = None,
) -> dict:
    """Sample the convergence of shear maps into `folder`; return the summary written there.

    pixel: side, radian. variance, marginal: of the prior, as in `mass_map`. noise: what is made of the maps'
    noise, one of `shear_maps.NOISE`. truth: (ny, nx) convergence of a simulation, against which maps are
    judged where there are data. Raises DataError for a noise that the shear contradicts
    (`ShearMaps.with_noise`).
    """
    grid = MapGrid(maps.gamma1.shape, pixel)
    used = maps.with_noise(noise, float(np.mean(variance)) / 2.0)
    shear, std = (used.gamma1, used.gamma2), (used.std1, used.std2)
    gaussian = mass_map(grid, shear, std, variance, mesh)
    target = gaussian if marginal is None else mass_map(grid, shear, std, variance, mesh, marginal)
    flat = lambda a: np.asarray(a, float)[..., 0]  # noqa: E731
    made = {"kaiser_squires": flat(ks_map(gaussian, SMOOTHING * pixel)), "wiener": flat(gaussian.wiener())}
    chains = sample_field(target, sampler, folder)
    made["mean"], made["std"] = flat(chains.mean), flat(chains.std)
    summary = summarise(chains, maps, used, noise, marginal)
    if truth is not None:
        summary["against_truth"] = judge(made, chains.samples[..., 0], truth, maps.seen)
    write_maps(Path(folder) / MAPS, made, chains, maps, pixel)
    write_json(Path(folder) / SUMMARY, summary)
    return summary


LEVELS = (0.683, 0.954)


def judge(made: dict[str, np.ndarray], samples: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> dict:
    """Return pixel r and root mean square error of every map, and how often the posterior covers the truth.

    Where there are data. Shear leaves the mean convergence open, so it is taken off maps, draws and truth
    alike. samples: (draws, ny, nx); a pixel is covered where the truth's rank among the draws lies in the
    central interval: the posterior is skewed, so that a standard deviation says little.
    """
    off = lambda a: a[seen] - a[seen].mean()  # noqa: E731
    found = {}
    for name in ("kaiser_squires", "wiener", "mean"):
        found[name] = {
            "r": float(np.corrcoef(made[name][seen], truth[seen])[0, 1]),
            "rmse": float(np.sqrt(np.mean((off(made[name]) - off(truth)) ** 2))),
        }
    draws = np.asarray(samples, float)[:, seen]
    draws = draws - draws.mean(axis=1, keepdims=True)
    # A place at random between two draws, or few draws cover too much.
    place = np.random.default_rng(0).random(draws.shape[1])
    rank = (np.sum(draws < off(truth), axis=0) + place) / (len(draws) + 1.0)
    found["coverage"] = {
        f"{100 * level:.1f}%": float(np.mean(np.abs(rank - 0.5) < 0.5 * level)) for level in LEVELS
    }
    return found


def summarise(
    chains: FieldChains, maps: ShearMaps, used: ShearMaps, noise: str, marginal: Marginal | None
) -> dict:
    """Return what a reader wants first, in JSON's own types. used: maps with the noise that was taken."""
    rms = lambda m: float(np.sqrt(np.mean([np.square(s[maps.seen]) for s in (m.std1, m.std2)])))  # noqa: E731
    look = {
        name: {
            "max_rhat": found.max_r_hat,
            "min_ess": float(found.ess_bulk.min()),
            "evaluations_per_sample": chains.evaluations_per_sample(name).round(1).tolist(),
        }
        for name, found in chains.convergence.items()
    }
    return {
        "pixels": list(maps.gamma1.shape),
        "seen": float(maps.seen.mean()),
        "noise": noise,
        "noise_std": rms(used),
        "noise_scale": rms(used) / rms(maps),
        "prior": "Gaussian" if marginal is None else "log-normal" if len(marginal.values) == 2 else "learnt",
        "shift": None if marginal is None else float(marginal.shift),
        "convergence": look,
        "converged": bool(chains.converged),
        "draws": int(np.prod(chains.log_density.shape)),
        "gradients": chains.gradients,
        "energy_error": chains.energy,
        "wall_s": chains.wall_s,
    }


def write_maps(path: Path, made: dict, chains: FieldChains, maps: ShearMaps, pixel: float) -> None:
    """Write every map, whole draws and the power of each draw to one HDF5 file, atomically."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["pixel_rad"] = pixel
        for name, values in {**made, "samples": chains.samples[..., 0]}.items():
            stored = file.create_dataset(name, data=np.asarray(values, np.float32))
            stored.attrs["units"] = "convergence, no unit; axes (y, x)"
        file["seen"] = maps.seen
        file["chains/power"] = chains.observed["power"]
        file["chains/log_density"] = chains.log_density
