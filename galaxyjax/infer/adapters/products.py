"""What the clients of a Boltzmann code ask for, from an emulator and the background, in one compiled call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core import background
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer import parameters


def compute(emulator: Emulator, values: Mapping[str, float], k, z: Mapping, outputs: tuple[str, ...]) -> dict:
    """Return `products` as NumPy float64: the precision of JAX elsewhere in the process stays as it is."""
    with jax.enable_x64(True):
        values = {name: np.float64(value) for name, value in values.items()}
        z = {name: np.asarray(value, np.float64) for name, value in z.items()}
        found = products(emulator, values, np.asarray(k, np.float64), z, outputs)
        return jax.tree.map(np.asarray, found)


@partial(jax.jit, static_argnames="outputs")
def products(emulator: Emulator, values: dict, k, z: dict, outputs: tuple[str, ...]) -> dict:
    """Return spectra, amplitudes and distances of one cosmology.

    Args:
        values: name -> scalar in any parameterisation of `infer.parameters`, and the emulator's own inputs.
        k: (nk,) in h/Mpc.
        z: redshifts (n,) of what is wanted, under "power", "sigma8" and "background"; names may be missing.
        outputs: which spectra.

    Returns:
        "power" -> output -> (nz, nk) in (Mpc/h)^3; "sigma8" and "fsigma8" (n,); "hubble" (n,) in km/s/Mpc and
        "distance" (n,) in Mpc, comoving; "derived" -> name -> scalar. NaN outside the emulator's domain.
    """
    cosmo = parameters.cosmology(values, partial(_sigma_8, emulator))
    theta = _inputs(emulator, {**values, **cosmo.to_mapping()})
    found = {"derived": {**parameters.derived({}, cosmo, partial(_sigma_8, emulator))}}
    if "power" in z:
        power = partial(emulator.predict, theta, k=k, z=z["power"])
        found["power"] = {output: power(output=output) for output in outputs}
    if "sigma8" in z:
        grow = lambda z: emulator.sigma8(theta, z)  # noqa: E731
        found["sigma8"], slope = jax.jvp(grow, (z["sigma8"],), (jnp.ones_like(z["sigma8"]),))
        # f sigma_8 = d sigma_8 / d ln a, exact also where growth depends on scale.
        found["fsigma8"] = -(1.0 + z["sigma8"]) * slope
    if "background" in z:
        found["hubble"] = cosmo.h * background.hubble(cosmo, z["background"])
        found["distance"] = background.comoving_distance(cosmo, z["background"]) / cosmo.h
    return found


def _inputs(emulator: Emulator, values: Mapping) -> dict:
    return {name: values[name] for name in emulator.contract.domain if name in values}


def _sigma_8(emulator: Emulator, cosmo: Cosmology) -> jax.Array:
    theta = _inputs(emulator, cosmo.to_mapping())
    return emulator.sigma8(theta, jnp.zeros(1, jnp.result_type(cosmo.h)))[..., 0]
