"""An emulator of baryons against simulations it never saw, beside the physics alone.

Models beside the emulator, on the same grid from the same matter: `physics`, smoothed matter with a
temperature-density relation, from which the emulator starts; `matter`, the matter itself for gas, with the
same relation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.progress import Progress
from galaxyjax.data.baryons import BaryonFields
from galaxyjax.emulator.hydro import STEPS, HydroEmulator
from galaxyjax.fields.spectra import power_spectrum
from galaxyjax.mesh.topology import GRID
from galaxyjax.models.hydro_fields import IDEAL
from galaxyjax.train.hydro import BaryonExamples
from galaxyjax.validate import hydro_samples as samples
from galaxyjax.validate.fields import held

MODELS = ("emulator", "physics", "matter")
FIELDS = ("gas", "pressure", "stars")
EDGES = np.array([0.2, 0.35, 0.55, 0.75, 0.95, 1.15, 1.35, 1.6, 1.8, 2.01, 2.5, 3.0, 3.5, 4.03])
DECADES = (0.1, 1.0, 10.0, 100.0)  # of the gas density over the mean density of baryons
FEWEST = 200  # cells that a decade must hold
K_ASKED = 2.0  # h/Mpc, at a grid of 0.78125 Mpc/h


def validate(emulator: HydroEmulator, examples: BaryonExamples, mesh: Mesh, draws: int = 0) -> dict:
    """Return how an emulator and simpler models do against examples.

    draws: samples of the flow for each example, see `validate.hydro_samples`; 0 for none.

    Returns:
        k (nk,) h/Mpc; z, simulation: of each example (ne,); theta: of each. ratio, coherence: field of
        `FIELDS` -> model -> (ne, nk), P over the truth's and the correlation of phases (NaN where the truth
        has no such field). decades: one table an example: (nd, 1 + 2 x models + 2): cells, median and scatter
        of log10 T of the truth and of each model, by each one's own gas density. stars: model -> (ne,) total
        mass over the truth's. summary: the numbers of the project's table.
    """
    result: dict = {"z": [], "theta": [], "decades": [], "ratio": {}, "coherence": {}, "stellar_mass": {}}
    shown = MODELS + (("samples",) if draws else ())
    for name in FIELDS:
        for kind in ("ratio", "coherence"):
            result[kind][name] = {model: [] for model in shown}
    result["stellar_mass"] = {model: [] for model in shown}
    parts, agreed = [], []
    with Progress(len(examples), "validation", unit="field") as progress:
        for index in range(len(examples)):
            truth, theta = examples.fields(index, 0), examples.theta(index)
            edges = held(EDGES * (0.78125 / emulator.spacing), truth.matter.shape[0], truth.box_size)
            models = predictions(emulator, truth, theta, mesh)
            measure = partial(_spectra, box_size=truth.box_size, mesh=mesh, edges=edges)
            made = {model: [models[model]] for model in MODELS}
            if draws:
                matter = _on(truth.matter - 1.0, mesh)
                made["samples"] = samples.draw(emulator, theta, matter, truth, mesh, draws, STEPS)
                own = {name: getattr(truth, name) for name in samples.LEVELS}
                parts.append(samples.tests(own, made["samples"], truth.box_size, mesh))
                agreed.append(samples.agreement(models["emulator"], made["samples"]))
            for name in FIELDS:
                own = _on(getattr(truth, name), mesh)
                for model, several in made.items():
                    rows = [measure(_on(one[name], mesh), own) for one in several]
                    k = rows[0][0]
                    result["ratio"][name][model].append(np.mean([row[1] for row in rows], axis=0))
                    result["coherence"][name][model].append(np.mean([row[2] for row in rows], axis=0))
            result["decades"].append({"truth": decades(truth.gas, truth.temperature)})
            for model, several in made.items():
                total = np.mean([one["stars"].mean(dtype=np.float64) for one in several])
                result["stellar_mass"][model].append(total / max(truth.stars.mean(dtype=np.float64), 1e-12))
                tables = [decades(one["gas"], one["temperature"]) for one in several]
                result["decades"][-1][model] = np.mean(tables, axis=0)
            result["z"].append(truth.redshift)
            result["theta"].append(dict(theta))
            progress.advance()
    result["k"] = np.asarray(k)
    result["z"] = np.array(result["z"])
    for kind in ("ratio", "coherence"):
        for name in FIELDS:
            result[kind][name] = {model: np.array(v) for model, v in result[kind][name].items()}
    result["stellar_mass"] = {model: np.array(v) for model, v in result["stellar_mass"].items()}
    result["examples"] = parts
    result["summary"] = summary(result, K_ASKED * 0.78125 / emulator.spacing)
    if draws:
        result["summary"]["tests"] = samples.together(parts)
        result["summary"]["agreement"] = {
            name: float(np.mean([one[name] for one in agreed])) for name in agreed[0]
        }
        result["summary"]["draws"] = draws
    return result


def example(emulator: HydroEmulator, examples: BaryonExamples, index: int, mesh: Mesh) -> dict:
    """Return what one example looks like: fields (title -> field -> (n, n, n)), z, theta, box_size."""
    truth, theta = examples.fields(index, 0), examples.theta(index)
    models = predictions(emulator, truth, theta, mesh)
    own = {name: getattr(truth, name) for name in ("matter", "gas", "temperature", "pressure", "stars")}
    fields = {"simulation": own, "emulator": models["emulator"]}
    if emulator.model.flow is not None:
        matter = _on(truth.matter - 1.0, mesh)
        fields["one sample"] = samples.draw(emulator, theta, matter, truth, mesh, 1, STEPS)[0]
    fields["physics alone"] = models["physics"]
    return {"fields": fields, "z": truth.redshift, "theta": dict(theta), "box_size": truth.box_size}


def predictions(
    emulator: HydroEmulator, truth: BaryonFields, theta: Mapping[str, float], mesh: Mesh
) -> dict[str, dict[str, np.ndarray]]:
    """Return model -> field -> (n, n, n): densities over the mean of baryons, T in K, P in (km/s)^2 of it."""
    x = inputs_of(emulator, theta)
    options = dict(matter=_on(truth.matter - 1.0, mesh), box_size=truth.box_size, z=truth.redshift, mesh=mesh)
    model = emulator.with_policy("extrapolate")
    found = {"emulator": model.predict(x, **options), "physics": model.baseline(x, **options)}
    out = {name: scaled(made, x) for name, made in found.items()}
    gas = np.maximum(truth.matter, 1e-4)
    heat = np.exp(np.asarray(emulator.model.log_temperature(jnp.log(gas), 1.0 / (1.0 + truth.redshift))))
    plain = {
        "gas": gas,
        "temperature": heat,
        "pressure": gas * IDEAL * heat,
        "stars": out["physics"]["stars"],
    }
    return out | {"matter": plain}


def inputs_of(emulator: HydroEmulator, theta: Mapping[str, float]) -> dict[str, float]:
    """The parameters that an emulator takes, of those that a simulation has."""
    return {name: value for name, value in theta.items() if name in emulator.contract.domain}


def scaled(made, theta: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Fields of a prediction as arrays: densities and pressure over the mean density of baryons."""
    from galaxyjax.core.units import RHO_CRIT

    mean = theta["Omega_b"] * RHO_CRIT
    found = {name: np.asarray(getattr(made, name)) for name in ("gas", "stars", "temperature", "pressure")}
    return {name: values if name == "temperature" else values / mean for name, values in found.items()}


def decades(gas: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return (cells, median, scatter) of log10 T by decade of density, (nd, 3).

    scatter: half of 16% to 84%.
    """
    rows = []
    for low, high in zip(DECADES[:-1], DECADES[1:], strict=True):
        inside = (gas >= low) & (gas < high) & (temperature > 0)
        heat = np.log10(temperature[inside])
        if len(heat) < 2:
            rows.append((len(heat), np.nan, np.nan))
            continue
        below, middle, above = np.quantile(heat, (0.16, 0.5, 0.84))
        rows.append((len(heat), middle, 0.5 * (above - below)))
    return np.array(rows)


def summary(result: Mapping, limit: float) -> dict:
    """Return the table's numbers by model, over all examples.

    gas_coherence: smallest r to `limit` (h/Mpc) of any example; gas_power: largest abs(mean P ratio - 1), the
    mean over simulations at each redshift; gas_power_each: of single examples; pressure_power and
    pressure_power_each likewise; temperature_median: largest difference of median log10 T in a decade that
    holds FEWEST cells of an example, the mean over simulations at each redshift, and _each;
    temperature_scatter: largest abs(scatter ratio - 1) likewise.
    """
    inside, out = result["k"] <= limit * 1.001, {}
    groups = [
        np.isclose(result["z"], z, atol=0.05) for z in sorted({round(float(z), 1) for z in result["z"]})
    ]
    for model in result["ratio"]["gas"]:
        numbers = {"gas_coherence": float(result["coherence"]["gas"][model][:, inside].min())}
        for name in ("gas", "pressure"):
            error = result["ratio"][name][model][:, inside]
            numbers[f"{name}_power"] = float(max(np.abs(error[g].mean(axis=0) - 1.0).max() for g in groups))
            numbers[f"{name}_power_each"] = float(np.abs(error - 1.0).max())
        numbers["pressure_coherence"] = float(result["coherence"]["pressure"][model][:, inside].min())
        numbers |= _temperatures(result, model, groups)
        out[model] = numbers
    return out


def _temperatures(result: Mapping, model: str, groups) -> dict[str, float]:
    own = np.array([entry["truth"] for entry in result["decades"]])
    found = np.array([entry[model] for entry in result["decades"]])
    counted = (own[..., 0] >= FEWEST) & (found[..., 0] >= 2)
    shift = np.where(counted, found[..., 1] - own[..., 1], np.nan)
    spread = np.where(counted, found[..., 2] / own[..., 2] - 1.0, np.nan)
    numbers = {}
    for name, values in (("median", shift), ("scatter", spread)):
        together = np.ma.masked_invalid(
            [np.ma.masked_invalid(values[g]).mean(axis=0).filled(np.nan) for g in groups]
        )
        numbers[f"temperature_{name}"] = float(np.abs(together).max())
        numbers[f"temperature_{name}_each"] = float(np.nanmax(np.abs(values)))
    return numbers


def _on(values: np.ndarray, mesh: Mesh) -> jax.Array:
    return jax.device_put(np.asarray(values, np.float32), NamedSharding(mesh, GRID))


def _spectra(found: jax.Array, truth: jax.Array, *, box_size: float, mesh: Mesh, edges):
    """k, P over the truth's, and coherence; contrasts, of means of their own."""
    return _ratio(found, truth, box_size, mesh, tuple(edges))


@partial(jax.jit, static_argnums=(2, 3, 4))
def _ratio(found, truth, box_size, mesh, edges):
    options = dict(box_size=box_size, mesh=mesh, edges=np.asarray(edges))
    # Densities in one unit: a wrong total counts.
    shells = [power_spectrum(a, b, **options) for a, b in ((found, found), (truth, truth), (found, truth))]
    own, other, cross = (shell.power for shell in shells)
    return shells[0].k, own / other, cross / jnp.sqrt(own * other)
