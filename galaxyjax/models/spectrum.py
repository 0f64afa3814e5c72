"""The family `Spectrum`: matter power spectra as physics times small networks.

Five small networks, each for what physics leaves open; all but the first give components of a basis in ln k:

- amplitude: ln D(z) over a closed form. It learns from the growth equation, at as many points as it likes.
- shape: ln T^2 at high redshift over its no-wiggle fit (Eisenstein & Hu 1998). Only omega_b, omega_cdm and
  m_nu decide it when k is in 1/Mpc, so h enters as a shift of ln k, and one CAMB run teaches every h.
- growth: the scale dependence of growth, from massive neutrinos and from dark energy near the horizon.
- boost: ln P_nonlinear over the linear spectrum with its wiggles damped (Mead et al. 2021, eqs 15, 16). It
  sees sigma(R, z), integrals over the linear spectrum just predicted, since these decide most of it.
- suppression: ln P_baryons / P_nonlinear.

    ln P_lin = ln[A_s (k h / 0.05)^(n_s - 1) k] + 2 ln D - 2 ln Omega_m + const
               + 2 ln T_no-wiggle + shape + growth
    ln P_nl  = ln P_lin + ln[1 - (1 - exp(-k^2 sigma_v^2)) wiggle] + boost
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from math import log, pi

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.primordial import eisenstein_hu_no_wiggle
from galaxyjax.models.growth_proxy import log_growth, matter_fraction, omega_matter
from galaxyjax.models.spline import KnotLine
from galaxyjax.nn.functional import functional
from galaxyjax.nn.mlp import MLP

# P = 2 pi^2 / k^3 (4 / 25) (c k / H_0)^4 A_s ... T^2 D^2 / Omega_m^2 with k in h/Mpc (Dodelson & Schmidt
# 2020, eq. 8.8), with A_s in units of 1e-10.
LOG_CONSTANT = log(2.0 * pi**2 * 4.0 / 25.0) + 4.0 * log(2997.92458) - 10.0 * log(10.0)
PIVOT = 0.05  # 1/Mpc
RADII = (0.2, 0.8, 3.0, 8.0, 25.0)  # Mpc/h, of the sigma(R) that the boost sees
SIGMA8 = RADII.index(8.0)
SHAPE_INPUTS = ("omega_b", "omega_cdm", "m_nu", "h")
BOOST_INPUTS = ("omega_b", "omega_cdm", "m_nu", "h", "n_s", "w0", "wa")
AMPLITUDE_FEATURES = 7
GROWTH_FEATURES = 11
PARTS = ("amplitude", "shape", "growth", "boost", "suppression")


@dataclass(frozen=True)
class Spectrum:
    """Hyperparameters of the family; its methods are pure functions of (weights, inputs)."""

    k_min: float = 9.5e-5
    k_max: float = 10.5
    k_nodes: int = 256
    baseline_nodes: int = 32
    components: tuple[int, ...] = (64, 32, 12, 24, 12)  # shape, wiggle, growth, boost, suppression
    amplitude_widths: tuple[int, ...] = (48, 48)
    shape_widths: tuple[int, ...] = (64, 64)
    growth_widths: tuple[int, ...] = (64, 64)
    boost_widths: tuple[int, ...] = (128, 128, 128)
    suppression_widths: tuple[int, ...] = (64, 64, 64)
    activation: str = "silu"

    outputs = ("linear", "nonlinear", "nonlinear_baryons", "baryon_suppression")

    def __post_init__(self):
        for name, value in self.hyperparameters().items():  # JSON knows lists, a hash wants tuples
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model: ``Spectrum(**hyperparameters)``."""
        return asdict(self)

    @cached_property
    def knots(self) -> KnotLine:
        """The wavenumbers on which bases are stored."""
        return KnotLine(self.k_min, self.k_max, self.k_nodes)

    @cached_property
    def _coarse(self) -> tuple[np.ndarray, np.ndarray]:
        """Wavenumbers that resolve the no-wiggle spectrum to 3e-5; values there -> spline, (nodes, ...)."""
        coarse = KnotLine(self.k_min, self.k_max, self.baseline_nodes, amplitude=0.0)
        unit = coarse.coefficients(np.eye(self.baseline_nodes))
        # In float64 even where the first call is a float32 one: what is kept here serves both (5e-6 of P).
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            at_knots = np.asarray(
                coarse.evaluate(jnp.asarray(unit), jnp.asarray(self.knots.wavenumbers)), np.float64
            )
        return coarse.wavenumbers, self.knots.coefficients(at_knots)

    @cached_property
    def _quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Every third knot, and the weights that turn P there into sigma^2(R) and sigma_v^2: (n,), (n, 6)."""
        k = self.knots.wavenumbers[1::3]
        # Trapezoid rule in the knot coordinate: spectrally accurate, since the integrand dies at both ends.
        dlnk = 3.0 * self.knots.log_spacing[1::3]
        x = k[:, None] * np.asarray(RADII)
        small = x < 1e-2
        safe = np.where(small, 1.0, x)
        window = np.where(small, 1.0 - x**2 / 10.0, 3.0 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)
        variance = window**2 * (k**3 * dlnk / (2.0 * pi**2))[:, None]
        displacement = (k * dlnk / (6.0 * pi**2))[:, None]
        return k, np.concatenate([variance, displacement], axis=1)

    def sizes(self, part: str) -> tuple[int, ...]:
        """Layer widths of one network, from its inputs to its components."""
        shape, wiggle, growth, boost, suppression = self.components
        ends = {
            "shape": (len(SHAPE_INPUTS), shape + wiggle),
            "amplitude": (AMPLITUDE_FEATURES, 1),
            "growth": (GROWTH_FEATURES, growth),
            "boost": (self.boost_features, boost),
            "suppression": (self.boost_features + 1, suppression),
        }
        return (ends[part][0], *getattr(self, f"{part}_widths"), ends[part][1])

    @property
    def boost_features(self) -> int:
        """Number of inputs of the boost network."""
        return len(BOOST_INPUTS) + len(RADII) + 1 + 3

    @cached_property
    def networks(self) -> dict:
        """part -> (init, apply)."""
        return {
            p: functional(lambda rngs, p=p: MLP(self.sizes(p), self.activation, rngs=rngs)) for p in PARTS
        }

    def init(self, key: jax.Array) -> dict:
        """Weights with random networks and empty bases: the structure that training fills and files hold."""
        shape, wiggle, growth, boost, suppression = self.components
        counts = {"shape": shape, "growth": growth, "boost": boost, "suppression": suppression}
        weights = {}
        for part, part_key in zip(PARTS, jax.random.split(key, len(PARTS)), strict=True):
            sizes = self.sizes(part)
            weights[part] = {
                "network": self.networks[part][0](part_key),
                "input_mean": jnp.zeros(sizes[0]),
                "input_scale": jnp.ones(sizes[0]),
                "output_scale": jnp.ones(sizes[-1]),
                **(self._empty_basis(counts[part]) if part in counts else {}),
            }
        weights["wiggle"] = self._empty_basis(wiggle)
        return weights

    def _empty_basis(self, count: int) -> dict:
        size = self.k_nodes + 2
        return {"mean": jnp.zeros(size), "basis": jnp.zeros((count, size))}

    def network(self, weights, part: str, features: jax.Array) -> jax.Array:
        """Components (..., n) of one part from its features (..., m)."""
        w = weights[part]
        y = self.networks[part][1](w["network"], (features - w["input_mean"]) / w["input_scale"])
        return y * w["output_scale"]

    # What the networks see ----------------------------------------------------------------------------------

    def shape_features(self, x) -> jax.Array:
        """(..., 4): densities and h as logarithms, so that ratios are differences."""
        return jnp.stack(
            [jnp.log(x["omega_b"]), jnp.log(x["omega_cdm"]), x["m_nu"], jnp.log(x["h"])], axis=-1
        )

    def baseline(self, x) -> jax.Array:
        """2 ln T_no-wiggle (..., 1, baseline_nodes) for x of shape (..., 1)."""
        x = {name: x[name][..., None] for name in SHAPE_INPUTS}
        cosmology = Cosmology(**x, n_s=1.0, ln10A_s=3.0)  # the tilt and amplitude do not enter T
        return 2.0 * jnp.log(eisenstein_hu_no_wiggle(cosmology, jnp.asarray(self._coarse[0], x["h"].dtype)))

    def amplitude_features(self, x, z) -> jax.Array:
        """(..., nz, 7) for x of shape (..., 1) and z of (..., nz): all that the growth equation knows."""
        a, omega_m = 1.0 / (1.0 + z), omega_matter(x)
        values = [omega_m / x["h"] ** 2, x["w0"], x["wa"], omega_m, x["m_nu"], a, z * a**2]
        return jnp.stack(jnp.broadcast_arrays(*values), axis=-1)

    def growth_features(self, x, z, log_D, Omega_m_z) -> jax.Array:
        """(..., nz, 11): dark energy through Omega_m(z), w0, wa and growth, neutrinos by their fraction."""
        a, omega_m = 1.0 / (1.0 + z), omega_matter(x)
        Omega_m = omega_m / x["h"] ** 2
        values = [Omega_m, x["w0"], x["wa"], omega_m, x["m_nu"] / omega_m, x["omega_b"] / omega_m]
        values += [a, z * a**2, Omega_m_z, log_D - jnp.log(a)]
        # At a third of the scale factor: growth remembers its history.
        values += [matter_fraction(Omega_m, x["w0"], x["wa"], a / 3.0)]
        return jnp.stack(jnp.broadcast_arrays(*values), axis=-1)

    def background(self, weights, x, z) -> tuple[jax.Array, jax.Array, jax.Array]:
        """ln D, Omega_m(z) and Omega_m, for x of shape (..., 1) and z of shape (..., nz)."""
        proxy, Omega_m_z, Omega_m = self.closed_form_growth(x, z)
        return (
            proxy + self.network(weights, "amplitude", self.amplitude_features(x, z))[..., 0],
            Omega_m_z,
            Omega_m,
        )

    def closed_form_growth(self, x, z) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `background`, without the network."""
        Omega_m = omega_matter(x) / x["h"] ** 2
        shape = jnp.broadcast_shapes(Omega_m.shape, z.shape)
        values = (jnp.broadcast_to(v, shape) for v in (Omega_m, x["w0"], x["wa"], z))
        log_D, Omega_m_z = log_growth(*values)
        return log_D, Omega_m_z, Omega_m

    def boost_inputs(self, x, z, log_moments, log_D, Omega_m_z) -> jax.Array:
        """(..., nz, boost_features) for x of shape (..., 1) and the rest of shape (..., nz)."""
        own = [x[name] for name in BOOST_INPUTS]
        # m_nu, D a^-1 and Omega_m(z): how structure got where sigma(R) says it is.
        own += [jnp.log1p(z), log_D + jnp.log1p(z), Omega_m_z]
        own += [log_moments[..., i] for i in range(log_moments.shape[-1])]
        return jnp.stack(jnp.broadcast_arrays(*own), axis=-1)

    # The spectra --------------------------------------------------------------------------------------------

    def power(self, weights, x, k, z, output: str) -> jax.Array:
        """One output: (..., nz, nk) in (Mpc/h)^3 (the suppression has no unit).

        Args:
            x: name -> (...) for every input that the output needs.
            k: (nk,), or (..., nz, nk), in h/Mpc.
            z: (nz,) or (..., nz).
        """
        x = {name: jnp.asarray(value)[..., None] for name, value in x.items()}
        linear = self._linear(weights, x, z)
        if output == "linear":
            return jnp.exp(self._log_linear(weights, x, linear, k))
        features, log_moments = self._nonlinear_features(weights, x, z, linear)
        if output != "nonlinear":
            both = jnp.concatenate(
                [features, jnp.broadcast_to(x["logT_AGN"][..., None], (*features.shape[:-1], 1))], -1
            )
            suppression = [("suppression", self.network(weights, "suppression", both))]
            if output == "baryon_suppression":
                return jnp.exp(self._sum(weights, suppression, k))
        extra = [("boost", self.network(weights, "boost", features))]
        if output == "nonlinear_baryons":
            extra += suppression
        return jnp.exp(self._log_linear(weights, x, linear, k, extra)) * self._damping(
            weights, linear, log_moments, k
        )

    def sigma8(self, weights, x, z) -> jax.Array:
        """sigma_8(z) of total matter, (..., nz)."""
        x = {name: jnp.asarray(value)[..., None] for name, value in x.items()}
        return jnp.exp(self._log_moments(weights, x, self._linear(weights, x, z))[..., SIGMA8])

    def _linear(self, weights, x, z) -> dict:
        """Components and amplitude of the linear spectrum at every redshift."""
        log_D, Omega_m_z, Omega_m = self.background(weights, x, z)
        components = self.network(weights, "shape", self.shape_features(x))
        return {
            "z": z,
            "log_D": log_D,
            "Omega_m_z": Omega_m_z,
            "amplitude": x["ln10A_s"] + LOG_CONSTANT + 2.0 * log_D - 2.0 * jnp.log(Omega_m),
            "baseline": self.baseline(x),
            "shape": components[..., : self.components[0]],
            "wiggle": components[..., self.components[0] :],
            "growth": self.network(weights, "growth", self.growth_features(x, z, log_D, Omega_m_z)),
        }

    def _log_linear(self, weights, x, linear, k, extra=()) -> jax.Array:
        """ln P of the linear spectrum plus further parts: one spline for all."""
        tilt = (x["n_s"] - 1.0)[..., None] * jnp.log(k * x["h"][..., None] / PIVOT) + jnp.log(k)
        parts = [(name, linear[name]) for name in ("baseline", "shape", "growth")] + list(extra)
        return linear["amplitude"][..., None] + tilt + self._sum(weights, parts, k)

    def _sum(self, weights, parts, k) -> jax.Array:
        """Sum of expansions at k: shared k evaluates the basis, k of each row the sum of coefficients."""
        basis = jnp.asarray(self._coarse[1], k.dtype)
        fixed = {"baseline": {"mean": jnp.zeros_like(basis[0]), "basis": basis}}
        parts = [({**weights, **fixed}[name], a) for name, a in parts]
        mean = sum(part["mean"] for part, _ in parts)
        if k.ndim == 1:
            return self.knots.evaluate(mean, k) + sum(
                _dot(a, self.knots.evaluate(p["basis"], k)) for p, a in parts
            )
        return self.knots.evaluate_each(mean + sum(_dot(a, p["basis"]) for p, a in parts), k)

    def _log_moments(self, weights, x, linear) -> jax.Array:
        """ln sigma(R) for RADII, then ln sigma_v: (..., nz, 6)."""
        k, quadrature = (jnp.asarray(v, linear["amplitude"].dtype) for v in self._quadrature)
        return 0.5 * jnp.log(_dot(jnp.exp(self._log_linear(weights, x, linear, k)), quadrature))

    def _nonlinear_features(self, weights, x, z, linear):
        log_moments = self._log_moments(weights, x, linear)
        features = self.boost_inputs(x, z, log_moments, linear["log_D"], linear["Omega_m_z"])
        return features, log_moments

    def _damping(self, weights, linear, log_moments, k) -> jax.Array:
        """1 - (1 - exp(-k^2 sigma_v^2)) wiggle: the linear spectrum's wiggles, damped by displacements."""
        wiggle = self._sum(weights, [("wiggle", linear["wiggle"])], k)
        sigma_v2 = jnp.exp(2.0 * log_moments[..., -1:])
        return 1.0 + jnp.expm1(-(k**2) * sigma_v2) * wiggle


def _dot(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
