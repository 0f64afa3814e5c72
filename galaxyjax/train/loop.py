"""The training loop: steps, validation, early stopping, checkpoints, exact resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.core.files import read_json, write_json
from galaxyjax.core.progress import Progress
from galaxyjax.mesh.topology import BATCH, REPLICATED, axis_size, build_mesh
from galaxyjax.train.config import FitConfig
from galaxyjax.train.optim import optimizer as make_optimizer
from galaxyjax.train.state import TrainState, create, judged, updated

SAVE_EVERY = 20  # evaluations


class Data(NamedTuple):
    """Examples of a regression: features (n, m), targets (n, c), weight (n,)."""

    features: jax.Array  # an array, or a tuple of arrays with the same first axis
    targets: jax.Array
    weight: jax.Array


def fit(
    apply: Callable,
    params,
    data: Data,
    held_out: Data,
    config: FitConfig,
    folder: str | Path,
    identity: str,
    label: str = "training",
    mesh: Mesh | None = None,
    cost: Callable | None = None,
):
    """Least squares of ``apply(params, features)`` to targets; returns the best average, and history.

    Args:
        apply: (params, (n, m)) -> (n, c).
        cost: (apply(params, features), targets) -> (n,), of which the weighted mean is made small; the sum of
            squares of their difference when None.
        data, held_out: training and validation examples, split by simulation.
        folder: of the checkpoints; a run with the same identity goes on from the last one, bit for bit.
        identity: hash of recipe and data; another one in the folder is refused.
        mesh: the examples of a step are divided over its axis "data"; None for one device. The result depends
            on it only through the order of sums.

    Raises:
        ConfigError: the folder holds another training run, or the batch does not divide over the mesh.
        DataError: the loss is not finite.
    """
    optimizer = make_optimizer(config)
    mesh = build_mesh("data=1", jax.local_devices()) if mesh is None else mesh
    parts = axis_size(mesh, "data")
    if config.batch % parts:
        raise ConfigError(f"{label}: a batch of {config.batch} examples does not divide over data={parts}")
    whole = NamedSharding(mesh, REPLICATED)
    state, data, held_out = jax.device_put((create(params, optimizer), data, held_out), whole)
    folder = Path(folder).absolute()
    _claim(folder, identity)
    chunk, evaluate = _compiled(apply, cost or _squares, optimizer, config, mesh)
    # Orbax warns when it is not told where arrays live: on this process's first device.
    options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
    with ocp.CheckpointManager(folder / "checkpoints", options=options) as checkpoints:
        state, history = _restore(checkpoints, state, folder)
        with Progress(config.steps, label, unit="step", start=int(state.step)) as progress:
            while int(state.step) < config.steps and int(state.stale) < config.patience:
                state, loss = chunk(state, data)
                state = evaluate(state, held_out)
                loss, held_out_loss = float(loss), float(state.best_loss)
                if not jnp.isfinite(loss):
                    raise DataError(
                        f"{label}: loss is {loss} at step {int(state.step)}; lower the learning rate"
                    )
                history.append((int(state.step), loss, held_out_loss))
                root = {"rms": loss**0.5, "best": held_out_loss**0.5}
                shown = {"loss": loss, "best": held_out_loss} if cost else root
                progress.advance(config.evaluate_every, **shown)
                if len(history) % SAVE_EVERY == 0:
                    _save(checkpoints, state, folder, history)
        if checkpoints.latest_step() != int(state.step):
            _save(checkpoints, state, folder, history)
        checkpoints.wait_until_finished()
    return jax.tree.map(jnp.asarray, jax.device_get(state.best)), history


def _squares(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(prediction - target), axis=-1)


def _compiled(
    apply: Callable, cost: Callable, optimizer: optax.GradientTransformation, config: FitConfig, mesh: Mesh
):
    """One jitted call for `evaluate_every` steps, one for validation."""
    key = jax.random.key(config.seed)
    whole, divided = NamedSharding(mesh, REPLICATED), NamedSharding(mesh, BATCH)

    def loss(params, batch: Data):
        error = cost(apply(params, batch.features), batch.targets)
        return jnp.sum(batch.weight * error) / jnp.sum(batch.weight)

    def step(state: TrainState, data: Data):
        # A pure function of (seed, step): resuming draws the same examples.
        index = jax.random.randint(
            jax.random.fold_in(key, state.step), (config.batch,), 0, data.weight.shape[0]
        )
        index = jax.lax.with_sharding_constraint(index, divided)
        value, gradient = jax.value_and_grad(loss)(state.params, jax.tree.map(lambda a: a[index], data))
        return updated(state, gradient, optimizer, config.ema), value

    @partial(jax.jit, out_shardings=whole)
    def chunk(state: TrainState, data: Data):
        state, values = jax.lax.scan(lambda s, _: step(s, data), state, length=config.evaluate_every)
        return state, values.mean()

    @partial(jax.jit, out_shardings=whole)
    def evaluate(state: TrainState, held_out: Data):
        return judged(state, loss(state.average, held_out))

    return chunk, evaluate


def _claim(folder: Path, identity: str) -> None:
    path = folder / "identity.json"
    if path.exists() and read_json(path)["identity"] != identity:
        raise ConfigError(
            f"{folder}: holds another training run (recipe or data differ); choose another --out"
        )
    write_json(path, {"identity": identity})


def _restore(checkpoints: ocp.CheckpointManager, state: TrainState, folder: Path):
    step = checkpoints.latest_step()
    if step is None:
        return state, []
    restored = checkpoints.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore(state), history=ocp.args.JsonRestore())
    )
    return restored["state"], [tuple(row) for row in restored["history"]["rows"]]


def _save(checkpoints: ocp.CheckpointManager, state: TrainState, folder: Path, history: list) -> None:
    rows = {"rows": json.loads(json.dumps(history))}
    checkpoints.save(
        int(state.step),
        args=ocp.args.Composite(state=ocp.args.StandardSave(state), history=ocp.args.JsonSave(rows)),
    )
