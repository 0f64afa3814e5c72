"""A CosmoSIS module in the place of CAMB's: spectra, growth and distances from an emulator.

    [galaxyjax]
    file = .../cosmosis_module.py    ; as `python -m galaxyjax.infer.adapters.cosmosis_module` prints it
    emulator = matter_power
    nonlinear = nonlinear_baryons

CosmoSIS (Zuntz et al. 2015, Astronomy and Computing 12, 45) has k in h/Mpc and P in (Mpc/h)^3, as here, but
distances in Mpc and H in 1/Mpc. It loads this file by its path; the names of the neighbouring files must
therefore never be those of installed packages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import galaxyjax
from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.core.units import C_KM_S
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer import parameters
from galaxyjax.infer.adapters import products

COSMOLOGY = "cosmological_parameters"
FEEDBACK = "halo_model_parameters"
# CosmoSIS lists several parameterisations of one quantity side by side: the first that is there counts.
CHOICES = (
    ("h0", "hubble"),
    ("ombh2", "omega_b"),
    ("omch2", "omega_c", "ommh2", "omega_m"),
    ("log1e10as", "a_s", "sigma_8", "s_8"),
    ("n_s",),
)
OPTIONAL = ("mnu", "w", "wa")
OURS = {
    "h0": "h",
    "hubble": "H0",
    "ombh2": "omega_b",
    "omega_b": "Omega_b",
    "omch2": "omega_cdm",
    "omega_c": "Omega_cdm",
    "ommh2": "omega_m",
    "omega_m": "Omega_m",
    "log1e10as": "ln10A_s",
    "a_s": "A_s",
    "sigma_8": "sigma_8",
    "s_8": "S8",
    "n_s": "n_s",
    "mnu": "m_nu",
    "w": "w0",
    "wa": "wa",
}


@dataclass(frozen=True)
class Settings:
    """Options of the module's section, read once."""

    emulator: Emulator
    linear: str
    nonlinear: str
    k: np.ndarray  # (nk,) h/Mpc
    z: np.ndarray  # (nz,) of spectra and growth
    z_background: np.ndarray  # (nb,) of distances


def setup(options) -> Settings:
    """Read emulator, linear, nonlinear, zmax, nz, kmin, kmax, nk, zmax_background, nz_background.

    Raises UnknownName, FileError or ConfigError for what does not fit; CosmoSIS stops with that message.
    """
    section = "module_options"

    def read(name, default):
        return options[section, name] if options.has_value(section, name) else default

    emulator = galaxyjax.load(read("emulator", "matter_power"))
    contract = emulator.contract
    linear, nonlinear = read("linear", "linear"), read("nonlinear", "nonlinear")
    for output in (linear, nonlinear):
        contract.output(output)
    zmax = float(read("zmax", contract.z_range[1]))
    kmin, kmax = float(read("kmin", contract.k_range[0])), float(read("kmax", contract.k_range[1]))
    if zmax > contract.z_range[1] or kmin < contract.k_range[0] or kmax > contract.k_range[1]:
        raise ConfigError(
            f"zmax = {zmax:g}, kmin = {kmin:g}, kmax = {kmax:g} (h/Mpc): {contract.name} reaches z = "
            f"{contract.z_range[1]:g} and k = {contract.k_range[0]:g} to "
            f"{contract.k_range[1]:g}; ask for less"
        )
    return Settings(
        emulator,
        linear,
        nonlinear,
        np.geomspace(kmin, kmax, int(read("nk", 400))),
        np.linspace(0.0, zmax, int(read("nz", 61))),
        np.linspace(0.0, float(read("zmax_background", zmax)), int(read("nz_background", 301))),
    )


def execute(block, settings: Settings) -> int:
    """Write spectra, growth, distances and derived parameters; 1, which CosmoSIS takes for no likelihood,
    outside the domain.
    """
    values = read_parameters(block, settings)
    z = {"power": settings.z, "sigma8": settings.z, "background": settings.z_background}
    outputs = tuple(dict.fromkeys((settings.linear, settings.nonlinear)))
    found = products.compute(settings.emulator, values, settings.k, z, outputs)
    if not all(np.isfinite(found["power"][output]).all() for output in outputs):
        return 1
    for section, output in (("matter_power_lin", settings.linear), ("matter_power_nl", settings.nonlinear)):
        block.put_grid(section, "z", settings.z, "k_h", settings.k, "p_k", found["power"][output])
    _growth(block, settings.z, found)
    _distances(block, settings.z_background, found)
    for name, ours in (("sigma_8", "sigma_8"), ("s_8", "S8"), ("omega_m", "Omega_m"), ("h0", "h")):
        if not block.has_value(COSMOLOGY, name):
            block[COSMOLOGY, name] = float(found["derived"][ours])
    return 0


def cleanup(settings: Settings) -> None:
    """Nothing to free."""


def read_parameters(block, settings: Settings) -> dict[str, float]:
    """Return the cosmology of a data block under our names. Raises UnknownName for what is left open."""
    values = {}
    for names in CHOICES:
        given = [name for name in names if block.has_value(COSMOLOGY, name)]
        if not given:
            raise UnknownName(f"{COSMOLOGY}: nothing gives {names[0]}; add one of {', '.join(names)}")
        values[OURS[given[0]]] = float(block[COSMOLOGY, given[0]])
    for name in OPTIONAL:
        if block.has_value(COSMOLOGY, name):
            values[OURS[name]] = float(block[COSMOLOGY, name])
    if block.has_value(COSMOLOGY, "omega_k") and block[COSMOLOGY, "omega_k"] != 0.0:
        raise ConfigError(
            f"{COSMOLOGY}: omega_k = {block[COSMOLOGY, 'omega_k']:g}; the universe here is flat"
        )
    known = set(parameters.COSMOLOGICAL)
    for name in settings.emulator.contract.domain:
        if name not in known and block.has_value(FEEDBACK, name.lower()):
            values[name] = float(block[FEEDBACK, name.lower()])
    return values


def _growth(block, z, found) -> None:
    section, sigma_8 = "growth_parameters", found["sigma8"]
    block[section, "z"], block[section, "a"] = z, 1.0 / (1.0 + z)
    block[section, "sigma_8"], block[section, "fsigma_8"] = sigma_8, found["fsigma8"]
    block[section, "d_z"], block[section, "f_z"] = sigma_8 / sigma_8[0], found["fsigma8"] / sigma_8


def _distances(block, z, found) -> None:
    section, distance = "distances", found["distance"]
    block[section, "nz"], block[section, "z"], block[section, "a"] = len(z), z, 1.0 / (1.0 + z)
    block[section, "d_m"] = distance
    block[section, "d_a"] = distance / (1.0 + z)
    block[section, "d_l"] = distance * (1.0 + z)
    block[section, "h"] = found["hubble"] / C_KM_S
    with np.errstate(divide="ignore"):
        mu = 5.0 * np.log10(distance * (1.0 + z)) + 25.0
    block[section, "mu"] = np.where(z > 0.0, mu, mu[1] if len(z) > 1 else 0.0)


if __name__ == "__main__":
    print(__file__)
