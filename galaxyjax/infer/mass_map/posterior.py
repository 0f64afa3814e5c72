"""The posterior of convergence given masked, noisy shear, in coordinates near independence.

The prior's field is g = A nu with nu white; kappa = g, or a function of it (`marginal`). Coordinates are x,
nu = c s x, with s^2 = 1 / (1 + A^2 R / N): R the prior's mean response d kappa / d g squared, N the noise
where there are data, and c what a pilot run measures, as in `field_level.posterior`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.errors import DataError
from galaxyjax.fields.shear import kaiser_squires, shear_of, smoothed
from galaxyjax.infer.field_level.coordinates import scatter
from galaxyjax.infer.mass_map.marginal import Marginal, response, underlying
from galaxyjax.infer.mass_map.prior import MapGrid
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID

SHELLS, PROBES = 12, 16


class Sky(NamedTuple):
    """The coordinates of a map, field (ny, nx, 1)."""

    field: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("shear", "weight", "amplitude", "scale", "narrowing", "marginal"),
    meta_fields=("grid", "mesh"),
)
@dataclass(frozen=True)
class MassMap:
    """Prior times Gaussian likelihood of shear in every pixel that was seen; a pytree.

    shear, weight: gamma1, gamma2 and their inverse variances, each a pair of (ny, nx, 1); weight 0 where
    nothing was seen. amplitude, scale: A and s of the module's text, as modes lie. narrowing: c in shells.
    marginal: convergence as a function of g; None for a Gaussian prior. Build it with `mass_map`.
    """

    shear: tuple[Array, Array]
    weight: tuple[Array, Array]
    amplitude: Array
    scale: Array
    narrowing: Array
    marginal: Marginal | None
    grid: MapGrid = field(metadata={"static": True})
    mesh: Mesh = field(metadata={"static": True})

    judged = ("power", "pixels")

    @property
    def dimension(self) -> int:
        """Number of pixels."""
        return self.grid.shape[0] * self.grid.shape[1]

    def log_density(self, sky: Sky) -> Array:
        """Log posterior density of the coordinates, up to a constant."""
        x = self._modes(sky.field)
        noise = self._noise(x)
        seen = shear_of(self._modes(self._kappa(noise)), self.mesh)
        chi2 = sum(jnp.sum(w * (d - m) ** 2) for w, d, m in zip(self.weight, self.shear, seen, strict=True))
        squares = x.weight * (jnp.square(noise.values.real) + jnp.square(noise.values.imag))
        value = -0.5 * (chi2 + jnp.sum(squares) / self.dimension)
        return jnp.where(jnp.isfinite(value), value, -jnp.inf)

    def kappa(self, sky: Sky) -> Array:
        """Return the convergence (ny, nx, 1) that coordinates stand for."""
        return self._kappa(self._noise(self._modes(sky.field)))

    picture = kappa

    def _modes(self, grid: Array) -> fft.Spectrum:
        return fft.forward(grid, self.mesh, self.grid.size)

    def _noise(self, x: fft.Spectrum) -> fft.Spectrum:
        return x.replace(x.values * (self.scale * self._narrowing(x)))

    def _kappa(self, noise: fft.Spectrum) -> Array:
        g = fft.inverse(noise.replace(noise.values * self.amplitude), self.mesh)
        return g if self.marginal is None else self.marginal(g)

    def _shell(self, modes: fft.Spectrum) -> Array:
        """Index of a mode's shell, equal steps of ln l from the fundamental one."""
        unit = 2.0 * np.pi / max(self.grid.size[:2])
        top = np.pi / self.grid.pixel * np.sqrt(2.0)
        ell = jnp.sqrt(modes.kx**2 + modes.ky**2)
        found = SHELLS * jnp.log(jnp.maximum(ell, unit) / unit) / np.log(1.001 * top / unit)
        return jnp.clip(found.astype(jnp.int32), 0, SHELLS - 1)

    def _narrowing(self, modes: fft.Spectrum) -> Array:
        return self.narrowing[self._shell(modes)]

    def shells(self, modes: fft.Spectrum) -> Array:
        """Return the mean |mode|^2 in shells, (SHELLS,)."""
        square = jnp.square(modes.values.real) + jnp.square(modes.values.imag)
        shell = jnp.broadcast_to(self._shell(modes), square.shape)
        weight = jnp.broadcast_to(modes.weight, square.shape)
        sums = [
            jnp.sum(jnp.where(shell == i, weight * square, 0.0))
            / jnp.maximum(jnp.sum(jnp.where(shell == i, weight, 0.0)), 1.0)
            for i in range(SHELLS)
        ]
        return jnp.stack(sums)

    def observe(self, sky: Sky) -> dict[str, Array]:
        """Return what a chain keeps: power of kappa in shells, some pixels, the coordinates' power."""
        kappa = self.kappa(sky)
        ny, nx = self.grid.shape
        index = jnp.arange(PROBES) * (self.dimension // PROBES) + nx // 2
        return {
            "power": self.shells(self._modes(kappa)) * (self.grid.pixel**2 / self.dimension),
            "pixels": kappa[index // nx % ny, index % nx, 0],
            "coordinates": self.shells(self._modes(sky.field)) / self.dimension,
        }

    def place(self, sky: Sky) -> Sky:
        """Return the coordinates constrained to their place on the mesh."""
        return Sky(jax.lax.with_sharding_constraint(sky.field, NamedSharding(self.mesh, GRID)))

    def start(self, key: Array) -> Sky:
        """Return coordinates drawn from a standard normal: about as wide as the posterior."""
        return Sky(jax.random.normal(key, (*self.grid.shape, 1), self.shear[0].dtype))

    def guessed(self, sky: Sky) -> MassMap:
        """Return itself: the coordinates need no first guess."""
        return self

    def relearnt(self, draws: Mapping[str, np.ndarray], means: list, points: list) -> MassMap:
        """Return the posterior in coordinates of unit variance in shells, as `FieldPosterior.relearnt`."""
        square = np.asarray(draws["coordinates"], float).mean((0, 1))
        spread = scatter(partial(_shells, self), [sky.field for sky in means], square)
        return self.with_learnt({"narrowing": self.narrowing * spread})

    def learnt(self) -> dict[str, np.ndarray]:
        """Return what tells these coordinates from others'."""
        return {"narrowing": np.asarray(self.narrowing)}

    def with_learnt(self, learnt: Mapping[str, np.ndarray]) -> MassMap:
        """Return the posterior in the coordinates that `learnt` told."""
        return replace(self, narrowing=jnp.asarray(learnt["narrowing"], self.shear[0].dtype))

    def carried(self, other: MassMap, sky: Sky) -> Sky:
        """Return these coordinates of what are another's coordinates `sky`."""
        return self._coordinates(other._noise(other._modes(sky.field)))

    def sky(self, white: Array) -> Sky:
        """Return the coordinates of white noise (ny, nx, 1)."""
        return self._coordinates(self._modes(white))

    def _coordinates(self, noise: fft.Spectrum) -> Sky:
        x = noise.replace(noise.values / (self.scale * self._narrowing(noise)))
        return Sky(fft.inverse(x, self.mesh))

    def identity(self) -> str:
        """Return a hash of data and prior, by which a stopped run is known again."""
        digest = hashlib.sha256(repr((self.grid, dict(self.mesh.shape))).encode())
        for leaf in jax.tree.leaves((self.shear, self.weight, self.amplitude, self.marginal)):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def wiener(self, iterations: int = 200) -> Array:
        """Return the Wiener-filtered convergence (ny, nx, 1): mean of the Gaussian posterior, mask included.

        By conjugate gradients on (1 + A R N^-1 R A) nu = A R N^-1 d, in the coordinates that precondition the
        chains. Another prior than the Gaussian has no such filter: DataError.
        """
        if self.marginal is not None:
            raise DataError("wiener: the prior is not Gaussian; build the map with marginal=None")
        return _wiener(self, iterations)


@jax.jit
def _shells(target: MassMap, field: Array) -> Array:
    return target.shells(target._modes(field))


@partial(jax.jit, static_argnums=1)
def _wiener(target: MassMap, iterations: int) -> Array:
    zero = Sky(jnp.zeros_like(target.shear[0]))
    slope = jax.grad(target.log_density)
    data = slope(zero).field
    # The density is quadratic: its gradient is data - H x.
    matrix = lambda x: data - slope(Sky(x)).field  # noqa: E731

    def step(_, carry):
        x, residual, way, square = carry
        image = matrix(way)
        share = square / jnp.maximum(jnp.sum(way * image), jnp.finfo(image.dtype).tiny)
        x, residual = x + share * way, residual - share * image
        new = jnp.sum(residual**2)
        return x, residual, residual + new / jnp.maximum(square, jnp.finfo(image.dtype).tiny) * way, new

    start = (zero.field, data, data, jnp.sum(data**2))
    return target.kappa(Sky(jax.lax.fori_loop(0, iterations, step, start)[0]))


def mass_map(
    grid: MapGrid,
    shear: tuple[np.ndarray, np.ndarray],
    noise_std: tuple[np.ndarray, np.ndarray],
    variance: np.ndarray,
    mesh: Mesh,
    marginal: Marginal | None = None,
    dtype=jnp.float32,
) -> MassMap:
    """Return the posterior of the convergence.

    shear: gamma1, gamma2 (ny, nx). noise_std: of each, (ny, nx); 0 or infinity where nothing was seen.
    variance: of the prior's modes, (ny, nx), as `prior.gaussian_spectrum` gives it. marginal: what a pixel
    may be, of the same variance; None for a Gaussian. Raises DataError for other shapes, nothing seen, or
    shear that is not finite where it was.
    """
    shear = tuple(np.asarray(one, float) for one in shear)
    std = tuple(np.asarray(one, float) for one in noise_std)
    named = zip(("gamma1", "gamma2", "std1", "std2", "variance"), (*shear, *std, variance), strict=True)
    for name, one in named:
        if one.shape != tuple(grid.shape):
            raise DataError(f"mass map: {name} {one.shape} must have the map's shape {tuple(grid.shape)}")
    weights = []
    for one, s in zip(shear, std, strict=True):
        seen = np.isfinite(s) & (s > 0)
        if not seen.any():
            raise DataError("mass map: no pixel has a finite, positive noise; nothing was seen")
        if not np.isfinite(one[seen]).all():
            raise DataError("mass map: the shear is not finite where it was seen; set its noise to inf there")
        weights.append(np.where(seen, 1.0 / np.where(seen, s, 1.0) ** 2, 0.0))
    field_variance = variance if marginal is None else underlying(variance, marginal)
    bent = 1.0 if marginal is None else response(marginal)
    seen = weights[0] > 0
    information = 0.5 * (weights[0] + weights[1])[seen].mean() * seen.mean()
    scale = 1.0 / np.sqrt(1.0 + field_variance * bent * information)
    put = lambda a: jax.device_put(jnp.asarray(a, dtype)[..., None], NamedSharding(mesh, GRID))  # noqa: E731
    like = fft.forward(put(shear[0] * 0.0), mesh, grid.size)
    # kz has one plane, padded to the mesh.
    planes = lambda a: np.repeat(np.asarray(a)[..., None], like.values.shape[-1], axis=-1)  # noqa: E731
    modes = lambda a: jax.device_put(jnp.asarray(planes(a), dtype), like.sharding(mesh))  # noqa: E731
    return MassMap(
        shear=tuple(put(np.where(w > 0, one, 0.0)) for one, w in zip(shear, weights, strict=True)),
        weight=tuple(put(w) for w in weights),
        amplitude=modes(np.sqrt(field_variance)),
        scale=modes(scale),
        narrowing=jnp.ones(SHELLS, dtype),
        marginal=None if marginal is None else marginal.cast(dtype),
        grid=grid,
        mesh=mesh,
    )


def ks_map(target: MassMap, smoothing: float) -> Array:
    """Return the Kaiser-Squires convergence (ny, nx, 1), smoothed by a Gaussian of that width in radian."""
    e, _ = kaiser_squires(*target.shear, target.mesh, target.grid.size)
    return smoothed(e, smoothing, target.mesh)
