"""The posterior of initial conditions and parameters in coordinates that linear theory makes independent.

In linear theory a tracer's mode is d = G A nu + n, with nu white noise, A the linear amplitude, G the Kaiser
factor and n noise of variance N. Given the parameters theta, nu is then Gaussian, with

    variance  s^2 = 1 / (1 + G^2 A^2 / N)          mean  m = s^2 G A d / N

so the sampler's field x, with nu = m(theta) + s(theta) x, is independent of theta and of unit variance: a
Kaiser-like preconditioner that follows the parameters (Simon-Onfroy, Lanusse & de Mattia 2025,
arXiv:2504.20130, section 3). Where gravity is not linear the posterior is narrower or wider than that, by a
factor c(k) that a pilot run measures, and the field still leans on the parameters: nu = m + c s (x + B y).
Of all Gaussians the one nearest to the posterior has for its precision the mean Hessian H of -log p (Opper &
Archambeau 2009, Neural Comput. 21, 786), so B = -H_xx^-1 H_xy, averaged over draws of the pilot
(`coordinates`). Parameters are sampled as u = centre + factor y with the covariance that the pilot finds.
None of this changes the posterior, only how fast it is explored.
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
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.fields.spectra import shell_edges
from galaxyjax.infer.field_level.block import carry
from galaxyjax.infer.field_level.coordinates import covariance, lean, scatter
from galaxyjax.infer.field_level.tracer import TracerModel, on_grid
from galaxyjax.infer.priors import Prior
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID

PROBES = 16
LEAN = P(None, *GRID)


class Latent(NamedTuple):
    """Where a chain is: field (nx, ny, nz), sharded as a grid, and parameters (d,), on every device."""

    field: Array
    parameters: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("model", "contrast", "inverse_variance", "centre", "factor", "narrowing", "lean"),
    meta_fields=("prior",),
)
@dataclass(frozen=True)
class FieldPosterior:
    """Prior times Gaussian likelihood of a tracer's contrast in every cell; a pytree, pure in all its leaves.

    model: the forward model. contrast: (n, n, n), data. inverse_variance: of their noise, (n, n, n), 0 where
    nothing was seen, or one number. prior: of cosmology and biases. centre (d,), factor (d, d): parameters'
    coordinates u = centre + factor y. narrowing: (nb,) c of the module's text in shells of k.
    lean: (d, n, n, n) B of the module's text. Build it with `field_posterior`.
    """

    model: TracerModel
    contrast: Array
    inverse_variance: Array
    centre: Array
    factor: Array
    narrowing: Array
    lean: Array
    prior: Prior = field(metadata={"static": True})

    @property
    def dimension(self) -> int:
        """Number of coordinates, cells and parameters."""
        return self.model.cells**3 + self.prior.dimension

    def log_density(self, latent: Latent) -> Array:
        """Log posterior density of the coordinates, up to a constant; -inf where the model has no answer."""
        theta, u = self.theta(latent.parameters)
        x = self._modes(latent)
        noise, log_scale = self._noise(theta, x)
        residual = self.contrast - self.model.contrast(theta, noise)
        chi2 = jnp.sum(self.inverse_variance * residual**2)
        per_mode = x.weight * (jnp.square(noise.values.real) + jnp.square(noise.values.imag))
        field_prior = jnp.sum(per_mode) / latent.field.size
        value = log_scale - 0.5 * (chi2 + field_prior + jnp.sum(u**2))
        return jnp.where(jnp.isfinite(value), value, -jnp.inf)

    def theta(self, parameters: Array) -> tuple[dict[str, Array], Array]:
        """Return named parameters, and their standard-normal coordinates u, of a chain's coordinates (d,)."""
        u = self.centre + self.factor @ parameters
        return self.prior.constrain(u), u

    def noise(self, latent: Latent) -> fft.Spectrum:
        """Return the modes of the white noise that a chain's coordinates stand for."""
        theta, _ = self.theta(latent.parameters)
        return self._noise(theta, self._modes(latent))[0]

    def initial(self, latent: Latent) -> fft.Spectrum:
        """Return the modes of the linear density contrast today that a chain's coordinates stand for."""
        theta, _ = self.theta(latent.parameters)
        return self.model.linear_matter(theta, self.noise(latent))

    def latent(self, noise: Array, u: Array) -> Latent:
        """Return the coordinates of white noise (n, n, n) and of the parameters' u (d,)."""
        parameters = jnp.linalg.solve(self.factor, u - self.centre)
        theta, _ = self.theta(parameters)
        modes = self.model.noise_modes(noise)
        mean, scale = self.linear_theory(theta, modes)
        x = modes.replace((modes.values - mean) / (scale * self._narrowing(modes)))
        field = fft.inverse(x, self.model.mesh) - jnp.tensordot(parameters, self.lean, 1)
        return Latent(field, parameters)

    def linear_theory(self, theta: dict[str, Array], modes: fft.Spectrum) -> tuple[Array, Array]:
        """Return mean (complex) and standard deviation of the noise's modes in linear theory: Wiener's.

        modes: any spectrum of the grid, for its wavenumbers.
        """
        unit = modes.replace(jnp.ones_like(modes.values))
        signal = self.model.response(theta, modes) * self.model.linear_matter(theta, unit).values.real
        weight = jnp.mean(self.inverse_variance)
        variance = 1.0 / (1.0 + weight * signal**2)
        # With a mask, cells that were not seen pull towards 0, as in an unmasked survey with as much noise.
        seen = self.inverse_variance * self.contrast
        data = self.model.noise_modes(jnp.broadcast_to(seen, self.contrast.shape))
        return variance * signal * data.values, jnp.sqrt(variance)

    def _noise(self, theta: dict[str, Array], x: fft.Spectrum) -> tuple[fft.Spectrum, Array]:
        """Modes of white noise, and the logarithm of the map's Jacobian."""
        mean, scale = self.linear_theory(theta, x)
        scale = scale * self._narrowing(x)
        return x.replace(mean + scale * x.values), jnp.sum(x.weight * jnp.log(scale))

    def _modes(self, latent: Latent) -> fft.Spectrum:
        """Modes of x + B y."""
        return self.model.noise_modes(latent.field + jnp.tensordot(latent.parameters, self.lean, 1))

    def _narrowing(self, modes: fft.Spectrum) -> Array:
        return self.narrowing[jnp.clip(self._shell(modes), 0, len(self.narrowing) - 1)]

    def _shell(self, modes: fft.Spectrum) -> Array:
        """Index of each mode's shell: -1 for the mean, the number of shells beyond the last."""
        return jnp.digitize(jnp.sqrt(modes.k_squared), jnp.asarray(self.edges, modes.kx.dtype)) - 1

    def fisher(self, latent: Latent) -> Array:
        """Return the Fisher matrix (d, d) of u at given white noise, prior included: a first metric."""
        _, u = self.theta(latent.parameters)
        noise = self.noise(latent)
        seen = lambda u: jnp.sqrt(self.inverse_variance) * self.model.contrast(self.prior.constrain(u), noise)  # noqa: E731
        # One column after another: memory for one field more, whatever the number of parameters.
        columns = jax.lax.map(lambda v: jax.jvp(seen, (u,), (v,))[1], jnp.eye(len(u), dtype=u.dtype))
        rows = jax.lax.map(lambda row: jnp.sum(row * columns, axis=(1, 2, 3)), columns)
        return rows + jnp.eye(len(u), dtype=u.dtype)

    @property
    def edges(self) -> np.ndarray:
        """Edges (nb + 1,) of the shells of `narrowing`, h/Mpc; the last takes what lies beyond."""
        return shell_edges(self.model.cells, self.model.box_size)

    def observe(self, latent: Latent) -> dict[str, Array]:
        """Return what a chain keeps of a draw.

        "parameters": (d,) values by the prior's names. "power": (nb,) of the linear contrast today,
        (Mpc/h)^3. "cells": (PROBES,) of it, in cells far apart. "coordinates": (nb,) mean square of the
        sampler's field, 1 where the preconditioner is right and the data say nothing. "whitened": (d,) u.
        """
        theta, u = self.theta(latent.parameters)
        noise, _ = self._noise(theta, self._modes(latent))
        matter = self.model.linear_matter(theta, noise)
        n, size = self.model.cells, self.model.box_size
        stride = max(1, n**3 // PROBES)
        index = jnp.arange(PROBES) * stride
        cells = fft.inverse(matter, self.model.mesh)[index // n**2, index // n % n, index % n]
        return {
            "parameters": jnp.stack([theta[name] for name in self.prior.names]) if self.prior.names else u,
            "power": self.shells(matter) * (size**3 / n**6),
            "cells": cells,
            "coordinates": self.shells(self.model.noise_modes(latent.field)) / n**3,
            "whitened": u,
        }

    def picture(self, latent: Latent) -> Array:
        """Return the linear density contrast today (n, n, n) of a draw."""
        return fft.inverse(self.initial(latent), self.model.mesh)

    def shells(self, modes: fft.Spectrum) -> Array:
        """Return the mean |mode|^2 in each shell of `edges`, (nb,)."""
        square = jnp.square(modes.values.real) + jnp.square(modes.values.imag)
        shell = self._shell(modes)
        weight = jnp.broadcast_to(modes.weight, shell.shape)
        # Shell by shell: a scatter of sharded modes would gather them.
        sums = [
            jnp.sum(jnp.where(shell == i, weight * square, 0.0))
            / jnp.maximum(jnp.sum(jnp.where(shell == i, weight, 0.0)), 1.0)
            for i in range(len(self.narrowing))
        ]
        return jnp.stack(sums)

    def place(self, latent: Latent) -> Latent:
        """Return the coordinates constrained to their places on the mesh."""
        mesh = self.model.mesh
        put = jax.lax.with_sharding_constraint
        return Latent(
            put(latent.field, NamedSharding(mesh, GRID)), put(latent.parameters, NamedSharding(mesh, P()))
        )

    judged = ("parameters", "power", "cells")

    def start(self, key: Array) -> Latent:
        """Return a draw of the coordinates as linear theory has them, at the centre of the parameters."""
        noise = jax.random.normal(key, (self.model.cells,) * 3, self.contrast.dtype)
        return Latent(noise, jnp.zeros(self.prior.dimension, self.contrast.dtype))

    def guessed(self, latent: Latent) -> FieldPosterior:
        """Return the posterior with parameters scaled by their Fisher matrix at one point."""
        if not self.prior.dimension:
            return self
        fisher = np.asarray(_fisher(self, latent), float)
        return self.adapted(self.centre, np.linalg.inv(fisher), self.narrowing)

    def relearnt(self, draws: Mapping[str, np.ndarray], means: list, points: list) -> FieldPosterior:
        """Return the posterior in coordinates with the draws' covariance, variance in shells, and lean.

        draws: "whitened" (chains, draws, d) and "coordinates" (chains, draws, nb). means: of each chain's
        coordinates: what they share is the posterior's mean, about which the variance counts. points: some
        draws, over which the lean is averaged.
        """
        shells = partial(shells_of, self)
        square = np.asarray(draws["coordinates"], float).mean((0, 1))
        narrowing = np.asarray(self.narrowing) * scatter(shells, [mean.field for mean in means], square)
        if not self.prior.dimension:
            return self.adapted(self.centre, self.factor, narrowing)
        u, before = np.asarray(draws["whitened"], float), np.asarray(self.factor, float)
        new = self.adapted(u.mean(axis=(0, 1)), covariance(u, before @ before.T), narrowing)
        # What the field already leans on u, by the new coordinates of u.
        turned = jnp.linalg.solve(self.factor, new.factor)
        new = new.with_learnt({"lean": jnp.tensordot(turned.T, self.lean, 1)})
        carried = [carry(new, self, point) for point in points]
        return new.with_learnt({"lean": new.lean - lean(new, carried, partial(_by_shell, new))})

    def learnt(self) -> dict[str, np.ndarray]:
        """Return what tells these coordinates from others'."""
        return {name: np.asarray(getattr(self, name)) for name in ("centre", "factor", "narrowing", "lean")}

    def with_learnt(self, learnt: Mapping[str, np.ndarray]) -> FieldPosterior:
        """Return the posterior in the coordinates that `learnt` told."""
        arrays = {name: jnp.asarray(value, self.contrast.dtype) for name, value in learnt.items()}
        if "lean" in arrays:
            arrays["lean"] = jax.device_put(arrays["lean"], NamedSharding(self.model.mesh, LEAN))
        return replace(self, **arrays)

    def carried(self, other: FieldPosterior, latent: Latent) -> Latent:
        """Return these coordinates of what are another's coordinates `latent`."""
        _, u = other.theta(latent.parameters)
        return self.latent(fft.inverse(other.noise(latent), self.model.mesh), u)

    def adapted(self, centre, covariance, narrowing) -> FieldPosterior:
        """Return the same posterior in other coordinates: u's mean and covariance, and c(k)."""
        factor = np.linalg.cholesky(np.asarray(covariance, float)) if len(self.centre) else self.factor
        return self.with_learnt({"centre": centre, "factor": factor, "narrowing": narrowing})

    def identity(self) -> str:
        """Return a hash of data, model and prior, by which a stopped run is known again."""
        digest = hashlib.sha256(repr((self.prior, jax.tree.structure(self.model))).encode())
        for leaf in (self.contrast, self.inverse_variance, *jax.tree.leaves(self.model)):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()


@jax.jit
def _fisher(posterior: FieldPosterior, latent: Latent) -> Array:
    return posterior.fisher(latent)


@jax.jit
def shells_of(posterior: FieldPosterior, field: Array) -> Array:
    """Return the mean |mode|^2 of a field in the posterior's shells, (nb,)."""
    return posterior.shells(posterior.model.noise_modes(field))


@jax.jit
def _by_shell(posterior: FieldPosterior, field: Array) -> Array:
    """A field's parts by shell of k, (nb, n, n, n); they add up to it."""
    modes = posterior.model.noise_modes(field)
    shell = jnp.clip(posterior._shell(modes), 0, len(posterior.narrowing) - 1)
    parts = (jnp.where(shell == i, modes.values, 0.0) for i in range(len(posterior.narrowing)))
    return jnp.stack([fft.inverse(modes.replace(part), posterior.model.mesh) for part in parts])


def field_posterior(
    model: TracerModel, contrast, noise_std, prior: Prior, dtype=jnp.float32
) -> FieldPosterior:
    """Return the posterior of a tracer's contrast.

    contrast: (n, n, n). noise_std: standard deviation of its noise, a number or (n, n, n) with infinity where
    nothing was seen (contrast may be NaN there). prior: of the model's parameters, sampled or fixed. Raises
    DataError for another shape, noise that is not positive, or a contrast that is not finite where seen;
    ConfigError when the prior lacks a parameter of the cosmology.
    """
    contrast, std = np.asarray(contrast), np.asarray(noise_std, float)
    shape = (model.cells,) * 3
    if contrast.shape != shape:
        raise DataError(f"field posterior: contrast {contrast.shape} must have the model's shape {shape}")
    if std.shape not in ((), shape) or np.isnan(std).any() or not (std > 0).all():
        raise DataError(
            f"field posterior: noise_std of shape {std.shape} must be positive, one number or {shape}"
        )
    weight = 1.0 / np.square(std)
    seen = np.broadcast_to(weight > 0, shape)
    if not np.isfinite(contrast[seen]).all():
        raise DataError(
            "field posterior: the contrast is not finite where it was seen; set its noise_std to inf"
        )
    missing = [name for name in ("Omega_m", "Omega_b", "h", "n_s", "sigma_8")
               if name not in prior.names and name not in prior.fixed]  # fmt: skip
    if missing:
        raise ConfigError(f"field posterior: the prior lacks {', '.join(missing)}; add them, or fix them")
    d = prior.dimension
    return FieldPosterior(
        model=model,
        contrast=on_grid(np.where(seen, contrast, 0.0), model.mesh, dtype),
        inverse_variance=jnp.asarray(weight, dtype) if std.ndim == 0 else on_grid(weight, model.mesh, dtype),
        centre=jnp.zeros(d, dtype),
        factor=jnp.eye(d, dtype=dtype),
        narrowing=jnp.ones(len(shell_edges(model.cells, model.box_size)) - 1, dtype),
        lean=jax.device_put(jnp.zeros((d, *shape), dtype), NamedSharding(model.mesh, LEAN)),
        prior=prior,
    )
