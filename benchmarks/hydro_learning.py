"""What `hydro_field` would be with fewer runs to learn from: each run judged by networks that never saw it.

    GALAXYJAX_DATA=DIR python benchmarks/hydro_learning.py [--runs 1 2 3] [--steps 1000] [--json FILE]

The recipe's four training and validation pairs and its fiducial pair take turns, the two judged pairs stay
apart: one run is judged, the next says when to stop, and one, two or three of the others train the mean head
as the recipe does. Printed for both redshifts, to k = 2 h/Mpc: the largest error of the mean over the five
judged runs, what one run is off from that mean (rms), and what the mean of two runs, as many as the recipe
judges by, would therefore be off by chance alone. Where that chance is above what is asked, two more runs to
judge by cannot tell; where errors still fall with the number of runs, more runs to learn from would help.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

import galaxyjax
from galaxyjax.cli.recipe import load_recipe
from galaxyjax.core.files import write_json
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.train.field import train
from galaxyjax.train.hydro import PairExamples
from galaxyjax.train.hydro_cells import CellSource
from galaxyjax.validate.hydro import validate

K = 2.0  # h/Mpc


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--recipe", default="emulators/hydro_field")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 3], help="runs that train a network")
    parser.add_argument("--steps", type=int, help="of a training; the recipe's when left out")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)[1]
    runs = [recipe.pairs(number) for number in range(4)] + [recipe.fiducial(1, 4)]
    mesh = build_mesh("x=1", devices=jax.devices()[:1])
    print(f"{len(runs)} runs, each judged by networks that never saw it; k to {K:g} h/Mpc\n")
    print(f"{'':8}{'trained on':>11}{'z':>5}{'mean of runs':>14}{'one run, rms':>14}{'two by chance':>15}")
    found = {}
    for count in given.runs:
        results = [judged(recipe, runs, turn, count, given.steps, mesh) for turn in range(len(runs))]
        for name in ("gas", "pressure"):
            for moment, z in ((0, 2), (1, 0)):
                ratios = np.stack([one[name][moment] for one in results])  # (runs, k)
                mean, scatter = ratios.mean(0), ratios.std(0, ddof=1)
                worst = int(np.argmax(np.abs(mean - 1.0)))
                row = {
                    "mean_off": float(np.abs(mean - 1.0).max()),
                    "one_run": float(np.sqrt(np.mean(scatter**2))),
                    "two_by_chance": float(np.sqrt(np.mean(scatter**2) / 2.0)),
                    "error_of_mean": float(scatter[worst] / len(runs) ** 0.5),
                    "ratios": ratios.tolist(),
                }
                found[f"{name}, {count} runs, z = {z}"] = row
                print(
                    f"{name:8}{count:>11}{z:>5}{row['mean_off']:>8.1%} +-{row['error_of_mean']:>4.0%}"
                    f"{row['one_run']:>13.1%}{row['two_by_chance']:>15.1%}",
                    flush=True,
                )
    if given.json:
        write_json(given.json, found)


def judged(recipe, runs, turn: int, count: int, steps: int | None, mesh) -> dict[str, np.ndarray]:
    """P over the truth's of gas and pressure, (2, k), z = 2 first, of run `turn` by a network of others."""
    order = [runs[(turn + i) % len(runs)] for i in range(len(runs))]
    learns, stops, judges = order[2 : 2 + count], order[1], order[0]
    # All moments that the recipe has of its fiducial run train; two of them judge.
    learns = [recipe.fiducial(1, 2, 3, 4) if one is runs[-1] else one for one in learns]
    examples = [PairExamples(sum(part, ()), recipe.CELLS) for part in (learns, [stops], [judges])]
    fit = recipe.TRAINING.fit if steps is None else replace(recipe.TRAINING.fit, steps=steps)
    source = CellSource(recipe.MODEL, *examples[:2])
    with tempfile.TemporaryDirectory() as folder:
        trained = train(replace(recipe.TRAINING, source=source, fit=fit), mesh, folder)
    emulator = replace(galaxyjax.load(recipe.contract().name), weights=jax.device_get(trained.weights))
    result = validate(emulator, examples[2], mesh)
    inside, latest = result["k"] <= K * 1.001, np.argsort(-result["z"])
    return {name: result["ratio"][name]["emulator"][latest][:, inside] for name in ("gas", "pressure")}


if __name__ == "__main__":
    main()
