"""What emulators of fields share: a spacing, a policy, and the checks of a call before it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator import domain
from galaxyjax.emulator.contract import Contract
from galaxyjax.emulator.emulator import resolve
from galaxyjax.mesh.topology import build_mesh, check_field


@dataclass(frozen=True)
class OnGrid:
    """An emulator that is called on whole fields; its subclasses are registered pytrees with `predict`.

    The weights are the leaves; model, contract and policy are static. Numbers at hand are checked against the
    contract; under `jit` `policy` holds, as for `Emulator`.
    """

    weights: dict
    model: object
    contract: Contract
    error: None = None
    policy: str = "nan"

    def __repr__(self):
        count = sum(np.size(leaf) for leaf in jax.tree.leaves(self.weights))
        name = f"{self.contract.name} {self.contract.version}"
        return f"{type(self).__name__}({name}, {count} weights, spacing {self.spacing:g} Mpc/h)"

    @property
    def spacing(self) -> float:
        """Of particles or cells, Mpc/h: what it was trained at, and the only one at which it is called."""
        return self.model.spacing

    def with_policy(self, policy: str) -> Self:
        """Return this emulator with policy "nan", "clip" or "extrapolate"; ConfigError on another word."""
        if policy not in domain.POLICIES:
            raise ConfigError(f"policy {policy!r} is not one of {', '.join(domain.POLICIES)}")
        return replace(self, policy=policy)

    def _checked(self, theta: Mapping, field: jax.Array, box_size: float, z, mesh: Mesh | None):
        """(mesh, inputs by name, z) of a call on a field whose shape is right, in the field's dtype.

        Raises ConfigError where spacing, grid and mesh do not fit or an input is no scalar, DomainError.
        """
        mesh = build_mesh("x=1", devices=jax.devices()[:1]) if mesh is None else mesh
        cells, spacing = field.shape[0], float(box_size) / field.shape[0]
        if abs(spacing / self.spacing - 1.0) > 1e-3:
            raise ConfigError(
                f"{self.contract.name}: {cells} cells in {box_size:g} Mpc/h are {spacing:g} Mpc/h apart; "
                f"it was trained at {self.spacing:g}: use box_size = {cells * self.spacing:g}, or "
                f"{round(box_size / self.spacing)} cells"
            )
        check_field(mesh, field.shape, multiple=self.model.multiple)
        x = resolve(self.contract, theta, self.contract.outputs[0])
        if any(np.ndim(value) for value in (*x.values(), z)):
            raise ConfigError(
                "theta and z of a field are scalars; call it once a cosmology, or `jax.lax.map`"
            )
        if self.policy == "nan":
            domain.check(self.contract, x, None, z)
        x = {name: jnp.asarray(value, field.dtype) for name, value in x.items()}
        return mesh, x, jnp.asarray(z, field.dtype)
