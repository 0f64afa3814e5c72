"""Examples of `train.hydro` with what the networks see computed once: for few boxes that fit in memory.

A mean head that works cell by cell (kernel 1) need not see boxes: of a few thousand cells, dense ones more
often and each counted for less, a step takes a tenth of a box's and says as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.topology import BATCH, FIELD, build_mesh
from galaxyjax.models.hydro import Hydro
from galaxyjax.train.displacement import placed
from galaxyjax.train.field import FieldBatch
from galaxyjax.train.hydro import TRUTH, BaryonExamples, HydroSource
from galaxyjax.train.identity import fingerprint


@dataclass(frozen=True)
class SeenSource(HydroSource):
    """As `HydroSource`, of features, ln of the filtered density, and truth, for heads with `seen`."""

    def _example(self, examples: BaryonExamples, index: int, variant: int):
        key = (examples is self.validation, index, variant, "seen")
        if key not in self._made:
            stack, style = super()._example(examples, index, variant)
            self._made[key] = (
                np.concatenate([seen(self.model, stack[..., 0], style), stack[..., 1:]], -1),
                style,
            )
        return self._made[key]


@dataclass(frozen=True)
class CellSource(SeenSource):
    """Cells of boxes in any order, as small boxes of side^3, for a `MeanHead` and a loss with `cells`.

    side: of what a step sees. dense: the share of cells drawn by density^0.75; the others are drawn alike,
    and each counts by the inverse of its chance. Raises ConfigError for networks that look beyond a cell.
    """

    side: int = 16
    dense: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        if self.model.kernel != 1 or len(self.model.widths) != 1:
            raise ConfigError(
                f"hydro training: kernel={self.model.kernel} and {len(self.model.widths)} levels look beyond "
                "a cell; use HydroSource"
            )

    def batch(self, mesh: Mesh, size: int, seed: int, step: int) -> FieldBatch:
        """`size` small boxes, each of one example, a pure function of (seed, step)."""
        rng, made = np.random.default_rng([seed, step]), []
        for _ in range(size):
            index, variant = int(rng.integers(len(self.training))), int(rng.integers(self.variants))
            stack, style = self._example(self.training, index, variant)
            flat = stack.reshape(-1, stack.shape[-1])
            chance = np.exp(0.75 * flat[:, self.model.features].astype(np.float64))
            chance = (1.0 - self.dense) / len(flat) + self.dense * chance / chance.sum()
            cells = rng.choice(len(flat), self.side**3, p=chance / chance.sum())
            made.append(self._small(flat[cells], 1.0 / (len(flat) * chance[cells]), flat, style))
        return placed(made, mesh)

    def held_out(self, mesh: Mesh, size: int) -> Sequence[FieldBatch]:
        """All cells of the validation examples, each once."""
        made = []
        for index in range(len(self.validation)):
            stack, style = self._example(self.validation, index, 0)
            flat = stack.reshape(-1, stack.shape[-1])
            many = self.side**3
            for low in range(0, len(flat) - many + 1, many):
                made.append(self._small(flat[low : low + many], np.ones(many), flat, style))
        made = made[: len(made) // size * size]
        return [placed(made[i : i + size], mesh) for i in range(0, len(made), size)]

    def identity(self) -> str:
        """Hash of the data and of how cells are drawn from it."""
        return fingerprint([super().identity(), self.side, self.dense])

    def _small(self, cells: np.ndarray, count: np.ndarray, whole: np.ndarray, style: np.ndarray):
        """(field, style, truth): what is seen, how much each cell counts, and the unit of pressure."""
        shape = (self.side,) * 3 + (-1,)
        unit = np.full(len(cells), whole[:, -1].mean(dtype=np.float64))
        field = np.concatenate([cells[:, : -len(TRUTH)], count[:, None], unit[:, None]], axis=1)
        truth = np.ascontiguousarray(cells[:, -len(TRUTH) :])
        return field.astype(np.float32).reshape(shape), style, truth.reshape(shape)


def seen(model: Hydro, matter: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Return features and ln of the filtered density of a box (n, n, n), (n, n, n, f + 1) float32."""
    features, x = _look(model)(matter[None], style[None])
    return np.concatenate([features[0], x[0][..., None]], axis=-1)


@cache
def _look(model: Hydro):
    """Compiled once for each model."""
    mesh, scalars = build_mesh("x=1", devices=jax.local_devices()[:1]), P(*FIELD[:-1])
    return jax.jit(
        jax.shard_map(model.features_block, mesh=mesh, in_specs=(scalars, BATCH), out_specs=(FIELD, scalars))
    )
