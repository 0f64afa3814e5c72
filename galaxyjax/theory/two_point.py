"""Shear, galaxy-galaxy lensing and clustering together (3x2pt): one pure function of P, cosmology, nuisances.

    blocks = (
        Block("shear", source_pairs, bin_matrix(nodes, edges, "xi_plus")),
        Block("galaxy_shear", lens_source_pairs, bin_matrix(nodes, edges, "gamma_t")),
        Block("galaxy", lens_pairs, bin_matrix(nodes, edges, "w")),
    )
    model = TwoPoint.from_histograms(z_mid, sources, lenses, nodes, blocks)
    vector = model(power, cosmology, Nuisances(shift, A_IA, bias=bias, lens_shift=lens_shift))

A block's matrix takes C_ell to what was measured, so band powers, correlation functions, COSEBIs and C_ell
itself are all alike here. Limber, linear bias. Pure JAX; linear in P at fixed cosmology.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.theory.alignment import C1_RHO_CRIT
from galaxyjax.theory.limber import Extension, LineOfSight, Power, dot, result_dtype
from galaxyjax.theory.number_counts import count_kernel
from galaxyjax.theory.redshifts import Redshifts
from galaxyjax.theory.shear import Resolution

KINDS = ("shear", "galaxy_shear", "galaxy")


@dataclass(frozen=True, eq=False)
class Block:
    """One statistic. pairs: (npair, 2) bins from 0, (lens, source) for galaxy_shear. matrix: (nrow, nell)."""

    kind: str
    pairs: np.ndarray
    matrix: np.ndarray

    def __post_init__(self):
        if self.kind not in KINDS:
            raise unknown_name("kind of two-point function", self.kind, list(KINDS))
        object.__setattr__(self, "pairs", np.asarray(self.pairs, int).reshape(-1, 2))

    @property
    def size(self) -> int:
        """Number of data."""
        return len(self.pairs) * len(self.matrix)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nuisances:
    """What is not cosmology, a pytree. shift: (nsource,) of n(z), A_IA and eta_IA scalars (see `alignment`).

    m: (nsource,) multiplicative shear biases, or None. lens_shift: (nlens,). bias: (nlens,) linear.
    magnification: (nlens,) C = 5 s - 2 (see `number_counts`), or None.
    """

    shift: Array
    A_IA: Array | float
    eta_IA: Array | float = 0.0
    m: Array | None = None
    lens_shift: Array | None = None
    bias: Array | None = None
    magnification: Array | None = None


@dataclass(frozen=True, eq=False)
class TwoPoint:
    """The projection of one survey's sources and lenses; constants in NumPy float64. See `from_histograms`.

    line: of the sources' n(z), then the lenses'. ell_nodes: (nell,). blocks: in the order of the data.
    """

    line: LineOfSight
    nsource: int
    ell_nodes: np.ndarray
    blocks: tuple[Block, ...]
    extension: Extension

    @classmethod
    def from_histograms(
        cls,
        z_mid: np.ndarray,
        sources: np.ndarray,
        lenses: np.ndarray | None,
        ell_nodes: np.ndarray,
        blocks: tuple[Block, ...],
        resolution: Resolution = Resolution(n_z=48),  # noqa: B008 (frozen)
        extension: Extension = Extension(),  # noqa: B008
        c1_rho_crit: float = C1_RHO_CRIT,
    ) -> "TwoPoint":
        """Return the projection. z_mid: (nz,) middles of equal bins; sources (ns, nz), lenses (nl, nz).

        Lenses lie in narrow shells, and want more nodes in z than shear (benchmarks/data_vectors.py).
        Raises ConfigError when pairs or matrices do not fit.
        """
        sources = np.atleast_2d(np.asarray(sources, float))
        lenses = np.empty((0, len(z_mid))) if lenses is None else np.atleast_2d(np.asarray(lenses, float))
        counts = {"shear": (len(sources),) * 2, "galaxy": (len(lenses),) * 2}
        counts["galaxy_shear"] = (len(lenses), len(sources))
        for block in blocks:
            if block.matrix.ndim != 2 or block.matrix.shape[1] != len(ell_nodes):
                raise ConfigError(
                    f"{block.kind}: matrix {block.matrix.shape} for {len(ell_nodes)} multipoles of C_ell"
                )
            if np.any(block.pairs < 0) or np.any(block.pairs >= counts[block.kind]):
                raise ConfigError(f"{block.kind}: pairs beyond the {counts[block.kind]} bins (from 0)")
        redshifts = Redshifts.from_histogram(z_mid, np.concatenate([sources, lenses]))
        line = LineOfSight.from_redshifts(
            redshifts,
            np.zeros((0, 2), int),
            extension.z_max,
            resolution.n_z,
            resolution.n_gauss,
            c1_rho_crit,
        )
        return cls(line, len(sources), np.asarray(ell_nodes, float), tuple(blocks), extension)

    @property
    def size(self) -> int:
        """Number of data."""
        return sum(block.size for block in self.blocks)

    def __call__(self, power: Power, cosmology: Cosmology, nuisances: Nuisances) -> Array:
        """Return the data vector (ndata,): block by block, pair by pair, rows of the matrix ascending."""
        return self.project(self.table(power, cosmology), cosmology, nuisances)

    def table(self, power: Power, cosmology: Cosmology) -> Array:
        """Return P (nz, nell) in (Mpc/h)^3 at the nodes, extended beyond k_max."""
        k = self.line.k_nodes(cosmology, self.ell_nodes)
        return self.extension.table(power, k, jnp.asarray(self.line.z_nodes, k.dtype))

    def project(self, table: Array, cosmology: Cosmology, nuisances: Nuisances) -> Array:
        """Return the data vector (ndata,) of a table of P (nz, nell); linear in the table."""
        parts = []
        for block, weights in zip(self.blocks, self.weights(cosmology, nuisances), strict=True):
            banded = dot(jnp.asarray(table, weights.dtype) / units.HUBBLE_DISTANCE**3, block.matrix.T)
            parts.append(dot(weights, banded).reshape(-1))
        return jnp.concatenate(parts)

    def weights(self, cosmology: Cosmology, nuisances: Nuisances) -> list[Array]:
        """Return weight (npair, nz) of each block, C_ell = weight @ P, for P in units of (c / H0)^3."""
        dtype = result_dtype(cosmology, nuisances)
        shift = jnp.asarray(nuisances.shift, dtype)
        if nuisances.lens_shift is not None:
            shift = jnp.concatenate([shift, jnp.asarray(nuisances.lens_shift, dtype)])
        kernels = self.line.kernels(cosmology, shift)
        ns = self.nsource
        sources = kernels._replace(lensing=kernels.lensing[:ns], number=kernels.number[:ns])
        lenses = kernels._replace(lensing=kernels.lensing[ns:], number=kernels.number[ns:])
        shear = self.line.shear_kernel(sources, cosmology, nuisances.A_IA, nuisances.eta_IA, nuisances.m)
        count = None
        if nuisances.bias is not None:
            count = count_kernel(lenses, nuisances.bias, nuisances.magnification)
        tracers = {"shear": (shear, shear), "galaxy_shear": (count, shear), "galaxy": (count, count)}
        return [
            self.line.fold(*tracers[block.kind], kernels.measure, block.pairs).astype(dtype)
            for block in self.blocks
        ]
