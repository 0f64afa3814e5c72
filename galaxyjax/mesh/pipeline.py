"""A pipeline of equal residual blocks over the mesh axis "stage": 1F1B, with GPipe as its reference.

Stage s of S keeps layers s L/S .. (s + 1) L/S - 1 and works on microbatch t - s at tick t, so activations
move one stage up a tick. The batch lies over ("data", "stage"): every stage keeps its share of inputs and
results, and microbatches ride a conveyor (one register a stage, one hop a tick) to stage 0 in time, and from
the last stage home. So nothing is gathered or repeated, and all that is sent are collective-permutes.

    schedule  backward pass                              what a stage keeps for it       blocks evaluated
    gpipe     JAX's transpose of the forward loop        insides of all M microbatches   1 forward, 1 backward
    1f1b      microbatch m goes up again, and down as    2 S - 1 inputs, and insides of  3 forward, 1 backward
              soon as it is at the top                   one microbatch

The loss stands outside, so the pipeline is an ordinary differentiable function. 1F1B is its `custom_vjp`
(which has no `jvp`; GPipe has one): it saves parameters and inputs alone, and its backward pass is one loop,
in which each stage does a forward and a backward of different microbatches at each tick (in lockstep, so
bubbles cost 2 (S - 1) ticks, not S - 1). Narayanan et al. 2019 (PipeDream) and 2021 (Megatron-LM, section
2.2) have both schedules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.collect import varies_over, varying
from galaxyjax.mesh.topology import FIELD, axis_size

STAGE = "stage"
SCHEDULES = ("1f1b", "gpipe")


def pipeline(
    block_apply: Callable,
    stacked_params: Any,
    x: Any,
    mesh: Mesh,
    microbatches: int,
    schedule: str = "1f1b",
    specs: Any = None,
) -> Any:
    """Return x after all layers of a stack: ``for p in stacked_params: x = block_apply(p, x)``.

    Args:
        block_apply: (parameters of one layer, x) -> x of the same shapes and dtypes, on this device's block
            inside a `shard_map` over all axes (so it may exchange halos). It must not close over arrays that
            are differentiated: what a layer needs besides its parameters, such as a style vector, is part of
            x and is handed on unchanged.
        stacked_params: tree of (layers, ...) arrays, layers over "stage".
        x: tree of floating arrays (batch, ...).
        mesh: with axis "stage"; without it, or with one stage, the same code has no messages to send.
        microbatches: M, into which each device's part of the batch is cut; a multiple of the stages. The
            bubbles take (S - 1) / (M + S - 1) of the time of a forward pass.
        schedule: "1f1b", or "gpipe", which keeps the insides of all microbatches.
        specs: PartitionSpecs of x without the pipeline; fields (five dimensions) as `FIELD`, others over
            "data", unless given. The result lies as x does, its batch over ("data", "stage").

    Raises:
        ConfigError: layers do not divide over the stages, microbatches over the stages, or the batch over
            data and microbatches; unknown schedule.
    """
    if schedule not in SCHEDULES:
        raise ConfigError(f"pipeline: schedule={schedule!r} must be one of {', '.join(SCHEDULES)}")
    _check(stacked_params, x, mesh, microbatches)
    if specs is None:
        specs = jax.tree.map(lambda leaf: FIELD if leaf.ndim == 5 else P("data"), x)
    batch = ("data", STAGE) if STAGE in mesh.axis_names else "data"
    layers = P(STAGE) if STAGE in mesh.axis_names else P()
    placed = jax.tree.map(lambda s: P(batch, *tuple(s)[1:]), specs, is_leaf=lambda s: isinstance(s, P))
    block = partial(pipeline_block, block_apply, microbatches=microbatches, schedule=schedule)
    # Compiled also when called op by op: many small collectives in flight starve each other on host devices.
    return jax.jit(
        jax.shard_map(block, mesh=mesh, in_specs=(layers, placed), out_specs=placed),
    )(stacked_params, x)


def pipeline_block(
    block_apply: Callable, params: Any, x: Any, microbatches: int, schedule: str = "1f1b"
) -> Any:
    """Return this device's share of the result, inside a `shard_map` whose mesh may have the axis "stage".

    params: this stage's layers (layers / S, ...). x: this device's share (batch / (data S), ...), its
    microbatches in order: the first M / S of them on stage 0.
    """
    run = _one_forward_one_backward if schedule == "1f1b" else _forward
    return run(block_apply, microbatches, params, x)


def _forward(block_apply: Callable, microbatches: int, params: Any, x: Any) -> Any:
    """All microbatches through all stages; JAX's transpose of this is GPipe's backward pass."""
    stages, stage = _stages()
    line = _Conveyor(microbatches, stages, stage)
    params, shares = _own(params, x), line.cut(x)
    first = _pick(shares, 0)  # bubbles run on a real input, so that they never divide by nought
    layers = partial(_layers, block_apply)

    def tick(carry, t):
        inlet, activation, outlet, results = carry
        inlet = line.load(t + stage, shares, _down(inlet, stages))
        activation = layers(params, _choose(stage == 0, inlet, _up(activation, stages)))
        outlet = _choose(stage == stages - 1, activation, _down(outlet, stages))
        results = line.store(t - 2 * (stages - 1) + stage, outlet, results)
        return (inlet, activation, outlet, results), None

    start = (first, first, first, jax.tree.map(jnp.zeros_like, shares))
    results = jax.lax.scan(tick, start, jnp.arange(microbatches + stages - 1))[0][-1]
    return line.join(results)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _one_forward_one_backward(block_apply: Callable, microbatches: int, params: Any, x: Any) -> Any:
    return _forward(block_apply, microbatches, params, x)


def _save(block_apply: Callable, microbatches: int, params: Any, x: Any):
    return _forward(block_apply, microbatches, params, x), (params, x)


def _backward(block_apply: Callable, microbatches: int, saved: tuple, cotangent: Any):
    """Cotangents of parameters and x: microbatch m goes up again, and down as soon as it is at the top.

    Stage s runs m forward at tick m + s and backward at m + 2 (S - 1) - s; between them lie at most 2 S - 2
    other inputs, so a ring of 2 S - 1 holds all that wait.
    """
    stages, stage = _stages()
    line, slots = _Conveyor(microbatches, stages, stage), 2 * stages - 1
    given, x = saved
    params, shares, slopes = _own(given, x), line.cut(x), line.cut(cotangent)
    layers = partial(_layers, block_apply)

    def tick(carry, t):
        inlet, activation, waiting, inlet_slope, slope, outlet, results, sums = carry
        # Up: as in `_forward`, keeping what came in.
        up = t - stage
        inlet = line.load(t + stage, shares, _down(inlet, stages))
        entering = _choose(stage == 0, inlet, _up(activation, stages))
        waiting = _put(waiting, entering, up % slots)
        activation = layers(params, entering)
        # Down: the cotangent of microbatch m reaches the last stage in the tick in which m does.
        down = t - 2 * (stages - 1) + stage
        inlet_slope = line.load(up, slopes, _up(inlet_slope, stages))
        arriving = _choose(stage == stages - 1, inlet_slope, _down(slope, stages))
        by_params, slope = jax.vjp(layers, params, _pick(waiting, down % slots))[1](arriving)
        sums = _choose(line.real(down), jax.tree.map(jnp.add, sums, by_params), sums)
        # Home, from stage 0 round to the last and down.
        outlet = _choose(stage == 0, slope, _down(outlet, stages))
        hops = jnp.where(stage == 0, 0, stages - stage)
        results = line.store(t - 2 * (stages - 1) - hops, outlet, results)
        return (inlet, activation, waiting, inlet_slope, slope, outlet, results, sums), None

    first, slope = _pick(shares, 0), _pick(slopes, 0)
    waiting = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (slots, *leaf.shape)), first)
    sums = jax.tree.map(jnp.zeros_like, params)
    start = (first, first, waiting, slope, slope, slope, jax.tree.map(jnp.zeros_like, slopes), sums)
    ticks = microbatches + 2 * (stages - 1) + (stages > 1)
    *_, results, sums = jax.lax.scan(tick, start, jnp.arange(ticks))[0]
    return _summed(sums, given), line.join(results)


_one_forward_one_backward.defvjp(_save, _backward)


class _Conveyor:
    """Who owns which microbatch: stage s the M / S from s M / S on, as rows of its arrays."""

    def __init__(self, microbatches: int, stages: int, stage: jax.Array):
        self.count, self.share, self.stage = microbatches, microbatches // stages, stage

    def cut(self, x: Any) -> Any:
        """(batch, ...) -> (M / S, microbatch, ...)."""
        return jax.tree.map(lambda leaf: leaf.reshape(self.share, -1, *leaf.shape[1:]), x)

    def join(self, x: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), x)

    def real(self, m: jax.Array) -> jax.Array:
        return (m >= 0) & (m < self.count)

    def _mine(self, m: jax.Array) -> jax.Array:
        return self.real(m) & (m // self.share == self.stage)

    def load(self, m: jax.Array, shares: Any, passing: Any) -> Any:
        """Microbatch m if it is this stage's, else what is passing."""
        return _choose(self._mine(m), _pick(shares, m % self.share), passing)

    def store(self, m: jax.Array, arriving: Any, results: Any) -> Any:
        """The results with microbatch m in its row, if it is this stage's."""
        row = m % self.share
        return _put(results, _choose(self._mine(m), arriving, _pick(results, row)), row)


def _stages() -> tuple[int, jax.Array]:
    try:
        return jax.lax.axis_size(STAGE), jax.lax.axis_index(STAGE)
    except NameError:  # a mesh without the axis
        return 1, jnp.int32(0)


def _layers(block_apply: Callable, params: Any, x: Any) -> Any:
    return jax.lax.scan(lambda x, layer: (block_apply(layer, x), None), x, params)[0]


def _up(x: Any, stages: int) -> Any:
    return _ring(x, stages, 1)


def _down(x: Any, stages: int) -> Any:
    return _ring(x, stages, -1)


def _ring(x: Any, stages: int, step: int) -> Any:
    if stages == 1:
        return x
    pairs = [(i, (i + step) % stages) for i in range(stages)]
    return jax.tree.map(lambda leaf: jax.lax.ppermute(leaf, STAGE, pairs), x)


def _choose(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _pick(rows: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), rows)


def _put(rows: Any, row: Any, index: jax.Array) -> Any:
    return jax.tree.map(lambda leaf, new: jax.lax.dynamic_update_index_in_dim(leaf, new, index, 0), rows, row)


def _own(params: Any, x: Any) -> Any:
    """Parameters as each device's own: else every tick would sum their gradient over the mesh."""
    axes = frozenset().union(*(varies_over(leaf) for leaf in jax.tree.leaves(x)))
    return varying(params, tuple(sorted(axes)))


def _summed(slopes: Any, params: Any) -> Any:
    """The gradient of parameters, summed once over the axes on which they are the same."""

    def total(leaf, like):
        axes = tuple(sorted(varies_over(leaf) - varies_over(like)))
        return jax.lax.psum(leaf, axes) if axes else leaf

    return jax.tree.map(total, slopes, params)


def _check(stacked_params: Any, x: Any, mesh: Mesh, microbatches: int) -> None:
    stages, data = axis_size(mesh, STAGE), axis_size(mesh, "data")
    layers = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(stacked_params)}
    batch = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(x)}
    if len(layers) != 1 or len(batch) != 1:
        raise ConfigError(
            f"pipeline: all parameters must lead with the layers (found {sorted(layers)}), all of x with the "
            f"batch (found {sorted(batch)})"
        )
    (layers,), (batch,) = layers, batch
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(x)):
        raise ConfigError("pipeline: x holds integers; what is not differentiated belongs to the parameters")
    if layers < 1 or layers % stages:
        raise ConfigError(
            f"pipeline: {layers} layers do not divide over stage={stages} of the mesh; choose a multiple of "
            f"{stages}"
        )
    if microbatches < 1 or microbatches % stages:
        raise ConfigError(
            f"pipeline: microbatches={microbatches} do not divide over stage={stages} of the mesh; choose a "
            f"multiple of {stages}, and several times it to keep the bubbles small"
        )
    if batch < 1 or batch % (data * microbatches):
        raise ConfigError(
            f"pipeline: a batch of {batch} does not divide into {microbatches} microbatches over "
            f"data={data}; choose a multiple of {data * microbatches}"
        )
