"""Trains a network of fields on a mesh: from one device to a pod, the same lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.emulator.store import load
from galaxyjax.mesh.checkpoint import Checkpoints
from galaxyjax.mesh.pipeline import STAGE, pipeline_block
from galaxyjax.mesh.specs import FSDP, REPLICATE, specs
from galaxyjax.mesh.topology import BATCH, FIELD, SPATIAL, axis_size, check_field
from galaxyjax.train import step as steps
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.identity import fingerprint
from galaxyjax.train.metrics import Metrics, Trace
from galaxyjax.train.optim import field_optimizer
from galaxyjax.train.preempt import Preemption
from galaxyjax.train.ranks import compile_ahead, meet
from galaxyjax.train.state import TrainState
from galaxyjax.train.watchdog import Watchdog


class FieldBatch(NamedTuple):
    """Global arrays on a mesh: field (batch, n, n, n, c), style (batch, s), target (batch, n, n, n, d)."""

    field: jax.Array
    style: jax.Array
    target: jax.Array


LAYOUT = FieldBatch(FIELD, BATCH, FIELD)


class FieldModel(Protocol):
    """A network of periodic fields, a frozen dataclass; `models.vnet.VNet` is one."""

    remat: bool
    dtype: str | None
    multiple: int  # what a block's sides must be multiples of

    def init(self, key: jax.Array) -> Any: ...

    def apply_block(self, params, field, style, axes: tuple[str, str]) -> jax.Array:
        """One device's block of the output, inside `shard_map`."""

    def flops(self, cells: tuple[int, int, int]) -> int:
        """Operations of a forward pass over one whole field."""


@runtime_checkable
class Pipelined(Protocol):
    """A `FieldModel` with a trunk of equal layers; its `apply_block` has the argument `trunk`."""

    stacked: str  # pattern of the parameters with a leading axis of layers

    def check_pipeline(self, batch: int, microbatches: int, stages: int, data: int) -> None:
        """Raises ConfigError when layers or batch do not divide."""


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
class Start:
    """Weights of an emulator of the same model, from which a training starts: transfer learning.

    emulator: on the shelf, or its folder.
    """

    emulator: str

    def init(self, model: FieldModel) -> Callable[[jax.Array], Any]:
        """Return a drop-in for `model.init`. Raises ConfigError when the shapes of weights differ."""
        weights = load(self.emulator).weights
        wanted = jax.eval_shape(model.init, jax.random.key(0))
        if jax.tree.map(jnp.shape, weights) != jax.tree.map(jnp.shape, wanted):
            raise ConfigError(f"{self.emulator}: its weights do not fit the recipe; use its widths")
        return lambda key: jax.tree.map(jnp.asarray, weights)


@dataclass(frozen=True)
class FieldTraining:
    """The training half of a recipe for a network of fields."""

    model: FieldModel
    source: FieldSource
    cells: int  # a side of the fields
    fit: FieldFitConfig = FieldFitConfig()
    loss: FieldLoss = MeanSquare()
    start: Start | None = None  # weights to go on from (transfer learning); the model's own otherwise

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
    check_field(mesh, recipe.cells, fit.batch, recipe.model.multiple)
    check_stages(recipe, mesh)
    optimizer, layout = field_optimizer(fit), parameter_specs(recipe, mesh)
    loss, batches = block_loss(recipe, axis_size(mesh, STAGE)), batch_specs(mesh)
    state = template(recipe, mesh)
    update = steps.make_step(loss, optimizer, mesh, layout, batches, fit)
    measure, judge = steps.make_evaluate(loss, mesh, layout, batches)
    residual = (
        steps.no_residual(steps.residual_template(state.params, mesh, layout)) if fit.compress else None
    )

    meet("start", patience)
    with ExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(patience, jax.process_index(), jax.process_count()))
        checkpoints = stack.enter_context(Checkpoints(folder / "checkpoints", recipe.identity(), mesh))
        found = checkpoints.restore(state, residual)
        if found is None:
            init = recipe.model.init if recipe.start is None else recipe.start.init(recipe.model)
            state = steps.born(init, jax.random.key(fit.seed), optimizer, state)
            history, recent = [], []
        else:
            state, residual = found.state, residual if found.local is None else found.local
            history, recent = [tuple(row) for row in found.about["history"]], found.about["recent"]
        step, stale = int(state.step), int(state.stale)
        held_out = recipe.source.held_out(mesh, fit.batch)
        flops = 3 * fit.batch * recipe.model.flops((recipe.cells,) * 3)  # forward, and twice that backward
        metrics = stack.enter_context(
            Metrics(folder / "events", fit.steps, step, fit.batch, flops, mesh.size, label)
        )
        trace = stack.enter_context(Trace(folder / "profile" if profile else None, step))
        preemption = stack.enter_context(Preemption())
        compile_ahead(update, measure, (state, residual, held_out[0]))
        meet("compiled", patience)
        losses, pending, stop = [], None, False

        def settle() -> None:
            """Wait for the last step given to the devices, and report it."""
            nonlocal pending
            if pending is None:
                return
            number, values = pending
            value, norm = float(values.loss), float(values.gradient_norm)
            if not (math.isfinite(value) and math.isfinite(norm)):
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


def check_stages(recipe: FieldTraining, mesh: Mesh) -> None:
    """Check that the mesh's stages have a pipeline to run. Raises ConfigError with the numbers."""
    stages, fit = axis_size(mesh, STAGE), recipe.fit
    if stages == 1:
        return
    if not isinstance(recipe.model, Pipelined):
        raise ConfigError(
            f"training: stage={stages} of the mesh, but a {type(recipe.model).__name__} has no trunk for a "
            "pipeline; use data, x and y only"
        )
    at_once = fit.batch // fit.accumulate
    recipe.model.check_pipeline(at_once, fit.microbatches or stages, stages, axis_size(mesh, "data"))


def parameter_specs(recipe: FieldTraining, mesh: Mesh):
    """Layout of the parameters on this mesh: each stage of a pipeline has its layers."""
    params, rules = (
        jax.eval_shape(recipe.model.init, jax.random.key(0)),
        FSDP if recipe.fit.fsdp else REPLICATE,
    )
    if axis_size(mesh, STAGE) > 1:
        rules = replace(rules, paths=((recipe.model.stacked, ("layers",)),))
    return specs(params, rules, mesh)


def batch_specs(mesh: Mesh) -> FieldBatch:
    """Layout of a batch in a step: `LAYOUT`, of which each stage takes its share."""
    if axis_size(mesh, STAGE) == 1:
        return LAYOUT
    return FieldBatch(*(P(("data", STAGE), *spec[1:]) for spec in LAYOUT))


def template(recipe: FieldTraining, mesh: Mesh) -> TrainState:
    """The training state as shapes, each with its place on the mesh."""
    layout = parameter_specs(recipe, mesh)
    return steps.state_template(recipe.model.init, field_optimizer(recipe.fit), mesh, layout)


def block_loss(recipe: FieldTraining, stages: int = 1) -> Callable:
    """(params, block of a `FieldBatch`) -> loss (), inside `shard_map`; weights and loss are float32.

    stages: of the mesh; with more than one the trunk is a pipeline over them.
    """
    model, fit = recipe.model, recipe.fit
    # How it is computed is the training's affair; the emulator keeps the model as the recipe has it.
    model = replace(model, dtype=fit.compute or model.dtype, remat=fit.remat or model.remat)
    apply = model.apply_block
    if stages > 1:
        apply = partial(apply, trunk=partial(pipeline_block, microbatches=fit.microbatches or stages))

    def loss(params, batch: FieldBatch) -> jax.Array:
        prediction = apply(params, batch.field, batch.style, SPATIAL)
        return recipe.loss(prediction.astype(jnp.float32), batch, SPATIAL)

    return loss
