"""Power spectra of grids: auto, cross, coherence and transfer, in shells of k, on any mesh."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.fields.paint import window
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID, SPATIAL


@partial(jax.tree_util.register_dataclass, meta_fields=(), data_fields=("k", "power", "modes"))
@dataclasses.dataclass(frozen=True)
class Shells:
    """Spectra averaged in shells. k (nb,): mean |k| of the modes, h/Mpc. power (nb,): (Mpc/h)^3. modes (nb,):
    how many modes of the full FFT a shell holds; half of them are independent."""

    k: Array
    power: Array
    modes: Array


def shell_edges(cells: int, box_size: float, width: float = 1.0) -> np.ndarray:
    """Return edges (nb + 1,) in h/Mpc, `width` fundamental modes apart, from half a mode to Nyquist."""
    unit = 2.0 * np.pi / box_size
    return unit * np.arange(0.5, 0.5 * cells + 0.5 * width, width)


def power_spectrum(
    first: Array,
    second: Array | None = None,
    *,
    box_size: float,
    mesh: Mesh,
    edges: np.ndarray | None = None,
    scheme: str | None = None,
) -> Shells:
    """Return the auto spectrum of a grid, or the cross spectrum of two.

    Args:
        first, second: (n, n, n) contrasts, without unit; their means do not matter.
        box_size: Mpc/h. edges: of the shells, h/Mpc; every fundamental mode up to Nyquist when not given.
        scheme: how particles were painted ("cic", ...): its window is divided out of both; None leaves it.

    P(k) = box_size^3 / n^6 <delta1 delta2*>. Differentiable. Raises DataError when the shapes differ,
    ConfigError when the edges do not rise.
    """
    if second is not None and second.shape != first.shape:
        raise DataError(f"spectrum: grids of shapes {first.shape} and {second.shape} must be equal")
    edges = np.asarray(shell_edges(first.shape[0], box_size) if edges is None else edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ConfigError(f"spectrum: edges {edges} must be at least two rising wavenumbers")
    given = (first,) if second is None else (first, second)

    def block(*grids):
        modes = [fft.forward_block(grid, box_size) for grid in grids]
        product = jnp.real(modes[0].values * jnp.conj(modes[-1].values))
        if scheme is not None:
            product = product / cloud_window(modes[0], box_size, scheme) ** 2
        return jax.lax.psum(_shell_sums(modes[0], product, edges), SPATIAL)

    sums = jax.jit(jax.shard_map(block, mesh=mesh, in_specs=(GRID,) * len(given), out_specs=P()))(*given)
    count = sums[0]
    safe = jnp.maximum(count, 1.0)
    return Shells(sums[1] / safe, sums[2] / safe * (box_size**3 / first.size**2), count)


def coherence(first: Array, second: Array, **options) -> tuple[Array, Array]:
    """Return k and r(k) = P12 / sqrt(P11 P22); options as for `power_spectrum`."""
    cross = power_spectrum(first, second, **options)
    own = [power_spectrum(grid, **options).power for grid in (first, second)]
    return cross.k, cross.power / jnp.sqrt(own[0] * own[1])


def transfer(field: Array, truth: Array, **options) -> tuple[Array, Array]:
    """Return k and T(k) = sqrt(P_field / P_truth); options as for `power_spectrum`."""
    top, bottom = (power_spectrum(grid, **options) for grid in (field, truth))
    return top.k, jnp.sqrt(top.power / bottom.power)


def _shell_sums(modes: fft.Spectrum, product: Array, edges: np.ndarray) -> Array:
    """Sums over this device's modes of (1, |k|, product), (3, nb)."""
    k = jnp.sqrt(modes.k_squared)
    shell = jnp.digitize(k, jnp.asarray(edges, k.dtype)) - 1
    weight = jnp.broadcast_to(modes.weight, k.shape)
    inside = (shell >= 0) & (shell < len(edges) - 1)
    # A last shell takes what lies outside.
    shell = jnp.where(inside, shell, len(edges) - 1).ravel()
    rows = [weight, weight * k, weight * product]
    sums = [jax.ops.segment_sum(row.ravel(), shell, num_segments=len(edges)) for row in rows]
    return jnp.stack(sums)[:, :-1]


def cloud_window(modes: fft.Spectrum, box_size: float, scheme: str) -> Array:
    """Return the window of a scheme of painting at every mode, shape of `modes.values`; 1 in the padding."""
    cells = [box_size / n for n in modes.shape]
    axes = zip((modes.kx, modes.ky, modes.kz), cells, strict=True)
    x, y, z = (window(k * cell, scheme) for k, cell in axes)
    # Modes in the padding of kz are no modes.
    return jnp.where(modes.weight > 0, x * y * z, 1.0)
