"""Fields of a snapshot on a grid that may exceed a device's memory: particles streamed, blocks painted apart.

Each block reads the particles that touch it (a window, from the sorted copy) and needs no other block, so
processes do not talk. Sums over pieces of the stream are compensated (Kahan 1965): float32 grids keep their
last digits however many pieces there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.box import Grid, Particles
from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import atomic_path
from galaxyjax.data.snapshot import ROWS, Snapshot
from galaxyjax.data.window import Window
from galaxyjax.fields import paint as clouds
from galaxyjax.mesh.topology import check_field

_ROOMS = (1 << 12, 1 << 15, 1 << 18)
UNITS = {"number": "particles", "mass": "1e10 Msun/h", "momentum": "1e10 Msun/h km/s"}


def paint(
    snapshot: Snapshot,
    species: str,
    quantity: str,
    cells: int,
    mesh: Mesh | None = None,
    scheme: str = "cic",
    rows: int = ROWS,
    **options,
) -> Grid:
    """Return a quantity of a species on a grid of cells^3, float32; with `mesh`, sharded over its x and y.

    quantity: "number" or "mass" (sums a cell), "momentum" (sum of mass x velocity, three channels), or any
    field of the snapshot, e.g. "temperature" (its mean weighted by mass; 0 where no particle reaches). A
    process paints the blocks of its own devices, one after the other, and reads their particles only. rows:
    particles in memory at a time. options: for `Snapshot.read`.

    Raises ConfigError when the grid does not divide over the mesh, and what `Snapshot.read` raises.
    """
    if mesh is None:
        values = paint_block(snapshot, species, quantity, cells, scheme=scheme, rows=rows, **options)
        return Grid(values, snapshot.box, _unit(quantity))
    check_field(mesh, cells)
    shape = (cells,) * 3 + _channels(quantity)
    sharding = NamedSharding(mesh, P("x", "y", *(None,) * (len(shape) - 2)))
    painted, parts = {}, []
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        spans = tuple(axis.indices(n)[:2] for axis, n in zip(index[:3], shape[:3], strict=True))
        if spans not in painted:  # copies along "data" are painted once
            # On the default device, whichever it is for: one compilation serves all blocks.
            start, size = [a for a, _ in spans], [b - a for a, b in spans]
            painted[spans] = paint_block(
                snapshot, species, quantity, cells, start, size, scheme, rows, **options
            )
        parts.append(jax.device_put(painted[spans], device))
    values = jax.make_array_from_single_device_arrays(shape, sharding, parts)
    return Grid(values, snapshot.box, _unit(quantity))


def paint_to_file(
    path: str | Path,
    snapshot: Snapshot,
    species: str,
    quantity: str,
    cells: int,
    slab: int,
    scheme: str = "cic",
    rows: int = ROWS,
    **options,
) -> Path:
    """Write a quantity on a grid of cells^3 to a .npy file, `slab` planes along x in memory at a time.

    The file has its name only when it is whole. Raises ConfigError unless 1 <= slab <= cells.
    """
    if not 1 <= slab <= cells:
        raise ConfigError(f"slab={slab} must lie in 1..{cells} (planes of the grid)")
    with atomic_path(path) as temporary:
        out = np.lib.format.open_memmap(temporary, "w+", np.float32, (cells,) * 3 + _channels(quantity))
        for low in range(0, cells, slab):
            size = (min(slab, cells - low), cells, cells)
            block = paint_block(
                snapshot, species, quantity, cells, (low, 0, 0), size, scheme, rows, **options
            )
            out[low : low + size[0]] = np.asarray(block)
        out.flush()
    return Path(path)


def paint_block(
    snapshot: Snapshot,
    species: str,
    quantity: str,
    cells: int,
    start: Sequence[int] = (0, 0, 0),
    shape: Sequence[int] | None = None,
    scheme: str = "cic",
    rows: int = ROWS,
    **options,
) -> jax.Array:
    """Return cells [start, start + shape) of what `paint` returns, float32, on the default device.

    Blocks put together are the grid, to rounding. Raises as `paint` does.
    """
    block = _Block(cells, tuple(start), tuple(shape or (cells,) * 3), scheme, snapshot.box.size)
    mean = quantity not in UNITS
    fields = ["positions"] + ["masses"] * (quantity != "number")
    fields += ["velocities"] if quantity == "momentum" else [quantity] if mean else []
    channels = {"number": 1, "mass": 1, "momentum": 3}.get(quantity, 2)
    sums = [_empty(block.padded) for _ in range(channels)]
    for particles in snapshot.stream(species, dict.fromkeys(fields), block.window, rows, **options):
        positions, count = block.positions(particles), len(particles)
        room = next((room for room in _ROOMS if count <= room < rows), rows)  # few shapes: few compilations
        for channel in range(channels):
            weights = _padded(_weights(particles, quantity, channel), room)
            sums[channel] = _add(
                *sums[channel],
                _padded(positions, room),
                weights,
                block.geometry,
                scheme=scheme,
                periodic=block.periodic,
            )
    values = [block.crop(total) for total, _ in sums]
    if quantity == "momentum":
        return jnp.stack(values, axis=-1)
    if mean:
        return jnp.where(values[0] > 0, values[1] / jnp.where(values[0] > 0, values[0], 1), 0)
    return values[0]


class _Block:
    """Where a block lies, and what it takes to paint it alone."""

    def __init__(self, cells: int, start: tuple, shape: tuple, scheme: str, side: float):
        for axis, (low, size) in enumerate(zip(start, shape, strict=True)):
            if not (cells >= 1 and 0 <= low and 1 <= size and low + size <= cells):
                raise ConfigError(
                    f"block: cells {low} to {low + size} along {'xyz'[axis]} are not in a grid of {cells}"
                )
        below, above = clouds.REACH.get(scheme, (2, 1))
        self.start, self.shape, self.side = start, shape, side
        # A block that its own halo would meet again around the box is painted as a whole axis, then cut.
        self.periodic = tuple(n + below + above >= cells for n in shape)
        self.padded = tuple(cells if whole else n for whole, n in zip(self.periodic, shape, strict=True))
        low = [0 if whole else a - below for whole, a in zip(self.periodic, start, strict=True)]
        high = [
            cells if whole else a + n + above for whole, a, n in zip(self.periodic, start, shape, strict=True)
        ]
        cell = side / cells
        self.corner = np.array(low) * cell
        self.window = (
            None
            if all(self.periodic)
            else Window(tuple(a * cell for a in low), tuple(b * cell for b in high))
        )
        # Box, cells a unit of length, cells between the window's corner and the block's.
        inset = [0.0 if whole else float(below) for whole in self.periodic]
        self.geometry = np.array([side, 1.0 / cell, *inset], np.float32)

    def positions(self, particles: Particles) -> np.ndarray:
        """(n, 3) float32, Mpc/h from the window's corner; not yet wrapped."""
        positions = particles.positions
        # The difference is taken in the stored precision: it is what float32 would lose in a large box.
        return (positions - self.corner.astype(positions.dtype)).astype(np.float32, copy=False)

    def crop(self, grid: jax.Array) -> jax.Array:
        """The block of what was painted."""
        cut = tuple(
            slice(a, a + n) if whole else slice(None)
            for whole, a, n in zip(self.periodic, self.start, self.shape, strict=True)
        )
        return grid[cut]


@partial(jax.jit, static_argnames=("scheme", "periodic"), donate_argnums=(0, 1))
def _add(total, lost, positions, weights, geometry, scheme, periodic):
    """Paint one piece of the stream and add it to the sum; `lost` is what rounding took so far."""
    side, scale, below = geometry[0], geometry[1], geometry[2:]
    relative = positions - side * jnp.floor(positions / side)
    part = clouds.paint(jnp.zeros_like(total), relative * scale - below, weights, scheme, periodic)
    part = part - lost
    new = total + part
    return new, (new - total) - part


def _empty(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32)


def _weights(particles: Particles, quantity: str, channel: int) -> np.ndarray:
    if quantity == "number":
        return np.ones(len(particles), np.float32)
    if quantity == "mass" or (quantity != "momentum" and channel == 0):
        return particles.masses
    if quantity == "momentum":
        return particles.masses * particles.velocities[:, channel]
    values = particles[quantity]
    if values.ndim != 1:
        raise ConfigError(f"quantity={quantity!r} has several components; paint a scalar, or momentum")
    return particles.masses * values


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    """Rows of zeros at the end, which weigh nothing."""
    array = array.astype(np.float32, copy=False)
    missing = rows - len(array)
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), np.float32)]) if missing else array


def _channels(quantity: str) -> tuple[int, ...]:
    return (3,) if quantity == "momentum" else ()


def _unit(quantity: str) -> str:
    return UNITS.get(quantity, f"{quantity}, weighted by mass")
