"""Trains a posterior of parameters on simulated maps, and crosses it over their simulations."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from galaxyjax.core.errors import DataError
from galaxyjax.data.folds import k_fold, split
from galaxyjax.models.map_posterior import MapPosterior
from galaxyjax.train.config import FitConfig
from galaxyjax.train.identity import fingerprint
from galaxyjax.train.loop import Data, fit

CHUNK = 64  # maps of which draws are made at once


class Pairs(NamedTuple):
    """Simulated observations: maps (m, n, n, c), theta (m, d), simulations (m,) which each is of.

    theta was drawn from the model's uniform prior. What shares initial conditions shares its simulation.
    """

    maps: np.ndarray
    theta: np.ndarray
    simulations: Sequence[Hashable]

    def of(self, index) -> Pairs:
        """Some of them."""
        index = np.asarray(index)
        return Pairs(self.maps[index], self.theta[index], [self.simulations[i] for i in index])


class Crossed(NamedTuple):
    """Every simulation judged by a posterior that never saw it.

    truth (m, d), draws (m, draws, d), simulations (m,), in the order of the pairs; log_prob (m,): of
    the truth.
    """

    truth: np.ndarray
    draws: np.ndarray
    simulations: list
    log_prob: np.ndarray


def train_posterior(
    model: MapPosterior,
    pairs: Pairs,
    config: FitConfig,
    folder: str | Path,
    *,
    validation: float = 0.1,
    turn: bool = True,
    mesh: Mesh | None = None,
) -> tuple[dict, list]:
    """Return weights of the highest mean log q(theta | map) on simulations held out, and the history.

    validation: share of simulations that decide when to stop. turn: the four turns of a map and of its mirror
    image count as examples, as in an isotropic universe they do. folder: of the checkpoints; a run that was
    stopped goes on, bit for bit. mesh: examples of a step are divided over its axis "data".

    Raises:
        DataError: shapes do not fit the model, or theta lies outside its prior. ConfigError: as `fit`.
    """
    _check(model, pairs)
    folds = split(pairs.simulations, (1.0 - validation, validation, 0.0), seed=config.seed)
    train, held_out = (_examples(pairs.of(folds[name]), turn) for name in ("train", "validation"))
    params = model.scaled(model.init(jax.random.key(config.seed)), train.features[0])
    apply = lambda params, features: model.log_prob(params, features[1], features[0])  # noqa: E731
    return fit(
        apply, params, train, held_out, config, folder, _identity(model, pairs, config),
        "posterior", mesh, cost=lambda log_prob, _: -log_prob,
    )  # fmt: skip


def draw_posterior(model: MapPosterior, weights, maps, draws: int, seed: int = 0) -> np.ndarray:
    """Draws (m, draws, d) given maps (m, n, n, c)."""
    run = jax.jit(lambda w, key, x: model.sample(w, key, x, draws))
    keys = jax.random.split(jax.random.key(seed), -(-len(maps) // CHUNK))
    parts = [
        np.asarray(run(weights, key, jnp.asarray(maps[CHUNK * i : CHUNK * (i + 1)])))
        for i, key in enumerate(keys)
    ]
    return np.concatenate(parts)


def cross_validate(
    model: MapPosterior,
    pairs: Pairs,
    config: FitConfig,
    folder: str | Path,
    *,
    folds: int = 5,
    draws: int = 1000,
    turn: bool = True,
    mesh: Mesh | None = None,
) -> Crossed:
    """Train `folds` posteriors, each without a share of the simulations, and draw for that share.

    Raises as `train_posterior`, and ConfigError for more folds than simulations.
    """
    _check(model, pairs)
    count = len(pairs.theta)
    drawn = np.empty((count, draws, len(model.names)), np.float32)
    log_prob = np.empty(count, np.float32)
    judge = jax.jit(model.log_prob)
    for fold in range(folds):
        parts = k_fold(pairs.simulations, folds, fold, seed=config.seed)
        inside, outside = (pairs.of(parts[name]) for name in ("train", "validation"))
        weights, _ = train_posterior(
            model, inside, config, Path(folder) / f"fold_{fold}", turn=turn, mesh=mesh
        )
        drawn[parts["validation"]] = draw_posterior(model, weights, outside.maps, draws, config.seed + fold)
        log_prob[parts["validation"]] = judge(
            weights, jnp.asarray(outside.theta, jnp.float32), jnp.asarray(outside.maps, jnp.float32)
        )
    return Crossed(np.asarray(pairs.theta), drawn, list(pairs.simulations), log_prob)


def turned(maps: np.ndarray) -> np.ndarray:
    """The eight turns and mirror images of maps (m, n, n, c): (8, m, n, n, c)."""
    sides = [maps, maps[:, :, ::-1]]
    return np.stack([np.rot90(side, times, axes=(1, 2)) for side in sides for times in range(4)])


def _examples(pairs: Pairs, turn: bool) -> Data:
    maps, theta = np.asarray(pairs.maps, np.float32), np.asarray(pairs.theta, np.float32)
    if turn:
        maps = turned(maps)
        theta = np.broadcast_to(theta, (len(maps), *theta.shape)).reshape(-1, theta.shape[-1])
        maps = maps.reshape(-1, *maps.shape[2:])
    theta = jnp.asarray(theta)
    return Data((jnp.asarray(maps), theta), theta, jnp.ones(len(theta)))


def _check(model: MapPosterior, pairs: Pairs) -> None:
    maps, theta = np.asarray(pairs.maps), np.asarray(pairs.theta)
    shape = (model.cells, model.cells, model.channels)
    if maps.ndim != 4 or maps.shape[1:] != shape or theta.shape != (len(maps), len(model.names)):
        raise DataError(
            f"posterior: maps {maps.shape} and theta {theta.shape}, not (m, {', '.join(map(str, shape))}) "
            f"and (m, {len(model.names)})"
        )
    if len(pairs.simulations) != len(maps):
        raise DataError(f"posterior: {len(maps)} maps of {len(pairs.simulations)} simulations; give one each")
    if not np.isfinite(maps).all():
        raise DataError("posterior: a map holds a value that is not finite")
    for i, name in enumerate(model.names):
        low, high = model.low[i], model.high[i]
        if theta[:, i].min() < low or theta[:, i].max() > high:
            raise DataError(
                f"posterior: {name} from {theta[:, i].min():g} to {theta[:, i].max():g} leaves its prior "
                f"{low:g} to {high:g}"
            )


def _identity(model: MapPosterior, pairs: Pairs, config: FitConfig) -> str:
    content = hashlib.sha256()
    for array in (pairs.maps, pairs.theta):
        content.update(np.ascontiguousarray(array, np.float32).tobytes())
    return fingerprint((model, config, content.hexdigest(), [str(s) for s in pairs.simulations]))
