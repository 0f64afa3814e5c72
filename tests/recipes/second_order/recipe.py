"""Second-order displacements from first-order ones: physics made on the fly, no files.

galaxyjax train tests/recipes/second_order --mesh data=2,x=2,y=2    # a minute on two cores

Input: the Zel'dovich displacement D psi_1 of a Gaussian field on a periodic lattice. Target: the second-order
displacement (3/7) D^2 psi_2 (Bouchet et al. 1995, eq. 4.4, Einstein-de Sitter). Both in units of the cell.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from galaxyjax.models.vnet import VNet
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import LAYOUT, FieldBatch, FieldTraining
from galaxyjax.train.identity import fingerprint

HELD_OUT = 10_000_000  # the step from which held-out examples are drawn: training never gets there


@dataclass(frozen=True)
class SecondOrder:
    """Lattices of `cells` a side; the density is smoothed over `smoothing` cells and has unit variance."""

    cells: int = 16
    smoothing: float = 1.5
    growth: tuple[float, float] = (0.3, 1.0)
    field_scale: float = 0.5  # cells
    target_scale: float = 0.05

    def batch(self, mesh, size, seed, step):
        return _maker(self, mesh, size)(jax.random.fold_in(jax.random.key(seed), step))

    def held_out(self, mesh, size):
        return [self.batch(mesh, size, 0, HELD_OUT)]

    def identity(self):
        return fingerprint(self)

    def normalisation(self):
        return {"field": self.field_scale, "target": self.target_scale}

    def example(self, key):
        """One example: field (n, n, n, 3), style (1,), target (n, n, n, 3)."""
        noise_key, growth_key = jax.random.split(key)
        D = jax.random.uniform(growth_key, (1,), minval=self.growth[0], maxval=self.growth[1])
        k = jnp.stack(jnp.meshgrid(*(2 * jnp.pi * jnp.fft.fftfreq(self.cells),) * 3, indexing="ij"))
        k2 = jnp.sum(k**2, axis=0)
        inverse = jnp.where(k2 > 0, -1.0 / jnp.where(k2 > 0, k2, 1.0), 0.0)
        back = lambda a: jnp.fft.ifftn(a).real  # noqa: E731
        delta = jnp.fft.fftn(jax.random.normal(noise_key, (self.cells,) * 3))
        # White noise of unit variance, so smoothed, has variance 1 / (8 pi^(3/2) R^3).
        unit = (8 * jnp.pi**1.5 * self.smoothing**3) ** 0.5
        phi1 = unit * inverse * delta * jnp.exp(-0.5 * k2 * self.smoothing**2)
        second = lambda i, j: back(-k[i] * k[j] * phi1)  # noqa: E731
        pairs = ((0, 1), (0, 2), (1, 2))
        source = sum(second(i, i) * second(j, j) - second(i, j) ** 2 for i, j in pairs)
        phi2 = inverse * jnp.fft.fftn(source)
        first = jnp.stack([back(-1j * k[i] * phi1) for i in range(3)], axis=-1)
        target = jnp.stack([back(1j * k[i] * phi2) for i in range(3)], axis=-1)
        return FieldBatch(D * first / self.field_scale, D, 3 / 7 * D**2 * target / self.target_scale)


@cache
def _maker(source, mesh, size):
    """Jitted key -> batch. Each device makes its own examples whole and keeps its blocks: nothing is sent."""
    local = size // mesh.shape["data"]

    def block(field):
        for axis, name in ((1, "x"), (2, "y")):
            n = field.shape[axis] // lax.axis_size(name)
            field = lax.dynamic_slice_in_dim(field, lax.axis_index(name) * n, n, axis=axis)
        return field

    def make(key):
        # One key an example: on every mesh the same fields.
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(
            lax.axis_index("data") * local + jnp.arange(local)
        )
        made = jax.vmap(source.example)(keys)
        return FieldBatch(block(made.field), made.style, block(made.target))

    return jax.jit(jax.shard_map(make, mesh=mesh, in_specs=P(), out_specs=LAYOUT, check_vma=True))


TRAINING = FieldTraining(
    model=VNet(inputs=3, outputs=3, widths=(8, 16), blocks=(1, 1), style=1),
    source=SecondOrder(),
    cells=16,
    fit=FieldFitConfig(steps=300, batch=8, learning_rate=5e-3, warmup=20, evaluate_every=50, save_every=100),
)
