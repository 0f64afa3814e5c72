"""Calibration by simulation of posteriors of fields: ranks of true fields among draws, mock by mock.

    found = calibrate_fields(TracerFamily(model, noise_std, prior), 100, folder)
    found.verdicts, found.tarp, found.check()

A family draws a truth from its prior and data from the truth. What a draw leaves of a field (parameters,
power in shells, single cells, the log density) is ranked; `infer.ranks` says why that must be uniform. Every
mock that is done is kept, so that a stopped run goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.core.progress import Progress
from galaxyjax.infer.calibrate import Calibration
from galaxyjax.infer.field_level.evolve import Lpt
from galaxyjax.infer.field_level.posterior import PROBES, field_posterior
from galaxyjax.infer.field_level.sample import Adaptive, FieldSampler, sample_field
from galaxyjax.infer.field_level.tracer import TracerModel, mock
from galaxyjax.infer.priors import Normal, Prior, Uniform
from galaxyjax.infer.ranks import ranks, tarp

DENSITY = "log density"
SAMPLER = FieldSampler(chains=2, min_draws=100, max_draws=1000, r_hat=1.02, ess=100.0)


class FieldFamily(Protocol):
    """Posteriors of fields, one for each data set."""

    def draw(self, key: jax.Array) -> tuple[Adaptive, Callable[[Any], Any]]:
        """The posterior of data simulated from a draw of the prior; that draw in a target's coordinates."""

    def names(self, target: Any) -> tuple[str, ...]:
        """What the target's judged quantities are called, in their order."""

    def identity(self) -> str:
        """What tells the family from others."""


@dataclass(frozen=True)
class TracerFamily:
    """Posteriors of a tracer's initial conditions and parameters (`FieldPosterior`).

    noise_std: of the contrast in a cell.
    """

    model: TracerModel
    noise_std: float
    prior: Prior

    def draw(self, key: jax.Array):
        """A posterior of a mock whose parameters and white noise are drawn from the prior, and that draw."""
        of_parameters, of_data = jax.random.split(key)
        u = jax.random.normal(of_parameters, (self.prior.dimension,))
        seen, noise = mock(self.model, self.prior.constrain(u), self.noise_std, of_data)
        target = field_posterior(self.model, seen, self.noise_std, self.prior)
        return target, lambda of: of.latent(noise, u)

    def names(self, target) -> tuple[str, ...]:
        """Parameters, shells by their middle k, cells."""
        middle = 0.5 * (target.edges[1:] + target.edges[:-1])
        shells = [f"power at k = {k:.3f}" for k in middle]
        return (*self.prior.names, *shells, *(f"cell {i}" for i in range(PROBES)))

    def identity(self) -> str:
        """Model, noise and prior."""
        leaves = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(self.model)]
        return repr((jax.tree.structure(self.model), leaves, self.noise_std, self.prior))


def small_tracer(mesh: jax.sharding.Mesh, cells: int = 12, cell: float = 10.0) -> TracerFamily:
    """Return a tracer small enough for a hundred posteriors: second-order LPT at z = 1 in redshift space.

    1e-3 tracers in a (Mpc/h)^3, cells of `cell` Mpc/h; Omega_m, sigma_8, b1 and b2 are sampled.
    """
    model = TracerModel(cells, cells * cell, 1.0, mesh, Lpt(2), redshift_space=True)
    prior = Prior({
        "Omega_m": Uniform(0.2, 0.4), "Omega_b": 0.0493, "h": 0.6736, "n_s": 0.9649,
        "sigma_8": Uniform(0.6, 1.0), "b1": Normal(1.0, 0.3), "b2": Normal(0.0, 0.5),
    })  # fmt: skip
    return TracerFamily(model, float((1e-3 * cell**3) ** -0.5), prior)


def calibrate_fields(
    family: FieldFamily,
    mocks: int = 100,
    folder: str | Path | None = None,
    sampler: FieldSampler = SAMPLER,
    draws: int = 50,
    seed: int = 0,
) -> Calibration:
    """Sample the posterior of every mock and rank its truth among `draws` draws of it.

    folder: where finished mocks are kept; None keeps nothing. sampler: of each; its `ess` is best twice
    `draws`. TARP is of all judged quantities together, each over its scatter among the truths. Raises
    ConfigError for fewer than 20 mocks, or when the folder holds another calibration.
    """
    if mocks < 20:
        raise ConfigError(f"calibrate: ranks of {mocks} mocks say nothing; give 20 or more")
    settings = {**asdict(sampler), "seed": seed, "draws": draws}
    identity = hashlib.sha256(json.dumps([family.identity(), settings]).encode()).hexdigest()
    kept, names, began = [], None, time.monotonic()
    with Progress(mocks, "calibrating", unit="mocks") as progress:
        for number in range(mocks):
            path = None if folder is None else Path(folder) / f"mock_{number:04d}.npz"
            found = None if path is None or not path.exists() else _load(path, identity)
            target, truth = (None, None) if found and names else family.draw(_key(seed, number))
            names = names or (*family.names(target), DENSITY)
            if found is None:
                found = _one(target, truth, replace(sampler, seed=1000 * seed + number), draws)
                if path is not None:
                    write_npz(path, {"identity": identity, **found})
            kept.append(found)
            progress.advance(**{"ESS": float(found["ess"]), "R-hat": float(found["r_hat"])})
    joined = {name: np.stack([one[name] for one in kept]) for name in kept[0] if name != "identity"}
    spent = max(float(joined["wall_s"].sum()), time.monotonic() - began)
    return _rank(names, joined, draws, seed, spent)


def _key(seed: int, number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), number)


def _one(target: Adaptive, truth, sampler: FieldSampler, draws: int) -> dict[str, np.ndarray]:
    """Truth (q,) and draws (draws, q) of one mock, and how well it was sampled."""
    chains = sample_field(target, sampler, progress=False)
    of = chains.target
    seen, density = jax.device_get(_look(of, truth(of)))
    columns = lambda values: np.concatenate([values[name] for name in of.judged], axis=-1)  # noqa: E731
    drawn = np.concatenate([columns(chains.observed), chains.log_density[..., None]], axis=-1)
    drawn = np.concatenate(list(drawn))
    # From all chains, as far apart as they come.
    pick = np.linspace(0, len(drawn) - 1, draws).round().astype(int)
    judged = list(chains.convergence.values())
    return {
        "truth": np.append(columns(seen), density).astype(np.float64),
        "drawn": drawn[pick].astype(np.float64),
        "ess": np.float64(min(np.min(one.ess_bulk) for one in judged)),
        "r_hat": np.float64(max(one.max_r_hat for one in judged)),
        "gradients": np.int64(chains.gradients),
        "wall_s": np.float64(chains.wall_s),
    }


@jax.jit
def _look(target, latent):
    return target.observe(latent), target.log_density(latent)


def _load(path: Path, identity: str) -> dict[str, np.ndarray]:
    arrays = read_npz(path)
    if str(arrays.get("identity")) != identity:
        raise ConfigError(f"{path} is of another calibration: give another folder, or remove it")
    return arrays


def _rank(names: tuple[str, ...], joined: dict, draws: int, seed: int, seconds: float) -> Calibration:
    rng = np.random.default_rng([seed, 31])
    truth, drawn = joined["truth"], joined["drawn"]
    scatter = truth[:, :-1].std(axis=0)
    varies = scatter > 0.0  # a shell of a small box may hold no mode
    scaled = lambda values: (values[..., :-1] / np.where(varies, scatter, 1.0))[..., varies]  # noqa: E731
    # The truth of another mock is a draw of the prior that knows nothing of this one's.
    references = np.roll(scaled(truth), 1, axis=0)
    shown = np.append(varies, True)
    return Calibration(
        names=tuple(name for name, one in zip(names, shown, strict=True) if one),
        ranks=ranks(truth[:, shown], drawn[..., shown], rng),
        tarp_ranks=tarp(scaled(truth), scaled(drawn), references, rng),
        ess=joined["ess"],
        r_hat=joined["r_hat"],
        draws=draws,
        gradients=int(joined["gradients"].sum()),
        wall_s=seconds,
    )
