"""Foreign networks of P(k, z) under the emulators' contract."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.contract import Contract, Input, Output
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.emulator.foreign import ForeignNetwork, installed_network
from galaxyjax.models.cosmopower import NetworkSpectrum

EDGE = 0.02  # a redshift range that begins this near to 0, in its own width, begins at 0
DERIVED = {
    "sigma_8": "linear amplitude of total matter at 8 Mpc/h today",
    "S8": "sigma_8 sqrt(Omega_m / 0.3)",
    "Omega_m": "matter today",
}


def spectrum_emulator(
    networks: Mapping[str, ForeignNetwork],
    factors: Mapping[str, tuple[str, ...]],
    *,
    name: str,
    licence: str,
    truth: dict,
    domain: Mapping[str, tuple[float, float]] | None = None,
) -> Emulator:
    """Return an emulator whose outputs are products of foreign networks at wavenumbers in 1/Mpc, in Mpc^3.

    Args:
        networks: name -> network; all take z and have the same modes. factors: output -> names of networks.
        name, licence, truth: for the contract. truth["fixed"] has what is held fixed, such as m_nu.
        domain: input -> (low, high), z among them. The files hold only mean and standard deviation of the
            training set: mean +- sqrt(3) deviations, the edges of a uniform one, where it is left out.

    `store.save` keeps it in a folder like any other. Raises ConfigError for networks that do not fit.
    """
    modes = {foreign.network.modes for foreign in networks.values()}
    if len(modes) != 1 or not all("z" in foreign.network.inputs for foreign in networks.values()):
        raise ConfigError(f"{name}: networks of one P(k, z) share their wavenumbers and take z")
    for output, parts in factors.items():
        for part in parts:
            if part not in networks:
                raise ConfigError(
                    f"{name}: output {output} is made of {part!r}, which is not among the networks"
                )
    ranges = {n: edges for foreign in networks.values() for n, edges in _edges(foreign).items()} | dict(
        domain or {}
    )
    low_z, high_z = ranges.pop("z")
    k = np.asarray(modes.pop())
    model = NetworkSpectrum({n: f.network for n, f in networks.items()}, dict(factors))
    inputs = tuple(Input(n, "", *edges, None, "as the network's file has it") for n, edges in ranges.items())
    needed = {output: _inputs(networks, parts) for output, parts in factors.items()}
    derived = DERIVED if "linear" in factors else {}
    contract = Contract(
        name=name,
        version="1",
        description="a foreign network under this project's contract",
        licence=licence,
        family="network_spectrum",
        hyperparameters=model.hyperparameters(),
        inputs=inputs,
        constraints=(),
        outputs=tuple(Output(o, "(Mpc/h)^3", needed[o], " x ".join(factors[o])) for o in factors),
        derived=tuple(Output(n, "", needed["linear"], text) for n, text in derived.items()),
        refused=(),
        k_range=(float(k[0] / ranges["h"][0]), float(k[-1] / ranges["h"][1])),
        z_range=(low_z, high_z),
        truth=truth,
        calibrated=(),
        error={},
        notes=("The domain is that of a uniform training set with the file's mean and deviation.",),
    )
    return Emulator({n: f.weights for n, f in networks.items()}, model, contract)


def cosmopower_jax() -> Emulator:
    """Return the P(k, z) of the cosmopower-jax that is installed here: "linear" and "nonlinear".

    CAMB with massless neutrinos and HMcode2016; c_min and eta_0 are its baryons. GPL-3 with a non-commercial
    clause: its networks are the user's own copy. Raises FileError where it is not installed.
    """
    networks = {"linear": installed_network("mpk_lin"), "boost": installed_network("mpk_boost")}
    return spectrum_emulator(
        networks,
        {"linear": ("linear",), "nonlinear": ("linear", "boost")},
        name="cosmopower_jax",
        licence="GPL-3.0 with a non-commercial clause",
        truth={"code": "CAMB", "nonlinear": "mead2016", "fixed": {"m_nu": 0.0}},
    )


def _inputs(networks: Mapping[str, ForeignNetwork], parts: tuple[str, ...]) -> tuple[str, ...]:
    names = dict.fromkeys(n for part in parts for n in networks[part].network.inputs)
    return tuple(n for n in names if n != "z")


def _edges(foreign: ForeignNetwork) -> dict[str, tuple[float, float]]:
    mean, std = (np.asarray(foreign.weights[name], float) for name in ("input_mean", "input_std"))
    low, high = mean - sqrt(3.0) * std, mean + sqrt(3.0) * std
    edges = {n: (float(a), float(b)) for n, a, b in zip(foreign.network.inputs, low, high, strict=True)}
    if "z" in edges and abs(edges["z"][0]) < EDGE * edges["z"][1]:
        edges["z"] = (0.0, edges["z"][1])
    return edges
