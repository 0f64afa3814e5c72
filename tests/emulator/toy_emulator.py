"""A family whose answer is known in closed form: a textbook spectrum, for tests of what surrounds a model."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.emulator.contract import Calibration, Constraint, Contract, Input, Output, Refusal
from galaxyjax.emulator.emulator import Emulator

NAMES = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa")
THETA = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.68, "n_s": 0.965, "ln10A_s": 3.05}
DEFAULTS = {"m_nu": 0.06, "w0": -1.0, "wa": 0.0}
OUTPUTS = ("linear", "nonlinear", "nonlinear_baryons", "baryon_suppression")


def closed_form(theta, k, z, xp=np):
    """ln P (..., nz, nk): Bardeen et al. (1986, eq. G3) × growth of Carroll et al. (1992, eq. 29).

    The same formula in NumPy (float64, the oracle) and in jax.numpy (the toy). Dark energy enters the growth
    as rho_DE(z), which is a fiction good enough to give w0 and wa a smooth effect.
    """
    p = {name: xp.asarray(value)[..., None, None] for name, value in {**DEFAULTS, **theta}.items()}
    k, z = xp.asarray(k), xp.asarray(z)[:, None]
    omega_m = p["omega_b"] + p["omega_cdm"] + p["m_nu"] / 93.14
    total, a = omega_m / p["h"] ** 2, 1.0 / (1.0 + z)
    q = k * p["h"] / omega_m * xp.exp(p["omega_b"] / p["h"] ** 2)
    transfer = xp.log1p(2.34 * q) / (2.34 * q)
    transfer = transfer * (1.0 + 3.89 * q + (16.1 * q) ** 2 + (5.46 * q) ** 3 + (6.71 * q) ** 4) ** -0.25
    dark = (1.0 - total) * xp.exp(-3.0 * (1.0 + p["w0"] + p["wa"]) * xp.log(a) - 3.0 * p["wa"] * (1.0 - a))
    m = total / (total + dark * a**3)
    growth = 2.5 * a * m / (m ** (4.0 / 7.0) - (1.0 - m) + (1.0 + 0.5 * m) * (1.0 + (1.0 - m) / 70.0))
    tilt = (p["n_s"] - 1.0) * xp.log(k * p["h"] / 0.05) + xp.log(k)
    return p["ln10A_s"] + 10.04 - 2.0 * xp.log(total) + tilt + 2.0 * xp.log(transfer * growth)


@dataclass(frozen=True)
class Toy:
    """linear = closed form × exp(amplitude + slope ln k); nonlinear = linear × (1 + boost k)."""

    boost: float = 0.5
    scales: tuple[float, ...] = (3.0,)

    def init(self, key):
        return {"amplitude": jnp.zeros(()), "layers": [{"slope": 1e-3 * jax.random.normal(key, (1,))}]}

    def power(self, weights, x, k, z, output):
        depth = 0.2 * (x["logT_AGN"][..., None, None] - 7.0) if "baryon" in output else 0.0
        ratio = 1.0 - depth * k**2 / (k**2 + self.scales[0] ** 2)
        if output == "baryon_suppression":
            return jnp.broadcast_to(ratio, (*ratio.shape[:-2], z.shape[0], k.shape[-1]))
        correction = weights["amplitude"] + weights["layers"][0]["slope"] * jnp.log(k)
        linear = jnp.exp(closed_form({n: x[n] for n in NAMES}, k, z, jnp) + correction)
        return linear if output == "linear" else linear * (1.0 + self.boost * k) * ratio

    def sigma8(self, weights, x, z):
        k = jnp.geomspace(1e-4, 10.0, 256).astype(z.dtype)
        power = self.power(weights, x, k, z, "linear")
        u = 8.0 * k
        window = jnp.where(u < 0.1, 1.0 - u**2 / 10.0, 3.0 * (jnp.sin(u) - u * jnp.cos(u)) / u**3)
        return jnp.sqrt(
            jax.scipy.integrate.trapezoid(power * window**2 * k**3, jnp.log(k)) / (2.0 * jnp.pi**2)
        )


def toy_contract(**changes) -> Contract:
    """The contract of the toy: the real emulator's inputs, joint bound and ranges."""
    inputs = (
        Input("omega_b", "", 0.019, 0.026, None, "baryons"),
        Input("omega_cdm", "", 0.051, 0.255, None, "cold dark matter"),
        Input("h", "", 0.6, 0.85, None, "H0 / 100"),
        Input("n_s", "", 0.84, 1.1, None, "tilt"),
        Input("ln10A_s", "", 1.6, 4.0, None, "amplitude"),
        Input("m_nu", "eV", 0.0, 0.5, 0.06, "sum of neutrino masses"),
        Input("w0", "", -1.3, -0.4, -1.0, "dark energy today"),
        Input("wa", "", -2.0, 0.5, 0.0, "dark energy's slope"),
        Input("logT_AGN", "", 7.4, 8.3, None, "feedback"),
    )
    fields = {
        "name": "toy",
        "version": "1.0.0",
        "description": "closed form",
        "licence": "Apache-2.0",
        "family": "toy",
        "hyperparameters": {"boost": 0.5, "scales": [3.0]},
        "inputs": inputs,
        "constraints": (Constraint({"w0": 1.0, "wa": 1.0}, -0.3, "wa", "PPF"),),
        "outputs": tuple(
            Output(name, "(Mpc/h)^3", NAMES if "baryon" not in name else (*NAMES, "logT_AGN"), name)
            for name in OUTPUTS
        ),
        "derived": tuple(Output(name, "", NAMES, name) for name in ("sigma_8", "S8", "Omega_m")),
        "refused": tuple(Refusal(name, "HMcode gives total matter only") for name in ("cb", "nonlinear_cb")),
        "k_range": (1e-4, 10.0),
        "z_range": (0.0, 3.0),
        "truth": {"code": "closed form"},
        "calibrated": (Calibration("z", 0.0, 2.0, "HMcode"), Calibration("logT_AGN", 7.6, 8.0, "HMcode")),
        "error": {"linear": {"p95": 0.0}},
        "notes": (),
    }
    return Contract(**{**fields, **changes})


def toy_emulator() -> Emulator:
    """The toy with its initial weights."""
    model = Toy()
    return Emulator(model.init(jax.random.key(1)), model, toy_contract())
