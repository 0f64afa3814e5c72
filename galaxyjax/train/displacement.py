"""Suites of N-body fields to train `models.displacement` on; the loss in Lagrangian and Eulerian space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.errors import ConfigError
from galaxyjax.fields import paint
from galaxyjax.mesh import fft, particles
from galaxyjax.mesh.topology import BATCH, FIELD, SPATIAL, build_mesh
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.fields import (
    FieldSuite,
    cosmology_of,
    linear_field,
    noise_of,
    read_header,
    run_paths,
)
from galaxyjax.train.field import FieldBatch
from galaxyjax.train.identity import fingerprint


@dataclass(frozen=True)
class DisplacementSuite:
    """Examples from the runs of a suite, split by simulation: the last `held_out` runs are validation's.

    model: whose coarse simulation is the input. snapshots: how many redshifts of each training run are used,
    the last (z = 0) among them. Whole boxes, turned at random by the 48 symmetries of the cube, which are
    drawn from (seed, step). folder: where the runs lie. Raises FileError when there are none, ConfigError
    when nothing is left to train on.
    """

    model: Displacement
    suite: FieldSuite
    held_out_runs: int = 4
    snapshots: int = 3
    folder: InitVar[str | Path | None] = None

    def __post_init__(self, folder):
        object.__setattr__(self, "_folder", folder)
        object.__setattr__(self, "_made", {})
        if self.suite.runs <= self.held_out_runs or self.held_out_runs < 1 or self.snapshots < 1:
            raise ConfigError(
                f"training suite: {self.suite.runs} runs, {self.held_out_runs} held out; both folds need one"
            )

    def at(self, folder: str | Path) -> DisplacementSuite:
        """Return this source with the runs in `folder`."""
        return DisplacementSuite(self.model, self.suite, self.held_out_runs, self.snapshots, folder)

    def batch(self, mesh: Mesh, size: int, seed: int, step: int) -> FieldBatch:
        """`size` examples, a pure function of (seed, step)."""
        rng = np.random.default_rng([seed, step])
        runs = self.suite.runs - self.held_out_runs
        made = []
        for _ in range(size):
            run, which = int(rng.integers(runs)), int(rng.integers(self.snapshots))
            made.append(turned(self._example(run, self._snapshot(run, which)), rng))
        return placed(made, mesh)

    def held_out(self, mesh: Mesh, size: int) -> Sequence[FieldBatch]:
        """The validation runs at z = 0 and at one earlier redshift, in batches of `size`.

        Raises ConfigError when they do not fill one.
        """
        runs = range(self.suite.runs - self.held_out_runs, self.suite.runs)
        if 2 * len(runs) < size:
            raise ConfigError(
                f"training suite: {len(runs)} held-out runs are {2 * len(runs)} examples, less than a "
                f"batch of {size}; hold out more runs or take a smaller batch"
            )
        made = [self._example(run, self._snapshot(run, which)) for which in (0, 1) for run in runs]
        made = made[: len(made) // size * size]
        return [placed(made[i : i + size], mesh) for i in range(0, len(made), size)]

    def identity(self) -> str:
        """Hash of the suite and of how examples are drawn from it."""
        return fingerprint(self)

    def normalisation(self) -> Mapping[str, Any]:
        """Fields are in units of the lattice spacing."""
        return {"cell": self.model.spacing}

    def _snapshot(self, run: int, which: int) -> int:
        """Which redshift a run's `which`-th example has: the last first, then others by turns."""
        last = len(self.suite.redshifts) - 1
        return last if which == 0 or last == 0 else (run + which) % last

    def _example(self, run: int, snapshot: int):
        """(features, style, target) of one whole box; kept in memory, as the coarse simulation costs most."""
        key = (run, snapshot)
        if key not in self._made:
            self._made[key] = self._make(run, snapshot)
        return self._made[key]

    def _make(self, run: int, snapshot: int):
        if self._folder is None:
            raise ConfigError("training suite: no folder of runs; give --truth")
        path = run_paths(self._folder)[run]
        theta, box_size, redshifts = read_header(path)
        # On one device of this process: each takes its shards from the whole.
        mesh = build_mesh("x=1", devices=jax.local_devices()[:1])
        z = jnp.float32(redshifts[snapshot])
        features, growth = _coarse(self.model, theta, noise_of(path, mesh), z, box_size, mesh)
        features = np.asarray(features)
        with h5py.File(path, "r") as file:
            truth = [file[name][snapshot] / self.model.spacing for name in ("displacement", "derivative")]
        target = np.concatenate([truth[0] - features[..., :3], truth[1] - features[..., 6:9]], axis=-1)
        return features, np.array([theta["Omega_m"], growth], np.float32), target.astype(np.float32)


def _coarse(model: Displacement, theta: Mapping, noise, z, box_size: float, mesh: Mesh):
    theta = {name: jnp.float32(value) for name, value in theta.items()}
    return _coarse_compiled(theta, noise, z, model, box_size, mesh)


def _features(theta, noise, z, model, box_size, mesh):
    modes = linear_field(theta, noise, box_size, mesh)
    coarse = model.coarse(modes, cosmology_of(theta), z, box_size, mesh)
    return model.features(coarse), coarse.growth


_coarse_compiled = jax.jit(_features, static_argnums=(3, 4, 5))


def turned(example, rng: np.random.Generator):
    """One of the 48 symmetries of the cube applied to a box of vectors on lattice sites; site 0 stays."""
    features, style, target = example
    axes, signs = rng.permutation(3), rng.choice([-1, 1], 3)

    def turn(field):
        vectors = field.reshape(*field.shape[:3], -1, 3)[..., axes] * signs.astype(np.float32)
        vectors = vectors.transpose(*axes, 3, 4)
        for axis in np.flatnonzero(signs < 0):
            vectors = np.roll(np.flip(vectors, axis), 1, axis)
        return vectors.reshape(*vectors.shape[:3], -1)

    return turn(features), style, turn(target)


def placed(made, mesh: Mesh) -> FieldBatch:
    """Return examples (field, style, target) of NumPy arrays as one batch that lies as `LAYOUT` says."""
    arrays = [np.stack(part) for part in zip(*made, strict=True)]

    def place(array, spec):
        return jax.make_array_from_callback(
            array.shape, NamedSharding(mesh, spec), lambda index: array[index]
        )

    return FieldBatch(*map(place, arrays, (FIELD, BATCH, FIELD)))


@dataclass(frozen=True)
class DisplacementLoss:
    """Weighted errors of displacement, dx/dD, density, momentum and ln P(k), each of order 1 at first.

    scales: what displacement and derivative (cells), density and momentum are measured in. The Eulerian
    fields are painted by CIC on a mesh as fine as the lattice; momentum is (1 + delta) dx/dD. halo: in cells.

    floor: what makes the loss of an example relative: it is divided by this plus the loss of no correction,
    so that boxes with much structure, where most of what is missed is chaos, do not drown the others. None
    leaves it absolute.
    """

    displacement: float = 1.0
    derivative: float = 0.5
    density: float = 1.0
    momentum: float = 0.2
    spectrum: float = 1.0
    scales: tuple[float, float, float, float] = (0.15, 1.0, 1.0, 5.0)
    halo: int = 12
    floor: float | None = None

    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        growth = batch.style[:, 1]
        found = []
        for field, mine, target, at in zip(batch.field, prediction, batch.target, growth, strict=True):
            loss = self._one(field, mine, target, at)
            if self.floor is not None:
                nothing = self._one(field, jnp.zeros_like(target), target, at)
                loss = loss / (self.floor + jax.lax.pmean(nothing, axes))
            found.append(loss)
        return sum(found) / len(found)

    def _one(self, field, prediction, target, growth):
        """The loss of one box's block."""
        x, v, y, w = self.scales
        # Early corrections are small and count as much.
        missed = (prediction - target) / growth
        total = self.displacement * jnp.mean(jnp.square(missed[..., :3] / x))
        total += self.derivative * jnp.mean(jnp.square(missed[..., 3:] / v))
        if self.density or self.momentum or self.spectrum:
            total += self._eulerian(field, prediction, target, y, w)
        return total

    def _eulerian(self, field, prediction, target, y, w):
        found, true = (self._painted(field, part) for part in (prediction, target))
        error = jnp.mean(jnp.square((found - true) / jnp.array([y, w, w, w])), axis=(0, 1, 2))
        total = self.density * error[0] + self.momentum * jnp.mean(error[1:])
        if self.spectrum:
            powers = [shell_powers(grid[..., 0]) for grid in (found, true)]
            # A box of few cells has no modes in the first shells.
            inside = powers[1] > 0.0
            missed = jnp.log(jnp.where(inside, powers[0], 1.0) / jnp.where(inside, powers[1], 1.0))
            total += self.spectrum * 100.0 * jnp.mean(jnp.square(missed), where=inside)
        return total

    def _painted(self, field, correction):
        """(1 + delta, momentum) (nx, ny, nz, 4) of one box's block."""
        moved, flow = field[..., :3] + correction[..., :3], field[..., 6:9] + correction[..., 3:]
        flow = flow.reshape(-1, 3)

        def paint_with(weight):
            deposit = lambda p, shape: paint.paint(jnp.zeros(shape, p.dtype), p, weight)  # noqa: E731
            return particles.scatter_block(deposit, moved, self.halo)[0]

        return jnp.stack([paint_with(1.0), *(paint_with(flow[:, i]) for i in range(3))], axis=-1)


def shell_powers(grid: jax.Array, shells: int = 12) -> jax.Array:
    """Return the power (shells,) in shells of equal width up to the grid's Nyquist, inside `shard_map`."""
    modes = fft.forward_block(grid)
    k = jnp.sqrt(modes.k_squared)
    shell = jnp.where(k > 0, jnp.floor(k / jnp.pi * shells), shells).astype(jnp.int32)
    shell = jnp.minimum(shell, shells).ravel()
    weight = jnp.broadcast_to(modes.weight, k.shape)
    power = jnp.square(modes.values.real) + jnp.square(modes.values.imag)
    sums = jax.ops.segment_sum((weight * power).ravel(), shell, num_segments=shells + 1)
    return jax.lax.psum(sums, SPATIAL)[:shells]
