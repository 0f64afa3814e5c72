"""Gravity on a mesh: from where particles are to how they are pulled, by one Poisson equation.

    density      particles painted on a mesh `refine` times finer than their lattice
    -grad phi    lap phi = delta, in Fourier space, with exact derivatives
    pull         read at the particles with the same cloud, so that nobody pulls itself

Painting and reading smooth twice with the cloud's window; `sharpen` divides both out again (Hockney &
Eastwood 1988, section 5.6), which brings forces near the mesh's resolution closer to Newton's, and amplifies
the lattice's own grain where the mesh is finer than it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.fields import paint
from galaxyjax.mesh import fft, particles
from galaxyjax.mesh.topology import GRID, LATTICE, REPLICATED, SPATIAL, axis_size, check_field


@dataclass(frozen=True)
class Force:
    """How gravity is computed. refine: cells of the force mesh between two lattice particles.

    halo: how far, in Mpc/h, a particle may be from its home along an axis of several devices. scheme: the
    cloud, "cic" or "tsc". sharpen: divide the cloud's window out of density and force; for refine = 1 alone.
    Raises ConfigError or UnknownName when one of them makes no sense.
    """

    refine: int = 2
    halo: float = 16.0
    scheme: str = "cic"
    sharpen: bool = False

    def __post_init__(self):
        if self.refine < 1 or int(self.refine) != self.refine:
            raise ConfigError(f"force: refine={self.refine} must be an integer of at least 1")
        if not self.halo > 0:
            raise ConfigError(f"force: halo={self.halo} Mpc/h must be positive")
        if self.scheme not in ("cic", "tsc"):
            raise unknown_name("scheme of the force", self.scheme, ("cic", "tsc"))
        if self.sharpen and self.refine > 1:
            # The images of the lattice lie within a finer mesh; sharpened, they treble the force of a cold
            # start.
            raise ConfigError(
                f"force: sharpen asks for refine=1, not refine={self.refine}; leave one of them"
            )


DEFAULT, SAME_MESH = Force(), Force(refine=1)


def acceleration(displacement: Array, box_size: float, mesh: Mesh, force: Force = DEFAULT) -> Array:
    """Return -grad lap^-1 delta at the particles, (n, n, n, 3) Mpc/h, sharded as the lattice.

    displacement: (n, n, n, 3) Mpc/h from the lattice i * box_size / n. To first order it is the displacement
    itself; 3/2 Omega_m(a) H^2 times it is the peculiar acceleration. NaN where a particle strayed beyond the
    halo. Raises ConfigError when the lattice, or its force mesh, does not divide over the mesh.
    """
    check_lattice(displacement.shape, mesh, force)
    return jax.shard_map(
        lambda block: _block(block, box_size, mesh, force), mesh=mesh, in_specs=LATTICE, out_specs=LATTICE
    )(displacement)


def density(displacement: Array, box_size: float, mesh: Mesh, force: Force = SAME_MESH) -> Array:
    """Return the density contrast that displaced particles make, on the mesh that `force` describes.

    displacement: (n, n, n, 3) Mpc/h. Returns (refine n, refine n, refine n); divide its modes by the window
    of `paint.window` to undo the cloud. Differentiable. Raises as `acceleration`.
    """
    return weighted_density(displacement, jnp.ones((), displacement.dtype), box_size, mesh, force) - 1.0


def weighted_density(
    displacement: Array, weight: Array, box_size: float, mesh: Mesh, force: Force = SAME_MESH
) -> Array:
    """Return the sum of the particles' weights in each cell, over the mean number of particles in a cell.

    weight: (n, n, n) or (); a velocity component gives (1 + delta) v. The rest as `density`.
    """
    check_lattice(displacement.shape, mesh, force)
    cell, width = _cell_and_width(displacement.shape[0], box_size, force)

    def block(moved, weight):
        deposit = _deposit(force, jnp.broadcast_to(weight, moved.shape[:3]).ravel())
        return particles.scatter_block(deposit, moved, width, cell, _REACH[force.scheme], force.refine)[0]

    specs = (LATTICE, GRID if weight.ndim else REPLICATED)
    return jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=GRID)(displacement, weight)


def check_lattice(shape: tuple[int, ...], mesh: Mesh, force: Force) -> None:
    """Raise ConfigError when a lattice (nx, ny, nz, ...) does not divide over a mesh, or its FFT does not."""
    check_field(mesh, shape[:3])
    if (shape[1] * force.refine) % axis_size(mesh, "x"):
        raise ConfigError(
            f"force mesh: {shape[1] * force.refine} cells along y do not divide over "
            f"x={axis_size(mesh, 'x')}, as the distributed FFT asks; choose another mesh"
        )


def fitted(force: Force, cells: int, box_size: float, mesh: Mesh) -> Force:
    """Return `force` with a halo no wider than a device's block of a lattice of cells^3 holds.

    Values stay the same where no particle strays further than that; where one does they are NaN, as with any
    halo. Raises ConfigError when blocks are thinner than a cloud.
    """
    fine, reach, halo = cells * force.refine, _REACH[force.scheme], force.halo
    for name in SPATIAL:
        parts = axis_size(mesh, name)
        if parts > 1:
            # A hair less, so that rounding does not add a cell.
            halo = min(halo, (fine // parts - reach) * (box_size / fine) * (1.0 - 1e-6))
    if not halo > 0:
        raise ConfigError(
            f"force: blocks of {cells} lattice cells over {mesh.shape} are thinner than a cloud; use fewer "
            "devices along x and y"
        )
    return replace(force, halo=halo)


_REACH = {"cic": 1, "tsc": 2}


def _cell_and_width(n: int, box_size: float, force: Force) -> tuple[float, int]:
    cell = box_size / (n * force.refine)
    return cell, int(-(-force.halo // cell)) + _REACH[force.scheme]


def _deposit(force: Force, weight: Array | float = 1.0):
    """Paints contrast + 1: a lattice at rest is 1 everywhere on a mesh as fine as itself."""
    weight = weight * float(force.refine**3)

    def deposit(positions, shape):
        return paint.paint(jnp.zeros(shape, positions.dtype), positions, weight, force.scheme)

    return deposit


def _block(displacement: Array, box_size: float, mesh: Mesh, force: Force) -> Array:
    """This device's part of `acceleration`, inside a `shard_map` over "x" and "y"."""
    n = displacement.shape[0] * jax.lax.axis_size("x")
    cell, width = _cell_and_width(n, box_size, force)
    reach = _REACH[force.scheme]
    grid = particles.scatter_block(_deposit(force), displacement, width, cell, reach, force.refine)[0]
    modes = fft.forward_block(grid, box_size)
    pull = jnp.moveaxis(fft.inverse_block(modes.replace(_pull(modes, cell, force))), 0, -1)
    read = lambda grid, positions: paint.gather(grid, positions, force.scheme)  # noqa: E731
    return particles.gather_block(read, pull, displacement, width, cell, reach, force.refine)[0]


def _pull(modes: fft.Spectrum, cell: float, force: Force) -> Array:
    """Modes of -grad lap^-1 delta, (3, ...)."""
    k_squared = modes.k_squared
    kernel = jnp.where(k_squared == 0.0, 0.0, 1.0 / jnp.where(k_squared == 0.0, 1.0, k_squared))
    if force.sharpen:
        for k in (modes.kx, modes.ky, modes.kz):
            # Beyond the planes of Nyquist lies the padding of kz, where the window may vanish.
            kernel = kernel / jnp.maximum(paint.window(k * cell, force.scheme), 0.2) ** 2
    scaled = modes.values * kernel
    parts = []
    for k, n in zip((modes.kx, modes.ky, modes.kz), modes.shape, strict=True):
        # An odd derivative has no Nyquist mode.
        nyquist = jnp.pi / cell
        odd = jnp.where(jnp.abs(k) > nyquist * (1.0 - 0.5 / n), 0.0, k)
        parts.append(jax.lax.complex(-odd * scaled.imag, odd * scaled.real))
    return jnp.stack(parts)
