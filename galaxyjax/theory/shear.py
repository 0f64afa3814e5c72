"""Cosmic-shear band powers of a survey: a pure function of power spectrum, cosmology and nuisances.

    shear = Shear.from_survey(survey)
    vector = shear(power, cosmology, shift, A_IA)           # (ndata,), the order of survey.data

The power spectrum may come from anywhere: power(k (nz, nell), z (nz,)) -> P (nz, nell) in (Mpc/h)^3. Pure
JAX; works under jit, grad and vmap, in float32 and float64. Linear in P at fixed cosmology, so `project` also
carries perturbations of P.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.data.survey import ShearSurvey
from galaxyjax.theory.alignment import C1_RHO_CRIT
from galaxyjax.theory.bandpowers import band_matrix, ell_nodes
from galaxyjax.theory.limber import Extension, LineOfSight, Power, dot, result_dtype
from galaxyjax.theory.redshifts import Redshifts


@dataclass(frozen=True)
class Resolution:
    """Nodes of the projection. The defaults are within 0.003 sigma (benchmarks/bandpowers.py).

    n_z, n_ell: redshifts and multipoles at which the power is asked for. n_gauss: points between samples of
    n(z).
    """

    n_z: int = 24
    n_ell: int = 44
    n_gauss: int = 3
    ell_min: float = 1.0
    ell_max: float = 1e5


@dataclass(frozen=True, eq=False)
class Shear:
    """The projection of one survey: constants in NumPy float64, cast to the parameters' dtype when called.

    line: the Limber integral. ell_nodes: (nell,) multipoles. bands: (nband, nell), from C_ell to band powers.
    """

    line: LineOfSight
    ell_nodes: np.ndarray
    bands: np.ndarray
    extension: Extension

    @classmethod
    def from_survey(
        cls,
        survey: ShearSurvey,
        resolution: Resolution = Resolution(),  # noqa: B008 (frozen)
        extension: Extension = Extension(),  # noqa: B008
        spin_factor: bool = False,
        c1_rho_crit: float = C1_RHO_CRIT,
    ) -> "Shear":
        """Return the projection for a survey's n(z), pairs, bands and angles.

        spin_factor: the exact spin-2 prefactor on C_ell. Off, as in the published KiDS-1000 analysis; it
        moves its band powers by 0.001 sigma.
        """
        line = LineOfSight.from_redshifts(
            Redshifts.from_histogram(survey.z_mid, survey.nz),
            survey.pairs - 1,
            extension.z_max,
            resolution.n_z,
            resolution.n_gauss,
            c1_rho_crit,
        )
        nodes = ell_nodes(resolution.n_ell, resolution.ell_min, resolution.ell_max)
        bands = band_matrix(nodes, survey.ell_edges, survey.theta_range, survey.apodisation, spin_factor)
        return cls(line, nodes, bands, extension)

    def __call__(
        self, power: Power, cosmology: Cosmology, shift: Array, A_IA: Array, eta_IA: Array | float = 0.0
    ) -> Array:
        """Return the band powers (ndata,), mean ell^2 C_ell, dimensionless: pair by pair, bands ascending.

        shift: (nbin,) shifts of n(z), positive to higher z. A_IA, eta_IA: scalars, see `alignment`.
        """
        return self.project(self.table(power, cosmology), cosmology, shift, A_IA, eta_IA)

    @property
    def z_nodes(self) -> np.ndarray:
        """(nz,) redshifts at which the power is asked for, ascending; the last is at most extension.z_max."""
        return self.line.z_nodes

    @property
    def shape(self) -> tuple[int, int]:
        """(nz, nell), the shape of a table of P."""
        return len(self.z_nodes), len(self.ell_nodes)

    def k_nodes(self, cosmology: Cosmology) -> Array:
        """Return the wavenumbers (nz, nell) in h/Mpc of a table of P; many exceed extension.k_max."""
        return self.line.k_nodes(cosmology, self.ell_nodes)

    def table(self, power: Power, cosmology: Cosmology) -> Array:
        """Return P (nz, nell) in (Mpc/h)^3 at k_nodes and z_nodes, extended beyond k_max."""
        k = self.k_nodes(cosmology)
        return self.extension.table(power, k, jnp.asarray(self.z_nodes, k.dtype))

    def project(
        self,
        table: Array,
        cosmology: Cosmology,
        shift: Array,
        A_IA: Array,
        eta_IA: Array | float = 0.0,
        m: Array | None = None,
    ) -> Array:
        """Return the band powers (ndata,) of a table of P (nz, nell); linear in the table."""
        return self.project_modes(table[None], cosmology, shift, A_IA, eta_IA, m)[0]

    def project_modes(
        self,
        tables: Array,
        cosmology: Cosmology,
        shift: Array,
        A_IA: Array,
        eta_IA: Array | float = 0.0,
        m: Array | None = None,
    ) -> Array:
        """Return the band powers (r, ndata) of r tables (r, nz, nell), P times relative errors.

        m: (nbin,) multiplicative biases of the shear that the covariance does not hold already, or None.
        """
        dtype = result_dtype(tables, cosmology, shift, A_IA)
        if tables.shape[1:] != self.shape:
            raise ConfigError(f"power table: shape {tables.shape[1:]}, expected (nz, nell) = {self.shape}")
        weights = self.line.weights(cosmology, shift, A_IA, eta_IA, m).astype(dtype)
        # In units of (c/H0)^3, so that float32 stays within its range; bands first, they are fewer than
        # multipoles.
        banded = dot(tables.astype(dtype) / units.HUBBLE_DISTANCE**3, self.bands.T)
        return dot(weights, banded).reshape(len(tables), -1)

    def angular_power(self, table: Array, cosmology: Cosmology, shift: Array, A_IA: Array) -> Array:
        """Return C_ell (npair, nell) at ell_nodes, before the spin factor."""
        weights = self.line.weights(cosmology, shift, A_IA)
        return dot(weights, jnp.asarray(table, weights.dtype) / units.HUBBLE_DISTANCE**3)
