"""Distributed real FFT: spectrum, its sharding and its wavenumbers together.

A grid (nx, ny, nz) lies as P("x", "y", None); its spectrum as P(None, "x", "y"), with kz cut to nz // 2 + 1
by reality and padded to a multiple of the "y" axis:

    rfft z · swap kz with y over "y" · fft y · swap ky with x over "x" · fft x

Each swap is one all-to-all and vanishes where its mesh axis has size 1. So a slab (one sharded axis, either)
takes one all-to-all, a pencil (both) two, and one device none, by the same code. Convention: forward
sum_x f(x) exp(-i k x), inverse with 1 / (nx ny nz), as numpy.
"""

from __future__ import annotations

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.topology import SPATIAL, axis_size


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("values", "kx", "ky", "kz", "weight"),
    meta_fields=("shape", "spec"),
)
@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Fourier modes of a real grid, where they lie, and their wavenumbers; a pytree.

    On global arrays the sizes below are the whole ones, inside `shard_map` those of the block.

    Attributes:
        values: complex (..., nx, ny, nkz), kz from 0 up, padded to a multiple of the mesh's "y".
        kx, ky, kz: real (nx, 1, 1), (1, ny, 1), (1, 1, nkz), h/Mpc: they broadcast against `values`.
        weight: real (1, 1, nkz), how many modes of the full FFT each stands for: 1 on the planes kz = 0 and
            kz = Nyquist, 2 between (the conjugate at -k), 0 in the padding. Sums over modes take it.
        shape: (nx, ny, nz) of the grid.
        spec: PartitionSpec of `values`.
    """

    values: jax.Array
    kx: jax.Array
    ky: jax.Array
    kz: jax.Array
    weight: jax.Array
    shape: tuple[int, int, int]
    spec: P

    def replace(self, values: jax.Array) -> Spectrum:
        """Return the same modes with other values, such as a filtered field's."""
        return dataclasses.replace(self, values=values)

    @property
    def k_squared(self) -> jax.Array:
        """k² (nx, ny, nkz), (h/Mpc)²; zero in one place, the mean."""
        return self.kx**2 + self.ky**2 + self.kz**2

    def sharding(self, mesh: Mesh) -> NamedSharding:
        """Return where `values` lies on a mesh."""
        return NamedSharding(mesh, self.spec)


def padded(nz: int, parts: int) -> int:
    """Return the planes of kz that are stored: nz // 2 + 1, up to a multiple of `parts`."""
    return -(-(nz // 2 + 1) // parts) * parts


def forward(grid: jax.Array, mesh: Mesh, box_size=None) -> Spectrum:
    """Return the spectrum of a real grid that is spread over a mesh.

    Args:
        grid: (nx, ny, nz), or (batch, nx, ny, nz) with the batch over "data"; float32 or float64.
        mesh: with axes "data", "x", "y".
        box_size: side of the box in Mpc/h, one number or three; None means cells of 1 Mpc/h.

    Raises:
        ConfigError: nx does not divide over "x", or ny over "x" and over "y".
        DataError: the grid is not real, or has half precision.
    """
    shape = _check(grid, mesh)
    batch = P(*("data",) * (grid.ndim - 3))
    layout = _layout(shape, P(*batch, None, *SPATIAL))
    return _mapped(forward_block, mesh, (P(*batch, *SPATIAL, None),), layout, _sides(box_size, shape))(grid)


def inverse(spectrum: Spectrum, mesh: Mesh) -> jax.Array:
    """Return the real grid (..., nx, ny, nz) of a spectrum; the inverse of `forward`, same sharding.

    As in numpy's irfftn, the imaginary parts of modes that reality ties to themselves are ignored.
    """
    lead = spectrum.spec[:-3]
    layout = _layout(spectrum.shape, spectrum.spec)
    return jax.shard_map(inverse_block, mesh=mesh, in_specs=(layout,), out_specs=P(*lead, *SPATIAL, None))(
        spectrum
    )


def forward_block(block: jax.Array, box_size=None) -> Spectrum:
    """Return this device's part of the spectrum, inside a `shard_map` over "x" and "y".

    block: real (..., nx / X, ny / Y, nz), this device's part of the grid. box_size: as in `forward`.
    """
    x, y = (jax.lax.axis_size(name) for name in SPATIAL)
    nx, ny, nz = (n * parts for n, parts in zip(block.shape[-3:], (x, y, 1), strict=True))
    modes = jnp.fft.rfft(block, axis=-1)
    modes = _pad_last(modes, padded(nz, y) - modes.shape[-1])
    modes = jnp.fft.fft(_swap(modes, "y", split=-1, join=-2), axis=-2)
    modes = jnp.fft.fft(_swap(modes, "x", split=-2, join=-3), axis=-3)
    spec = P(*("data",) * (block.ndim - 3), None, *SPATIAL)
    return Spectrum(modes, *_wavenumbers((nx, ny, nz), box_size, block.dtype), shape=(nx, ny, nz), spec=spec)


def inverse_block(spectrum: Spectrum) -> jax.Array:
    """Return this device's part (..., nx / X, ny / Y, nz) of the grid, inside a `shard_map`."""
    nz = spectrum.shape[2]
    modes = jnp.fft.ifft(spectrum.values, axis=-3)
    modes = jnp.fft.ifft(_swap(modes, "x", split=-3, join=-2), axis=-2)
    modes = _swap(modes, "y", split=-2, join=-1)
    return jnp.fft.irfft(modes[..., : nz // 2 + 1], n=nz, axis=-1)


def wavenumbers(shape: tuple[int, int, int], mesh: Mesh, box_size=None, dtype=jnp.float32) -> tuple:
    """Return (kx, ky, kz, weight) of a grid's spectrum, as `Spectrum` has them, without a transform."""
    layout = _layout(tuple(shape), P(None, *SPATIAL))
    specs = (layout.kx, layout.ky, layout.kz, layout.weight)
    return _mapped(_wavenumbers, mesh, (), specs, tuple(shape), _sides(box_size, shape), dtype)()


@cache
def _mapped(block, mesh: Mesh, in_specs, out_specs, *settings):
    """A block form on global arrays, compiled: op by op, its many small collectives can starve each other."""
    given = lambda *arrays: block(*arrays, *settings)  # noqa: E731
    return jax.jit(jax.shard_map(given, mesh=mesh, in_specs=in_specs, out_specs=out_specs))


def _swap(modes: jax.Array, name: str, split: int, join: int) -> jax.Array:
    """Give up a part of axis `split` for the whole of axis `join`: one all-to-all over a mesh axis."""
    if jax.lax.axis_size(name) == 1:
        return modes
    # TPU would send real and imaginary parts one after the other: two all-to-alls.
    parts = jnp.stack([modes.real, modes.imag])
    split, join = split % modes.ndim + 1, join % modes.ndim + 1
    parts = jax.lax.all_to_all(parts, name, split, join, tiled=True)
    return jax.lax.complex(parts[0], parts[1])


def _pad_last(modes: jax.Array, planes: int) -> jax.Array:
    return jnp.pad(modes, [(0, 0)] * (modes.ndim - 1) + [(0, planes)])


def _wavenumbers(shape: tuple[int, int, int], box_size, dtype) -> tuple:
    """kx, ky, kz and weight of this device's modes."""
    nx, ny, nz = shape
    unit = [2 * np.pi / side for side in _sides(box_size, shape)]
    x = jnp.arange(nx)
    y = _local(ny, "x")
    z = _local(padded(nz, jax.lax.axis_size("y")), "y")
    full = nz // 2 + 1
    alone = (z == 0) | (2 * z == nz)
    weight = jnp.where(z >= full, 0, jnp.where(alone, 1, 2)).astype(dtype)
    kx, ky = (
        (jnp.where(2 * i < n, i, i - n) * u).astype(dtype)
        for i, n, u in zip((x, y), (nx, ny), unit[:2], strict=True)
    )
    kz = (z * unit[2]).astype(dtype)
    return kx[:, None, None], ky[None, :, None], kz[None, None, :], weight[None, None, :]


def _local(n: int, name: str) -> jax.Array:
    """This device's part of 0..n-1."""
    length = n // jax.lax.axis_size(name)
    start = jax.lax.axis_index(name) * length if length < n else 0
    return start + jnp.arange(length)


def _sides(box_size, shape) -> tuple[float, float, float]:
    sides = shape if box_size is None else box_size
    return tuple(float(side) for side in np.broadcast_to(sides, 3))


def _layout(shape: tuple[int, int, int], spec: P) -> Spectrum:
    """A Spectrum of PartitionSpecs."""
    ky, kz = P(None, "x", None), P(None, None, "y")
    return Spectrum(spec, P(None, None, None), ky, kz, kz, shape=shape, spec=spec)


def _check(grid: jax.Array, mesh: Mesh) -> tuple[int, int, int]:
    if grid.ndim not in (3, 4):
        raise DataError(f"FFT: grid of shape {grid.shape}; give (nx, ny, nz) or (batch, nx, ny, nz)")
    if grid.dtype not in (jnp.float32, jnp.float64):
        raise DataError(f"FFT: grid of {grid.dtype}; convert it to float32 or float64")
    nx, ny, nz = grid.shape[-3:]
    for axis, n, name in (("x", nx, "x"), ("y", ny, "y"), ("y", ny, "x")):
        parts = axis_size(mesh, name)
        if n % parts:
            raise ConfigError(
                f"FFT: {n} cells along {axis} do not divide over {name}={parts} of the mesh; the first axis "
                f"must divide over x, the second over x and y"
            )
    return nx, ny, nz
