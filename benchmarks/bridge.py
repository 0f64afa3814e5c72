"""Transfer to a finer code: `nbody_field_fine`, trained on the particle mesh, fine-tuned on GADGET-4.

python benchmarks/bridge.py --data DIR [--start emulators/nbody_field_fine] [--save FOLDER]

DIR: the folder with `pairs/` (six dark-matter runs of GADGET-4, 32^3 in 25 Mpc/h). Phases are recovered from
their initial snapshots. Pairs 0 to 3 train, 4 and 5 judge, and are seen once. Printed, and drawn, beside each
other: the coarse simulation, the emulator before and after. With 25 Mpc/h there are few modes and no long
waves, so the absolute P(k) says nothing; the ratio to the same box does.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.files import read_json, write_json
from galaxyjax.emulator.store import load, save
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.report import style
from galaxyjax.report.card import write_card
from galaxyjax.simulate.fields import noise_of, read_run
from galaxyjax.simulate.recover import recover
from galaxyjax.train.field import train
from galaxyjax.validate.fields import MODELS, QUANTITIES, compare_models, summary

TRAIN, TEST = (0, 1, 2, 3), (4, 5)
EDGES = np.array([0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--start", default="emulators/nbody_field_fine")
    parser.add_argument("--out", type=Path, default=Path("runs/bridge"))
    parser.add_argument("--save", type=Path, help="write the fine-tuned emulator to this folder")
    given = parser.parse_args()
    mesh = build_mesh("x=1", devices=jax.devices()[:1])
    paths = {pair: _recovered(given.data / "pairs", pair, given.out, mesh) for pair in (*TRAIN, *TEST)}

    recipe = _recipe(Path(given.start))
    before = load(given.start)
    suite = replace(recipe.TRUTH, runs=len(TRAIN), redshifts=(2.0, 0.0))
    training = recipe.fine_tuning(given.start, suite, held_out_runs=1)
    training = replace(training, source=training.source.at(given.out / "train"))
    trained = train(training, mesh, given.out / "checkpoints", label="fine-tuning")
    folder = given.save or given.out / "emulator"
    after = save(folder, trained.weights, before.contract)

    result = {"step": trained.step, "edges": EDGES.tolist(), "pairs": list(TEST), "redshifts": {}}
    for pair in TEST:
        run, noise = read_run(paths[pair]), noise_of(paths[pair], mesh)
        for at, z in enumerate(run.z):
            truth = jnp.asarray(run.displacement[at]), jnp.asarray(run.derivative[at])
            options = (run.theta, noise, float(z), run.box_size, mesh, truth, EDGES)
            found = {}
            for label, emulator in (("before", before), ("after", after)):
                k, rows = compare_models(emulator.with_policy("extrapolate"), *options)
                found |= {label if model == "emulator" else model: row for model, row in rows.items()}
            result["k"] = np.asarray(k).tolist()
            models = result["redshifts"].setdefault(f"{z:.2f}", {})
            for name, numbers in found.items():
                models.setdefault(name, []).append(np.asarray(numbers).tolist())
    version = ".".join((*before.contract.version.split(".")[:1], "1", "0"))
    truth = {
        "code": "GADGET-4",
        "particles": "32^3",
        "box_size": 25.0,
        "start": "trained on the particle mesh",
    }
    contract = replace(before.contract, version=version, truth=truth, error={"fields": _summary(result)})
    write_card(folder, save(folder, trained.weights, contract).contract)
    write_json(folder / "validation" / "bridge.json", result)
    _draw(result, folder / "validation" / "bridge.png")
    _show(result)


def _summary(result: dict) -> dict:
    """The numbers of the project's table for the judging pairs, against GADGET-4."""
    zs = sorted(result["redshifts"], key=float, reverse=True)
    arrays = {"k": np.array(result["k"]), "z": np.array([float(z) for z in zs])}
    for index, name in enumerate(QUANTITIES):
        arrays[name] = {}
        for model in MODELS:
            key = "after" if model == "emulator" else model
            rows = [np.array(result["redshifts"][z][key])[:, index] for z in zs]
            arrays[name][model] = np.stack(rows, axis=1)
    return {"runs": len(result["pairs"]), "z": min(arrays["z"]), **summary(arrays)}


@style.styled
def _draw(result: dict, file: Path) -> None:
    """P over GADGET-4's and 1 - r^2 at the last redshift, of what the bridge joins."""
    k, rows = np.array(result["k"]), result["redshifts"][min(result["redshifts"], key=float)]
    lines = {
        "coarse": ("ten steps", style.VERMILION, "--"),
        "before": ("trained on the particle mesh", style.GREEN, "-."),
        "after": ("fine-tuned on GADGET-4", style.BLUE, "-"),
    }
    figure = style.new_figure(4.0, 4.0)
    top, bottom = figure.subplots(2, 1, sharex=True)
    for name, (label, colour, dashes) in lines.items():
        ratio, coherence = np.array(rows[name])[:, 0], np.array(rows[name])[:, 1]
        top.plot(k, ratio.mean(axis=0), color=colour, ls=dashes, label=label)
        bottom.plot(k, 1.0 - (coherence**2).mean(axis=0), color=colour, ls=dashes)
    top.axhline(1.0, color=style.GREY, lw=0.6)
    top.set_ylabel("$P$ over GADGET-4's")
    bottom.set_ylabel("$1-r^2$")
    bottom.set_yscale("log")
    bottom.set_xlabel(style.K_LABEL)
    top.legend()
    style.save(figure, file)


def _show(result: dict) -> None:
    """Mean over the judging pairs: P and 1 - r^2 of density, P of lattice velocities, against GADGET-4."""
    for z, models in result["redshifts"].items():
        print(f"\nz = {z}, k = {np.round(result['k'], 2)} h/Mpc")
        for name in ("lpt2", "coarse", "fastpm", "before", "after"):
            rows = np.array(models[name])
            ratio, velocity = rows[:, 0].mean(axis=0), rows[:, 2].mean(axis=0)
            missing = [f"{value:.1e}" for value in 1.0 - np.square(rows[:, 1]).mean(axis=0)]
            print(f"{name:7s} P {np.round(ratio, 3)}  Pv {np.round(velocity, 3)}")
            print(f"{'':7s} 1 - r^2 {' '.join(missing)}")


def _recovered(pairs: Path, pair: int, out: Path, mesh) -> Path:
    about = read_json(pairs / "provenance.json")
    mine = next(entry for entry in about["pairs"] if entry["pair"] == pair)
    common = about["common"]
    theta = {"Omega_m": mine["Omega_m"], "Omega_b": common["Omega_b"], "h": common["h"]}
    theta |= {"n_s": common["n_s"], "sigma_8": mine["sigma_8"]}
    name = pairs / f"pair_{pair:02d}_dmo"
    later = [Path(f"{name}_{z}.hdf5") for z in ("z2", "z0")]
    folder = out / ("train" if pair in TRAIN else "test")
    return recover(theta, Path(f"{name}_z49.hdf5"), later, folder, pair, mesh)


def _recipe(folder: Path):
    spec = importlib.util.spec_from_file_location("bridge_recipe", folder / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
