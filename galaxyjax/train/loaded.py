"""Suites of simulations to train on: a `data.loader.Loader` as the source of a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.data.loader import Loader
from galaxyjax.mesh.topology import FIELD
from galaxyjax.train.field import FieldBatch


@dataclass(frozen=True)
class LoadedFields:
    """What a network of fields learns from, drawn by two loaders: of the training and the validation fold.

    data: what the examples are, so that a run is not resumed on others: the hash of their files, or a name
    and version. inputs, targets: fields whose channels follow each other; style: a label. The loaders'
    own batch and seed are replaced by the recipe's. Raises UnknownName, and ConfigError when the two loaders
    share a simulation or are normalised differently.
    """

    data: str
    inputs: tuple[str, ...]
    style: str
    targets: tuple[str, ...]
    training: InitVar[Loader]
    validation: InitVar[Loader]

    def __post_init__(self, training: Loader, validation: Loader):
        kinds = training.examples.kinds
        for name in (*self.inputs, self.style, *self.targets):
            if name not in kinds:
                raise unknown_name("field of the examples", name, kinds)
        folds = [{one.examples.simulations[i] for i in one.indices} for one in (training, validation)]
        if folds[0] & folds[1]:
            shared = sorted(map(str, folds[0] & folds[1]))
            raise ConfigError(
                f"simulation {shared[0]} is in training and in validation; see data.folds.split"
            )
        if _hash_of(training) != _hash_of(validation):
            raise ConfigError("training and validation are normalised differently; give both the same")
        object.__setattr__(self, "_loaders", (training, validation))
        object.__setattr__(self, "_running", {})

    def batch(self, mesh: Mesh, size: int, seed: int, step: int) -> FieldBatch:
        """`size` examples, a pure function of (seed, step); steps asked for in order are read ahead."""
        key = (mesh, size, seed)
        due, batches = self._running.get(key, (None, None))
        if due != step:
            loader = replace(self._loaders[0], batch=size, seed=seed)
            batches = loader.on_mesh(mesh, start=step)
        self._running.clear()  # one stream at a time: a reader's threads and memory are not free
        self._running[key] = (step + 1, batches)
        return self._formed(mesh, next(batches))

    def held_out(self, mesh: Mesh, size: int) -> list[FieldBatch]:
        """The validation fold, unmoved, in batches of `size`; what fills no batch is left out.

        Raises ConfigError when the fold does not fill one.
        """
        loader = self._loaders[1]
        steps = len(loader.indices) // size
        if not steps:
            raise ConfigError(f"validation has {len(loader.indices)} examples, fewer than a batch of {size}")
        still = replace(loader, batch=size, seed=0, rotate=False, shift=False)
        return [self._formed(mesh, one) for one in still.on_mesh(mesh, steps=steps)]

    def identity(self) -> str:
        """Hash of what the examples are, which are in which fold, and how they are moved."""
        digest = hashlib.sha256(repr((self.data, self.inputs, self.style, self.targets)).encode())
        for loader in self._loaders:
            digest.update(repr((loader.indices.tolist(), loader.rotate, loader.shift)).encode())
        return digest.hexdigest()

    def normalisation(self) -> Mapping[str, Any]:
        """The numbers by which examples were scaled."""
        scaled = self._loaders[0].normalisation
        return {} if scaled is None else {"hash": scaled.hash, **scaled.arrays()}

    def _formed(self, mesh: Mesh, made: Mapping[str, jax.Array]) -> FieldBatch:
        together = NamedSharding(mesh, FIELD)

        def joined(names: tuple[str, ...]) -> jax.Array:
            if len(names) == 1:
                return made[names[0]]
            return _join(together)(*[made[name] for name in names])

        return FieldBatch(joined(self.inputs), made[self.style].astype(jnp.float32), joined(self.targets))


def _join(sharding: NamedSharding):
    """Channels after each other, in place: z and channels are on every device."""
    return jax.jit(lambda *parts: jnp.concatenate(parts, axis=-1), out_shardings=sharding)


def _hash_of(loader: Loader) -> str:
    return "" if loader.normalisation is None else loader.normalisation.hash
