"""How much simulations differ in ways that `hydro_field` cannot know: `common` of its recipe; error floors.

GALAXYJAX_DATA=DIR python benchmarks/hydro_common.py [--recipe DIR] [--steps 1000] [--out FILE]

Each simulation of TRAIN and VALIDATION is left out in turn, and a mean head trained on the others. Printed: P
of gas and pressure over the truth's and T of the simulation left out, whose scatter is the error that this
much data allows; then `common`: its residuals in ln b, ln(f + STAR_FLOOR) and ln T, fitted by three powers
of the density (`hydro_fields.common_powers`), their covariance between simulations, and its largest modes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from galaxyjax.cli.recipe import load_recipe
from galaxyjax.core.files import write_json
from galaxyjax.data.baryons import Pair
from galaxyjax.emulator.hydro import HydroEmulator
from galaxyjax.mesh.topology import BATCH, FIELD, REPLICATED, build_mesh
from galaxyjax.models.hydro_fields import Baryons, Heads, common_powers, missed
from galaxyjax.train.field import train
from galaxyjax.train.hydro import PairExamples
from galaxyjax.validate import hydro

SHARE = 0.95  # of the variance between simulations that the modes hold


@dataclass(frozen=True)
class Left:
    """What one simulation, unseen, says."""

    name: str
    z: float
    summary: dict
    residual: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="emulators/hydro_field")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    recipe = load_recipe(args.recipe)[1]
    pairs = (*recipe.TRAIN.pairs, *recipe.VALIDATION.pairs)
    mesh, found = build_mesh("x=1", devices=jax.devices()[:1]), []
    for name in dict.fromkeys(pair.simulation for pair in pairs):
        found += left_out(recipe, name, pairs, mesh, args.steps)
        if args.out:
            write_json(args.out, [one.__dict__ for one in found])
    report(found)
    print("common =", modes(np.array([one.residual for one in found if one.z < 0.1 or one.z > 1.9])))


def left_out(recipe, name: str, pairs: tuple[Pair, ...], mesh, steps: int) -> list[Left]:
    """Train without one simulation, and look at it."""
    seen = PairExamples(tuple(p for p in pairs if p.simulation != name), recipe.CELLS)
    other = PairExamples(tuple(p for p in pairs if p.simulation == name), recipe.CELLS)
    training = recipe.TRAINING
    fit = replace(training.fit, steps=steps, evaluate_every=100, save_every=steps)
    source = replace(training.source, training=seen, validation=other)
    with tempfile.TemporaryDirectory() as folder:
        made = train(replace(training, source=source, fit=fit), mesh, folder, label=f"without {name}")
    emulator = HydroEmulator(made.weights, recipe.MODEL, recipe.contract())
    result = hydro.validate(emulator, other, mesh)
    rows = []
    for index, z in enumerate(result["z"]):
        inside = result["k"] <= hydro.K_ASKED * 1.001
        own, mine = (result["decades"][index][m] for m in ("truth", "emulator"))
        shift = np.where(own[:, 0] >= hydro.FEWEST, mine[:, 1] - own[:, 1], np.nan)
        summary = {f: result["ratio"][f]["emulator"][index][inside].tolist() for f in ("gas", "pressure")}
        summary["temperature"] = shift.tolist()
        rows.append(Left(name, float(z), summary, residual(recipe.MODEL, made.weights, other, index, mesh)))
    return rows


def residual(model, weights, examples, index: int, mesh) -> list[float]:
    """Coefficients of the residuals of one example, weighted as the loss weights cells."""
    truth, theta = examples.fields(index, 0), examples.theta(index)
    style = jnp.array([[*(theta[name] for name in model.style), 1.0 / (1.0 + truth.redshift)]])
    heads = heads_of(model, mesh)(weights, jnp.asarray(truth.matter)[None], style)
    own = Baryons(*(jnp.asarray(getattr(truth, name))[None] for name in Baryons._fields))
    off, known = (np.asarray(part) for part in missed(heads, own, True))
    off = off * np.asarray(heads.scatter)
    powers = np.asarray(common_powers(heads.typical[..., 0]), float).reshape(-1, 3)
    weight = 0.5 * (1.0 + np.exp(0.5 * np.asarray(heads.typical[..., 0], float)).ravel())
    made = []
    for channel in range(off.shape[-1]):
        w = weight * known[..., channel].ravel()
        made += list(
            np.linalg.solve(powers.T @ (powers * w[:, None]), powers.T @ (off[..., channel].ravel() * w))
        )
    return made


@cache
def heads_of(model, mesh):
    """Compiled once: (weights, matter, style) -> `Heads` of a whole box."""
    local = lambda w, m, s: tuple(model.mean_block(w, m, s)[0])  # noqa: E731
    specs = (REPLICATED, P(*FIELD[:-1]), BATCH)
    run = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=(FIELD,) * 3))
    return lambda *args: Heads(*run(*args))


def report(found: list[Left]) -> None:
    """Mean and scatter over simulations, at each redshift that all have."""
    for z in (2.0, 0.0):
        rows = [one.summary for one in found if abs(one.z - z) < 0.1]
        print(f"\nz = {z:g}, {len(rows)} simulations, each unseen")
        for field in ("gas", "pressure"):
            ratio = np.array([row[field] for row in rows])
            scatter = ratio.std(axis=0, ddof=1)
            print(f"    scatter of one {np.round(scatter, 3)}")
            print(f"    of two's mean  {np.round(scatter / 2**0.5, 3)}")
            pairs = [np.abs((a + b) / 2 - 1).max() for i, a in enumerate(ratio) for b in ratio[i + 1 :]]
            print(f"    largest error of two simulations' mean, median over choices: {np.median(pairs):.3f}")
        shift = np.array([row["temperature"] for row in rows])
        print(f"  median log10 T off by {np.round(np.nanmean(shift, 0), 3)}")
        print(f"    scatter {np.round(np.nanstd(shift, 0), 3)}")


def modes(rows: np.ndarray) -> tuple:
    """Return the largest modes of the covariance of (ns, 9) coefficients, (9, modes)."""
    t = np.tanh(np.random.default_rng(0).normal(-0.8, 1.0, 4000) / 3.0)  # about as cells' ln b lie
    powers = np.stack([np.ones_like(t), t, t**2], axis=1)
    channels = rows.shape[1] // 3
    # In units in which a coefficient's square is a variance of latents, all latents alike.
    scale = np.kron(np.eye(channels), np.linalg.cholesky(powers.T @ powers / len(t)).T)
    centred = (rows - rows.mean(axis=0)) @ scale.T / np.sqrt(len(rows) - 1)
    size, axes = np.linalg.svd(centred, full_matrices=False)[1:]
    count = int(np.searchsorted(np.cumsum(size**2) / np.sum(size**2), SHARE)) + 1
    made = np.linalg.solve(scale, (axes[:count].T * size[:count]))
    return tuple(tuple(float(f"{v:.3f}") for v in row) for row in made)


if __name__ == "__main__":
    main()
