"""`galaxyjax predict` for emulators of fields: one box from a seed, as a table, a file, a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from galaxyjax.cli import boxes, console
from galaxyjax.core.background import growth_factor
from galaxyjax.core.eisenstein_hu import linear_power
from galaxyjax.core.progress import Progress
from galaxyjax.emulator.field import FieldEmulator, FieldPrediction
from galaxyjax.fields.gaussian import linear_density, white_noise
from galaxyjax.fields.spectra import power_spectrum, shell_edges
from galaxyjax.simulate.fields import cosmology_of

# Planck 2018 (A&A 641, A6), table 2, TT,TE,EE+lowE+lensing.
FIDUCIAL = {"Omega_m": 0.3153, "Omega_b": 0.0493, "h": 0.6736, "n_s": 0.9649, "sigma_8": 0.8111}
CELLS = 64
EARLY = 9.0  # redshift of the linear density that is drawn
K_SHOWN = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
UNITS = {
    "displacement": "comoving Mpc/h, of particles from the lattice i * box_size / cells",
    "velocity": "peculiar km/s, of the particles",
    "density": "contrast, painted by CIC on as many cells as particles",
    "k": "h/Mpc",
    "power": "(Mpc/h)^3, of the particles",
    "linear_power": "(Mpc/h)^3, linear theory at this redshift",
    "linear_box": "(Mpc/h)^3, of the linear field that this white noise makes, at this redshift",
}


class Box(NamedTuple):
    """A prediction and its spectra: k (nk,) h/Mpc; power of the particles, of linear theory and of the linear
    field of the same white noise, (nk,) (Mpc/h)^3; contrast (n, n, n); `start`, the linear one at EARLY."""

    made: FieldPrediction
    density: np.ndarray
    start: np.ndarray
    k: np.ndarray
    power: np.ndarray
    linear: np.ndarray
    linear_box: np.ndarray


def run(
    emulator: FieldEmulator,
    theta: Mapping[str, float],
    *,
    cells: int,
    seed: int,
    z: Sequence[float],
    out: Path | None,
    plot: Path | None,
    mesh: Mesh,
    json: bool,
) -> None:
    """Predict one box; print its numbers; write `out` and `plot`. ConfigError for several redshifts."""
    boxes.check(z, cells, emulator.model.multiple)
    with Progress(None, f"{cells}³ particles"):
        box = compute(emulator, theta, cells, seed, z[0], mesh)
    about = {
        "emulator": f"{emulator.contract.name} {emulator.contract.version}",
        "theta": dict(theta),
        "z": z[0],
        "cells": cells,
        "box_size": box.made.box_size,
        "seed": seed,
        "white_noise": "jax.random.normal(jax.random.key(seed), (cells,) * 3)",
    }
    spread = lambda vectors: float(jnp.sqrt(jnp.mean(jnp.sum(jnp.square(vectors), axis=-1))))  # noqa: E731
    numbers = {
        "sigma_delta": float(np.std(box.density)),
        "rms_displacement": spread(box.made.displacement),
        "rms_velocity": spread(box.made.velocity),
    }
    if out is not None:
        _write(out, {**about, **numbers}, box)
    if plot is not None:
        _draw(plot, about, box)
    if json:
        spectra = {"k": box.k, "power": box.power, "linear": box.linear, "linear_box": box.linear_box}
        console.print_json({**about, **numbers, **spectra, "files": [p for p in (out, plot) if p]})
        return
    _show(about, numbers, box)
    for path in (out, plot):
        if path is not None:
            console.say(f"wrote {path}")


def compute(
    emulator: FieldEmulator, theta: Mapping[str, float], cells: int, seed: int, z: float, mesh: Mesh
) -> Box:
    """Return one box of `cells` particles a side from the white noise of a seed.

    Raises as `FieldEmulator.predict`.
    """
    box_size = cells * emulator.spacing
    noise = white_noise(jax.random.key(seed), cells, mesh)
    made = emulator.predict(theta, white_noise=noise, box_size=box_size, z=z, mesh=mesh)
    cosmology = cosmology_of(theta)
    growth, early = (float(growth_factor(cosmology, redshift)) for redshift in (z, EARLY))
    today = linear_power(cosmology, theta["sigma_8"])
    start = jax.jit(lambda noise: linear_density(noise, today, box_size, mesh))(noise)
    # Up to the lattice's Nyquist wavenumber; the finer mesh keeps its own aliases away from there.
    shells = {"box_size": box_size, "mesh": mesh, "edges": shell_edges(cells, box_size, 1.0)}
    found = power_spectrum(made.density(2 * cells, "tsc"), scheme="tsc", **shells)
    k = np.asarray(found.k)
    return Box(
        made,
        np.asarray(made.density()),
        early * np.asarray(start),
        k,
        np.asarray(found.power),
        growth**2 * np.asarray(today(k)),
        growth**2 * np.asarray(power_spectrum(start, **shells).power),
    )


def _show(about: Mapping, numbers: Mapping, box: Box) -> None:
    console.say(", ".join(f"{name} = {value:g}" for name, value in about["theta"].items()))
    console.say(
        f"{about['cells']}³ particles in a box of {about['box_size']:g} Mpc/h at z = {about['z']:g}, seed "
        f"{about['seed']}\n"
    )
    nearest = sorted({int(np.argmin(np.abs(box.k - k))) for k in K_SHOWN if box.k[0] / 2 <= k <= box.k[-1]})
    rows = [
        (
            console.number(box.k[i]),
            *(f"{power[i]:.5g}" for power in (box.power, box.linear)),
            f"{box.power[i] / box.linear_box[i]:.4g}",
        )
        for i in nearest or range(len(box.k))
    ]
    console.table(["k [h/Mpc]", "P [(Mpc/h)³]", "linear theory", "over the linear field's"], rows, left=0)
    console.say()
    quantities = [
        ("sigma of density, cells of the lattice", f"{numbers['sigma_delta']:.4g}", ""),
        ("rms displacement", f"{numbers['rms_displacement']:.4g}", "Mpc/h"),
        ("rms velocity", f"{numbers['rms_velocity']:.4g}", "km/s"),
    ]
    console.table(["", "value", ""], quantities)


def _write(path: Path, about: Mapping, box: Box) -> None:
    arrays = {
        "displacement": box.made.displacement,
        "velocity": box.made.velocity,
        "density": box.density,
        "k": box.k,
        "power": box.power,
        "linear_power": box.linear,
        "linear_box": box.linear_box,
    }
    arrays = {name: np.asarray(values, np.float32) for name, values in arrays.items()}
    boxes.write(path, about, arrays, UNITS)


def _draw(path: Path, about: Mapping, box: Box) -> None:
    from galaxyjax.report import fields, style

    redshift = rf"$z={about['z']:g}$"
    density = np.asarray(box.made.density(scheme="tsc"))
    slices = {f"linear, $z={EARLY:g}$": box.start, f"{about['emulator']}, {redshift}": density}
    power = {"linear theory": box.linear, "linear field": box.linear_box, "emulator": box.power}
    figure = fields.box(slices, about["box_size"], box.k, power, "linear field")
    style.save(figure, path)
