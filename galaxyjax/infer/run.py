"""One analysis from configuration to files: emulator, survey, posterior, chains, summary."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import galaxyjax
from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import read_json, write_json
from galaxyjax.data.joint import JointSurvey, load_any
from galaxyjax.data.survey import ShearSurvey
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer import chains as output
from galaxyjax.infer.evidence import Sequential, sequential
from galaxyjax.infer.sample import STATE_FILE, Sampler, sample
from galaxyjax.infer.surveys.kids1000 import PUBLISHED, KiDS1000

CONFIG_FILE = "config.json"
SURVEY_FILE = "survey.npz"


def run(
    analysis: KiDS1000,
    survey: ShearSurvey | JointSurvey,
    folder: str | Path,
    sampler: Sampler | Sequential = Sampler(),  # noqa: B008 (frozen)
    emulator: str | Emulator = "matter_power",
    devices=None,
) -> dict:
    """Samples a survey's posterior into `folder` and returns the summary written there.

    The folder gets config.json and survey.npz (all that `audit` needs), state.npz while sampling (a killed
    run is taken up from it), chains.nc, chain_*.txt with .paramnames and .ranges, and, last, summary.json.

    Args:
        analysis: priors and model. survey: data, covariance, n(z), and distances where joint.
        folder: made when absent; a run of another configuration in it is refused.
        sampler: how to sample and when to stop; Sequential for the evidence.
        emulator: a name on the shelf, a folder, or a loaded Emulator (then `audit` must be told it again).
        devices: JAX devices for the chains; all local ones by default.
    """
    began = time.monotonic()
    folder = Path(folder)
    loaded = galaxyjax.load(emulator) if isinstance(emulator, (str, Path)) else emulator
    name = str(emulator) if isinstance(emulator, (str, Path)) else loaded.contract.name
    configuration = {
        "analysis": "kids1000",
        "configuration": _plain(analysis.as_dict()),
        "emulator": {"name": name, "version": loaded.contract.version, "digest": loaded.contract.digest},
        "survey": survey.name,
        "sampler": _plain(asdict(sampler)),
        "version": galaxyjax.__version__,
    }
    _claim(folder, configuration)
    survey.save(folder / SURVEY_FILE)
    posterior = analysis.posterior(loaded, survey)
    setup = time.monotonic() - began
    draw = sequential if isinstance(sampler, Sequential) else sample
    drawn = draw(posterior, sampler, folder, devices)
    about = {
        "analysis": "kids1000",
        "data": survey.name,
        "data_points": int(survey.data.size),
        "note": survey.note,
        "citation": list(survey.citation),
        "emulator": f"{name} {loaded.contract.version}",
        "configuration": configuration["configuration"],
        "sampler": configuration["sampler"],
        "version": galaxyjax.__version__,
        **({"published": PUBLISHED} if survey.name == "KiDS-1000" else {}),
    }
    return output.write(folder, drawn, posterior, {**about, "setup_s": setup})


def read_run(folder: str | Path) -> tuple[KiDS1000, ShearSurvey | JointSurvey, dict]:
    """The analysis, survey and configuration of a run's folder. Raises FileError when it holds none."""
    folder = Path(folder)
    configuration = read_json(folder / CONFIG_FILE)
    try:
        analysis = KiDS1000(**configuration["configuration"])
    except (KeyError, TypeError) as error:
        raise FileError(f"{folder / CONFIG_FILE}: not the configuration of a run ({error})") from None
    return analysis, load_any(folder / SURVEY_FILE), configuration


def _claim(folder: Path, configuration: dict) -> None:
    """Writes the configuration, unless the folder holds a run of another one."""
    path = folder / CONFIG_FILE
    if path.exists() and ((folder / STATE_FILE).exists() or (folder / output.SUMMARY).exists()):
        there = read_json(path)
        for key in ("analysis", "configuration", "emulator", "survey"):
            if there.get(key) != configuration[key]:
                raise ConfigError(
                    f"{folder} holds a run with another {key} ({there.get(key)}, now {configuration[key]}): "
                    "give another folder, or remove it"
                )
    write_json(path, configuration)


def _plain(values: dict) -> dict:
    """Tuples as lists, as JSON reads them back, so that configurations compare equal."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
