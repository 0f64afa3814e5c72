"""The domain of a contract, enforced: an error for numbers at hand, a policy for traced ones."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from galaxyjax.core.errors import ConfigError, DomainError
from galaxyjax.emulator.contract import Contract

POLICIES = ("nan", "clip", "extrapolate")
# A bound may be missed by rounding alone: jnp.geomspace(1e-4, 10) ends some ulp outside in float32.
SLACK_EPS = 32.0


def is_concrete(value: ArrayLike) -> bool:
    """Say whether the numbers can be read here and now: no tracer, no array of another process."""
    if isinstance(value, jax.core.Tracer):
        return False
    return not isinstance(value, jax.Array) or value.is_fully_addressable


def check(contract: Contract, x: dict, k: ArrayLike | None, z: ArrayLike) -> None:
    """Raise DomainError for the first concrete value outside the contract; traced values pass.

    x: input name -> scalar or array. k in h/Mpc, z: redshift. NaN is outside. The message names the
    parameter, the value farthest outside, the bound, and what to do.
    """
    for name, value in x.items():
        entry = contract.domain[name]
        _check_interval(name, value, entry.low, entry.high, entry.unit)
    for constraint in contract.constraints:
        values = {name: x[name] for name in constraint.coefficients if name in x}
        if len(values) == len(constraint.coefficients) and all(map(is_concrete, values.values())):
            if (
                all(isinstance(value, float) for value in values.values())
                and constraint.total(x) <= constraint.upper
            ):
                continue
            values = {name: np.asarray(value) for name, value in values.items()}
            terms = {name: values[name] * c for name, c in constraint.coefficients.items()}
            total = np.asarray(sum(terms.values()))
            slack = _slack(total.dtype) * max(np.max(np.abs(term), initial=0.0) for term in terms.values())
            if np.any(total > constraint.upper + slack):
                worst = np.unravel_index(np.argmax(total), total.shape)
                point = ", ".join(
                    f"{n} = {np.broadcast_to(v, total.shape)[worst]:.9g}" for n, v in values.items()
                )
                raise DomainError(
                    f"{point} breaks {constraint} ({constraint.description}): "
                    f"it reaches {total[worst]:.9g}; {_ADVICE}"
                )
    if k is not None:
        _check_interval("k", k, *contract.k_range, "h/Mpc")
    _check_interval("z", z, *contract.z_range, "")


def guard(policy: str, contract: Contract, x: dict, k: jax.Array | None, z: jax.Array):
    """Return (x, k, z, finish): safe arguments for the model, and what to do to its answer (..., nz[, nk]).

    "extrapolate" changes nothing. "clip" moves each value to its interval and then each constraint's reduced
    input to its edge. "nan" evaluates at safe values where something is outside and `finish` puts NaN there:
    a double `where`, so that the gradients of members inside stay exact whatever the others hold. The slope
    outside is 0 (a NaN there would spoil parameters that members share): look at the value before its
    gradient.
    """
    if policy == "extrapolate":
        return x, k, z, _unchanged
    if policy == "clip":
        return _clip(contract, x), _clip_to(k, contract.k_range), _clip_to(z, contract.z_range), _unchanged
    if policy != "nan":
        raise ConfigError(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
    inside = _inside_theta(contract, x)
    z_in = _inside(z, contract.z_range)
    x = {name: jnp.where(inside, value, contract.centre[name]) for name, value in x.items()}
    z = jnp.where(z_in, z, contract.z_range[0])
    good = inside[..., None] & z_in
    if k is not None:
        k_in = _inside(k, contract.k_range)
        good = good[..., None] & k_in
        k = jnp.where(k_in, k, contract.k_range[0])
    return x, k, z, lambda answer: jnp.where(good, answer, jnp.nan)


_ADVICE = "stay inside, or choose emulator.with_policy('clip') or ('extrapolate')"


def _unchanged(answer):
    return answer


def _slack(dtype) -> float:
    kind = dtype if np.issubdtype(dtype, np.floating) else np.float64
    return SLACK_EPS * float(np.finfo(kind).eps)


def _check_interval(name: str, value: ArrayLike, low: float, high: float, unit: str) -> None:
    if (
        isinstance(value, float) and low <= value <= high or not is_concrete(value)
    ):  # floats: a plain call stays fast
        return
    value = np.asarray(value)
    slack = _slack(value.dtype)
    low_edge, high_edge = low - slack * abs(low), high + slack * abs(high)
    if np.all((value >= low_edge) & (value <= high_edge)):
        return
    excess = np.where(np.isnan(value), np.inf, np.maximum(low - value, value - high))
    worst = value.flat[np.argmax(excess)]
    bound = f"below {low:g}" if worst < low else f"above {high:g}" if worst > high else "not a number"
    unit = f" {unit}" if unit else ""
    raise DomainError(
        f"{name} = {worst:.9g}{unit} is {bound}; its domain is [{low:g}, {high:g}]{unit}: {_ADVICE}"
    )


def _inside(value: jax.Array, interval: tuple[float, float]) -> jax.Array:
    low, high = interval
    slack = _slack(value.dtype)
    return (value >= low - slack * abs(low)) & (value <= high + slack * abs(high))


def _inside_theta(contract: Contract, x: dict) -> jax.Array:
    inside = True
    for name, value in x.items():
        inside &= _inside(value, (contract.domain[name].low, contract.domain[name].high))
    for constraint in contract.constraints:
        if all(name in x for name in constraint.coefficients):
            size = sum(abs(c) * jnp.abs(x[name]) for name, c in constraint.coefficients.items())
            inside &= constraint.total(x) <= constraint.upper + _slack(size.dtype) * size
    return inside


def _clip_to(value: jax.Array | None, interval: tuple[float, float]) -> jax.Array | None:
    return None if value is None else jnp.clip(value, *interval)


def _clip(contract: Contract, x: dict) -> dict:
    x = {name: _clip_to(v, (contract.domain[name].low, contract.domain[name].high)) for name, v in x.items()}
    for constraint in contract.constraints:
        if all(name in x for name in constraint.coefficients):
            limit = jnp.minimum if constraint.coefficients[constraint.reduce] > 0 else jnp.maximum
            x[constraint.reduce] = limit(x[constraint.reduce], constraint.edge(x))
    return x
