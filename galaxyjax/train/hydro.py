"""Pairs of snapshots to train `models.hydro` on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax.sharding import Mesh

from galaxyjax.core.errors import ConfigError
from galaxyjax.data.augment import Move, draw, moved
from galaxyjax.data.baryons import BaryonFields, Pair, open_pair, paint_pair
from galaxyjax.models.hydro import Hydro
from galaxyjax.train.displacement import placed
from galaxyjax.train.field import FieldBatch
from galaxyjax.train.identity import fingerprint

TRUTH = ("gas", "stars", "temperature", "pressure")
_HELD_OUT = 10_000_000  # the step from which the noise of held-out examples is drawn


@runtime_checkable
class BaryonExamples(Protocol):
    """Where pairs come from: a frozen dataclass, so that it can be hashed."""

    simulations: tuple[str, ...]

    def __len__(self) -> int: ...

    def fields(self, index: int, variant: int) -> BaryonFields:
        """Fields of example `index`; `variant` 0 is its own grid, others may be the same universe again."""

    def theta(self, index: int) -> Mapping[str, float]:
        """Parameters of example `index`."""

    def identity(self) -> str:
        """Hash of what the examples are."""


@dataclass(frozen=True)
class PairExamples:
    """Pairs of snapshots, painted on `cells`^3 by `scheme`; variants lie on grids moved by part of a cell."""

    pairs: tuple[Pair, ...]
    cells: int
    scheme: str = "tsc"

    def __post_init__(self):
        object.__setattr__(self, "_open", {})

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def simulations(self) -> tuple[str, ...]:
        """The simulations that are among the pairs, by name."""
        return tuple(dict.fromkeys(pair.simulation for pair in self.pairs))

    def fields(self, index: int, variant: int = 0) -> BaryonFields:
        """Paint one pair; variant n > 0 on the n-th point of a low-discrepancy sequence (Roberts 2018)."""
        if index not in self._open:
            self._open[index] = open_pair(self.pairs[index])
        offset = (variant * np.array([0.8191725134, 0.6710436067, 0.5497004779])) % 1.0
        return paint_pair(*self._open[index], self.cells, offset, self.scheme)

    def theta(self, index: int) -> Mapping[str, float]:
        """Parameters of one pair."""
        return dict(self.pairs[index].theta)

    def identity(self) -> str:
        """Hash of which pairs, on which grid; their files are verified by their manifests."""
        return fingerprint(self)


@dataclass(frozen=True)
class HydroSource:
    """Examples for `MeanHead` and `Flow`: fields turned, shifted, and mixed with noise by (seed, step).

    training, validation: of simulations apart. variants: of each training example. keep: examples
    in memory. Raises ConfigError when a fold is empty, or both have a simulation.
    """

    model: Hydro
    training: BaryonExamples
    validation: BaryonExamples
    variants: int = 4
    keep: int = 256

    def __post_init__(self):
        object.__setattr__(self, "_made", {})
        if not len(self.training) or not len(self.validation) or self.variants < 1:
            raise ConfigError("hydro training: both folds need an example, and variants must be at least 1")
        if shared := set(self.training.simulations) & set(self.validation.simulations):
            raise ConfigError(
                f"simulation {min(shared)} is in training and in validation; take it out of one"
            )

    def batch(self, mesh: Mesh, size: int, seed: int, step: int) -> FieldBatch:
        """`size` examples, a pure function of (seed, step)."""
        rng = np.random.default_rng([seed, step])
        made = []
        for _ in range(size):
            index, variant = int(rng.integers(len(self.training))), int(rng.integers(self.variants))
            stack, style = self._example(self.training, index, variant)
            sides = stack.shape[: 2 if self.model.flat else 3]
            move = draw([int(b) for b in rng.integers(2**62, size=4)], {"all": sides}, True, True)
            made.append(self._mixed(_turned(stack, move), style, rng))
        return placed(made, mesh)

    def held_out(self, mesh: Mesh, size: int) -> Sequence[FieldBatch]:
        """The validation examples as they are, each at four times of the flow, in batches of `size`."""
        made = []
        for index in range(len(self.validation)):
            stack, style = self._example(self.validation, index, 0)
            for k in range(4 if self.model.flow else 1):
                rng = np.random.default_rng([_HELD_OUT, index, k])
                made.append(self._mixed(stack, style, rng, (k + 0.5) / 4.0))
        made = (made * size)[: max(len(made) // size, 1) * size]
        return [placed(made[i : i + size], mesh) for i in range(0, len(made), size)]

    def identity(self) -> str:
        """Hash of the data and of how examples are drawn from it."""
        return fingerprint([self.training.identity(), self.validation.identity(), self.variants])

    def normalisation(self) -> Mapping[str, Any]:
        """Densities are over their means; the rest is in the model's hyperparameters."""
        return {"centre": self.model.centre, "width": self.model.width}

    def _example(self, examples: BaryonExamples, index: int, variant: int):
        """((n, n, n, 5) matter and truth, style) of one example; kept in memory."""
        key = (examples is self.validation, index, variant)
        if key not in self._made:
            if len(self._made) >= self.keep:
                del self._made[next(iter(self._made))]
            found = examples.fields(index, variant)
            stack = np.stack([found.matter, *(getattr(found, name) for name in TRUTH)], axis=-1)
            self._made[key] = (
                stack.astype(np.float32),
                style_of(self.model, examples.theta(index), found.redshift),
            )
        return self._made[key]

    def _mixed(self, stack: np.ndarray, style: np.ndarray, rng: np.random.Generator, time=None):
        """(field, style, truth) with white noise and a time where there is a flow."""
        if self.model.flow is None:
            return stack, style, stack[..., -len(TRUTH) :]
        time = rng.uniform() if time is None else time
        layers = 1 if self.model.flat else stack.shape[2]
        noise = rng.standard_normal((*stack.shape[:2], layers, self.model.channels), np.float32)
        noise = np.repeat(noise, stack.shape[2] // layers, axis=2)
        return (
            np.concatenate([stack, noise], -1),
            np.append(style, np.float32(time)),
            stack[..., -len(TRUTH) :],
        )


def style_of(model: Hydro, theta: Mapping[str, float], redshift: float) -> np.ndarray:
    """Return the model's style (s + 1,) float32. Raises ConfigError for a parameter that is missing."""
    for name in model.style:
        if name not in theta:
            raise ConfigError(
                f"hydro training: parameter {name} is missing; the model's style is {model.style}"
            )
    return np.array([*(theta[name] for name in model.style), 1.0 / (1.0 + redshift)], np.float32)


def _turned(stack: np.ndarray, move: Move) -> np.ndarray:
    """A box moved; of equal layers (a move in two dimensions), each alike."""
    sides = stack.shape[: len(move.shift)]
    flat = stack if len(sides) == 3 else stack[:, :, 0]
    read = lambda low, high: flat[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]  # noqa: E731
    turned = moved(read, sides, "scalar", move)
    return turned if len(sides) == 3 else np.repeat(turned[:, :, None], stack.shape[2], axis=2)
