"""What the verbs do for emulators of fields: simulate, predict and validate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from galaxyjax.cli import console
from galaxyjax.core.errors import ConfigError

K_SHOWN = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def simulate(recipe, folder: Path, out: Path, parts, runs: int | None, mesh, json: bool) -> None:
    """Run the suites of a recipe of fields; print what was done."""
    from galaxyjax.cli.recipe import constant
    from galaxyjax.simulate.fields import FieldSuite, simulate_fields

    done = {}
    for part in parts:
        suite = constant(recipe, part.upper(), FieldSuite, folder / "recipe.py")
        if runs is not None:
            suite = replace(suite, runs=min(runs, suite.runs))
        made = simulate_fields(suite, out / part, mesh)
        done[part] = {"folder": out / part, "runs": suite.runs, "made_now": made}
    if json:
        console.print_json(done)
        return
    for part, what in done.items():
        console.say(f"{part}: {what['runs']} runs in {what['folder']}, {what['made_now']} of them made now")
    console.say(f"next: galaxyjax train {folder}")


def predict(
    emulator,
    theta: Mapping[str, float],
    cells: int,
    seed: int,
    z,
    out: Path | None,
    plot: Path | None,
    mesh,
    json: bool,
) -> None:
    """One field from a seed: a table of its spectrum, a file, a figure."""
    import jax
    import numpy as np

    from galaxyjax.core.eisenstein_hu import linear_power
    from galaxyjax.core.progress import Progress
    from galaxyjax.fields.gaussian import linear_density, white_noise
    from galaxyjax.fields.spectra import power_spectrum
    from galaxyjax.simulate.fields import cosmology_of

    if len(z) != 1:
        raise ConfigError(f"--z {' '.join(map(str, z))}: a field has one redshift; give one")
    if out is not None and out.suffix not in (".h5", ".hdf5", ".npz"):
        raise ConfigError(f"--out {out}: no format {out.suffix!r} for a field; use .h5 or .npz")
    box_size = cells * emulator.spacing
    if cells < 1:
        raise ConfigError(f"--cells {cells}: give a positive multiple of {emulator.model.multiple}")
    noise = white_noise(jax.random.key(seed), cells, mesh)
    with Progress(None, f"{cells}^3 particles"):
        made = emulator.predict(theta, white_noise=noise, box_size=box_size, z=z[0], mesh=mesh)
        density = made.density(2 * cells, "tsc")
        shells = power_spectrum(density, box_size=box_size, mesh=mesh, scheme="tsc")
        k, power = np.asarray(shells.k), np.asarray(shells.power)
    k, power = k[: cells // 2], power[: cells // 2]
    cosmology = cosmology_of(theta)
    linear = np.asarray(linear_power(cosmology, theta["sigma_8"])(k)) * _growth(cosmology, z[0]) ** 2
    numbers = {
        "rms_displacement": float(np.std(np.asarray(made.displacement))),
        "rms_velocity": float(np.std(np.asarray(made.velocity))),
        "rms_density": float(np.std(np.asarray(made.density()))),
    }
    result = {
        "emulator": emulator.contract.name,
        "theta": theta,
        "z": z[0],
        "box_size": box_size,
        "cells": cells,
    }
    result |= {"seed": seed, **numbers}
    if out is not None:
        _write(out, result, made, np.asarray(made.density()))
    if plot is not None:
        from galaxyjax.report import fields, style

        power_now = lambda k: linear_power(cosmology, theta["sigma_8"])(k) * _growth(cosmology, z[0]) ** 2  # noqa: E731
        start = np.asarray(linear_density(noise, power_now, box_size, mesh))
        shown = {
            "linear theory": start,
            f"{emulator.contract.name}, $z={z[0]:g}$": np.asarray(made.density()),
        }
        style.save(fields.slices(shown, box_size), plot)
    if json:
        console.print_json({**result, "k": k, "power": power, "linear": linear})
        return
    console.say(", ".join(f"{name} = {value:g}" for name, value in theta.items()))
    console.say(
        f"{cells}^3 particles in {box_size:g} Mpc/h at z = {z[0]:g}: rms displacement "
        f"{numbers['rms_displacement']:.3g} Mpc/h, velocity {numbers['rms_velocity']:.3g} km/s, "
        f"density contrast {numbers['rms_density']:.3g} in cells of {emulator.spacing:g} Mpc/h\n"
    )
    nearest = sorted({int(np.argmin(np.abs(k - value))) for value in K_SHOWN if k[0] <= value <= k[-1]})
    rows = [(console.number(k[i]), f"{power[i]:.5g}", f"{power[i] / linear[i]:.4g}") for i in nearest]
    console.table(["k [h/Mpc]", "P [(Mpc/h)^3]", "over linear theory"], rows, left=0)
    for path in (out, plot):
        if path is not None:
            console.say(f"wrote {path}")


def _growth(cosmology, z: float) -> float:
    from galaxyjax.core.background import growth_factor

    return float(growth_factor(cosmology, float(z)))


def _write(path: Path, about: Mapping[str, Any], made, density) -> None:
    import json

    import numpy as np

    arrays = {
        "displacement": np.asarray(made.displacement),
        "velocity": np.asarray(made.velocity),
        "density": density,
    }
    if path.suffix == ".npz":
        from galaxyjax.core.files import write_npz

        write_npz(path, {**arrays, "about": np.asarray(json.dumps(console.plain(about)))})
        return
    import h5py

    from galaxyjax.core.files import atomic_path

    units = {"displacement": "comoving Mpc/h", "velocity": "peculiar km/s", "density": "contrast"}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({name: value for name, value in about.items() if not isinstance(value, Mapping)})
        file.create_group("theta").attrs.update(about["theta"])
        for name, values in arrays.items():
            file.create_dataset(name, data=values).attrs["unit"] = units[name]


def validate(
    emulator,
    recipe,
    folder: Path,
    truth: Path,
    out: Path | None,
    runs: int | None,
    slopes: int,
    mesh,
    json: bool,
) -> None:
    """Measure an emulator of fields on its test suite; write numbers, figures, page, contract, card."""
    from galaxyjax.cli.recipe import constant
    from galaxyjax.emulator.store import WEIGHTS_FILE, save
    from galaxyjax.report.card import write_card
    from galaxyjax.report.field_validation import summary_rows, write_field_validation
    from galaxyjax.simulate.fields import FieldSuite
    from galaxyjax.validate import fields, protocol

    suite = constant(recipe, "TEST", FieldSuite, folder / "recipe.py")
    place = out or folder / "validation"
    weights = emulator.contract.files[WEIGHTS_FILE]
    count = suite.runs if runs is None else min(runs, suite.runs)
    protocol.touch_test_set(place, emulator.contract.version, weights, f"{suite.identity()}:{count}")
    result = fields.validate(emulator, suite, truth / "test", mesh, runs=count, slopes=slopes)
    page = write_field_validation(
        place, emulator.contract, result, fields.example(emulator, suite, truth / "test", mesh)
    )
    if out is None:
        saved = save(
            folder, emulator.weights, replace(emulator.contract, error={"fields": result["summary"]})
        )
        write_card(folder, saved.contract)
    if json:
        console.print_json({"page": page, "summary": result["summary"]})
        return
    headers = ["at z = 0", "asked", "emulator", "coarse", "10 steps", "2LPT", "1LPT"]
    console.table(headers, summary_rows(result["summary"]), left=2)
    console.say(f"wrote {page}" + ("" if out else f", {folder / 'contract.json'}, {folder / 'card.md'}"))
