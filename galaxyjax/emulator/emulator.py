"""The callable: an emulator is a pytree of weights with a contract, and a pure function of both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, DataError, unknown_name
from galaxyjax.emulator import domain
from galaxyjax.emulator.contract import Contract, Output
from galaxyjax.emulator.error import ErrorModel


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights",),
    meta_fields=("model", "contract", "error", "policy"),
)
@dataclass(frozen=True)
class Emulator:
    """Spectra from named parameters, inside a stated domain.

    A registered pytree: the weights are its leaves; the model (a frozen dataclass, see `store.FAMILIES`),
    contract, measured error and policy are static. Numbers at hand are checked against the contract and raise
    DomainError. Numbers under `jit`, `grad` or `vmap` cannot raise: there `policy` holds, "nan" (NaN
    outside), "clip" (the nearest value inside) or "extrapolate" (no check). "clip" and "extrapolate" hold for
    numbers at hand too.
    """

    weights: dict
    model: object
    contract: Contract
    error: ErrorModel | None = None
    policy: str = "nan"

    def __repr__(self):
        count = sum(np.size(leaf) for leaf in jax.tree.leaves(self.weights))
        return (
            f"Emulator({self.contract.name} {self.contract.version}, {count} weights, policy {self.policy!r})"
        )

    def with_policy(self, policy: str) -> "Emulator":
        """Return this emulator with policy "nan", "clip" or "extrapolate"; ConfigError on another word."""
        if policy not in domain.POLICIES:
            raise ConfigError(f"policy {policy!r} is not one of {', '.join(domain.POLICIES)}")
        return replace(self, policy=policy)

    def numpy(self, double: bool = True):
        """Return this emulator as an `ArrayEmulator`: floats and NumPy arrays in, float64 arrays out."""
        from galaxyjax.emulator.arrays import ArrayEmulator

        return ArrayEmulator(self, double)

    def predict(
        self,
        theta: Mapping[str, ArrayLike],
        *,
        k: ArrayLike,
        z: ArrayLike,
        output: str,
        baryons: "str | Emulator | None" = None,
    ) -> jax.Array:
        """Return the named output, (..., nz, nk): spectra of total matter in (Mpc/h)^3, or a pure ratio.

        theta: name -> scalar or array, shapes broadcasting to (...); inputs with a default may be left out.
        k: (nk,), (nz, nk) or (..., nz, nk) in h/Mpc. z: (nz,), or a scalar for nz = 1. The dtype follows
        theta, k and z together (float64 needs x64 switched on), at least float32. baryons: a response
        emulator, or its name, that multiplies "nonlinear"; theta then holds its inputs too. Raises
        UnknownName for a name or output, ConfigError for a parameter left out, shapes that do not fit, or
        baryons together with logT_AGN, DomainError outside the domain.
        """
        if baryons is not None:
            from galaxyjax.emulator.baryons import with_baryons

            return with_baryons(self, baryons).predict(theta, k=k, z=z, output=output)
        k, z = _floats("k", k), _redshifts(z)
        entry = self.contract.output(output)
        if entry in self.contract.derived:
            raise ConfigError(f"{output} is derived, not a spectrum: use derived(theta)")
        x = resolve(self.contract, theta, entry)
        _check_shapes(x, k, z)
        return self._call(_predict, x, k, z, output)

    def spread(
        self, theta: Mapping[str, ArrayLike], *, k: ArrayLike, z: ArrayLike, output: str
    ) -> np.ndarray:
        """Return the root-mean-square error of ln output, (..., nz, nk), NumPy float64: as measured.

        theta matters where the error depends on it, as a response's does, and then the domain too. Raises
        ConfigError where no error was measured, DomainError, UnknownName.
        """
        if self.error is None:
            raise ConfigError(f"{self.contract.name}: no measured error; run `galaxyjax validate`")
        x = resolve(self.contract, theta, self.contract.output(output))
        domain.check(self.contract, x, None, z)
        scale = 1.0
        if hasattr(self.model, "scale"):
            scale = self.model.scale(self.weights, x)[..., None, None]
        rest = self.error.rest(output, k, z)
        return np.sqrt(scale**2 * np.sum(self.error.modes(output, k, z) ** 2, axis=0) + rest)

    def sigma8(self, theta: Mapping[str, ArrayLike], z: ArrayLike = 0.0) -> jax.Array:
        """Return sigma_8 of total matter (linear, R = 8 Mpc/h), (..., nz); theta and z as in `predict`."""
        x = resolve(self.contract, theta, self.contract.output("sigma_8"))
        return self._call(_sigma8, x, None, _redshifts(z), "sigma_8")

    def derived(self, theta: Mapping[str, ArrayLike]) -> dict[str, jax.Array]:
        """Return {"sigma_8", "S8", "Omega_m"} today, each (...); S8 = sigma_8 sqrt(Omega_m / 0.3)."""
        x = resolve(self.contract, theta, self.contract.output("sigma_8"))
        return self._call(_derived, x, None, np.zeros(1), "sigma_8")

    def _call(self, function, x, k, z, output):
        values = [*x.values(), z] if k is None else [*x.values(), k, z]
        if self.policy == "nan":
            domain.check(self.contract, x, k, z)
        if self.policy == "nan" and all(map(domain.is_concrete, values)):
            return _COMPILED[function](self.with_policy("extrapolate"), x, k, z, output)  # checked above
        return _COMPILED[function](self, x, k, z, output)


def resolve(contract: Contract, theta: Mapping[str, ArrayLike], entry: Output) -> dict[str, ArrayLike]:
    """Return the inputs that `entry` needs, in the contract's order, defaults filled in.

    Other known names are dropped. Raises UnknownName for a name that no input bears, ConfigError for one
    without a default that is left out.
    """
    if not isinstance(theta, Mapping):
        raise ConfigError(
            f"theta is a {type(theta).__name__}; give a mapping of names {', '.join(contract.domain)}"
        )
    for name in theta:
        if name not in contract.domain:
            raise unknown_name("parameter", name, contract.domain)
    x = {}
    for name in entry.inputs:
        if name in theta:
            x[name] = _floats(name, theta[name])
        elif contract.domain[name].default is not None:
            x[name] = contract.domain[name].default
        else:
            raise ConfigError(f"parameter {name} is missing: {entry.name} needs {', '.join(entry.inputs)}")
    return x


def _floats(name: str, value: ArrayLike) -> ArrayLike:
    """Return `value` as it is if it is a real number or array of real numbers, lists as arrays."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return value
    try:
        array = value if isinstance(value, jax.Array | np.ndarray) else np.asarray(value)
    except ValueError as error:
        raise DataError(f"{name} is not an array of numbers ({error})") from error
    if not (jnp.issubdtype(array.dtype, np.floating) or jnp.issubdtype(array.dtype, np.integer)):
        raise DataError(f"{name} has dtype {array.dtype}; give real numbers")
    return array


def _redshifts(z: ArrayLike) -> ArrayLike:
    z = _floats("z", z)
    if np.ndim(z) > 1:
        raise ConfigError(
            f"z has shape {np.shape(z)}; give (nz,) or a scalar (vmap for a batch of redshifts)"
        )
    if np.ndim(z) == 1:
        return z
    return z[None] if isinstance(z, jax.Array) else np.atleast_1d(z)


def _check_shapes(x: dict, k: ArrayLike, z: ArrayLike) -> None:
    """Raise ConfigError where theta does not broadcast with itself or with k and z."""
    shapes = {name: np.shape(value) for name, value in x.items() if np.ndim(value)}
    try:
        np.broadcast_shapes(*shapes.values(), np.shape(k)[:-2])
    except ValueError:
        raise ConfigError(
            f"shapes do not broadcast: {shapes}, k {np.shape(k)} (batch dimensions before the last two)"
        ) from None
    if np.ndim(k) > 1 and np.shape(k)[-2] not in (1, np.shape(z)[0]):
        raise ConfigError(
            f"k has shape {np.shape(k)} for {np.shape(z)[0]} redshifts; give (nk,) or (..., nz, nk)"
        )


def _common(x: dict, k: ArrayLike | None, z: ArrayLike):
    """Return x broadcast to one batch shape, k and z, all in the dtype of the computation."""
    dtype = jnp.result_type(0.0, *x.values(), z, *(() if k is None else (k,)))
    if jnp.finfo(dtype).bits < 32:
        dtype = jnp.float32  # half precision holds neither ln P to 0.1% nor k
    shape = jnp.broadcast_shapes(*(np.shape(value) for value in x.values()))
    x = {name: jnp.broadcast_to(jnp.asarray(value, dtype), shape) for name, value in x.items()}
    return x, None if k is None else jnp.atleast_1d(jnp.asarray(k, dtype)), jnp.asarray(z, dtype)


def _predict(emulator: Emulator, x: dict, k: ArrayLike, z: ArrayLike, output: str) -> jax.Array:
    x, k, z = _common(x, k, z)
    x, k, z, finish = domain.guard(emulator.policy, emulator.contract, x, k, z)
    return finish(emulator.model.power(emulator.weights, x, k, z, output))


def _sigma8(emulator: Emulator, x: dict, k: None, z: ArrayLike, output: str) -> jax.Array:
    x, _, z = _common(x, k, z)
    x, _, z, finish = domain.guard(emulator.policy, emulator.contract, x, None, z)
    return finish(emulator.model.sigma8(emulator.weights, x, z))


def _derived(emulator: Emulator, x: dict, k: None, z: ArrayLike, output: str) -> dict[str, jax.Array]:
    x, _, z = _common(x, k, z)
    x, _, z, finish = domain.guard(emulator.policy, emulator.contract, x, None, z)
    sigma_8 = emulator.model.sigma8(emulator.weights, x, z)
    # What the truth holds fixed and no input says, such as massless neutrinos.
    fixed = emulator.contract.truth.get("fixed", {})
    omega_m = jnp.broadcast_to(Cosmology.from_mapping({**fixed, **x}).Omega_m[..., None], sigma_8.shape)
    values = {"sigma_8": sigma_8, "S8": sigma_8 * jnp.sqrt(omega_m / 0.3), "Omega_m": omega_m}
    return {name: finish(value)[..., 0] for name, value in values.items()}


# One compilation per output, shapes and dtypes: a plain call costs little more than a jitted one, and a
# gradient taken outside `jit` runs compiled. Inside a caller's `jit` XLA inlines these, so they cost nothing.
_COMPILED = {
    _predict: jax.jit(_predict, static_argnames="output"),
    _sigma8: jax.jit(_sigma8, static_argnames="output"),
    _derived: jax.jit(_derived, static_argnames="output"),
}
