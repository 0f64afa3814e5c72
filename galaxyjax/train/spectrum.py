"""Trains the family `Spectrum` on a suite of Boltzmann runs: four fits, each on what the ones before left."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from galaxyjax.core.errors import DataError
from galaxyjax.models.spectrum import Spectrum
from galaxyjax.simulate.design import Range, SumBelow
from galaxyjax.simulate.suite import Run
from galaxyjax.train import spectrum_targets as targets
from galaxyjax.train.config import FitConfig
from galaxyjax.train.loop import Data, fit


@dataclass(frozen=True)
class SpectrumTraining:
    """The training half of a recipe for `Spectrum`."""

    model: Spectrum = field(default_factory=Spectrum)
    amplitude: FitConfig = field(default_factory=FitConfig)
    shape: FitConfig = field(default_factory=FitConfig)
    growth: FitConfig = field(default_factory=FitConfig)
    boost: FitConfig = field(default_factory=FitConfig)
    suppression: FitConfig = field(default_factory=FitConfig)
    hubbles: int = 24  # values of h taught by each run
    background: tuple[Range, ...] = ()  # prior of the truth suite
    constraints: tuple[SumBelow, ...] = ()
    growth_equations: int = 65_536  # cosmologies at which the growth equation is solved
    sigma8_core: tuple[float, float] = (0.35, 1.3)
    outside_weight: float = 0.1  # of examples with sigma_8 outside the core
    held_out_every: int = 16  # every 16th run is kept for early stopping
    seed: int = 1

    def identity(self, runs: list[Run]) -> str:
        """Hash of the recipe and of the runs it is trained on."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for run in runs:
            digest.update(np.ascontiguousarray(run.linear[0]).tobytes())
            digest.update(np.ascontiguousarray(run.boost[:, 0]).tobytes())
        return digest.hexdigest()


def train(
    recipe: SpectrumTraining, runs: list[Run], folder: str | Path, mesh: Mesh | None = None
) -> tuple[dict, dict[str, list]]:
    """Weights of `recipe.model` and the history of every fit: name -> [(step, loss, best validation loss)].

    Losses are mean squares of ln P summed over components, divided by the number of knots: their root is the
    error of ln P at a typical wavenumber. Checkpoints go to `folder`; a killed run resumes exactly.
    The examples of a step are divided over the mesh's axis "data"; no mesh is one device.

    Raises:
        DataError: fewer runs than one validation fold. ConfigError: a batch does not divide over the mesh.
    """
    if len(runs) < 2 * recipe.held_out_every:
        raise DataError(
            f"{len(runs)} truth runs are too few: at least {2 * recipe.held_out_every} are needed"
        )
    model, folder, identity = recipe.model, Path(folder), recipe.identity(runs)
    weights = model.init(jax.random.key(recipe.seed))
    history = {}

    def one(part: str, config: FitConfig, features, components, run, weight):
        """The network from features (n, m) to components (n, c)."""
        scale = {
            "input_mean": features.mean(0),
            "input_scale": np.maximum(features.std(0), 1e-6),
            # Between whitened (all components equal) and plain (the first rule): trains fastest.
            "output_scale": np.sqrt(components.std(0)),
        }
        weights[part] = {**weights[part], **{k: jnp.asarray(v, jnp.float32) for k, v in scale.items()}}
        standard = (features - scale["input_mean"]) / scale["input_scale"]
        # Per knot, where there is a basis: the loss is then the mean square error of ln P.
        norm = 1.0 / np.sqrt(model.k_nodes) if "basis" in weights[part] else 1.0
        network = model.networks[part][1]
        output_scale = jnp.asarray(scale["output_scale"] * norm, jnp.float32)
        out = run % recipe.held_out_every == recipe.held_out_every - 1
        parts = [
            Data(*(jnp.asarray(v[keep], jnp.float32) for v in (standard, components * norm, weight)))
            for keep in (~out, out)
        ]
        weights[part]["network"], history[part] = fit(
            lambda params, x: network(params, x) * output_scale,
            weights[part]["network"],
            *parts,
            config,
            folder / part,
            identity,
            label=part,
            mesh=mesh,
        )

    def expand(name: str, curves):
        """Stores the basis of a part and returns the components of its curves."""
        basis, components = _basis(model, curves, weights[name]["basis"].shape[0])
        weights[name] = {**weights[name], **basis}
        return components

    features, log_D = targets.amplitude(
        model, recipe.background, recipe.constraints, recipe.growth_equations, runs[0].z[-2], recipe.seed
    )
    one("amplitude", recipe.amplitude, features, log_D, np.arange(len(features)), np.ones(len(features)))

    h_range = next((r.low, r.high) for r in recipe.background if r.name == "h")
    shape, wiggles = targets.shape_and_wiggle(model, runs, recipe.hubbles, h_range, recipe.seed)
    features = np.asarray(model.shape_features(shape.inputs))
    components = np.concatenate([expand("shape", shape.curves), expand("wiggle", wiggles)], axis=1)
    one("shape", recipe.shape, features, components, shape.run, shape.weight)

    growth, features = targets.growth(model, weights, runs)
    one("growth", recipe.growth, features, expand("growth", growth.curves), growth.run, growth.weight)

    boost, suppression, features = targets.nonlinear(
        model, weights, runs, recipe.sigma8_core, recipe.outside_weight
    )
    one("boost", recipe.boost, features, expand("boost", boost.curves), boost.run, boost.weight)
    known = np.isfinite(suppression[:, 0])
    features = np.concatenate([features, boost.inputs["logT_AGN"][:, None]], axis=1)[known]
    components = expand("suppression", suppression[known])
    one("suppression", recipe.suppression, features, components, boost.run[known], boost.weight[known])
    return weights, history


def _basis(model: Spectrum, curves: np.ndarray, count: int) -> tuple[dict, np.ndarray]:
    """Principal components of curves (n, nk) as splines, and the components (n, count) of every curve."""
    mean = curves.mean(0, dtype=np.float64)
    covariance = np.zeros((curves.shape[1],) * 2)
    for block in np.array_split(curves, max(len(curves) // 20_000, 1)):
        centred = block - mean
        covariance += centred.T @ centred
    basis = np.linalg.eigh(covariance)[1][:, ::-1][:, :count].T
    splines = {
        "mean": jnp.asarray(model.knots.coefficients(mean), jnp.float32),
        "basis": jnp.asarray(model.knots.coefficients(basis), jnp.float32),
    }
    return splines, (curves - mean) @ basis.T
