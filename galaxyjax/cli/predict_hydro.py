"""`galaxyjax predict` for emulators of baryons: one box as a table, a file, a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from galaxyjax.cli import boxes, console
from galaxyjax.cli.predict_field import FIDUCIAL
from galaxyjax.core.errors import FileError
from galaxyjax.core.progress import Progress
from galaxyjax.emulator.chain import matter_of
from galaxyjax.emulator.hydro import HydroEmulator
from galaxyjax.emulator.shelf import shelf
from galaxyjax.emulator.store import load
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.mesh.topology import GRID
from galaxyjax.theory.gas_maps import compton_y, xray_brightness

# What the emulator of baryons does not ask for and its matter does.
OTHERS = {name: FIDUCIAL[name] for name in ("Omega_b", "h", "n_s")}
CELLS = 32
UNITS = {
    "matter": "contrast of all matter, painted by TSC",
    "gas": "comoving 1e10 Msun/h (Mpc/h)^-3",
    "stars": "comoving 1e10 Msun/h (Mpc/h)^-3",
    "temperature": "K, weighted by mass",
    "pressure": "thermal, comoving 1e10 Msun/h (Mpc/h)^-3 (km/s)^2",
    "compton_y": "of the box along its last axis",
    "xray": "erg/s/cm^2/sr, bolometric free-free, of the box along its last axis",
}


def run(
    emulator: HydroEmulator,
    theta: Mapping[str, float],
    *,
    cells: int,
    seed: int,
    z: Sequence[float],
    matter: Path | None,
    out: Path | None,
    plot: Path | None,
    mesh: Mesh,
    json: bool,
) -> None:
    """Predict one box; print its numbers; write `out` and `plot`. ConfigError for several redshifts."""
    boxes.check(z, cells, emulator.model.multiple)
    theta = OTHERS | dict(theta)
    with Progress(None, "baryons"):
        contrast, source = _matter(emulator, theta, cells, seed, z[0], matter, mesh)
        box_size = contrast.shape[0] * emulator.spacing
        own = {name: value for name, value in theta.items() if name in emulator.contract.domain}
        made = emulator.predict(own, matter=contrast, box_size=box_size, z=z[0], mesh=mesh)
        fields = {name: getattr(made, name) for name in ("gas", "stars", "temperature", "pressure")}
        y = compton_y(made.pressure, box_size, theta["h"], z[0])
        glow = xray_brightness(made.gas, made.temperature, box_size, theta["h"], z[0])
    fields = {"matter": contrast, **fields, "compton_y": y, "xray": glow}
    fields = {name: np.asarray(values) for name, values in fields.items()}
    about = {
        "emulator": f"{emulator.contract.name} {emulator.contract.version}",
        "matter": source,
        "theta": dict(theta),
        "z": z[0],
        "cells": contrast.shape[0],
        "box_size": box_size,
    }
    numbers = {
        "gas_mean": float(fields["gas"].mean(dtype=np.float64)),
        "stars_mean": float(fields["stars"].mean(dtype=np.float64)),
        "median_temperature": float(np.median(fields["temperature"])),
        "mass_weighted_temperature": float(np.average(fields["temperature"], weights=fields["gas"])),
        "mean_compton_y": float(fields["compton_y"].mean(dtype=np.float64)),
    }
    if out is not None:
        boxes.write(out, {**about, **numbers}, fields, UNITS)
    if plot is not None:
        _draw(plot, fields, theta, box_size)
    if json:
        console.print_json({**about, **numbers, "files": [p for p in (out, plot) if p]})
        return
    console.say(", ".join(f"{name} = {value:g}" for name, value in theta.items()))
    console.say(f"{about['cells']}³ cells in a box of {box_size:g} Mpc/h at z = {z[0]:g}; matter: {source}\n")
    words = ("gas, mean", "stars, mean", "median temperature", "temperature by mass", "mean Compton y")
    units = ("1e10 Msun/h (Mpc/h)⁻³", "1e10 Msun/h (Mpc/h)⁻³", "K", "K", "")
    rows = [(w, f"{v:.4g}", u) for w, v, u in zip(words, numbers.values(), units, strict=True)]
    console.table(["", "value", ""], rows)
    for path in (out, plot):
        if path is not None:
            console.say(f"wrote {path}")


def _matter(emulator: HydroEmulator, theta, cells: int, seed: int, z: float, file: Path | None, mesh: Mesh):
    """The contrast, and where it is from: a file, an emulator at this spacing, a particle mesh."""
    if file is not None:
        values = _read(file)
        return jax.device_put(jnp.asarray(values, jnp.float32), NamedSharding(mesh, GRID)), file.name
    found = _partner(emulator)
    noise = white_noise(jax.random.key(seed), cells, mesh)
    grow = jax.jit(lambda noise: matter_of(theta, noise, cells * emulator.spacing, z, mesh, found))
    source = f"{found.contract.name}, seed {seed}" if found else f"particle mesh of 10 steps, seed {seed}"
    return grow(noise), source


def _partner(emulator: HydroEmulator):
    """The emulator of matter on the shelf whose lattice is this grid, or None."""
    for entry in shelf():
        contract = entry.contract
        if contract is None or contract.family != "displacement":
            continue
        if abs(contract.hyperparameters["spacing"] / emulator.spacing - 1.0) < 1e-3:
            return load(entry.folder)
    return None


def _read(path: Path) -> np.ndarray:
    """The dataset `density` of an HDF5 or npz file: a contrast (n, n, n)."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return file["density"]
        with h5py.File(path, "r") as file:
            return file["density"][()]
    except (OSError, KeyError, ValueError) as error:
        raise FileError(
            f"{path}: no contrast `density` to read ({error}); give what predict nbody_field --out made"
        ) from error


def _draw(path: Path, fields: Mapping[str, np.ndarray], theta: Mapping, box_size: float) -> None:
    from galaxyjax.core.units import RHO_CRIT
    from galaxyjax.report import hydro, style

    mean = theta["Omega_b"] * RHO_CRIT
    shown = {"matter": 1.0 + fields["matter"], "temperature": fields["temperature"]}
    shown |= {name: fields[name] / mean for name in ("gas", "pressure", "stars")}
    maps = {"compton_y": fields["compton_y"], "xray": fields["xray"]}
    style.save(hydro.box(shown, maps, box_size), path)
