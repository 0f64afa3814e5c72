"""Fields of baryons beside the dark matter of a simulation: one pair of snapshots, painted on one grid.

A pair is a dark-matter-only run and its hydrodynamic twin from the same phases, or one hydrodynamic run whose
own dark matter stands for all matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.errors import DataError
from galaxyjax.data import gas
from galaxyjax.data.fetch import fetch_file
from galaxyjax.data.manifest import load_manifest
from galaxyjax.data.snapshot import Snapshot, open_snapshot
from galaxyjax.fields import paint as clouds


@dataclass(frozen=True)
class Pair:
    """Two snapshots of one moment. simulation: what folds are split by; theta: (name, value) of parameters.

    dataset: whose manifest lists the files `dark` and `hydro`; the same name twice takes the hydrodynamic
    run's own dark matter.
    """

    simulation: str
    dataset: str
    dark: str
    hydro: str
    theta: tuple[tuple[str, float], ...]


class BaryonFields(NamedTuple):
    """Fields on one grid, each (n, n, n) float32.

    matter: density over its mean. gas, stars: density over the mean density of all baryons, so that gas plus
    stars has the mean 1. temperature: K, weighted by mass, 0 where no gas is. pressure: thermal, comoving
    (gamma - 1) rho u in 1e10 Msun/h (Mpc/h)^-3 (km/s)^2 over the mean density of all baryons: (km/s)^2.
    redshift, box_size (Mpc/h): of both.
    """

    matter: np.ndarray
    gas: np.ndarray
    stars: np.ndarray
    temperature: np.ndarray
    pressure: np.ndarray
    redshift: float
    box_size: float


def open_pair(pair: Pair) -> tuple[Snapshot, Snapshot]:
    """Return (dark, hydro) of a pair from the files on this machine, verified against the manifest.

    Raises Unavailable when a file cannot be had, DataError when redshifts or boxes differ.
    """
    manifest = load_manifest(pair.dataset)
    paths = [fetch_file(manifest, manifest.file(name)) for name in (pair.dark, pair.hydro)]
    dark, hydro = (open_snapshot(path) for path in paths)
    check_pair(dark, hydro, *paths)
    return dark, hydro


def check_pair(dark: Snapshot, hydro: Snapshot, dark_path: str | Path, hydro_path: str | Path) -> None:
    """Raise DataError when two snapshots are not of one moment and one box."""
    if abs(dark.scale_factor / hydro.scale_factor - 1.0) > 1e-3:
        raise DataError(
            f"{hydro_path}: redshift {hydro.redshift:.4g}, but {dark_path} has {dark.redshift:.4g}; give "
            "snapshots of the same moment"
        )
    if abs(dark.box_size / hydro.box_size - 1.0) > 1e-4:
        raise DataError(
            f"{hydro_path}: box of {hydro.box_size:g} Mpc/h, but {dark_path} has {dark.box_size:g}"
        )


def paint_pair(
    dark: Snapshot,
    hydro: Snapshot,
    cells: int,
    offset: Sequence[float] = (0.0, 0.0, 0.0),
    scheme: str = "tsc",
    mean_molecular_weight: float | None = None,
) -> BaryonFields:
    """Return the fields of a pair on a grid of cells^3.

    offset: (3,), in cells, by which the grid's points are moved against the particles: the same universe seen
    by another grid. mean_molecular_weight: for gas without electrons and temperature, as `Snapshot.read`.
    Raises what `Snapshot.read` raises.
    """
    paint = _Painter(cells, np.asarray(offset, float), scheme)
    matter = paint.mass(dark, "dark_matter")
    wanted = ["positions", "masses", "internal_energy", "temperature"]
    found = hydro.read("gas", wanted, mean_molecular_weight=mean_molecular_weight)
    position = found.positions * (cells / hydro.box_size)
    gas_mass = paint(position, found.masses)
    stars = paint.mass(hydro, "stars") if "stars" in hydro.counts else np.zeros_like(gas_mass)
    heat = paint(position, found.masses * found.temperature)
    energy = paint(position, found.masses * (gas.GAMMA - 1.0) * found.internal_energy)
    mean = float(np.mean(gas_mass + stars, dtype=np.float64))
    filled = gas_mass > 0
    temperature = np.where(filled, heat / np.where(filled, gas_mass, 1.0), 0.0).astype(np.float32)
    return BaryonFields(
        matter / matter.mean(dtype=np.float64).astype(np.float32),
        gas_mass / np.float32(mean),
        stars / np.float32(mean),
        temperature,
        energy / np.float32(mean),
        float(hydro.redshift),
        float(hydro.box_size),
    )


class _Painter:
    """Weights of particles to one grid."""

    def __init__(self, cells: int, offset: np.ndarray, scheme: str):
        self.cells, self.offset, self.scheme = cells, offset, scheme

    def __call__(self, positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(n, 3) in cells, (n,) -> (cells,) * 3."""
        moved = jnp.asarray((positions - self.offset) % self.cells, jnp.float32)
        empty = jnp.zeros((self.cells,) * 3, jnp.float32)
        return np.asarray(_paint(empty, moved, jnp.asarray(weights, jnp.float32), self.scheme))

    def mass(self, snapshot: Snapshot, species: str) -> np.ndarray:
        """The mass of a species."""
        found = snapshot.read(species, ["positions", "masses"])
        return self(found.positions * (self.cells / snapshot.box_size), found.masses)


_paint = jax.jit(clouds.paint, static_argnums=3)
