"""The parameters of a flat w0waCDM cosmology with massive neutrinos, and the ways to say them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.errors import ConfigError, unknown_name

Scalar = Array | float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cosmology:
    """Parameters of a flat universe; a pytree whose eight leaves are scalars (batch with `jax.vmap`).

    omega_b, omega_cdm: physical densities Omega h^2 of baryons and cold dark matter. h: H0 / (100 km/s/Mpc).
    n_s: scalar tilt. ln10A_s: ln(1e10 A_s) at 0.05 / Mpc. m_nu: sum of three equal neutrino masses in eV.
    w0, wa: dark energy w(a) = w0 + wa (1 - a) (Chevallier & Polarski 2001; Linder 2003).
    Photons have T_CMB = 2.7255 K and neutrinos N_eff = 3.044.
    """

    omega_b: Scalar
    omega_cdm: Scalar
    h: Scalar
    n_s: Scalar
    ln10A_s: Scalar
    m_nu: Scalar = 0.06
    w0: Scalar = -1.0
    wa: Scalar = 0.0

    @classmethod
    def from_mapping(cls, parameters: Mapping[str, Scalar]) -> "Cosmology":
        """Return the cosmology that `parameters` name, in any parameterisation that fixes each quantity once.

        One name of each: h or H0; omega_b or Omega_b; omega_cdm, Omega_cdm, omega_m or Omega_m (omega is
        Omega h^2; omega_m and Omega_m include neutrinos); ln10A_s, logA (the same) or A_s; n_s. Optional:
        m_nu (0.06 eV), w0 (-1), wa (0). Differentiable, and works on traced values. Raises UnknownName, and
        ConfigError when a quantity is given twice or not at all.
        """
        known = [name for names in _CHOICES.values() for name in names] + list(_DEFAULTS)
        for name in parameters:
            if name in ("sigma_8", "sigma8", "S8"):
                raise ConfigError(
                    f"{name}: its ln10A_s follows only from a spectrum; give ln10A_s, or A_s, here"
                )
            if name not in known:
                raise unknown_name("parameter", name, known)
        said = {quantity: _chosen(quantity, names, parameters) for quantity, names in _CHOICES.items()}

        h = parameters[said["hubble"]] / (100.0 if said["hubble"] == "H0" else 1.0)
        m_nu, w0, wa = (parameters.get(name, default) for name, default in _DEFAULTS.items())
        omega_b = _physical(said["baryons"], parameters, h)
        omega_cdm = _physical(said["matter"], parameters, h)
        if said["matter"] in ("omega_m", "Omega_m"):
            omega_cdm = omega_cdm - omega_b - m_nu * units.OMEGA_NU_PER_EV
        amplitude = parameters[said["amplitude"]]
        # In this order float32 never sees a number below 1e-38, nor its logarithm's relative error.
        ln10A_s = jnp.log(1e10 * amplitude) if said["amplitude"] == "A_s" else amplitude
        return cls(omega_b, omega_cdm, h, parameters["n_s"], ln10A_s, m_nu, w0, wa)

    def to_mapping(self) -> dict[str, Scalar]:
        """Return the eight parameters by name; `from_mapping` takes them back."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def H0(self) -> Scalar:
        """Hubble constant in km/s/Mpc."""
        return 100.0 * self.h

    @property
    def A_s(self) -> Scalar:
        """Amplitude of the primordial curvature spectrum at 0.05 / Mpc."""
        return jnp.exp(self.ln10A_s) * 1e-10

    @property
    def omega_nu(self) -> Scalar:
        """Rest-mass density Omega_nu h^2 of neutrinos: m_nu (N_eff / 3)^0.75 / 94.06, exactly 0 at m_nu = 0.

        The energy density today, with which `background` expands and which CAMB quotes, has the kinetic part
        as well: 3e-7 more at m_nu = 0.06 eV and 1.7e-6 more at 0.01 eV, 1e-5 of Omega_m or less.
        """
        return self.m_nu * units.OMEGA_NU_PER_EV

    @property
    def omega_cb(self) -> Scalar:
        """Omega h^2 of baryons and cold dark matter."""
        return self.omega_b + self.omega_cdm

    @property
    def omega_m(self) -> Scalar:
        """Omega h^2 of all matter, neutrinos included."""
        return self.omega_cb + self.omega_nu

    @property
    def Omega_b(self) -> Scalar:
        """Density of baryons in units of the critical density today."""
        return self.omega_b / self.h**2

    @property
    def Omega_cdm(self) -> Scalar:
        """Density of cold dark matter in units of the critical density today."""
        return self.omega_cdm / self.h**2

    @property
    def Omega_cb(self) -> Scalar:
        """Density of baryons and cold dark matter in units of the critical density today."""
        return self.omega_cb / self.h**2

    @property
    def Omega_nu(self) -> Scalar:
        """Rest-mass density of neutrinos in units of the critical density today."""
        return self.omega_nu / self.h**2

    @property
    def Omega_m(self) -> Scalar:
        """Density of all matter, neutrinos included, in units of the critical density today."""
        return self.omega_m / self.h**2

    @property
    def f_nu(self) -> Scalar:
        """Neutrinos' share of the matter."""
        return self.omega_nu / self.omega_m


_CHOICES = {
    "hubble": ("h", "H0"),
    "baryons": ("omega_b", "Omega_b"),
    "matter": ("omega_cdm", "Omega_cdm", "omega_m", "Omega_m"),
    "amplitude": ("ln10A_s", "logA", "A_s"),
    "tilt": ("n_s",),
}
_DEFAULTS = {"m_nu": 0.06, "w0": -1.0, "wa": 0.0}


def _chosen(quantity: str, names: tuple[str, ...], parameters: Mapping[str, Scalar]) -> str:
    given = [name for name in names if name in parameters]
    if len(given) == 1:
        return given[0]
    if given:
        raise ConfigError(f"{' and '.join(given)} both fix the {quantity}: give one of them")
    raise ConfigError(f"nothing fixes the {quantity}: give {' or '.join(names)}")


def _physical(name: str, parameters: Mapping[str, Scalar], h: Scalar) -> Scalar:
    return parameters[name] * h**2 if name.startswith("Omega") else parameters[name]
