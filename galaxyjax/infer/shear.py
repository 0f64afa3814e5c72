"""Cosmic shear from named parameters: emulator, projection and nuisance parameters in one pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.emulator.contract import Contract
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer import parameters
from galaxyjax.infer.likelihood import GaussianLikelihood, gaussian
from galaxyjax.theory.shear import Shear

Values = Mapping[str, jax.Array]


@dataclass(frozen=True, eq=False)
class ShearModel:
    """Band powers of named values: cosmology in any parameterisation, A_IA, dz_1 ... dz_n, and logT_AGN,
    eta_IA and m_1 ... m_n where used.

    emulator: an Emulator, or anything with its `contract`, `predict` and `sigma8`. Values outside its domain
    are clipped to it and flagged by `inside`, so that gradients stay finite on both sides.
    shear: the projection of the survey. output: the spectrum used.
    """

    emulator: Emulator
    shear: Shear
    output: str = "nonlinear_baryons"

    @property
    def shifts(self) -> tuple[str, ...]:
        """Names of the shifts of n(z)."""
        return shift_names(self.shear.line.redshifts.taps.shape[1])

    def cosmology(self, values: Values) -> Cosmology:
        """The cosmology; S8 and sigma_8 become ln10A_s through the emulator's sigma_8."""
        return parameters.cosmology(values, self.sigma_8)

    def sigma_8(self, cosmo: Cosmology) -> jax.Array:
        """sigma_8 of total matter today."""
        theta = {k: v for k, v in cosmo.to_mapping().items() if k in self.emulator.contract.domain}
        return self.emulator.sigma8(theta, jnp.zeros(1, jnp.result_type(cosmo.h)))[..., 0]

    def theta(self, values: Values, cosmo: Cosmology) -> dict[str, jax.Array]:
        """What the emulator takes."""
        known = {**values, **cosmo.to_mapping()}
        return {name: known[name] for name in self.emulator.contract.domain if name in known}

    def inside(self, values: Values) -> jax.Array:
        """Whether the emulator promises anything at these values."""
        return inside(self.emulator.contract, self.theta(values, self.cosmology(values)))

    def table(self, values: Values, cosmo: Cosmology) -> jax.Array:
        """P (nz, nell) in (Mpc/h)^3 at the nodes of the projection."""
        theta = self.theta(values, cosmo)
        return self.shear.table(
            lambda k, z: self.emulator.predict(theta, k=k, z=z, output=self.output), cosmo
        )

    def vector(self, values: Values) -> jax.Array:
        """Band powers (ndata,), dimensionless."""
        return self.from_table(values, self.table(values, self.cosmology(values)))

    def from_table(self, values: Values, table: jax.Array, others=None) -> jax.Array:
        """Band powers (ndata,) of a table of P (nz, nell); `others` is for models that have more."""
        cosmo = self.cosmology(values)
        return self.shear.project(table, cosmo, *self.nuisances(values))

    def camb_others(self, theta: Mapping[str, float]) -> np.ndarray | None:
        """What the vector has beyond `table`, from CAMB: nothing here, distances in a joint model."""
        return None

    def nuisances(self, values: Values) -> tuple:
        """Shifts of n(z) (nbin,), A_IA, eta_IA and m (nbin,), the last two where they have values."""
        m = None
        if "m_1" in values:
            m = jnp.stack([values[name.replace("dz_", "m_")] for name in self.shifts])
        return self.shift(values), values["A_IA"], values.get("eta_IA", 0.0), m

    def shift(self, values: Values) -> jax.Array:
        """Shifts of n(z) (nbin,)."""
        return jnp.stack([values[name] for name in self.shifts])

    def derived(self, values: Values) -> dict[str, jax.Array]:
        """Cosmological columns that are not sampled."""
        return parameters.derived(values, self.cosmology(values), self.sigma_8)

    def log_likelihood(self, values: Values, likelihood: GaussianLikelihood) -> jax.Array:
        """-chi2 / 2, and -inf outside the emulator's domain."""
        value = likelihood.log_likelihood(self.vector(values))
        return jnp.where(self.inside(values), value, -jnp.inf)

    def error_modes(self, values: Mapping[str, float]) -> np.ndarray:
        """The emulator's measured error as band-power vectors (r, ndata): their sum of v v^T is its
        covariance.

        Each mode of ln P goes through the projection, which is linear in P, at the cosmology of `values`.
        """
        values = {name: jnp.asarray(value, float) for name, value in values.items()}

        def project(values, modes):
            cosmo = self.cosmology(values)
            table = self.table(values, cosmo)
            return self.shear.project_modes(table * modes, cosmo, *self.nuisances(values))

        k = jax.jit(lambda values: self.shear.k_nodes(self.cosmology(values)))(values)
        k = np.asarray(self.shear.extension.clip(k))
        modes = self.emulator.error.modes(self.output, k, self.shear.z_nodes)
        return np.asarray(jax.jit(project)(values, jnp.asarray(modes, k.dtype)), np.float64)


def shift_names(bins: int) -> tuple[str, ...]:
    """dz_1 ... dz_n."""
    return tuple(f"dz_{i + 1}" for i in range(bins))


def inside(contract: Contract, theta: Values) -> jax.Array:
    """Whether all of `theta` (scalars) lies in the domain of a contract, joint bounds included."""
    good = jnp.asarray(True)
    for name, value in theta.items():
        entry = contract.domain[name]
        good &= (value >= entry.low) & (value <= entry.high)
    for constraint in contract.constraints:
        if all(name in theta for name in constraint.coefficients):
            good &= constraint.total(theta) <= constraint.upper + 1e-6
    return good


def likelihood_of(model: ShearModel, survey, fiducial: Mapping[str, float] | None) -> GaussianLikelihood:
    """The likelihood of a survey's band powers; the emulator's measured error at `fiducial` joins the
    covariance.

    fiducial None, or an emulator without a measured error, leaves the survey's covariance as it is.
    """
    modes = None
    if fiducial is not None and getattr(model.emulator, "error", None) is not None:
        modes = model.error_modes(fiducial)
    return gaussian(survey.data, survey.covariance, modes, name=survey.name)
