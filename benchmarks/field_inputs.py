"""What to correct: perturbation theory or a coarse simulation? Two emulators trained alike, at equal cost.

python benchmarks/field_inputs.py --truth truth/nbody_field [--steps 300] [--out runs/field_inputs]

"coarse" is the recipe's model. "lpt" starts from second-order perturbation theory, and spends on a wider
network what the coarse simulation costs. Both learn from the same runs for the same number of steps, and are
judged on the training suite's held-out runs at z = 0; the seconds of one call are printed beside, medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.files import write_json
from galaxyjax.emulator.store import save
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.simulate.fields import noise_of, read_run, run_paths
from galaxyjax.train.field import train
from galaxyjax.validate.fields import EDGES, compare_models

WIDER = (12, 24)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/field_inputs"))
    given = parser.parse_args()
    spec = importlib.util.spec_from_file_location("recipe", "emulators/nbody_field/recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    mesh, base = build_mesh("x=1", devices=jax.devices()[:1]), recipe.TRAINING
    models = {"lpt": replace(recipe.MODEL, steps=0, widths=WIDER, scale=0.3), "coarse": recipe.MODEL}
    result = {}
    for name, model in models.items():
        source = replace(base.source, model=model).at(given.truth / "truth")
        fit = dict(steps=given.steps, batch=1, accumulate=1, evaluate_every=50, save_every=50)
        training = replace(base, model=model, source=source, fit=replace(base.fit, **fit))
        weights = train(training, mesh, given.out / name, label=name).weights
        contract = replace(recipe.contract(), hyperparameters=model.hyperparameters())
        emulator = save(given.out / f"{name}_emulator", weights, contract)
        result[name] = _judged(emulator, base, given.truth / "truth", mesh)
        row = result[name]
        ratio, missing = np.round(row["ratio"], 3), row["missing"]
        print(f"{name:7s} P/P_truth {ratio}  1 - r^2 at 0.5 {missing:.1e}  {row['s']:.2f} s")
    write_json(given.out / "field_inputs.json", result)


def _judged(emulator, base, folder: Path, mesh) -> dict:
    """Mean over the held-out runs at z = 0, and the median seconds of one call."""
    suite, rows, seconds = base.source.suite, [], []
    for path in run_paths(folder)[suite.runs - base.source.held_out_runs : suite.runs]:
        run, noise = read_run(path), noise_of(path, mesh)
        truth = run.displacement[-1], run.derivative[-1]
        k, found = compare_models(emulator, run.theta, noise, 0.0, run.box_size, mesh, truth, EDGES[1:])
        rows.append(np.asarray(found["emulator"]))
        began = time.perf_counter()
        made = emulator.predict(run.theta, white_noise=noise, box_size=run.box_size, mesh=mesh)
        jax.block_until_ready(made.displacement)
        seconds.append(time.perf_counter() - began)
    mean, k = np.mean(rows, axis=0), np.asarray(k)
    at = int(np.argmin(np.abs(k - 0.45)))
    missing = float(1.0 - np.mean([row[1, at] ** 2 for row in rows]))
    return {"k": k.tolist(), "ratio": mean[0].tolist(), "missing": missing, "s": float(np.median(seconds))}


if __name__ == "__main__":
    main()
