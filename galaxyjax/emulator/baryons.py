"""A gravity-only spectrum times a measured baryon response: what `predict(..., baryons=...)` is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
from jax.typing import ArrayLike

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.emulator.contract import Contract
from galaxyjax.emulator.emulator import Emulator

FEEDBACK = "logT_AGN"  # HMcode's own description of the same effect
OUTPUT = "nonlinear"
RESPONSE = "response"


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("spectrum", "response"),
    meta_fields=("typical",),
)
@dataclass(frozen=True)
class WithBaryons:
    """P_nonlinear of one emulator times R of another, with one contract; make one with `with_baryons`.

    A pytree like its parts, and usable where they are (`predict`, `sigma8`, `derived`, `contract`, `error`).
    typical: the response's error over its root mean square over the domain, for the modes of `error`.
    """

    spectrum: Emulator
    response: Emulator
    typical: float = 1.0

    @property
    def contract(self) -> Contract:
        """Inputs and bounds of both, without logT_AGN; one output; k and z where both promise something."""
        return _contract(self.spectrum.contract, self.response.contract)

    @property
    def error(self) -> WithBaryons | None:
        """The measured error, if both parts have one: `error.modes(output, k, z)` as of an `ErrorModel`."""
        return None if self.spectrum.error is None or self.response.error is None else self

    def modes(self, output: str, k: ArrayLike | None = None, z: ArrayLike | None = None) -> np.ndarray:
        """Vectors (r, nz, nk) of the error of ln P: the spectrum's, then the response's times `typical`."""
        _check_output(output)
        own = self.spectrum.error.modes(output, k, z)
        if k is None or z is None:
            entry = self.spectrum.error[output]
            k, z = entry.k if k is None else k, entry.z if z is None else z
        return np.concatenate([own, self.typical * self.response.error.modes(RESPONSE, k, z)])

    def with_policy(self, policy: str) -> WithBaryons:
        """As `Emulator.with_policy`, for both parts."""
        return replace(
            self, spectrum=self.spectrum.with_policy(policy), response=self.response.with_policy(policy)
        )

    def for_prior(self, theta: Mapping[str, ArrayLike]) -> WithBaryons:
        """With `typical` the root mean square over the given values of the response's inputs, (...) each."""
        contract = self.response.contract
        x = {n: theta.get(n, contract.domain[n].default) for n in contract.domain}
        scale = self.response.model.scale(self.response.weights, x)
        return replace(self, typical=float(np.sqrt(np.mean(scale**2))))

    def predict(self, theta: Mapping[str, ArrayLike], *, k: ArrayLike, z: ArrayLike, output: str = OUTPUT):
        """P (..., nz, nk) in (Mpc/h)^3, as `Emulator.predict`. Raises ConfigError with logT_AGN."""
        _check_output(output)
        _check_feedback(theta)
        spectrum, response = self.spectrum.contract.domain, self.response.contract.domain
        for name in theta:
            if name not in spectrum and name not in response:
                raise unknown_name("parameter", name, (*spectrum, *response))
        ours = self._own(theta)
        power = self.spectrum.predict(ours, k=k, z=z, output=output)
        return power * self.factor(theta, k, z).astype(power.dtype)

    def factor(self, theta: Mapping[str, ArrayLike], k: ArrayLike, z: ArrayLike) -> jax.Array:
        """The response alone, R (..., nz, nk), at its own inputs among theta."""
        own = {name: value for name, value in theta.items() if name in self.response.contract.domain}
        return self.response.predict(own, k=k, z=z, output=RESPONSE)

    def sigma8(self, theta: Mapping[str, ArrayLike], z: ArrayLike = 0.0) -> jax.Array:
        """As `Emulator.sigma8`: baryons do not enter the linear amplitude."""
        return self.spectrum.sigma8(self._own(theta), z)

    def derived(self, theta: Mapping[str, ArrayLike]) -> dict[str, jax.Array]:
        """As `Emulator.derived`."""
        return self.spectrum.derived(self._own(theta))

    def _own(self, theta):
        return {name: value for name, value in theta.items() if name not in self.response.contract.domain}


def with_baryons(spectrum: Emulator, baryons: str | Emulator) -> WithBaryons:
    """Return a spectrum's emulator with the response of `baryons`, an emulator or its name on the shelf.

    The policy is the spectrum's. Raises ConfigError where one is not a spectrum and the other a response.
    """
    if not isinstance(baryons, Emulator):
        from galaxyjax.emulator.store import load

        baryons = load(baryons)
    for emulator, wanted in ((spectrum, OUTPUT), (baryons, RESPONSE)):
        outputs = [entry.name for entry in emulator.contract.outputs]
        if wanted not in outputs:
            raise ConfigError(
                f"baryons: {emulator.contract.name} gives {', '.join(outputs)}, not {wanted}: multiply a "
                "spectrum such as matter_power by a response such as baryon_response"
            )
    return WithBaryons(spectrum, baryons.with_policy(spectrum.policy))


def _check_output(output: str) -> None:
    if output != OUTPUT:
        raise ConfigError(
            f"output {output!r} with baryons: a response multiplies the gravity-only spectrum, and "
            f"{FEEDBACK} describes the same effect; ask for {OUTPUT!r}, or leave baryons out"
        )


def _check_feedback(theta: Mapping) -> None:
    if FEEDBACK in theta:
        raise ConfigError(
            f"{FEEDBACK} = {theta[FEEDBACK]} with baryons: both describe the same effect; leave out one"
        )


def _contract(spectrum: Contract, response: Contract) -> Contract:
    inputs = (*(entry for entry in spectrum.inputs if entry.name != FEEDBACK), *response.inputs)
    entry = spectrum.output(OUTPUT)
    both = replace(entry, inputs=(*entry.inputs, *response.domain), description="with measured baryons")
    files = {f"{part.name}/{name}": sha for part in (spectrum, response) for name, sha in part.files.items()}
    return replace(
        spectrum,
        name=f"{spectrum.name}+{response.name}",
        version=f"{spectrum.version}+{response.version}",
        inputs=inputs,
        constraints=(*spectrum.constraints, *response.constraints),
        outputs=(both,),
        k_range=(
            max(spectrum.k_range[0], response.k_range[0]),
            min(spectrum.k_range[1], response.k_range[1]),
        ),
        z_range=(
            max(spectrum.z_range[0], response.z_range[0]),
            min(spectrum.z_range[1], response.z_range[1]),
        ),
        calibrated=(),
        files=files,
    )
