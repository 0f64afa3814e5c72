"""TATT in the data vector: the one-loop spectra of `tatt`, projected with the kernels of `two_point`.

    C_1 = -A_IA C1 rho_crit Omega_m / D ((1 + z) / (1 + z_0))^eta_IA,
    C_2 = 5 A_2 C1 rho_crit Omega_m / D^2 ((1 + z) / (1 + z_0))^eta_2

(Blazek et al. 2019, PRD 100, 103506, eqs 8 and 9; Secco et al. 2022, PRD 105, 023515). One-loop spectra are
of the linear field and grow as D^4; terms without them are NLA's, with the non-linear P. E modes, or with
`b_modes` those of B, which only alignment makes.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.theory.alignment import alignment_amplitude
from galaxyjax.theory.limber import Kernels, dot, result_dtype
from galaxyjax.theory.number_counts import count_kernel
from galaxyjax.theory.tatt import Templates, templates
from galaxyjax.theory.two_point import Nuisances, TwoPoint

K_TEMPLATES = np.geomspace(1e-3, 20.0, 240)  # h/Mpc; linear in ln k between, constant beyond


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Torque:
    """What TATT has beyond NLA: scalars A_2, eta_2 (its evolution) and b_TA (bias of the sources)."""

    A_2: Array | float
    eta_2: Array | float = 0.0
    b_TA: Array | float = 0.0


def project_tatt(
    model: TwoPoint,
    table: Array,
    linear: tuple[Array, Array],
    cosmology: Cosmology,
    nuisances: Nuisances,
    torque: Torque,
    b_modes: bool = False,
) -> Array:
    """Return the data vector (ndata,) of model's blocks with TATT; with A_2 = b_TA = 0 that of NLA.

    table: (nz, nell) of P in (Mpc/h)^3, from model.table. linear: ln k (n,) ascending and ln P (n,) of the
    linear spectrum at z = 0 (see `tatt.templates`). b_modes: shear's C_BB in the place of C_EE, and no
    galaxies' shear.
    """
    dtype = result_dtype(table, cosmology, nuisances, torque)
    k = jnp.asarray(K_TEMPLATES, dtype)
    loops = templates(k, *(jnp.asarray(part, dtype) for part in linear))
    at = jnp.log(model.line.k_nodes(cosmology, model.ell_nodes))
    grids = Templates(*(jnp.interp(at, jnp.log(k), loop) for loop in loops))
    shift = jnp.asarray(nuisances.shift, dtype)
    if nuisances.lens_shift is not None:
        shift = jnp.concatenate([shift, jnp.asarray(nuisances.lens_shift, dtype)])
    kernels, ns = model.line.kernels(cosmology, shift), model.nsource
    lenses = kernels._replace(lensing=kernels.lensing[ns:], number=kernels.number[ns:])
    shears = _Shear(model, kernels, cosmology, nuisances, torque)
    parts = []
    for block in model.blocks:
        if block.kind == "galaxy":
            count = count_kernel(lenses, nuisances.bias, nuisances.magnification)
            terms = [] if b_modes else [(count, count, table)]
        elif block.kind == "galaxy_shear":
            count = count_kernel(lenses, nuisances.bias, nuisances.magnification)
            terms = (
                [] if b_modes else [(count, one, spectrum) for one, spectrum in shears.crossed(table, grids)]
            )
        else:
            terms = shears.b_terms(grids) if b_modes else shears.e_terms(table, grids)
        total = jnp.zeros((len(block.pairs), len(block.matrix)), dtype)
        for first, second, spectrum in terms:
            weight = model.line.fold(first, second, kernels.measure, block.pairs).astype(dtype)
            banded = dot(jnp.asarray(spectrum, dtype) / units.HUBBLE_DISTANCE**3, block.matrix.T)
            total = total + dot(weight, banded)
        parts.append(total.reshape(-1))
    return jnp.concatenate(parts)


class _Shear:
    """Kernels (nsource, npoint) of one shear field, each with the spectrum it goes with."""

    def __init__(self, model: TwoPoint, kernels: Kernels, cosmology: Cosmology, nuisances, torque):
        ns, line = model.nsource, model.line
        own = kernels._replace(lensing=kernels.lensing[:ns], number=kernels.number[:ns])
        calibration = 1.0 if nuisances.m is None else (1.0 + jnp.asarray(nuisances.m))[:, None]
        growth2 = own.growth**2
        amplitudes = [
            alignment_amplitude(A, cosmology.Omega_m, own.growth, line.c1_rho_crit, own.one_plus_z, eta)
            for A, eta in ((nuisances.A_IA, nuisances.eta_IA), (torque.A_2, torque.eta_2))
        ]
        c1, c2 = amplitudes[0], -5.0 * amplitudes[1] / own.growth
        # Linear in P: lensing and tides. One-loop fields have D^2 each, and D^4 beside a linear one.
        self.linear = line.shear_kernel(own, cosmology, nuisances.A_IA, nuisances.eta_IA, nuisances.m)
        self.density = calibration * torque.b_TA * c1 * growth2 * own.number
        self.torque = calibration * c2 * growth2 * own.number
        self.growth2 = growth2

    def crossed(self, table: Array, grids: Templates):
        """(kernel, spectrum) with matter, or with anything that follows it."""
        return [
            (self.linear, table),
            (self.density * self.growth2, grids.delta_0E),
            (self.torque * self.growth2, grids.delta_E2),
        ]

    def e_terms(self, table: Array, grids: Templates):
        """(first, second, spectrum) of C_EE."""
        one = [(self.linear, self.linear, table)]
        for kernel, spectrum in self.crossed(table, grids)[1:]:
            one += [(self.linear, kernel, spectrum), (kernel, self.linear, spectrum)]
        return one + self._quadratic(grids.EE_0E, grids.EE_E2, grids.EE_mixed)

    def b_terms(self, grids: Templates):
        """(first, second, spectrum) of C_BB."""
        return self._quadratic(grids.BB_0B, grids.BB_B2, grids.BB_mixed)

    def _quadratic(self, density: Array, torque: Array, mixed: Array):
        return [
            (self.density, self.density, density),
            (self.torque, self.torque, torque),
            (self.density, self.torque, mixed),
            (self.torque, self.density, mixed),
        ]
