"""One training step on a mesh: accumulate, reduce once, clip, update, average."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import collect
from galaxyjax.mesh.specs import gather
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.state import TrainState, create, judged, updated


class Values(NamedTuple):
    """What a step reports, float32, the same on every device: loss (), gradient_norm () before clipping."""

    loss: jax.Array
    gradient_norm: jax.Array


def make_step(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    specs,
    batch_specs,
    config: FieldFitConfig,
) -> Callable:
    """Returns the jitted ``(state, residual, batch) -> (state, residual, Values)``.

    Args:
        loss: (params, block of the batch) -> (), called inside `shard_map` with whole parameters: the mean
            over this device's block, or over more where it has summed over axes itself.
        specs: layout of the parameters; those that name "data" are gathered for the step, and each device
            updates its own shard of them.
        batch_specs: layout of the batch, or a prefix of it; the first axis of every array is over "data".

    The gradient crosses the mesh once a step however many batches are accumulated. The state's buffers are
    given up (donated).
    """
    axes = mesh.axis_names
    reduce = _make_gradient(loss, axes, specs, config)
    residual_spec = P(*axes)
    gradient = jax.shard_map(
        reduce,
        mesh=mesh,
        in_specs=(specs, residual_spec, batch_specs),
        out_specs=(specs, residual_spec, Values(P(), P())),
        check_vma=True,
    )

    def step(state: TrainState, residual, batch):
        gradients, residual, values = gradient(state.params, residual, batch)
        # Element by element on global arrays: each device updates its own shard, and nothing is sent.
        state = updated(state, gradients, optimizer, config.ema)
        return state, residual, values

    return jax.jit(step, donate_argnums=(0, 1))


def _make_gradient(loss: Callable, axes: tuple[str, ...], specs, config: FieldFitConfig) -> Callable:
    """The reduced, clipped gradient of one step, on one device's blocks."""

    def local(params, batch):
        value = loss(params, batch)
        # Only this device's part: the halo's transpose brings what the others' parts owe to these parameters.
        return collect.share(value), collect.share(collect.varying(value, axes))

    one = jax.grad(local, has_aux=True)

    def gradient(params, residual, batch):
        whole = collect.varying(gather(params, specs), axes)
        if config.accumulate == 1:
            total, value = one(whole, batch)
        else:
            total, value = _accumulate(one, whole, _split(batch, config.accumulate), axes)
        if residual is None:
            # The loss travels with the gradient: one all-reduce is all.
            (total, value), _ = collect.reduce_gradients((total, value), (specs, P()), axes)
        else:
            value = lax.psum(value, axes)
            inside = jax.tree.map(lambda r: r.reshape(r.shape[len(axes) :]), residual)
            total, left = collect.reduce_gradients(total, specs, axes, inside)
            residual = jax.tree.map(lambda r, like: r.reshape(like.shape), left, residual)
        norm = collect.global_norm(total, specs)
        if config.clip:
            factor = config.clip / jnp.maximum(norm, config.clip)
            total = jax.tree.map(lambda g: g * factor, total)
        return total, residual, Values(value, norm)

    return gradient


def _accumulate(one: Callable, params, batches, axes: tuple[str, ...]):
    """Mean gradient and value over the leading axis of `batches`, one at a time."""
    count = jax.tree.leaves(batches)[0].shape[0]

    def body(total, batch):
        return jax.tree.map(lambda t, g: t + g / count, total, one(params, batch)), None

    zero = (jax.tree.map(jnp.zeros_like, params), collect.varying(jnp.zeros(()), axes))
    return lax.scan(body, zero, batches)[0]


def _split(batch, parts: int):
    """(batch, ...) -> (parts, batch / parts, ...) on every array."""

    def split(a):
        if a.shape[0] % parts:
            raise ConfigError(
                f"training: accumulate = {parts} does not divide the {a.shape[0]} fields on each device; "
                f"choose a batch that is a multiple of {parts} times the mesh's data"
            )
        return a.reshape(parts, a.shape[0] // parts, *a.shape[1:])

    return jax.tree.map(split, batch)


def make_evaluate(loss: Callable, mesh: Mesh, specs, batch_specs) -> tuple[Callable, Callable]:
    """Returns jitted ``measure(params, batch) -> loss ()`` and ``judge(state, loss) -> state``.

    `judge` keeps the average when the loss is the lowest so far and counts the evaluations since.
    """
    axes = mesh.axis_names

    def measure(params, batch):
        return collect.mean(loss(collect.varying(gather(params, specs), axes), batch), axes)

    inside = jax.shard_map(measure, mesh=mesh, in_specs=(specs, batch_specs), out_specs=P(), check_vma=True)
    return jax.jit(inside), jax.jit(judged)


def state_template(init: Callable, optimizer: optax.GradientTransformation, mesh: Mesh, specs) -> TrainState:
    """The training state as `jax.ShapeDtypeStruct`s with shardings; moments lie as their parameters do.

    init: key -> params.
    """

    def place(leaf, spec):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    state = jax.eval_shape(lambda k: create(init(k), optimizer), jax.random.key(0))
    params = jax.tree.map(place, state.params, specs)
    moments = optax.tree_utils.tree_map_params(
        optimizer, place, state.opt_state, specs, transform_non_params=lambda leaf: place(leaf, P())
    )
    scalars = {name: place(state[name], P()) for name in ("step", "best_loss", "best_step", "stale")}
    return TrainState(params=params, opt_state=moments, average=params, best=params, **scalars)


def born(init: Callable, key: jax.Array, optimizer: optax.GradientTransformation, template: TrainState):
    """The state before the first step, made where it lies: no device ever holds what it will not keep."""
    shardings = jax.tree.map(lambda a: a.sharding, template)
    return jax.jit(lambda k: create(init(k), optimizer), out_shardings=shardings)(key)


def residual_template(params, mesh: Mesh, specs) -> collect.Residual:
    """Error feedback's residual as shapes with shardings: each device of the mesh has its own."""
    shapes, layouts = collect.empty_residual(params, specs, mesh)
    place = lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, s))  # noqa: E731
    return jax.tree.map(place, shapes, layouts)


def no_residual(template: collect.Residual) -> collect.Residual:
    """The residual before the first step on a mesh: zero, made where it lies."""
    zero = lambda a: jax.jit(lambda: jnp.zeros(a.shape, a.dtype), out_shardings=a.sharding)()  # noqa: E731
    return jax.tree.map(zero, template)
