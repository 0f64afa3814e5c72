"""Emulators on disk: a folder that is whole, verified, and free of code."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as tensor_bytes

from galaxyjax.core.errors import ConfigError, FileError, unknown_name
from galaxyjax.core.files import atomic_path, sha256
from galaxyjax.emulator import shelf
from galaxyjax.emulator.contract import FILE_NAME, Contract, read_contract, write_contract
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.emulator.error import FILE_NAME as ERROR_FILE
from galaxyjax.emulator.error import ErrorModel, read_error, write_error
from galaxyjax.emulator.field import FieldEmulator
from galaxyjax.emulator.hydro import HydroEmulator
from galaxyjax.models.cosmopower import NetworkSpectrum
from galaxyjax.models.displacement import Displacement
from galaxyjax.models.hydro import Hydro
from galaxyjax.models.response import Response
from galaxyjax.models.spectrum import Spectrum

FAMILIES = {
    "spectrum": Spectrum,
    "network_spectrum": NetworkSpectrum,
    "response": Response,
    "displacement": Displacement,
    "hydro": Hydro,
}
# What a model is called through; an `Emulator` unless named.
CALLABLES = {Displacement: FieldEmulator, Hydro: HydroEmulator}
WEIGHTS_FILE = "weights/weights.safetensors"


def save(folder: str | Path, weights, contract: Contract, error: ErrorModel | None = None):
    """Write an emulator to `folder` and return it as read back.

    The model is FAMILIES[contract.family](**contract.hyperparameters); `weights` has the structure of its
    `init`; floats are stored in float32. `contract.files` is filled here. Other files of an existing folder
    (recipe, card, figures) are kept. The new folder is written beside it, read back, and only then takes its
    place.
    """
    folder = Path(folder)
    tensors = {name: _stored(name, leaf) for name, leaf in _named(weights)}
    with atomic_path(folder) as temporary:
        if folder.is_dir():
            shutil.copytree(folder, temporary)
        for name in (FILE_NAME, ERROR_FILE, WEIGHTS_FILE):
            (temporary / name).unlink(missing_ok=True)
        (temporary / WEIGHTS_FILE).parent.mkdir(parents=True, exist_ok=True)
        # One entry: safetensors orders several at random, and the same weights must have the same sha256.
        metadata = {"format": f"galaxyjax {contract.family}"}
        # Not save_file, which makes a file that only its owner may read.
        (temporary / WEIGHTS_FILE).write_bytes(tensor_bytes(tensors, metadata))
        if error is not None:
            write_error(temporary / ERROR_FILE, error)
        names = [WEIGHTS_FILE] + [ERROR_FILE] * (error is not None)
        write_contract(temporary, replace(contract, files={name: sha256(temporary / name) for name in names}))
        emulator = load(temporary)
    return emulator


def load(name: str | Path) -> Emulator | FieldEmulator | HydroEmulator:
    """Return the emulator of that name on the shelf, or in that folder, verified against its contract.

    Raises UnknownName for a name that is not on the shelf; FileError naming the file that is missing,
    altered, cut short, or not what the contract says. Nothing is unpickled and no code in the folder runs.
    """
    folder = shelf.find(name)
    contract = read_contract(folder)
    source = folder / FILE_NAME
    model = build_model(contract, source)
    if WEIGHTS_FILE not in contract.files:
        raise FileError(f"{source}: files does not list {WEIGHTS_FILE}, so it cannot be verified")
    content = {file: _verified(folder, file, expected) for file, expected in contract.files.items()}
    weights = _weights(folder / WEIGHTS_FILE, content[WEIGHTS_FILE], model)
    error = read_error(folder / ERROR_FILE) if ERROR_FILE in contract.files else None
    return CALLABLES.get(type(model), Emulator)(weights, model, contract, error)


def build_model(contract: Contract, source: str | Path = FILE_NAME):
    """Return the model that a contract describes. Raises FileError naming `source` for a foreign family."""
    if contract.family not in FAMILIES:
        raise FileError(f"{source}: {unknown_name('family', contract.family, FAMILIES)}")
    try:
        return FAMILIES[contract.family](**_hashable(contract.hyperparameters))
    except (TypeError, ValueError) as error:
        raise FileError(f"{source}: hyperparameters do not make a {contract.family} ({error})") from error


def _hashable(value):
    """JSON's lists as tuples, so that a frozen dataclass holding them is static under `jit`."""
    if isinstance(value, list | tuple):
        return tuple(_hashable(entry) for entry in value)
    if isinstance(value, Mapping):
        return {key: _hashable(entry) for key, entry in value.items()}
    return value


def _named(weights) -> list[tuple[str, object]]:
    """Leaves with their path, e.g. ("layers/0/kernel", array)."""
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def _stored(name: str, leaf) -> np.ndarray:
    array = np.asarray(leaf)
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ConfigError(f"weight {name} holds NaN or infinity; such an emulator is not saved")
    return np.asarray(array, order="C")


def _verified(folder: Path, name: str, expected: str) -> bytes:
    """Return the content of a file whose hash is the contract's: hash and use see the same bytes."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FileError(f"{folder / FILE_NAME}: files names {name!r}, which is outside the folder")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}), but the contract lists it") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise FileError(
            f"{path}: sha256 is {found[:16]}..., the contract says {expected[:16]}...; fetch it again"
        )
    return content


def _weights(path: Path, content: bytes, model):
    """Parse safetensors into the structure of the model's own `init`, every name and shape the same."""
    try:
        tensors = parse_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FileError(f"{path}: not a whole safetensors file ({error})") from error
    wanted = jax.eval_shape(model.init, jax.random.key(0))
    named = _named(wanted)
    for name in tensors:
        if name not in dict(named):
            raise FileError(
                f"{path}: tensor {name!r} does not belong to this model; is it another emulator's?"
            )
    leaves = []
    for name, leaf in named:
        if name not in tensors:
            raise FileError(f"{path}: tensor {name!r} is missing; is it another emulator's?")
        array = tensors[name]
        if array.shape != leaf.shape:
            raise FileError(
                f"{path}: tensor {name!r} has shape {array.shape}, this galaxyjax wants {leaf.shape}; "
                "install the galaxyjax that wrote it"
            )
        if not np.isfinite(array).all():
            raise FileError(f"{path}: tensor {name!r} has NaN or infinity in it")
        leaves.append(jnp.asarray(array))
    return jax.tree.unflatten(jax.tree.structure(wanted), leaves)
