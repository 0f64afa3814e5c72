"""Many independent rows (cosmologies, wavenumbers, draws), each device of a mesh computing its part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.topology import BATCH, axis_size


def over_data(function: Callable, rows: Any, mesh: Mesh | None = None, most: int = 512) -> Any:
    """Return ``function(rows)`` as NumPy arrays, the rows split over the mesh's axis "data".

    Rows that do not divide are padded with the last one, whose results are dropped. x and y, where the mesh
    has them, hold copies.

    Args:
        function: tree of arrays -> tree of arrays, both with the rows first; jitted, and row by row: none of
            its results depends on another row.
        rows: tree of arrays (n, ...), numbers of the host; n at least 1.
        mesh: None computes wherever JAX does by default, without padding.
        most: rows a device takes at once, which bounds its memory.

    Raises:
        ConfigError: the arrays have different numbers of rows, or none.
    """
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(rows)}
    if len(counts) != 1 or 0 in counts:
        raise ConfigError(
            f"rows over a mesh: arrays have {sorted(counts)} rows; give all the same, 1 or more"
        )
    (count,) = counts
    parts = 1 if mesh is None else axis_size(mesh, "data")
    size = min(-(-count // parts), most) * parts  # of a batch, the same for all: one compilation
    found = []
    for start in range(0, count, size):
        batch = jax.tree.map(lambda leaf, start=start: np.asarray(leaf[start : start + size]), rows)
        if mesh is not None or count > size:
            batch = jax.tree.map(lambda leaf: _padded(leaf, size), batch)
        if mesh is not None:
            batch = jax.device_put(batch, NamedSharding(mesh, BATCH))
        found.append(jax.device_get(function(batch)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *found)


def _padded(leaf: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([leaf, np.repeat(leaf[-1:], size - len(leaf), axis=0)])
