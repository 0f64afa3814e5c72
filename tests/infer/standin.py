"""Stand-ins with a known answer: an emulator in closed form, so that inference is tested without trained
weights.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.primordial import no_wiggle_power
from galaxyjax.emulator.contract import Constraint, Contract, Input, Output
from galaxyjax.emulator.emulator import Emulator

NAMES = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa")


@dataclass(frozen=True)
class NoWiggle:
    """Eisenstein & Hu's spectrum without wiggles, a crude non-linear boost that knows sigma(k), and
    feedback.
    """

    def power(self, weights, x, k, z, output):
        cosmo = Cosmology(**{name: x[name] for name in NAMES})
        rows = jnp.broadcast_to(k, (len(z), k.shape[-1]))
        linear = jax.vmap(lambda row, one: no_wiggle_power(cosmo, row, one[None])[0])(rows, z)
        if output == "linear":
            return linear
        # Peacock & Dodds's limit Delta^2 -> Delta^3 of stable clustering, as a smooth power.
        variance = rows**3 * linear / (2.0 * jnp.pi**2)
        boost = weights["boost"] * variance**0.5 / (1.0 + 0.3 * variance**0.25)
        depth = 0.15 * 10.0 ** (x["logT_AGN"] - 7.8) if "baryon" in output else 0.0
        return linear * (1.0 + boost) * (1.0 - depth * rows**2 / (rows**2 + 16.0))

    def sigma8(self, weights, x, z):
        k = jnp.geomspace(1e-4, 10.0, 256, dtype=z.dtype)
        power = self.power(weights, x, k, z, "linear")
        u = 8.0 * k
        window = jnp.where(u < 0.1, 1.0 - u**2 / 10.0, 3.0 * (jnp.sin(u) - u * jnp.cos(u)) / u**3)
        return jnp.sqrt(
            jax.scipy.integrate.trapezoid(power * window**2 * k**3, jnp.log(k)) / (2.0 * jnp.pi**2)
        )


def contract() -> Contract:
    """The domain of matter_power."""
    inputs = (
        Input("omega_b", "", 0.019, 0.026, None, "baryons"),
        Input("omega_cdm", "", 0.051, 0.255, None, "cold dark matter"),
        Input("h", "", 0.6, 0.85, None, "H0 / 100"),
        Input("n_s", "", 0.84, 1.1, None, "tilt"),
        Input("ln10A_s", "", 1.6, 4.0, None, "amplitude"),
        Input("m_nu", "eV", 0.0, 0.5, 0.06, "sum of neutrino masses"),
        Input("w0", "", -1.3, -0.4, -1.0, "dark energy today"),
        Input("wa", "", -2.0, 0.5, 0.0, "dark energy's slope"),
        Input("logT_AGN", "", 7.4, 8.3, 7.8, "feedback"),
    )
    outputs = tuple(
        Output(name, "(Mpc/h)^3", NAMES if "baryon" not in name else (*NAMES, "logT_AGN"), name)
        for name in ("linear", "nonlinear", "nonlinear_baryons")
    )
    return Contract(
        name="standin", version="1", description="closed form", licence="Apache-2.0", family="standin",
        hyperparameters={}, inputs=inputs, outputs=outputs, refused=(), truth={"code": "closed form"},
        constraints=(Constraint({"w0": 1.0, "wa": 1.0}, -0.3, "wa", "PPF"),),
        derived=tuple(Output(name, "", NAMES, name) for name in ("sigma_8", "S8", "Omega_m")),
        k_range=(1e-4, 10.0), z_range=(0.0, 3.0), calibrated=(), error={}, notes=(),
    )  # fmt: skip


def emulator(error=None) -> Emulator:
    """The stand-in as an Emulator."""
    return Emulator({"boost": jnp.asarray(0.7)}, NoWiggle(), contract(), error)
