"""A posterior as one pure function of standard-normal coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp

from galaxyjax.infer.priors import Prior

Values = Mapping[str, jax.Array]


def _nothing(values: Values) -> dict[str, jax.Array]:
    return {}


@dataclass(frozen=True)
class Posterior:
    """Prior times likelihood; every method is pure and works under jit, grad and vmap.

    Args:
        prior: maps coordinates u (d,) to named scalar values.
        log_likelihood: named scalar values -> scalar, up to a constant; -inf (or NaN) where the model has no
            answer.
        derived: named scalar values -> name -> scalar, further columns for the chains.
        identity: says which data, emulator and settings are inside; a run under another identity is not
            resumed.
    """

    prior: Prior
    log_likelihood: Callable[[Values], jax.Array]
    derived: Callable[[Values], dict[str, jax.Array]] = _nothing
    identity: str = ""

    @property
    def dimension(self) -> int:
        """Number of sampled coordinates."""
        return self.prior.dimension

    def log_weight(self, u) -> jax.Array:
        """Log likelihood at coordinates u (d,); -inf outside the model's domain."""
        value = jnp.asarray(self.log_likelihood(self.prior.constrain(u)), u.dtype)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def log_density(self, u) -> jax.Array:
        """Log posterior density of the coordinates u (d,), up to a constant; -inf outside the model's
        domain.
        """
        # A standard normal without its constant: added in float32 it would only cost digits.
        return self.log_weight(u) - 0.5 * jnp.sum(u**2)

    def quantities(self, u) -> jax.Array:
        """Sampled values, then derived ones, at coordinates u (d,): (q,), named by `quantity_names`."""
        values = self.prior.constrain(u)
        derived = self.derived(values)
        columns = [values[name] for name in self.prior.names] + [derived[name] for name in self.derived_names]
        return jnp.stack([jnp.asarray(column, u.dtype) for column in columns])

    @cached_property
    def derived_names(self) -> tuple[str, ...]:
        """Names of the derived columns."""
        names: list[str] = []

        def look(u):
            names.extend(self.derived(self.prior.constrain(u)))  # as they come; eval_shape would sort them

        jax.eval_shape(look, jnp.zeros(self.dimension))
        return tuple(names)

    @property
    def quantity_names(self) -> tuple[str, ...]:
        """Names of the sampled, then the derived columns."""
        return self.prior.names + self.derived_names
