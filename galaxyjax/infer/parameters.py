"""Named parameters in any parameterisation -> what the emulator takes, and the columns derived from them.

S8 = sigma_8 sqrt(Omega_m / 0.3) and sigma_8 are results of a spectrum, yet may be sampled: at fixed other
parameters sigma_8^2 is exactly proportional to A_s, so one evaluation of sigma_8 at a reference amplitude
gives

    ln10A_s = ln10A_s(ref) + 2 ln[sigma_8 / sigma_8(ref)].

A prior flat in S8 is then a coordinate S8 with a flat prior. Against sampling ln10A_s this is the Jacobian
|dS8 / dln10A_s| = S8 / 2, which never has to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError

REFERENCE_LN10A_S = 3.0  # inside every emulator's domain, so that sigma_8(ref) is never extrapolated
AMPLITUDES = ("S8", "sigma_8", "ln10A_s", "logA", "A_s")
COSMOLOGICAL = (
    "omega_b", "Omega_b", "omega_cdm", "Omega_cdm", "omega_m", "Omega_m", "h", "H0", "n_s", "m_nu", "w0",
    "wa", *AMPLITUDES,
)  # fmt: skip
DERIVED = ("S8", "sigma_8", "Omega_m", "ln10A_s", "A_s_1e9", "h", "H0", "omega_b", "omega_cdm", "omega_m")

Values = Mapping[str, jax.Array]


def cosmology(values: Values, sigma_8: Callable[[Cosmology], jax.Array]) -> Cosmology:
    """The cosmology of named scalar values; names that are not cosmological are ignored.

    sigma_8: cosmology -> sigma_8 of total matter today; called only when S8 or sigma_8 is among the values.
    Raises ConfigError when the values fix something twice or not at all.
    """
    said = {name: values[name] for name in COSMOLOGICAL if name in values}
    given = [name for name in AMPLITUDES if name in said]
    if len(given) != 1:
        said = " and ".join(given) or "nothing"
        raise ConfigError(f"the amplitude is fixed by {said}: give one of {', '.join(AMPLITUDES)}")
    name = given[0]
    if name not in ("S8", "sigma_8"):
        return Cosmology.from_mapping(said)
    wanted = said.pop(name)
    reference = Cosmology.from_mapping({**said, "ln10A_s": jnp.full_like(wanted, REFERENCE_LN10A_S)})
    if name == "S8":
        wanted = wanted / jnp.sqrt(reference.Omega_m / 0.3)
    return replace(reference, ln10A_s=REFERENCE_LN10A_S + 2.0 * jnp.log(wanted / sigma_8(reference)))


def derived(
    values: Values, cosmo: Cosmology, sigma_8: Callable[[Cosmology], jax.Array]
) -> dict[str, jax.Array]:
    """The columns `DERIVED` that are not among the values themselves (A_s_1e9 is 1e9 A_s)."""
    if "sigma_8" in values:
        amplitude = values["sigma_8"]
    elif "S8" in values:
        amplitude = values["S8"] / jnp.sqrt(cosmo.Omega_m / 0.3)
    else:
        amplitude = sigma_8(cosmo)
    columns = {
        "S8": amplitude * jnp.sqrt(cosmo.Omega_m / 0.3),
        "sigma_8": amplitude,
        "Omega_m": cosmo.Omega_m,
        "ln10A_s": cosmo.ln10A_s,
        "A_s_1e9": 1e9 * cosmo.A_s,
        "h": cosmo.h,
        "H0": cosmo.H0,
        "omega_b": cosmo.omega_b,
        "omega_cdm": cosmo.omega_cdm,
        "omega_m": cosmo.omega_m,
    }
    return {name: columns[name] for name in DERIVED if name not in values}
