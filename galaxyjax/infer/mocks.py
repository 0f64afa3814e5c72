"""Mock surveys for calibration: truths from the prior, their band powers from CAMB or the emulator, noise."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.core.progress import Progress
from galaxyjax.data.survey import ShearSurvey
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer.audit import K_TABLE
from galaxyjax.infer.ensemble import Family
from galaxyjax.infer.parameters import AMPLITUDES, COSMOLOGICAL, REFERENCE_LN10A_S
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.shear import ShearModel, likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000, survey_digest
from galaxyjax.infer.truth import truth_vector
from galaxyjax.simulate import boltzmann


@dataclass(frozen=True, eq=False)
class ShearMocks:
    """Simulated data of one survey and analysis.

    truths: (m, d) coordinates of the prior, inside the emulator's domain. vectors: (m, n) band powers without
    noise. data: with noise.
    """

    truths: np.ndarray
    vectors: np.ndarray
    data: np.ndarray


def shear_family(analysis: KiDS1000, emulator: Emulator, survey: ShearSurvey, scale: float = 1.0) -> Family:
    """Posteriors of this survey's analysis with other band powers in place of its own.

    scale: multiplies the covariance that the posteriors are told, to show what a wrong one does.
    """
    model, prior = analysis.model(emulator, survey), analysis.prior(survey)
    fixed = likelihood_of(model, survey, analysis.fiducial(survey) if analysis.emulator_error else None)
    fixed = replace(fixed, scale=fixed.scale / scale**0.5)

    def posterior(data) -> Posterior:
        likelihood = replace(fixed, data=data)
        return Posterior(prior, lambda values: model.log_likelihood(values, likelihood), model.derived)

    identity = f"{analysis!r}\n{model.emulator.contract.digest}\n{survey_digest(survey)}\n{scale}"
    return Family(posterior, identity)


def shear_mocks(
    analysis: KiDS1000,
    emulator: Emulator,
    survey: ShearSurvey,
    count: int,
    seed: int,
    folder: Path,
    camb: bool,
    executor: Executor | None = None,
) -> ShearMocks:
    """`count` mocks; those of a larger count begin with the same.

    folder: where band powers made by CAMB are kept, one file each; a stopped run goes on from them. camb:
    whether CAMB makes the spectra; else the emulator, with a draw of its stated error. executor: where CAMB
    runs, 2 to 4 s a mock. Raises ConfigError when the folder holds mocks of something else.
    """
    model, prior = analysis.model(emulator, survey), analysis.prior(survey)
    rng = np.random.default_rng([seed, 20])
    truths, inside = [], jax.jit(lambda u: model.inside(prior.constrain(u)))
    while len(truths) < count:
        u = rng.standard_normal(prior.dimension).astype(np.float32)
        if inside(u):
            truths.append(u)
    truths = np.stack(truths)
    if camb:
        vectors = _from_camb(analysis, model, prior, truths, survey, seed, folder, executor)
    else:
        project = jax.jit(jax.vmap(lambda u: model.vector(prior.constrain(u))))
        vectors = np.asarray(project(truths), np.float64)
        if analysis.emulator_error and model.emulator.error is not None:
            modes = model.error_modes(analysis.fiducial(survey))
            vectors = vectors + np.random.default_rng([seed, 21]).standard_normal((count, len(modes))) @ modes
    factor = np.linalg.cholesky(survey.covariance)
    noise = np.random.default_rng([seed, 22]).standard_normal((count, survey.data.size)) @ factor.T
    return ShearMocks(truths, vectors, vectors + noise)


def _from_camb(
    analysis, model: ShearModel, prior, truths, survey, seed, folder: Path, executor
) -> np.ndarray:
    """Band powers (m, n) of the truths with CAMB's spectra, each kept in a file of its own."""
    said = [repr(prior), analysis.output, seed, boltzmann.CambSettings().as_dict(), survey_digest(survey)]
    if analysis.baryons:
        raise ConfigError(f"CAMB knows nothing of {analysis.baryons}; calibrate it with --truth emulator")
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
    paths = [Path(folder) / f"truth_{digest}" / f"{i:05d}.npz" for i in range(len(truths))]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    pending = {}
    with Progress(len(paths), "mocks", unit="CAMB spectra", start=len(paths) - len(missing)) as progress:
        for i in missing:
            values = {name: float(value) for name, value in prior.constrain(truths[i]).items()}
            pending[executor.submit(_spectrum, values, _needed(model), model.shear.z_nodes, model.output)] = (
                i,
                values,
            )
        for future in as_completed(pending):
            i, values = pending[future]
            ln10A_s, spectrum = future.result()
            values = {k: v for k, v in values.items() if k not in ("S8", "sigma_8")} | {"ln10A_s": ln10A_s}
            vector = truth_vector(model, values, lambda *_, table=spectrum: {model.output: table})
            write_npz(paths[i], {"vector": vector, "ln10A_s": ln10A_s})
            progress.advance()
    return np.stack([read_npz(path)["vector"] for path in paths])


def _needed(model: ShearModel) -> tuple[str, ...]:
    """What CAMB is told, the amplitude apart."""
    return tuple(name for name in model.emulator.contract.domain if name != "ln10A_s")


def _spectrum(values, names, z, output) -> tuple[float, np.ndarray]:
    """ln10A_s and P (nz, nk) at K_TABLE from CAMB; S8 becomes ln10A_s by CAMB's own sigma_8."""
    theta = {name: values[name] for name in names if name in values}
    redshifts = [0.0, *np.asarray(z)]
    ln10A_s = values.get("ln10A_s")
    if ln10A_s is None:
        first = boltzmann.power(
            {**theta, "ln10A_s": REFERENCE_LN10A_S}, redshifts, np.geomspace(1e-3, 1.0, 4), ("linear",)
        )
        wanted = values.get("sigma_8")
        if wanted is None:
            wanted = values["S8"] / np.sqrt(_Omega_m(values) / 0.3)
        ln10A_s = REFERENCE_LN10A_S + 2.0 * np.log(wanted / first["sigma8"][0])
    found = boltzmann.power({**theta, "ln10A_s": ln10A_s}, redshifts, np.geomspace(*K_TABLE), (output,))
    return float(ln10A_s), found[output][1:]


def _Omega_m(values) -> float:
    """Density of total matter; the amplitude does not matter."""
    said = {name: values[name] for name in COSMOLOGICAL if name in values and name not in AMPLITUDES}
    return float(Cosmology.from_mapping({**said, "ln10A_s": REFERENCE_LN10A_S}).Omega_m)
