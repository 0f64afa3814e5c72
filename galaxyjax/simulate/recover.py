"""Somebody else's simulation as a run of a suite: its phases found in its initial snapshot.

Particles that began on a lattice and are numbered along it give their displacements; those of an early
snapshot give the linear modes, and these the white noise from which `fields` makes the same universe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.special import hyp2f1

from galaxyjax.core.eisenstein_hu import linear_power
from galaxyjax.core.errors import DataError
from galaxyjax.data import open_snapshot
from galaxyjax.fields import lpt, nbody
from galaxyjax.mesh import fft
from galaxyjax.simulate.fields import cosmology_of, write_fields


def lattice_fields(path: str | Path) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return displacement (n, n, n, 3) in Mpc/h, velocity in km/s, box size and redshift of a snapshot.

    Row (i, j, k) is the particle with the (i n^2 + j n + k)-th smallest number, displaced from
    (i, j, k) box_size / n. Raises DataError when the particles are not a cube, or were not laid out so.
    """
    snapshot = open_snapshot(path)
    found = snapshot.read("dark_matter", ["positions", "velocities", "ids"])
    n = round(len(found) ** (1 / 3))
    if n**3 != len(found):
        raise DataError(f"{path}: {len(found)} particles are not a cube; their lattice cannot be told")
    order, box = np.argsort(found.ids), snapshot.box_size
    home = np.stack(np.meshgrid(*(np.arange(n) * (box / n),) * 3, indexing="ij"), axis=-1)
    positions = np.asarray(found.positions, float)[order].reshape(n, n, n, 3)
    displacement = (positions - home + 0.5 * box) % box - 0.5 * box
    if snapshot.redshift > 20 and displacement.std() > box / n:
        raise DataError(
            f"{path}: at z = {snapshot.redshift:g} particles lie {displacement.std():g} Mpc/h from the "
            "lattice that their numbers name; they are numbered otherwise"
        )
    velocities = np.asarray(found.velocities, float)[order].reshape(n, n, n, 3)
    return displacement, velocities, float(box), float(snapshot.redshift)


def growth_without_radiation(Omega_m: float, z: float) -> float:
    """Return D(z) / D(0) of matter and a cosmological constant alone, as codes without radiation grow it.

    a 2F1(1/3, 1; 11/6; -a^3 (1 - Omega_m) / Omega_m) (Heath 1977, in closed form).
    """
    grown = lambda a: a * hyp2f1(1 / 3, 1, 11 / 6, -(a**3) * (1 - Omega_m) / Omega_m)  # noqa: E731
    return float(grown(1.0 / (1.0 + z)) / grown(1.0))


def linear_modes_of(displacement: np.ndarray, growth: float, box_size: float, mesh: Mesh) -> fft.Spectrum:
    """Return the modes of the linear density contrast today behind early, second-order displacements.

    growth: D(z) / D(0) of the code that made them. The second order, -3/7 D^2 psi2 where matter rules alone,
    is taken away by iteration.
    """
    moved = jnp.asarray(displacement - displacement.mean(axis=(0, 1, 2)), jnp.float32)
    first = moved / growth
    for _ in range(3):
        modes = _minus_divergence(first, box_size, mesh)
        first = (moved + 3.0 / 7.0 * growth**2 * lpt.second_order(modes, mesh)) / growth
    return _minus_divergence(first, box_size, mesh)


def _minus_divergence(field: jax.Array, box_size: float, mesh: Mesh) -> fft.Spectrum:
    parts = [fft.forward(field[..., i], mesh, box_size) for i in range(3)]
    k = (parts[0].kx, parts[0].ky, parts[0].kz)
    return parts[0].replace(sum(-1j * k[i] * parts[i].values for i in range(3)))


def recover(
    theta: Mapping[str, float],
    initial: str | Path,
    later: Sequence[str | Path],
    out: Path,
    index: int,
    mesh: Mesh,
) -> Path:
    """Write a simulation as a run that `simulate.fields.read_run` reads, with its own white noise inside.

    theta: Omega_m, Omega_b, h, n_s, sigma_8. initial: its first snapshot, of second-order displacements.
    later: snapshots of falling redshift. out: folder. Raises DataError when they do not fit together.
    """
    start, _, box_size, z_start = lattice_fields(initial)
    modes = linear_modes_of(start, growth_without_radiation(theta["Omega_m"], z_start), box_size, mesh)
    noise = _whitened(theta, modes, box_size, mesh)
    cosmology, snapshots, redshifts = cosmology_of(theta), [], []
    shift = start.mean(axis=(0, 1, 2))
    for path in later:
        displacement, velocity, box, z = lattice_fields(path)
        if displacement.shape != start.shape or abs(box - box_size) > 1e-6 * box_size:
            raise DataError(
                f"{path}: another lattice or box than {initial}; give snapshots of one simulation"
            )
        per_km_s = float(nbody.velocity(jnp.ones(()), cosmology, z))
        snapshots.append((displacement - shift, velocity / per_km_s))
        redshifts.append(z)
    about = {"source": str(Path(initial).name), "white_noise": "dataset `noise`, from the initial snapshot"}
    path = out / f"field_{index:05d}.h5"
    write_fields(path, theta, redshifts, snapshots, box_size, {**about, "index": index, "seed": -1}, noise)
    return path


def _whitened(theta, modes: fft.Spectrum, box_size: float, mesh: Mesh) -> np.ndarray:
    """The noise whose `linear_field` has these modes; its mean, which nobody can know, is 0."""
    power = linear_power(cosmology_of(theta), theta["sigma_8"])
    k = jnp.sqrt(modes.k_squared)
    cells = float(np.prod(modes.shape))
    scale = jnp.sqrt(power(jnp.where(k > 0, k, 1.0)) * (cells / box_size**3))
    return np.asarray(fft.inverse(modes.replace(jnp.where(k > 0, modes.values / scale, 0.0)), mesh))
