"""Networks as CosmoPower trains them (Spurio Mancini et al. 2022, MNRAS 511, 1771), as pure functions.

Dense layers with the activation x [beta + sigmoid(alpha x) (1 - beta)] (their eq. A1), whose alpha and beta
are learnt. Parameters come in and features go out standardised; the features are log10 of a spectrum, the
spectrum itself, or components of a basis of either.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class Network:
    """One network: its inputs in order, layer widths from inputs to features, and what the features are.

    components: how many of a basis the last layer gives, or 0 without a basis. log10: whether the result is
    log10 of what is wanted. modes: the wavenumbers (1/Mpc) or multipoles of the result.
    """

    inputs: tuple[str, ...]
    widths: tuple[int, ...]
    modes: tuple[float, ...]
    log10: bool
    components: int = 0

    def __post_init__(self):
        for name in ("inputs", "widths", "modes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def init(self, key: jax.Array) -> dict:
        """Weights with random layers and no standardisation: the structure that files hold."""
        layers = []
        for i, (fan_in, fan_out) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            kernel = jax.random.normal(jax.random.fold_in(key, i), (fan_in, fan_out)) * fan_in**-0.5
            layer = {"kernel": kernel, "bias": jnp.zeros(fan_out)}
            if i < len(self.widths) - 2:
                layer |= {"alpha": jnp.ones(fan_out), "beta": jnp.zeros(fan_out)}
            layers.append(layer)
        first, last, modes = self.widths[0], self.widths[-1], len(self.modes)
        weights = {
            "layers": layers,
            "input_mean": jnp.zeros(first),
            "input_std": jnp.ones(first),
            "output_mean": jnp.zeros(last),
            "output_std": jnp.ones(last),
        }
        if self.components:
            weights["basis"] = jnp.zeros((self.components, modes))
            weights |= {"basis_mean": jnp.zeros(modes), "basis_std": jnp.ones(modes)}
        return weights

    def features(self, weights, x: jax.Array) -> jax.Array:
        """Parameters (..., n) -> the network's standardised features (..., m)."""
        layers = weights["layers"]
        x = (x - weights["input_mean"].astype(x.dtype)) / weights["input_std"].astype(x.dtype)
        for layer in layers[:-1]:
            x = _dot(x, layer["kernel"].astype(x.dtype)) + layer["bias"].astype(x.dtype)
            # 1 - beta in the precision of the file, as CosmoPower's own packages have it: rounded otherwise,
            # CMB spectra over eight decades move by 3e-5.
            gain = jnp.asarray(1.0 - layer["beta"], x.dtype)
            x = x * (
                layer["beta"].astype(x.dtype) + jax.nn.sigmoid(layer["alpha"].astype(x.dtype) * x) * gain
            )
        return _dot(x, layers[-1]["kernel"].astype(x.dtype)) + layers[-1]["bias"].astype(x.dtype)

    def values(self, weights, x: jax.Array) -> jax.Array:
        """Parameters (..., n), in the order of `inputs` -> results at the modes (..., nmodes), log10 where
        `log10`. The dtype is that of x.
        """
        y = self.features(weights, x)
        weights = {n: jnp.asarray(v, x.dtype) for n, v in weights.items() if n != "layers"}
        y = y * weights["output_std"] + weights["output_mean"]
        if not self.components:
            return y
        return _dot(y, weights["basis"]) * weights["basis_std"] + weights["basis_mean"]

    def apply(self, weights, x: jax.Array) -> jax.Array:
        """Parameters (..., n), in the order of `inputs` -> results at the modes (..., nmodes)."""
        y = self.values(weights, x)
        return 10.0**y if self.log10 else y


@dataclass(frozen=True)
class NetworkSpectrum:
    """The family `network_spectrum`: P(k, z) of total matter as a product of networks, in our units.

    networks: name -> Network. factors: output -> the networks whose product it is (a linear spectrum; a
    linear spectrum and a boost). Between its own wavenumbers ln P is a cubic spline of ln k. Inputs may have
    other names in the contract than in the network's file.
    """

    networks: dict[str, Network]
    factors: dict[str, tuple[str, ...]]

    def __post_init__(self):
        made = {n: v if isinstance(v, Network) else Network(**v) for n, v in self.networks.items()}
        object.__setattr__(self, "networks", made)
        object.__setattr__(self, "factors", {name: tuple(value) for name, value in self.factors.items()})

    def __hash__(self):
        return self._hash  # asked for at every call under `jit`

    @cached_property
    def _hash(self) -> int:
        return hash((tuple(self.networks.items()), tuple(self.factors.items())))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the spectra."""
        return tuple(self.factors)

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model."""
        return {"networks": {n: asdict(v) for n, v in self.networks.items()}, "factors": dict(self.factors)}

    def init(self, key: jax.Array) -> dict:
        """name -> weights of each network."""
        return {name: network.init(key) for name, network in self.networks.items()}

    @cached_property
    def log_modes(self) -> np.ndarray:
        """ln k of the wavenumbers in 1/Mpc, which all networks share."""
        return np.log(np.asarray(next(iter(self.networks.values())).modes, np.float64))

    @cached_property
    def _slopes(self) -> np.ndarray:
        """(n, n): values at the modes -> d/dln k there, of the cubic spline through them."""
        return CubicSpline(self.log_modes, np.eye(len(self.log_modes)), axis=0)(self.log_modes, 1)

    def power(self, weights, x, k, z, output: str) -> jax.Array:
        """One output: (..., nz, nk) in (Mpc/h)^3; arguments as `Spectrum.power`."""
        log_power, h = self._log_power(weights, x, z, output), jnp.asarray(x["h"])[..., None, None]
        found = jnp.exp(self._interpolate(log_power, jnp.log(k * h)))
        return found * h**3

    def sigma8(self, weights, x, z) -> jax.Array:
        """sigma_8(z) of total matter, (..., nz), by the trapezoid rule over the modes."""
        log_power, h = self._log_power(weights, x, z, "linear"), jnp.asarray(x["h"])[..., None, None]
        log_k = jnp.asarray(self.log_modes, log_power.dtype)
        u = 8.0 * jnp.exp(log_k) / h
        safe = jnp.where(u < 0.05, 1.0, u)
        window = jnp.where(
            u < 0.05, 1.0 - u**2 / 10.0, 3.0 * (jnp.sin(safe) - safe * jnp.cos(safe)) / safe**3
        )
        density = jnp.exp(log_power + 3.0 * log_k) * window**2 / (2.0 * jnp.pi**2)
        return jnp.sqrt(jax.scipy.integrate.trapezoid(density, log_k))

    def _log_power(self, weights, x, z, output: str) -> jax.Array:
        """ln of one output at the modes, (..., nz, nmodes), in Mpc^3."""
        shape = jnp.broadcast_shapes(*(jnp.shape(value) for value in x.values()))
        x = {name: jnp.broadcast_to(value, shape)[..., None] for name, value in x.items()}
        x["z"] = jnp.broadcast_to(z, (*shape, z.shape[-1]))
        total = 0.0
        for name in self.factors[output]:
            network = self.networks[name]
            theta = jnp.stack(jnp.broadcast_arrays(*(x[n] for n in network.inputs)), axis=-1)
            value = network.values(weights[name], theta)
            total = total + (value * jnp.log(10.0) if network.log10 else jnp.log(value))
        return total

    def _interpolate(self, values: jax.Array, at: jax.Array) -> jax.Array:
        """Values (..., nz, n) at the modes -> at ln k (nk,), (..., nz, nk) or (..., 1, nk): (..., nz, nk)."""
        knots = jnp.asarray(self.log_modes, values.dtype)
        slopes = _dot(values, jnp.asarray(self._slopes.T, values.dtype))
        at = jnp.broadcast_to(at, (*values.shape[:-1], at.shape[-1]))
        left = jnp.clip(
            jnp.searchsorted(knots, jax.lax.stop_gradient(at), side="right") - 1, 0, len(knots) - 2
        )
        step = knots[left + 1] - knots[left]
        t = (at - knots[left]) / step
        take = lambda array, index: jnp.take_along_axis(array, index, axis=-1)  # noqa: E731
        here, there = (1.0 + 2.0 * t) * (1.0 - t) ** 2, t**2 * (3.0 - 2.0 * t)
        leaving, arriving = t * (1.0 - t) ** 2 * step, t**2 * (t - 1.0) * step
        return (
            here * take(values, left)
            + there * take(values, left + 1)
            + leaving * take(slopes, left)
            + arriving * take(slopes, left + 1)
        )


def _dot(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
