"""Bispectra of grids: triangles of shells of k, counted and summed by transforms, on any mesh.

B(k1, k2, k3) with <delta(k1) delta(k2) delta(k3)> = (2 pi)^3 delta_D(k1 + k2 + k3) B. The sum over all
triangles of three shells is one sum over cells of the product of the three filtered fields (Scoccimarro 2000,
ApJ 544, 597; Sefusatti et al. 2016, MNRAS 460, 3624, section 3).
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.fields.spectra import cloud_window
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID, SPATIAL


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("k", "bispectrum", "power", "triangles"),
    meta_fields=("shells",),
)
@dataclasses.dataclass(frozen=True)
class Triangles:
    """Bispectra of triangles of shells, nt of them. Reduced: `reduced`.

    shells: nt times (i, j, l), rising. k (nt, 3): mean |k| of each shell's modes, h/Mpc. bispectrum (nt,):
    (Mpc/h)^6. power (nt, 3): P of each shell, (Mpc/h)^3. triangles (nt,): how many ordered triangles of modes
    there are; a Gaussian field's B scatters around 0 with variance s V P1 P2 P3 / triangles, where s is 6, 2
    or 1 when three, two or none of the shells are the same.
    """

    shells: tuple[tuple[int, int, int], ...]
    k: Array
    bispectrum: Array
    power: Array
    triangles: Array

    @property
    def reduced(self) -> Array:
        """Q = B / (P1 P2 + P2 P3 + P3 P1), (nt,)."""
        p1, p2, p3 = jnp.moveaxis(self.power, -1, 0)
        return self.bispectrum / (p1 * p2 + p2 * p3 + p3 * p1)


def triangles_of(edges: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Return all (i, j, l), i <= j <= l, of shells between edges (ns + 1,) in which triangles close."""
    ns = len(edges) - 1
    return tuple(
        (i, j, m)
        for i in range(ns)
        for j in range(i, ns)
        for m in range(j, ns)
        if edges[m] < edges[i + 1] + edges[j + 1]
    )


def bispectrum(
    grid: Array,
    edges: np.ndarray,
    *,
    box_size: float,
    mesh: Mesh,
    scheme: str | None = None,
    shells: tuple[tuple[int, int, int], ...] | None = None,
) -> Triangles:
    """Return the bispectrum of a contrast (n, n, n), its mean left out.

    Args:
        edges: of the shells of k, h/Mpc, rising, up to 2/3 of the grid's Nyquist frequency: beyond it
            triangles close around the grid.
        box_size: Mpc/h. scheme: as for `spectra.power_spectrum`.
        shells: the triangles, by shell; all that close when not given.

    Takes 2 ns fields of memory for ns shells. Differentiable. Raises ConfigError when the edges make no
    sense, or a triangle does not close.
    """
    edges = np.asarray(edges, float)
    nyquist = np.pi * grid.shape[0] / box_size
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0) or edges[0] <= 0:
        raise ConfigError(f"bispectrum: edges {edges} must be at least two rising wavenumbers above 0")
    if edges[-1] > 2.0 / 3.0 * nyquist * (1.0 + 1e-6):
        raise ConfigError(
            f"bispectrum: edges reach {edges[-1]:.4g} h/Mpc; 2/3 of Nyquist, {2 / 3 * nyquist:.4g}, is all"
        )
    known = triangles_of(edges)
    chosen = known if shells is None else tuple(tuple(sorted(shell)) for shell in shells)
    for shell in chosen:
        if shell not in known:
            raise ConfigError(f"bispectrum: no triangle closes in shells {shell} of edges {edges}")
    k, power, total, count = _measure(grid, box_size, mesh, tuple(edges), chosen, scheme)
    index, volume = np.asarray(chosen), box_size**3
    found = total / jnp.maximum(count, 1.0) * volume**2
    return Triangles(chosen, k[index], found, power[index] * volume, count)


@partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _measure(grid: Array, box_size: float, mesh: Mesh, edges: tuple, shells: tuple, scheme: str | None):
    """Return of shells mean |k| and mean |d|^2, of triangles the sum of d1 d2 d3 and how many they are.

    d: modes of the contrast by their amplitude in space, delta(k) over the number of cells.
    """

    def block(grid):
        modes = fft.forward_block(grid, box_size)
        size = float(np.prod(modes.shape))
        values, k = modes.values / size, jnp.sqrt(modes.k_squared)
        if scheme is not None:
            values = values / cloud_window(modes, box_size, scheme)
        shell = jnp.digitize(k, jnp.asarray(edges, k.dtype)) - 1
        inside = (jnp.arange(len(edges) - 1)[:, None, None, None] == shell) & (modes.weight > 0)
        weight = jnp.where(inside, modes.weight, 0.0)
        parts = (jnp.ones_like(k), k, values.real**2 + values.imag**2)
        sums = jnp.stack([jnp.sum(weight * part, (1, 2, 3)) for part in parts])
        modes_in, k_sum, power_sum = jax.lax.psum(sums, SPATIAL)
        fields = fft.inverse_block(modes.replace(jnp.where(inside, values, 0.0))) * size
        waves = fft.inverse_block(modes.replace(inside.astype(values.dtype))) * size

        def product(shell):
            first, second, third = shell
            at = lambda f: jnp.sum(f[first] * f[second] * f[third])  # noqa: E731
            return jnp.stack([at(fields), at(waves)])

        # Of all products of three waves, those that close have a mean over the cells: 1.
        total, count = jax.lax.psum(jax.lax.map(product, jnp.asarray(shells)), SPATIAL).T / size
        safe = jnp.maximum(modes_in, 1.0)
        return k_sum / safe, power_sum / safe, total, jnp.round(count)

    return jax.shard_map(block, mesh=mesh, in_specs=GRID, out_specs=P())(grid)
