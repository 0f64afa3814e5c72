"""An emulator of spectra as one Python file that needs NumPy alone."""

from __future__ import annotations

import base64
import inspect
import io
import pprint
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core import units
from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import atomic_path
from galaxyjax.emulator import numpy_spectrum
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.models import growth_proxy
from galaxyjax.models.spectrum import LOG_CONSTANT, SIGMA8, Spectrum


def write_numpy_file(path: str | Path, emulator: Emulator) -> None:
    """Write `emulator` to a .py file with `predict(theta, k, z, output)` and `sigma8(theta, z)`, in float64.

    Equal to the emulator in float64 to 1e-6 (tests/emulator/test_numpy_file.py). Raises ConfigError for a
    family other than `Spectrum`.
    """
    model = emulator.model
    if not isinstance(model, Spectrum):
        raise ConfigError(
            f"{emulator.contract.name} is of the family {emulator.contract.family}, not spectrum"
        )
    stream = io.BytesIO()
    np.savez_compressed(stream, **_arrays(model, emulator.weights))
    source = inspect.getsource(numpy_spectrum)
    for line, value in (
        ("CONTRACT = {}", f"CONTRACT = {pprint.pformat(_contract(emulator), width=110, sort_dicts=False)}"),
        ('NUMBERS = ""', f'NUMBERS = """\n{_wrapped(stream.getvalue())}"""'),
    ):
        start = source.index(f"\n{line}") + 1
        source = source[:start] + value + source[source.index("\n", start) :]
    with atomic_path(path) as temporary:
        temporary.write_text(source, encoding="utf-8")


def _contract(emulator: Emulator) -> dict:
    contract = emulator.contract
    return {
        "name": contract.name,
        "version": contract.version,
        "licence": contract.licence,
        "domain": {entry.name: (entry.low, entry.high, entry.default) for entry in contract.inputs},
        "constraints": [(entry.coefficients, entry.upper) for entry in contract.constraints],
        "outputs": {entry.name: entry.inputs for entry in contract.outputs},
        "k_range": contract.k_range,
        "z_range": contract.z_range,
        "hyperparameters": emulator.model.hyperparameters(),
    }


def _arrays(model: Spectrum, weights) -> dict[str, np.ndarray]:
    """Every number of the family by name; weights in float32, as they are kept."""
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    arrays = {
        jax.tree_util.keystr(where, simple=True, separator="/"): np.asarray(leaf) for where, leaf in leaves
    }
    coarse_k, coarse_basis = model._coarse
    quadrature_k, quadrature = model._quadrature
    knots = model.knots
    return arrays | {
        "baseline/mean": np.zeros(coarse_basis.shape[1]),
        "baseline/basis": coarse_basis,
        "coarse_k": coarse_k,
        "quadrature_k": quadrature_k,
        "quadrature": quadrature,
        "sigma8_column": np.asarray(SIGMA8),
        "log_constant": np.asarray(LOG_CONSTANT),
        "theta2": np.asarray((units.T_CMB / 2.7) ** 2),
        "omega_nu_rest": np.asarray(units.OMEGA_NU_PER_EV),
        "omega_nu_per_ev": np.asarray((growth_proxy.N_EFF / 3.0) ** 0.75 / growth_proxy.NEUTRINO_EV),
        "knots": np.array([knots._low, knots._high, knots.amplitude, knots.centre, knots.width, knots.nodes]),
    }


def _wrapped(content: bytes) -> str:
    return base64.encodebytes(content).decode("ascii")
