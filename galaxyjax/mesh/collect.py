"""Means, norms and gradient sums over a mesh, for use inside `shard_map`.

The gradient of a step crosses the mesh once: tensors that every device holds whole travel as one flat
all-reduce, those that FSDP shards over "data" as one flat reduce-scatter. For that, parameters are cast to
*varying* before the forward pass; automatic differentiation then leaves one gradient a device, where it would
otherwise put a sum behind every layer, and in whatever precision the layer computes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

DATA = "data"
COMPRESSED = jnp.bfloat16


def axes_of(spec: P) -> tuple[str, ...]:
    """The mesh axes that a specification names."""
    names: list[str] = []
    for entry in spec:
        names += [entry] if isinstance(entry, str) else list(entry or ())
    return tuple(names)


def varies_over(value: jax.Array) -> frozenset[str]:
    """The mesh axes along which a value inside `shard_map` may differ."""
    kind = jax.typeof(value)
    # JAX 0.10.2 moved the set of axes into the type of the manual axes.
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying


def varying(tree, axes: tuple[str, ...]):
    """The same values, typed as different on every device along `axes`."""

    def cast(value):
        missing = tuple(name for name in axes if name not in varies_over(value))
        return lax.pcast(value, missing, to="varying") if missing else value

    return jax.tree.map(cast, tree)


def mean(value: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """Mean over `axes` of a value that each (equally large) block has; the same on all of them."""
    return lax.psum(varying(value, axes), axes) / _devices(axes)


def share(value: jax.Array) -> jax.Array:
    """This device's part of the mean over all devices on which `value` varies: the parts add up to it."""
    return value / _devices(tuple(varies_over(value)))


def global_norm(tree, specs) -> jax.Array:
    """Root of the summed squares of a whole tree () float32, from shards laid out by `specs`.

    A replicated tree costs no communication, a sharded one one scalar.
    """
    leaves, layouts = _pairs(tree, specs)
    sharded: dict[tuple[str, ...], jax.Array] = {}
    for leaf, spec in zip(leaves, layouts, strict=True):
        axes = axes_of(spec)
        sharded[axes] = sharded.get(axes, 0.0) + jnp.sum(jnp.square(leaf.astype(jnp.float32)))
    return jnp.sqrt(sum(lax.psum(part, axes) if axes else part for axes, part in sharded.items()))


class Residual(NamedTuple):
    """What bfloat16 left out of this device's gradients so far, to be added to the next: two flat float32s.

    reduced: of tensors summed whole, (n,). scattered: of FSDP's tensors, (size of "data", m). None where
    there are no such tensors. Outside `shard_map` each has leading axes, one for each axis of the mesh.
    """

    reduced: jax.Array | None
    scattered: jax.Array | None


def reduce_gradients(gradients, specs, axes: tuple[str, ...], residual: Residual | None = None):
    """Sums whole per-device gradients over `axes` and returns them as shards of `specs`, with the residual.

    Args:
        gradients: tree of float32, whole tensors, different on every device of `axes`.
        specs: the layout of the parameters, a `PartitionSpec` a leaf.
        residual: None sums in float32. Otherwise the sum travels as bfloat16, half the bytes, after the last
            step's residual is added; what rounding leaves out is the next (error feedback, Seide et al.
            2014, Karimireddy et al. 2019): errors do not accumulate, they arrive a step late.

    Returns:
        (gradients, residual); gradients sharded over "data" where `specs` says so, each stage's own where it
        names "stage", and the same on every other axis of `axes`.
    """
    leaves, layouts = _pairs(gradients, specs)
    out, left, at = list(leaves), [], Residual(0, 0)
    for own, members in _by_owner(layouts):
        groups = _Groups.of([leaves[i] for i in members], [layouts[i] for i in members])
        flat = Residual(*groups.pack([leaves[i] for i in members]))
        if residual is not None:
            before, at = _sections(residual, at, flat)
            flat, rest = _compress(flat, before)
            left.append(rest)
        others = tuple(a for a in axes if a not in own)
        for i, part in zip(members, groups.unpack(*_summed(flat, others)), strict=True):
            out[i] = part
    if residual is not None:
        residual = Residual(*(_joined(parts) for parts in zip(*left, strict=True)))
    return jax.tree.unflatten(jax.tree.structure(gradients), out), residual


def _by_owner(layouts: list[P]) -> list[tuple[tuple[str, ...], list[int]]]:
    """Axes other than "data" over which tensors are divided, and which tensors; one sum for each.

    Tensors of a stage of a pipeline are that stage's own: others have other layers to add to them.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, spec in enumerate(layouts):
        groups.setdefault(tuple(a for a in axes_of(spec) if a != DATA), []).append(i)
    return sorted(groups.items())


def _sections(residual: Residual, at: Residual, like: Residual) -> tuple[Residual, Residual]:
    """The parts of a residual, from `at` on, that belong to the vectors of `like`; and where they end."""
    sizes = [0 if leaf is None else leaf.shape[-1] for leaf in like]
    parts = [
        None if n == 0 else lax.slice_in_dim(whole, begin, begin + n, axis=-1)
        for whole, begin, n in zip(residual, at, sizes, strict=True)
    ]
    return Residual(*parts), Residual(*(begin + n for begin, n in zip(at, sizes, strict=True)))


def _joined(parts) -> jax.Array | None:
    parts = [part for part in parts if part is not None]
    return jnp.concatenate(parts, axis=-1) if parts else None


def _summed(flat: Residual, axes: tuple[str, ...]) -> Residual:
    """The sums over `axes` of what is reduced; of what is scattered, this device's row."""
    reduced, scattered = flat
    if reduced is not None:
        reduced = lax.psum(reduced, axes).astype(jnp.float32)
    if scattered is not None:
        scattered = lax.psum_scatter(scattered, DATA, scatter_dimension=0, tiled=True)
        others = tuple(a for a in axes if a != DATA)
        scattered = (lax.psum(scattered, others) if others else scattered).astype(jnp.float32)
    return Residual(reduced, scattered)


def empty_residual(params, specs, mesh: Mesh) -> tuple[Residual, Residual]:
    """Zero residuals as shapes, and their specs: each device of the mesh has its own.

    params: global shapes. Returns a `Residual` of `jax.ShapeDtypeStruct` and one of `PartitionSpec`.
    """
    leaves, layouts = _pairs(params, specs)
    sizes = {name: dict(mesh.shape)[name] for name in mesh.axis_names}
    whole = rest = 0
    for leaf, spec in zip(leaves, layouts, strict=True):
        names = axes_of(spec)
        held = math.prod(leaf.shape) // math.prod(sizes[name] for name in names if name != DATA)
        whole, rest = (whole, rest + held) if DATA in names else (whole + held, rest)
    lead, data = tuple(sizes.values()), sizes.get(DATA, 1)
    shapes = {"reduced": (whole,), "scattered": (data, rest // data)}
    kept = {name: shape for name, shape in shapes.items() if 0 not in shape}
    make = lambda name: jax.ShapeDtypeStruct(lead + kept[name], jnp.float32) if name in kept else None  # noqa: E731
    spec = P(*mesh.axis_names)
    residual = Residual(make("reduced"), make("scattered"))
    return residual, jax.tree.map(lambda _: spec, residual)


class _Groups(NamedTuple):
    """Which leaves travel together, and where each begins in its flat vector."""

    shapes: list[tuple[int, ...]]
    dimensions: list[int | None]  # the dimension that FSDP shards, or None

    @classmethod
    def of(cls, leaves: list, layouts: list[P]) -> _Groups:
        return cls(
            [leaf.shape for leaf in leaves],
            [_dimension(spec) if DATA in axes_of(spec) else None for spec in layouts],
        )

    def pack(self, leaves: list) -> tuple[jax.Array | None, jax.Array | None]:
        """One flat vector, and one (size of "data", m) whose rows the shards will own; None if empty."""
        flat, rows, data = [], [], lax.axis_size(DATA)
        for leaf, dimension in zip(leaves, self.dimensions, strict=True):
            if dimension is None:
                flat.append(leaf.reshape(-1))
            else:
                rows.append(jnp.moveaxis(leaf, dimension, 0).reshape(data, -1))
        return jnp.concatenate(flat) if flat else None, jnp.concatenate(rows, axis=1) if rows else None

    def unpack(self, reduced: jax.Array | None, scattered: jax.Array | None) -> list[jax.Array]:
        out, data = [], lax.axis_size(DATA)
        begin = {False: 0, True: 0}
        for shape, dimension in zip(self.shapes, self.dimensions, strict=True):
            sharded = dimension is not None
            count = math.prod(shape) // (data if sharded else 1)
            source = scattered[0] if sharded else reduced
            part = lax.slice_in_dim(source, begin[sharded], begin[sharded] + count)
            begin[sharded] += count
            if sharded:
                others = shape[:dimension] + shape[dimension + 1 :]
                part = jnp.moveaxis(part.reshape(shape[dimension] // data, *others), 0, dimension)
            out.append(part if sharded else part.reshape(shape))
        return out


def _compress(gradient: Residual, residual: Residual) -> tuple[Residual, Residual]:
    """What is sent, bfloat16, and what that leaves out, float32."""
    wanted = jax.tree.map(jnp.add, gradient, residual)
    sent = jax.tree.map(lambda a: a.astype(COMPRESSED), wanted)
    return sent, jax.tree.map(lambda a, b: a - b.astype(jnp.float32), wanted, sent)


def _dimension(spec: P) -> int:
    return next(i for i, entry in enumerate(spec) if DATA in axes_of(P(entry)))


def _pairs(tree, specs) -> tuple[list, list[P]]:
    """Leaves beside their specifications, which are leaves themselves although they are tuples."""
    leaves, structure = jax.tree.flatten(tree)
    return leaves, structure.flatten_up_to(specs)


def _devices(axes: tuple[str, ...]) -> int:
    return math.prod(lax.axis_size(name) for name in axes)
