"""Networks of other projects: CosmoPower's files in, as networks and as emulators, and out.

Read are the pickles and .npz files of CosmoPower (Spurio Mancini et al. 2022) and cosmopower-jax (Piras &
Spurio Mancini 2023), also those of a cosmopower-jax that the user has installed. Nothing of either project
is shipped, imported or executed: pickles are read as data (`opcodes`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from galaxyjax.core.errors import ConfigError, FileError, unknown_name
from galaxyjax.core.files import write_npz
from galaxyjax.core.synonyms import SYNONYMS, translate
from galaxyjax.emulator.opcodes import read_pickle
from galaxyjax.models.cosmopower import Network

INSTALLED = ("cmb_tt", "cmb_ee", "cmb_te", "cmb_pp", "mpk_lin", "mpk_boost")
# A list of 13 is cosmopower-jax's own, one of 15 CosmoPower's, one of 19 CosmoPower's with a basis.
STANDARD = ("param_train_mean", "param_train_std", "feature_train_mean", "feature_train_std")
JAX_FIELDS = ("weights", "hyper_params", *STANDARD, "n_parameters", "parameters", "n_modes", "modes",
              "n_hidden", "n_layers", "architecture")  # fmt: skip
PLAIN_FIELDS = ("weights_", "biases_", "alphas_", "betas_", *STANDARD, *JAX_FIELDS[6:])
BASIS_FIELDS = ("weights_", "biases_", "alphas_", "betas_", *STANDARD, "training_mean", "training_std",
                "parameters", "n_parameters", "modes", "n_modes", "n_pcas", "pca_matrix", "n_hidden",
                "n_layers", "architecture")  # fmt: skip


@partial(jax.tree_util.register_dataclass, data_fields=("weights",), meta_fields=("network",))
@dataclass(frozen=True)
class ForeignNetwork:
    """A network at its own modes (multipoles, or wavenumbers in 1/Mpc) and unit; a pytree of weights."""

    network: Network
    weights: dict

    @property
    def modes(self) -> np.ndarray:
        """(nmodes,) multipoles, or wavenumbers in 1/Mpc."""
        return np.asarray(self.network.modes)

    def predict(self, theta: Mapping[str, ArrayLike]) -> jax.Array:
        """Return (..., nmodes) at named parameters that broadcast to (...), z among them where it has one.

        Names are the file's own or ours. Raises ConfigError for one that is missing.
        """
        theta = translate(theta)
        for name in self.network.inputs:
            if name not in theta:
                raise ConfigError(
                    f"parameter {name} is missing; the network takes {', '.join(self.network.inputs)}"
                )
        values = jnp.broadcast_arrays(*(jnp.asarray(theta[n], float) for n in self.network.inputs))
        return _apply(self, jnp.stack(values, axis=-1))


@jax.jit
def _apply(foreign: ForeignNetwork, x: jax.Array) -> jax.Array:
    return foreign.network.apply(foreign.weights, x)


def read_network(path: str | Path, log10: bool | None = None) -> ForeignNetwork:
    """Return the network in a CosmoPower .pkl or .npz file, or a cosmopower-jax one. Nothing is executed.

    log10: whether it was trained on log10 of the spectrum; the files do not say. True without a basis and
    False with one, as the projects have it, when not given. Raises FileError.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error
    fields = _npz(content, path) if content[:2] == b"PK" else _listed(read_pickle(content, path), path)
    return _network(fields, path, log10)


def installed_network(probe: str) -> ForeignNetwork:
    """Return a network of the cosmopower-jax that is installed here (GPL-3, non-commercial), read as data.

    Raises UnknownName for a probe other than INSTALLED, FileError where the package is not installed.
    """
    if probe not in INSTALLED:
        raise unknown_name("probe", probe, INSTALLED)
    found = find_spec("cosmopower_jax")
    if found is None or not found.submodule_search_locations:
        raise FileError("cosmopower-jax is not installed: pip install cosmopower-jax (mind its licence)")
    folder = Path(next(iter(found.submodule_search_locations)))
    path = folder / "trained_models" / f"{probe}.pkl"
    fields = _listed(read_pickle(path.read_bytes(), path), path)
    # Its own networks are evaluated with the last element of the last bias alone.
    kernel, bias = fields["weights"][-1]
    fields["weights"] = [*fields["weights"][:-1], (kernel, np.full_like(bias, bias[-1]))]
    log10 = None
    if probe in ("cmb_te", "cmb_pp"):
        parts = {
            "pca_matrix": "pca_transform_matrix",
            "training_mean": "training_mean",
            "training_std": "training_std",
        }
        for name, part in parts.items():
            fields[name] = np.load(folder / "pca_utils" / f"{probe}_{part}.npy", allow_pickle=False)
        fields["modes"] = np.arange(2, 2509)
        log10 = probe == "cmb_pp"
    return _network(fields, path, log10)


def write_cosmopower(
    path: str | Path, foreign: ForeignNetwork, names: Mapping[str, str] | None = None
) -> None:
    """Write a network to an .npz in CosmoPower's layout, exactly, as plain arrays.

    cosmopower-jax reads it with filepath=path and probe="custom_log" (log10) or "custom_pca" (a basis).
    names: ours -> the parameter's name in the file; ours where left out. Raises ConfigError for a basis of
    log10, which its readers do not know.
    """
    network, weights = foreign.network, jax.tree.map(np.asarray, foreign.weights)
    if bool(network.components) == network.log10:
        raise ConfigError(
            "CosmoPower's layout holds log10 of a spectrum without a basis, or a spectrum with one; "
            f"this network has log10 = {network.log10} and {network.components} components"
        )
    names = names or {}
    arrays = {
        "parameters": np.asarray([names.get(name, name) for name in network.inputs]),
        "n_parameters": len(network.inputs),
        "modes": np.asarray(network.modes),
        "n_modes": len(network.modes),
        "n_hidden": np.asarray(network.widths[1:-1]),
        "n_layers": len(network.widths) - 1,
        "architecture": np.asarray(network.widths),
        "param_train_mean": weights["input_mean"],
        "param_train_std": weights["input_std"],
        "feature_train_mean": weights["output_mean"],
        "feature_train_std": weights["output_std"],
    }
    for i, layer in enumerate(weights["layers"]):
        arrays |= {f"W_{i}": layer["kernel"], f"b_{i}": layer["bias"]}
        if "alpha" in layer:
            arrays |= {f"alphas_{i}": layer["alpha"], f"betas_{i}": layer["beta"]}
    if network.components:
        arrays |= {"n_pcas": network.components, "pca_matrix": weights["basis"]}
        arrays |= {"training_mean": weights["basis_mean"], "training_std": weights["basis_std"]}
    write_npz(path, arrays)


# From a file's fields to a network ------------------------------------------------------------------------


def _listed(value, path: Path) -> dict:
    """Fields by name of a pickled list (told apart by its length) or dictionary."""
    if isinstance(value, dict):
        return value
    for fields in (JAX_FIELDS, PLAIN_FIELDS, BASIS_FIELDS):
        if isinstance(value, list | tuple) and len(value) == len(fields):
            return dict(zip(fields, value, strict=True))
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    raise FileError(
        f"{path}: holds a {type(value).__name__}{size}; a CosmoPower network is a list of 13, 15 or 19"
    )


def _npz(content: bytes, path: Path) -> dict:
    """Fields of an .npz whose members are arrays of numbers, or objects that are read as data."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {
                n.removesuffix(".npy"): _npy(archive.read(n), f"{path}: {n}") for n in archive.namelist()
            }
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise FileError(f"{path}: not a whole npz file ({error}); fetch or make it again") from error
    return _listed(found["arr_0"], path) if set(found) == {"arr_0"} else found


def _npy(content: bytes, source: str):
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    dtype = read_header(stream)[2]
    if dtype.hasobject:
        return read_pickle(stream.read(), source)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _network(fields: Mapping, path: Path, log10: bool | None) -> ForeignNetwork:
    get = partial(_field, fields, path)
    kernels, biases, alphas, betas = _layers(fields, path)
    basis = _first(fields, "pca_matrix", "pca_transform_matrix")
    weights = {
        "layers": [
            {"kernel": k, "bias": b} | ({"alpha": alphas[i], "beta": betas[i]} if i < len(alphas) else {})
            for i, (k, b) in enumerate(zip(kernels, biases, strict=True))
        ],
        "input_mean": get("parameters_mean", "param_train_mean"),
        "input_std": get("parameters_std", "param_train_std"),
    }
    outer = ("feature_train_mean", "features_mean"), ("feature_train_std", "features_std")
    if basis is None:
        weights |= {"output_mean": get(*outer[0]), "output_std": get(*outer[1])}
    elif "pca_mean" in fields:
        weights |= {"output_mean": get("pca_mean"), "output_std": get("pca_std"), "basis": basis}
        weights |= {"basis_mean": get(*outer[0]), "basis_std": get(*outer[1])}
    else:
        weights |= {"output_mean": get(*outer[0]), "output_std": get(*outer[1]), "basis": basis}
        weights |= {"basis_mean": get("training_mean"), "basis_std": get("training_std")}
    names = [str(name) for name in np.asarray(_field(fields, path, "parameters")).tolist()]
    network = Network(
        inputs=tuple(SYNONYMS.get(name, name) for name in names),
        widths=(kernels[0].shape[0], *(kernel.shape[1] for kernel in kernels)),
        modes=tuple(np.asarray(get("modes"), np.float64).tolist()),
        log10=basis is None if log10 is None else log10,
        components=0 if basis is None else int(np.shape(basis)[0]),
    )
    return ForeignNetwork(network, _checked(weights, network, path))


def _layers(fields: Mapping, path: Path):
    """Kernels (in, out), biases, alphas and betas of all layers, whichever way the file holds them."""
    if "weights" in fields:
        kernels, biases = zip(*fields["weights"], strict=True)
        alphas, betas = zip(*fields["hyper_params"], strict=True)
        return [np.asarray(kernel).T for kernel in kernels], list(biases), list(alphas), list(betas)
    count = int(_field(fields, path, "n_layers"))

    def every(listed: str, numbered: str, number: int):
        if listed in fields:
            return list(fields[listed])
        return [_field(fields, path, f"{numbered}_{i}") for i in range(number)]

    kernels, biases = every("weights_", "W", count), every("biases_", "b", count)
    return (
        [np.asarray(kernel) for kernel in kernels],
        biases,
        every("alphas_", "alphas", count - 1),
        every("betas_", "betas", count - 1),
    )


def _checked(weights: dict, network: Network, path: Path) -> dict:
    """Weights of the network's shapes: layers in float32, the rest as precise as the file has it."""
    wanted = jax.eval_shape(network.init, jax.random.key(0))
    if jax.tree.structure(wanted) != jax.tree.structure(weights):
        raise FileError(f"{path}: {len(weights['layers'])} layers do not make a network of {network.widths}")
    for (where, leaf), found in zip(
        jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(weights), strict=True
    ):
        array, name = np.asarray(found), jax.tree_util.keystr(where, simple=True, separator="/")
        if (
            array.shape != leaf.shape
            or not np.issubdtype(array.dtype, np.number)
            or not np.isfinite(array).all()
        ):
            raise FileError(
                f"{path}: {name} has shape {array.shape}; {leaf.shape} of finite numbers is expected"
            )
    weights = jax.tree.map(np.asarray, weights)
    # log10 of a CMB spectrum is -20: rounded to float32, the means alone would cost 1e-5 of it.
    return weights | {"layers": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), weights["layers"])}


def _first(fields: Mapping, *names: str):
    return next((fields[name] for name in names if name in fields), None)


def _field(fields: Mapping, path: Path, *names: str):
    found = _first(fields, *names)
    if found is None:
        raise FileError(f"{path}: no field {' or '.join(names)}; not a CosmoPower network")
    return found
