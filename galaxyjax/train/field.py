"""Trains a network of fields on a mesh: from one device to a pod, the same lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import DataError
from galaxyjax.mesh import collect
from galaxyjax.mesh.checkpoint import Checkpoints
from galaxyjax.mesh.topology import BATCH, FIELD, build_mesh, check_field
from galaxyjax.train import step as steps
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.identity import fingerprint
from galaxyjax.train.metrics import Metrics, Trace
from galaxyjax.train.optim import field_optimizer
from galaxyjax.train.preempt import Preemption
from galaxyjax.train.watchdog import Watchdog

SPATIAL = ("x", "y")


class FieldBatch(NamedTuple):
    """Global arrays on a mesh: field (batch, n, n, n, c), style (batch, s), target (batch, n, n, n, d)."""

    field: jax.Array
    style: jax.Array
    target: jax.Array


LAYOUT = FieldBatch(FIELD, BATCH, FIELD)


class FieldModel(Protocol):
    """A network of periodic fields; `models.vnet.VNet` is one."""

    def init(self, key: jax.Array) -> Any: ...

    def apply_block(self, params, field, style, axes: tuple[str, str]) -> jax.Array:
        """One device's block of the output, inside `shard_map`."""


class FieldSource(Protocol):
    """Where examples come from: a frozen dataclass, so that it can be hashed."""

    def batch(self, mesh: Mesh, size: int, seed: int, step: int) -> FieldBatch:
        """`size` examples, a pure function of (seed, step), born on `mesh` as `LAYOUT` says."""

    def held_out(self, mesh: Mesh, size: int) -> Sequence[FieldBatch]:
        """Batches of `size` that training never sees; one at least."""

    def identity(self) -> str:
        """Hash of the data, or of what makes them."""

    def normalisation(self) -> Mapping[str, Any]:
        """The numbers by which examples were scaled."""


class FieldLoss(Protocol):
    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        """Loss () float32 of one device's block: a mean over it, or over more if it sums over axes itself."""


@dataclass(frozen=True)
class MeanSquare:
    """Mean square of prediction minus target, over everything."""

    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        return jnp.mean(jnp.square(prediction - batch.target))


@dataclass(frozen=True)
class FieldTraining:
    """The training half of a recipe for a network of fields."""

    model: FieldModel
    source: FieldSource
    cells: int  # a side of the fields
    fit: FieldFitConfig = FieldFitConfig()
    loss: FieldLoss = MeanSquare()

    def identity(self) -> dict[str, str]:
        """Hashes of the recipe, of the data and of the normalisation."""
        return {
            "recipe": fingerprint(self),
            "data": self.source.identity(),
            "normalisation": fingerprint(self.source.normalisation()),
        }


class Trained(NamedTuple):
    """The best average of the weights, the validations, and how the run ended.

    history: (step, training loss since the last, held-out loss, best held-out loss). losses: (step, loss) of
    every step that this call made. utilisation: of the devices' peak, None where that is not known.
    """

    weights: Any
    history: list[tuple[int, float, float, float]]
    losses: list[tuple[int, float]]
    step: int
    told_to_stop: bool
    seconds_a_step: float | None
    utilisation: float | None


def train(
    recipe: FieldTraining,
    mesh: Mesh,
    folder: str | Path,
    *,
    profile: bool = False,
    patience: float = 0.0,
    label: str = "training",
) -> Trained:
    """Trains, or goes on, until the steps are done, validation stops improving, or SIGTERM.

    Args:
        mesh: any; the result depends on it only through the order of sums.
        folder: checkpoints, TensorBoard events and traces; of one run, seen by all processes.
        profile: write a trace of a few steps to `folder`/profile.
        patience: seconds after which a silent process is taken for hung and ended; 0 for never.

    Raises:
        ConfigError: mesh, field and batch do not fit, or the folder holds another run.
        DataError: a loss or gradient that is not finite.
    """
    fit, folder = recipe.fit, Path(folder)
    check_field(mesh, recipe.cells, fit.batch)
    optimizer = field_optimizer(fit)
    specs = parameter_specs(recipe, mesh)
    shapes, shardings = steps.state_shardings(recipe.model.init, optimizer, mesh, specs)
    template = jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), shapes, shardings
    )
    loss = block_loss(recipe)
    update = steps.make_step(loss, optimizer, mesh, specs, LAYOUT, fit)
    measure, judge = steps.make_evaluate(loss, mesh, specs, LAYOUT)
    residual = steps.no_residual(shapes.params, mesh, specs) if fit.compress else None

    with ExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(patience, jax.process_index(), jax.process_count()))
        checkpoints = stack.enter_context(Checkpoints(folder / "checkpoints", recipe.identity(), mesh))
        found = checkpoints.restore(template, residual)
        if found is None:
            state = steps.born(recipe.model.init, jax.random.key(fit.seed), optimizer, shardings)
            history, recent = [], []
        else:
            state, residual = found.state, residual if found.local is None else found.local
            history, recent = [tuple(row) for row in found.about["history"]], found.about["recent"]
        step, stale = int(state.step), int(state.stale)
        held_out = recipe.source.held_out(mesh, fit.batch)
        counted = flops_of_gradient(recipe, held_out[0])
        flops = None if counted is None else counted * fit.batch
        metrics = stack.enter_context(
            Metrics(folder / "events", fit.steps, step, fit.batch, flops, mesh.size, label)
        )
        trace = stack.enter_context(Trace(folder / "profile" if profile else None, step))
        preemption = stack.enter_context(Preemption())
        losses, pending, stop = [], None, False

        def settle() -> None:
            """Wait for the last step given to the devices, and report it."""
            nonlocal pending
            if pending is None:
                return
            number, values = pending
            value, norm = float(values.loss), float(values.gradient_norm)
            if not (jnp.isfinite(value) and jnp.isfinite(norm)):
                raise DataError(
                    f"{label}: loss {value}, gradient norm {norm} at step {number}; lower the learning rate"
                )
            recent.append(value)
            losses.append((number, value))
            metrics.step(number, value, norm)
            pending = None

        def save() -> None:
            watchdog.beat(f"the checkpoint of step {step}")
            checkpoints.save(step, state, residual, {"history": history, "recent": recent})
            metrics.pause()

        while step < fit.steps and stale < fit.patience and not stop:
            watchdog.beat(f"step {step + 1}")
            batch = recipe.source.batch(mesh, fit.batch, fit.seed, step)
            state, residual, values = update(state, residual, batch)
            settle()  # of the step before: the devices have the next one to do meanwhile
            step, pending = step + 1, (step + 1, values)
            trace.step(step, values)
            stop = preemption.reached(step)
            if step % fit.evaluate_every == 0 or step == fit.steps:
                settle()
                watchdog.beat(f"the validation after step {step}")
                value = jnp.mean(jnp.stack([measure(state.average, part) for part in held_out]))
                state = judge(state, value)
                stale, best = int(state.stale), float(state.best_loss)
                history.append((step, sum(recent) / len(recent), float(value), best))
                recent.clear()
                metrics.held_out(step, float(value), best)
                metrics.pause()
            if step % fit.save_every == 0 or stop:
                settle()
                save()
        settle()
        save()
        checkpoints.wait()
        told = stop and step < fit.steps
    return Trained(state.best, history, losses, step, told, metrics.seconds, metrics.utilisation())


def parameter_specs(recipe: FieldTraining, mesh: Mesh):
    """Layout of the parameters."""
    params = jax.eval_shape(recipe.model.init, jax.random.key(0))
    return jax.tree.map(lambda _: P(), params)


def block_loss(recipe: FieldTraining) -> Callable:
    """(params, block of a `FieldBatch`) -> loss (), inside `shard_map`; the network runs in `fit.compute`."""
    compute = jnp.dtype(recipe.fit.compute)
    apply = recipe.model.apply_block
    if recipe.fit.remat:
        apply = jax.checkpoint(apply, static_argnums=3)

    def cast(tree):
        return jax.tree.map(lambda a: a.astype(compute), tree)

    def loss(params, batch: FieldBatch) -> jax.Array:
        # The cast is part of what is differentiated: gradients come back in the weights' float32.
        prediction = apply(cast(params), cast(batch.field), cast(batch.style), SPATIAL)
        return recipe.loss(prediction.astype(jnp.float32), batch, SPATIAL)

    return loss


def flops_of_gradient(recipe: FieldTraining, batch: FieldBatch) -> float | None:
    """Floating-point operations of the loss and its gradient for one field on one device, as XLA counts them.

    Nothing is compiled or computed. None when this backend does not count.
    """
    plain = replace(recipe, fit=replace(recipe.fit, remat=False))
    mesh = build_mesh("data=1", jax.local_devices()[:1])
    params = jax.eval_shape(recipe.model.init, jax.random.key(0))
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), batch)
    inside = lambda p, b: collect.mean(block_loss(plain)(p, b), mesh.axis_names)  # noqa: E731
    value = jax.shard_map(inside, mesh=mesh, in_specs=(P(), LAYOUT), out_specs=P(), check_vma=True)
    cost = jax.jit(jax.grad(value)).lower(params, one).cost_analysis()
    return (cost or {}).get("flops")
