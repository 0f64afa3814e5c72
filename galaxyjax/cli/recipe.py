"""Recipes: `emulators/<name>/recipe.py`, Python that says what an emulator learns from and how.

A recipe names

    TRUTH, TEST    simulate.suite.PowerSuite or simulate.fields.FieldSuite: what it learns from, and what
                   judges it, by seed disjoint; or TRUTH alone, simulate.responses.ResponseSuite, each of
                   whose simulations is judged by a model made without it
    TRAINING       train.spectrum.SpectrumTraining, train.field.FieldTraining or
                   train.response.ResponseTraining: model and optimisation
    contract()     emulator.contract.Contract, with error and files still empty

`load` never imports a recipe; only the verbs that make emulators do.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from galaxyjax.cli import console
from galaxyjax.core.errors import ConfigError, FileError

FILE_NAME = "recipe.py"
SHORT = {"field": "nbody_field"}


def load_recipe(folder: str | Path) -> tuple[Path, ModuleType]:
    """The emulator's folder and its recipe; `folder`: a path, the file itself, or a name in ./emulators.

    The word "field" is short for nbody_field.

    Raises FileError when there is none, ConfigError when it does not run.
    """
    if not Path(folder).exists():
        folder = SHORT.get(str(folder), folder)
    path = Path(folder)
    if path.name == FILE_NAME:
        path = path.parent
    if not (path / FILE_NAME).is_file() and (Path("emulators") / folder / FILE_NAME).is_file():
        path = Path("emulators") / folder
    file = path / FILE_NAME
    if not file.is_file():
        raise FileError(f"{file}: no such recipe; give an emulator's folder, e.g. emulators/matter_power")
    console.leave_tpus_alone()  # a recipe of fields imports JAX
    return path, run_python(file, "recipe")


def run_python(file: Path, kind: str) -> ModuleType:
    """The module of a Python file. Raises ConfigError naming the file when it does not run."""
    spec = importlib.util.spec_from_file_location(f"galaxyjax_{kind}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass defined in the file looks its annotations up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{file}: the {kind} does not run: {type(error).__name__}: {error}") from error
    return module


def constant(module: ModuleType, name: str, kind: type, file: Path) -> Any:
    """A constant of a recipe or configuration. Raises ConfigError when it is missing or of another kind."""
    if not hasattr(module, name):
        raise ConfigError(f"{file}: {name} is missing; give a {kind.__name__}")
    value = getattr(module, name)
    if not isinstance(value, kind):
        raise ConfigError(f"{file}: {name} is a {type(value).__name__}; give a {kind.__name__}")
    return value


def promise(module: ModuleType, kind: type, file: Path) -> Any:
    """The contract that a recipe's `contract()` makes. Raises ConfigError when it makes none."""
    make = constant(module, "contract", FunctionType, file)
    made = make()
    if not isinstance(made, kind):
        raise ConfigError(f"{file}: contract() gives a {type(made).__name__}, not a {kind.__name__}")
    return made


def truth_folder(given: Path | None, emulator: Path) -> Path:
    """Where truth lies unless told otherwise: ./truth/<name>, with one folder a suite below it."""
    return given if given is not None else Path("truth") / emulator.resolve().name
