"""What other projects call our parameters."""

from collections.abc import Mapping

from galaxyjax.core.errors import ConfigError

SYNONYMS = {
    "ombh2": "omega_b",
    "omegabh2": "omega_b",
    "omch2": "omega_cdm",
    "omegach2": "omega_cdm",
    "omega_c": "Omega_cdm",
    "omegam": "Omega_m",
    "ns": "n_s",
    "As": "A_s",
    "log1e10as": "ln10A_s",
    "ln10^{10}A_s": "ln10A_s",
    "mnu": "m_nu",
    "w": "w0",
    "sigma8": "sigma_8",
    "s8": "S8",
    "cmin": "c_min",
    "HMCode_logT_AGN": "logT_AGN",
}
"""Names of CAMB, Cobaya, CosmoSIS and CosmoPower -> ours."""


def translate(values: Mapping) -> dict:
    """Return values under our names, the order kept. Raises ConfigError where two names say the same."""
    ours = {}
    for name, value in values.items():
        known = SYNONYMS.get(name, name)
        if known in ours:
            raise ConfigError(f"{name} and another parameter both give {known}: keep one of them")
        ours[known] = value
    return ours
