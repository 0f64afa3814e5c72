"""An emulator's spectra as one CosmoPower network: for programs that read that format and no other.

Our families put physics around their networks, which no single network of dense layers holds exactly. So the
network is trained on the emulator, which costs milliseconds a spectrum, and its error against the emulator is
measured at cosmologies that it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.emulator.foreign import ForeignNetwork
from galaxyjax.models.cosmopower import Network

QUANTILES = (50.0, 95.0, 99.0, 100.0)


@dataclass(frozen=True)
class Distillation:
    """How a network is distilled: k_range in 1/Mpc, hidden widths, spectra to train and to test on."""

    output: str = "linear"
    k_range: tuple[float, float] = (2e-4, 6.0)
    modes: int = 420
    widths: tuple[int, ...] = (512, 512, 512, 512)
    spectra: int = 20_000
    held_out: int = 1_000
    batch: int = 512
    steps: int = 20_000
    learning_rate: float = 2e-3
    seed: int = 0


def distil(
    emulator: Emulator,
    how: Distillation = Distillation(),  # noqa: B008 (frozen)
    domain: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[ForeignNetwork, dict]:
    """Return a network of log10 P in Mpc^3 at k in 1/Mpc, and its measured error.

    domain: input -> (low, high), "z" among them, inside the emulator's: narrower is more exact. Inputs that
    it leaves out keep the emulator's range, or their default where they have one. The error holds, for the
    held-out spectra, "p50" ... "max" of abs(P / P_emulator - 1) over all k, and "inputs" with their ranges.

    Raises ConfigError for wavenumbers that the emulator does not reach at every h.
    """
    ranges = _ranges(emulator, how, domain or {})
    k = np.geomspace(*how.k_range, how.modes)
    draw = jax.random.uniform(jax.random.key(how.seed), (how.spectra + how.held_out, len(ranges)))
    low, high = (jnp.asarray([edges[i] for edges in ranges.values()]) for i in (0, 1))
    x = low + (high - low) * draw
    y = _targets(emulator, how.output, tuple(ranges), jnp.asarray(k, x.dtype), x)
    good = np.asarray(jnp.isfinite(y).all(axis=1))  # joint bounds cut corners off
    x, y = x[good], y[good]
    train, test = (x[how.held_out :], y[how.held_out :]), (x[: how.held_out], y[: how.held_out])
    network = Network(tuple(ranges), (len(ranges), *how.widths, how.modes), tuple(k.tolist()), log10=True)
    weights = network.init(jax.random.key(how.seed + 1))
    for name, values in (("input", train[0]), ("output", train[1])):
        weights |= {f"{name}_mean": values.mean(axis=0), f"{name}_std": values.std(axis=0)}
    weights = _train(network, weights, train, how)
    error = jnp.abs(10.0 ** (jax.jit(network.values)(weights, test[0]) - test[1]) - 1.0)
    names = ("p50", "p95", "p99", "max")
    quantiles = dict(zip(names, map(float, np.percentile(np.asarray(error), QUANTILES)), strict=True))
    return ForeignNetwork(network, weights), {**quantiles, "spectra": len(test[0]), "inputs": ranges}


def _ranges(emulator: Emulator, how: Distillation, domain: Mapping) -> dict[str, tuple[float, float]]:
    contract = emulator.contract
    for name in domain:
        if name not in (*contract.domain, "z"):
            raise ConfigError(f"distil: {name} is not an input of {contract.name}")
    ranges = {}
    for name in contract.output(how.output).inputs:
        entry = contract.domain[name]
        if name in domain or entry.default is None:
            ranges[name] = tuple(domain.get(name, (entry.low, entry.high)))
    h_low, h_high = ranges["h"]
    if how.k_range[0] / h_high < contract.k_range[0] or how.k_range[1] / h_low > contract.k_range[1]:
        raise ConfigError(
            f"distil: k_range {how.k_range} per Mpc leaves {contract.k_range} h/Mpc at h = {h_low:g} to "
            f"{h_high:g}; give {contract.k_range[0] * h_high:.3g} to {contract.k_range[1] * h_low:.3g}"
        )
    return ranges | {"z": tuple(domain.get("z", contract.z_range))}


def _targets(emulator: Emulator, output: str, names: tuple[str, ...], k, x) -> jax.Array:
    """log10 P (n, nk) in Mpc^3 of the rows of x; NaN where a joint bound is broken."""

    def one(row):
        theta = dict(zip(names, row, strict=True))
        z = theta.pop("z")
        power = emulator.predict(theta, k=k / theta["h"], z=z[None], output=output)[0]
        return jnp.log10(power / theta["h"] ** 3)

    return jax.jit(lambda x: jax.lax.map(one, x, batch_size=256))(x)


def _train(network: Network, weights: dict, data, how: Distillation) -> dict:
    """Adam with a cosine decay on standardised features; the standardisation is kept as it is."""
    x, y = data
    target = (y - weights["output_mean"]) / weights["output_std"]
    optimiser = optax.adam(optax.cosine_decay_schedule(how.learning_rate, how.steps, 1e-3))

    def loss(layers, x, y):
        return jnp.mean((network.features({**weights, "layers": layers}, x) - y) ** 2)

    @jax.jit
    def run(layers):
        def step(carry, key):
            layers, state = carry
            rows = jax.random.randint(key, (how.batch,), 0, len(x))
            slope = jax.grad(loss)(layers, x[rows], target[rows])
            change, state = optimiser.update(slope, state)
            return (optax.apply_updates(layers, change), state), None

        keys = jax.random.split(jax.random.key(how.seed + 2), how.steps)
        return jax.lax.scan(step, (layers, optimiser.init(layers)), keys)[0][0]

    return {**weights, "layers": run(weights["layers"])}
