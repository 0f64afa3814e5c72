"""Where parameters live: rules by path, FSDP by size, and parameters that are born in their places.

A rule is a pattern of a parameter's path ("trunk/blocks/conv/kernel", searched for as a regular expression)
and the logical axes of its leading dimensions; the first that matches counts. Logical axes meet mesh axes in
one table. FSDP then takes the largest dimension that is still whole. An optimiser's state has the parameters'
paths in its own, so the same rules place it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.mesh.topology import axis_size

SMALL = 64 * 1024  # bytes; gathering less than this costs a latency, not a bandwidth


@dataclass(frozen=True)
class Rules:
    """How parameters are placed.

    paths: (pattern, logical axes of the leading dimensions; None is not sharded). axes: (logical axis, mesh
    axis). fsdp: shard what the rules leave whole over "data", tensors under `small` bytes excepted.
    """

    paths: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    axes: tuple[tuple[str, str], ...] = (("layers", "stage"),)
    fsdp: bool = False
    small: int = SMALL


REPLICATE = Rules()
FSDP = Rules(fsdp=True)


def specs(params: Any, rules: Rules, mesh: Mesh) -> Any:
    """Return the PartitionSpec of every parameter, as a tree like `params`.

    params: tree of arrays, or of their shapes (`jax.eval_shape(init, key)`).

    Raises:
        ConfigError: a pattern matches no parameter, has more axes than a parameter has dimensions, or names
            an axis over which a dimension does not divide.
        UnknownName: a rule uses a logical axis that the table does not have.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    for pattern, _ in rules.paths:
        if not any(re.search(pattern, path) for path in paths):
            raise ConfigError(f"sharding rule {pattern!r} matches no parameter; there are {', '.join(paths)}")
    return tree.unflatten(
        _spec(path, leaf, rules, mesh) for path, (_, leaf) in zip(paths, leaves, strict=True)
    )


def fsdp(params: Any, mesh: Mesh, small: int = SMALL) -> Any:
    """Return specs that shard every parameter of at least `small` bytes over "data", largest dimension."""
    return specs(params, Rules(fsdp=True, small=small), mesh)


def shardings(specs: Any, mesh: Mesh) -> Any:
    """Return the NamedSharding of every PartitionSpec in a tree."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=_is_spec)


def born_sharded(init: Callable, key: jax.Array, mesh: Mesh, specs: Any) -> Any:
    """Return ``init(key)``, made in place: no device ever holds the whole of a sharded parameter.

    The values are those of ``init(key)`` on one device: JAX's random numbers do not depend on the sharding.
    """
    return jax.jit(init, out_shardings=shardings(specs, mesh))(key)


def gather(params: Any, specs: Any, axis: str = "data") -> Any:
    """Return whole parameters from this device's shards, inside a `shard_map`: one all-gather for each.

    The gradient of an all-gather is a reduce-scatter: each device gets the summed gradient of its own shard.
    """

    def whole(spec: P, leaf: jax.Array) -> jax.Array:
        if axis not in spec:
            return leaf
        return jax.lax.all_gather(leaf, axis, axis=tuple(spec).index(axis), tiled=True)

    return jax.tree.map(whole, specs, params, is_leaf=_is_spec)


def bytes_per_device(params: Any, specs: Any, mesh: Mesh, at_least: int = 0) -> int:
    """Return the bytes of all parameters on one device; tensors under `at_least` bytes do not count."""

    def held(spec: P, leaf) -> int:
        size = leaf.size * leaf.dtype.itemsize
        names = [name for entry in spec if entry for name in ((entry,) if isinstance(entry, str) else entry)]
        return size // math.prod(axis_size(mesh, name) for name in names) if size >= at_least else 0

    return sum(jax.tree.leaves(jax.tree.map(held, specs, params, is_leaf=_is_spec)))


def _is_spec(node: Any) -> bool:
    return isinstance(node, P)


def _spec(path: str, leaf: Any, rules: Rules, mesh: Mesh) -> P:
    logical = next((axes for pattern, axes in rules.paths if re.search(pattern, path)), ())
    if len(logical) > len(leaf.shape):
        raise ConfigError(
            f"sharding rule of {path}: {len(logical)} axes {logical} for a parameter of shape {leaf.shape}"
        )
    mesh_axes = dict(rules.axes)
    entries: list[str | None] = [None] * len(leaf.shape)
    for dimension, name in enumerate(logical):
        if name is None:
            continue
        if name not in mesh_axes:
            raise unknown_name("logical axis", name, mesh_axes)
        parts = axis_size(mesh, mesh_axes[name])
        if leaf.shape[dimension] % parts:
            raise ConfigError(
                f"sharding rule of {path}: dimension {dimension} of {leaf.shape} does not divide over "
                f"{mesh_axes[name]}={parts} of the mesh"
            )
        entries[dimension] = mesh_axes[name] if mesh_axes[name] in mesh.axis_names else None
    if rules.fsdp and leaf.size * leaf.dtype.itemsize >= rules.small and "data" not in entries:
        _shard_largest(entries, leaf.shape, axis_size(mesh, "data"))
    return P(*entries)


def _shard_largest(entries: list, shape: tuple[int, ...], parts: int) -> None:
    """Put "data" on the largest dimension that is whole and divides; none may be left to take."""
    free = [d for d, entry in enumerate(entries) if entry is None and shape[d] % parts == 0]
    if free and parts > 1:
        entries[max(free, key=lambda d: shape[d])] = "data"
