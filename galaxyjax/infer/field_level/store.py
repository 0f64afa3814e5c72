"""Everything that changes while fields are sampled, in memory and in one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.infer.field_level import block as blocks

NUMBERS = {"blocks": int, "gradients": int, "warmup_gradients": int, "step": float, "energy": float,
           "accepted": float, "wall_s": float}  # fmt: skip


@dataclass
class Run:
    """The target in its present coordinates, the state and sums of every chain, and what is drawn so far."""

    target: Any
    states: list
    sums: list
    draws: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (chains, draws, q), of this window
    kept: list[np.ndarray] = field(default_factory=list)
    points: list = field(default_factory=list)  # positions of the warm-up window
    blocks: int = 0
    gradients: int = 0
    warmup_gradients: int = 0
    step: float = 0.0
    energy: float = 0.0
    accepted: float = 0.0
    wall_s: float = 0.0

    @property
    def count(self) -> int:
        """Draws of each chain in this window."""
        return next(iter(self.draws.values())).shape[1] if self.draws else 0

    def append(self, observed: dict[str, np.ndarray]) -> None:
        """Put a block's numbers behind those of the window."""
        for name, new in observed.items():
            old = self.draws.get(name)
            self.draws[name] = new if old is None else np.concatenate([old, new], axis=1)

    def drop(self) -> None:
        """Forget the window's draws."""
        self.draws, self.kept, self.points = {}, [], []

    def keep(self, fields: list[np.ndarray]) -> None:
        """Keep one whole field of every chain."""
        self.kept.extend(fields)


def save(path: Path, run: Run, identity: str) -> None:
    """Write a run, atomically."""
    arrays = {"identity": np.asarray(identity), **{name: np.asarray(getattr(run, name)) for name in NUMBERS}}
    arrays |= {f"learnt/{name}": value for name, value in run.target.learnt().items()}
    arrays |= {f"draws/{name}": value for name, value in run.draws.items()}
    arrays |= {f"kept/{index}": value for index, value in enumerate(run.kept)}
    for chain, both in enumerate(zip(run.states, run.sums, strict=True)):
        leaves = jax.device_get(jax.tree.leaves(both))
        arrays |= {f"chain/{chain}/{index}": leaf for index, leaf in enumerate(leaves)}
    for index, point in enumerate(run.points):
        leaves = jax.device_get(jax.tree.leaves(point))
        arrays |= {f"points/{index}/{leaf}": value for leaf, value in enumerate(leaves)}
    arrays["chains"] = np.asarray(len(run.states))
    write_npz(path, arrays)


def load(path: Path, identity: str, target) -> Run | None:
    """Return the run that `save` wrote, its arrays placed on the target's mesh; None when there is no file.

    Raises ConfigError when it is of another target or sampler, FileError when it is no such file.
    """
    if not path.exists():
        return None
    arrays = read_npz(path)
    if str(arrays.get("identity")) != identity:
        raise ConfigError(
            f"{path} holds a run of other data, another model or sampler: give another folder, or remove it"
        )
    part = lambda head: {n[len(head) :]: a for n, a in arrays.items() if n.startswith(head)}  # noqa: E731
    try:
        target = target.with_learnt(part("learnt/"))
        pattern = jax.eval_shape(lambda t, k: blocks.begin(t, t.start(k), k), target, jax.random.key(0))
        tree = jax.tree.structure(pattern)
        states, sums = [], []
        for chain in range(int(arrays["chains"])):
            leaves = [arrays[f"chain/{chain}/{index}"] for index in range(tree.num_leaves)]
            state, total = jax.tree.unflatten(tree, leaves)
            states.append(state._replace(
                position=_placed(target, state.position), momentum=_placed(target, state.momentum),
                gradient=_placed(target, state.gradient)))  # fmt: skip
            sums.append(total._replace(coordinates=_placed(target, total.coordinates)))
        kept, stored = part("kept/"), part("points/")
        shape = jax.tree.structure(pattern[0].position)
        points = [
            _placed(target, jax.tree.unflatten(shape, [stored[f"{i}/{j}"] for j in range(shape.num_leaves)]))
            for i in range(len(stored) // shape.num_leaves)
        ]
        return Run(
            target, states, sums, part("draws/"), [kept[str(i)] for i in range(len(kept))], points,
            **{name: kind(arrays[name]) for name, kind in NUMBERS.items()},
        )  # fmt: skip
    except KeyError as missing:
        raise FileError(f"{path}: {missing} is missing; remove the file to start afresh") from None


@jax.jit
def _placed(target, latent):
    return target.place(latent)
