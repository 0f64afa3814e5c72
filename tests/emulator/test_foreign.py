"""CosmoPower's networks, read from every layout and written: against the formula, and their package."""

import importlib.util
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, FileError, UnknownName
from galaxyjax.emulator.foreign import INSTALLED, installed_network, read_network, write_cosmopower
from galaxyjax.emulator.foreign_spectrum import cosmopower_jax, spectrum_emulator
from galaxyjax.emulator.store import load, save

NAMES = ["ombh2", "omch2", "h", "ns", "logA", "z"]
OURS = ["omega_b", "omega_cdm", "h", "n_s", "logA", "z"]


def made(basis: bool = False, names=NAMES, modes=None, seed=0) -> dict:
    """The fields of a small network as CosmoPower keeps them."""
    rng = np.random.default_rng(seed)
    modes = np.geomspace(1e-4, 20.0, 30) if modes is None else modes
    last = 5 if basis else len(modes)
    widths = [len(names), 8, 7, last]
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    fields = {
        "weights_": [0.5 * normal(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)],
        "biases_": [0.1 * normal(b) for b in widths[1:]],
        "alphas_": [normal(b) for b in widths[1:-1]],
        "betas_": [normal(b) for b in widths[1:-1]],
        "param_train_mean": np.array([0.0224, 0.13, 0.7, 0.96, 3.0, 2.5], np.float32)[: len(names)],
        "param_train_std": np.array([0.002, 0.03, 0.06, 0.07, 0.3, 1.44], np.float32)[: len(names)],
        "feature_train_mean": normal(last),
        "feature_train_std": np.abs(normal(last)) * 0.1,
        "n_parameters": len(names), "parameters": list(names), "n_modes": len(modes), "modes": modes,
        "n_hidden": widths[1:-1], "n_layers": 3, "architecture": widths,
    }  # fmt: skip
    if basis:
        fields |= {"n_pcas": last, "pca_matrix": normal(last, len(modes))}
        fields |= {"training_mean": normal(len(modes)), "training_std": np.abs(normal(len(modes)))}
    return fields


def expected(fields: dict, x: np.ndarray) -> np.ndarray:
    """Spurio Mancini et al. 2022, eq. A1 and section 3, in float64."""
    y = (x - fields["param_train_mean"]) / fields["param_train_std"]
    for i in range(3):
        y = y @ fields["weights_"][i].astype(float) + fields["biases_"][i]
        if i < 2:
            alpha, beta = fields["alphas_"][i].astype(float), fields["betas_"][i].astype(float)
            y = (beta + (1.0 - beta) / (1.0 + np.exp(-alpha * y))) * y
    y = y * fields["feature_train_std"] + fields["feature_train_mean"]
    if "pca_matrix" in fields:
        return y @ fields["pca_matrix"].astype(float) * fields["training_std"] + fields["training_mean"]
    return 10.0**y


def points(fields: dict, count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(7)
    width = fields["param_train_std"] * rng.uniform(-1.5, 1.5, (count, len(fields["parameters"])))
    return fields["param_train_mean"] + width


ORDER = {
    "jax": ["weights", "hyper_params", "param_train_mean", "param_train_std", "feature_train_mean",
            "feature_train_std", "n_parameters", "parameters", "n_modes", "modes", "n_hidden", "n_layers",
            "architecture"],
    "plain": ["weights_", "biases_", "alphas_", "betas_", "param_train_mean", "param_train_std",
              "feature_train_mean", "feature_train_std", "n_parameters", "parameters", "n_modes", "modes",
              "n_hidden", "n_layers", "architecture"],
    "basis": ["weights_", "biases_", "alphas_", "betas_", "param_train_mean", "param_train_std",
              "feature_train_mean", "feature_train_std", "training_mean", "training_std", "parameters",
              "n_parameters", "modes", "n_modes", "n_pcas", "pca_matrix", "n_hidden", "n_layers",
              "architecture"],
}  # fmt: skip


def written(folder: Path, fields: dict, layout: str) -> Path:
    """A file of one of the layouts in use."""
    path = folder / f"{layout}.{'npz' if 'npz' in layout else 'pkl'}"
    as_jax = fields | {
        "weights": [(w.T, b) for w, b in zip(fields["weights_"], fields["biases_"], strict=True)],
        "hyper_params": list(zip(fields["alphas_"], fields["betas_"], strict=True)),
    }
    if layout in ORDER:
        path.write_bytes(pickle.dumps([as_jax[name] for name in ORDER[layout]]))
    elif layout == "object_npz":  # cosmopower-jax's own conversion from TensorFlow
        np.savez(path, np.array(fields, dtype=object))
    else:  # plain arrays, with the later names
        arrays = {
            n: v for n, v in fields.items() if not isinstance(v, list) or n in ("parameters", "architecture")
        }
        for listed, numbered in (
            ("weights_", "W"),
            ("biases_", "b"),
            ("alphas_", "alphas"),
            ("betas_", "betas"),
        ):
            arrays |= {f"{numbered}_{i}": value for i, value in enumerate(fields[listed])}
        renamed = {"param_train_mean": "parameters_mean", "param_train_std": "parameters_std"}
        np.savez(path, **{renamed.get(name, name): value for name, value in arrays.items()})
    return path


@pytest.mark.parametrize("layout", ["jax", "plain", "basis", "object_npz", "plain_npz"])
def test_every_layout_gives_the_formula(tmp_path, layout):
    fields = made(basis=layout == "basis")
    network = read_network(written(tmp_path, fields, layout))
    x = points(fields)
    for names in (NAMES, OURS):  # the file's names or ours
        theta = {name: x[:, i] for i, name in enumerate(names)}
        answer = expected(fields, x)
        atol = 1e-5 * np.abs(answer).max() if layout == "basis" else 0.0
        np.testing.assert_allclose(network.predict(theta), answer, rtol=1e-5, atol=atol)
    np.testing.assert_array_equal(network.modes, fields["modes"])


def test_what_is_written_is_read_back_exactly(tmp_path):
    for basis in (False, True):
        network = read_network(written(tmp_path, made(basis), "basis" if basis else "plain"))
        write_cosmopower(tmp_path / "again.npz", network, {"omega_b": "ombh2"})
        with np.load(tmp_path / "again.npz", allow_pickle=False) as arrays:  # and needs no pickle
            assert arrays["parameters"][0] == "ombh2"
        again = read_network(tmp_path / "again.npz")
        assert again.network == network.network
        jax.tree.map(np.testing.assert_array_equal, again.weights, network.weights)
    odd = read_network(written(tmp_path, made(True), "basis"), log10=True)
    with pytest.raises(ConfigError, match="layout holds log10 of a spectrum without a basis"):
        write_cosmopower(tmp_path / "odd.npz", odd)


def spectrum(folder, **options):
    fields, boost = made(), made(names=["omch2", "z"], seed=1)
    boost["param_train_mean"], boost["param_train_std"] = (
        fields["param_train_mean"][[1, 5]],
        fields["param_train_std"][[1, 5]],
    )
    boost["feature_train_mean"] *= 0.1
    networks = {
        "linear": read_network(
            written(
                folder, fields | {"parameters": ["ombh2", "omch2", "h", "ns", "ln10^{10}A_s", "z"]}, "plain"
            )
        ),
        "boost": read_network(written(folder, boost, "jax")),
    }
    factors = {"linear": ("linear",), "nonlinear": ("linear", "boost")}
    options = {"name": "toy", "licence": "none", "truth": {"fixed": {"m_nu": 0.0}}} | options
    return spectrum_emulator(networks, factors, **options), fields, boost


def test_under_the_contract_units_are_ours_and_products_are_products(tmp_path):
    emulator, fields, boost = spectrum(tmp_path)
    theta = {"omega_b": 0.022, "omega_cdm": 0.12, "h": 0.68, "n_s": 0.96, "ln10A_s": 3.1}
    assert emulator.contract.domain["h"].low == pytest.approx(0.7 - 3**0.5 * 0.06)
    assert emulator.contract.z_range[0] == 0.0
    low, high = emulator.contract.k_range
    k = np.asarray(fields["modes"])
    k = k[(k / 0.68 > low) & (k / 0.68 < high)]
    at = np.isin(fields["modes"], k)
    z = np.array([0.5, 2.0])
    x = np.stack([[0.022, 0.12, 0.68, 0.96, 3.1, one] for one in z])
    linear = expected(fields, x)[:, at] * 0.68**3
    np.testing.assert_allclose(emulator.predict(theta, k=k / 0.68, z=z, output="linear"), linear, rtol=2e-5)
    nonlinear = linear * expected(boost, x[:, [1, 5]])[:, at]
    got = emulator.predict(theta, k=k / 0.68, z=z, output="nonlinear")
    np.testing.assert_allclose(got, nonlinear, rtol=2e-5)
    assert float(emulator.derived(theta)["Omega_m"]) == pytest.approx(
        (0.022 + 0.12) / 0.68**2
    )  # massless neutrinos
    kept = save(tmp_path / "kept", emulator.weights, emulator.contract)
    np.testing.assert_array_equal(kept.predict(theta, k=k / 0.68, z=z, output="nonlinear"), got)
    assert load(tmp_path / "kept").contract == kept.contract


def test_slopes_are_those_of_finite_differences(tmp_path, float64):
    emulator, *_ = spectrum(tmp_path)
    theta = {"omega_b": 0.022, "omega_cdm": 0.12, "h": 0.68, "n_s": 0.96, "ln10A_s": 3.1}
    k = np.geomspace(1e-3, 5.0, 7)
    call = lambda theta: emulator.predict(theta, k=k, z=1.0, output="nonlinear")[0]  # noqa: E731
    slopes = emulator.numpy().gradient(theta, k=k, z=1.0, output="nonlinear")
    for name, value in theta.items():
        step = 1e-5 * value
        difference = (call(theta | {name: value + step}) - call(theta | {name: value - step})) / (2 * step)
        np.testing.assert_allclose(
            slopes[name][0], difference, rtol=1e-5, atol=1e-7 * np.abs(call(theta)).max(), err_msg=name
        )


def test_files_that_are_not_networks(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        read_network(tmp_path / "absent.pkl")
    for content, message in (
        (pickle.dumps([1, 2, 3]), "a list of 13, 15 or 19"),
        (pickle.dumps({"n_layers": 2}), "no field"),
        (b"PK\x03\x04 and then nothing", "not a whole npz file"),
    ):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(FileError, match=message):
            read_network(tmp_path / "bad")
    fields = made()
    fields["biases_"][1] = fields["biases_"][1][:-1]
    with pytest.raises(FileError, match="layers/1/bias has shape"):
        read_network(written(tmp_path, fields, "plain"))
    with pytest.raises(UnknownName, match="mpk_lin"):
        installed_network("mpk_linear")


installed = pytest.mark.skipif(
    importlib.util.find_spec("cosmopower_jax") is None, reason="cosmopower-jax is not installed"
)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("probe", INSTALLED)
def test_installed_networks_equal_their_own_package(probe, float64):
    """In float64, over the training range; at single precision their own answers scatter by up to 1e-4."""
    from cosmopower_jax.cosmopower_jax import CosmoPowerJAX

    ours, theirs = installed_network(probe), CosmoPowerJAX(probe=probe, verbose=False)
    mean, std = (np.asarray(ours.weights[name], float) for name in ("input_mean", "input_std"))
    x = mean + std * np.random.default_rng(0).uniform(-1.7, 1.7, (20, len(mean)))
    answer = np.asarray(theirs.predict(jax.numpy.asarray(x)))
    found = np.asarray(ours.predict({name: x[:, i] for i, name in enumerate(ours.network.inputs)}))
    assert found.dtype == np.float64
    scale = (
        np.abs(answer).max(axis=1, keepdims=True) if probe == "cmb_te" else np.abs(answer)
    )  # TE crosses zero
    assert np.max(np.abs(found - answer) / scale) < 1e-5
    np.testing.assert_array_equal(ours.modes, theirs.modes)


@installed
@pytest.mark.slow
def test_installed_spectra_under_the_contract_and_our_export_in_their_reader(tmp_path):
    from cosmopower_jax.cosmopower_jax import CosmoPowerJAX

    emulator, theirs = cosmopower_jax(), CosmoPowerJAX(probe="mpk_nonlin", verbose=False)
    theta = {
        "omega_b": 0.0224,
        "omega_cdm": 0.12,
        "h": 0.67,
        "n_s": 0.965,
        "ln10A_s": 3.05,
        "c_min": 3.13,
        "eta_0": 0.603,
    }
    k = np.asarray(theirs.modes)
    inside = (k / 0.67 > emulator.contract.k_range[0]) & (k / 0.67 < emulator.contract.k_range[1])
    found = emulator.predict(theta, k=k[inside] / 0.67, z=[0.5, 1.0], output="nonlinear") / 0.67**3
    answer = [np.asarray(theirs.predict(np.array([*theta.values(), z])))[inside] for z in (0.5, 1.0)]
    np.testing.assert_allclose(found, answer, rtol=1e-5)
    write_cosmopower(tmp_path / "ours.npz", installed_network("mpk_lin"))
    read = CosmoPowerJAX(probe="custom_log", filepath=str(tmp_path / "ours.npz"), verbose=False)
    x = np.array([0.0224, 0.12, 0.67, 0.965, 3.05, 0.5])
    own = CosmoPowerJAX(probe="mpk_lin", verbose=False).predict(x)
    np.testing.assert_allclose(read.predict(x), own, rtol=1e-5)


@installed
@pytest.mark.slow
def test_the_packages_files_of_tensorflow_are_read_without_tensorflow():
    """Its templates hold TensorFlow's own lists: a pickle and an object array with the same content."""
    folder = (
        Path(next(iter(importlib.util.find_spec("cosmopower_jax").submodule_search_locations)))
        / "trained_models"
    )
    for name in ("tf_cmb_template", "tf_pca_template"):
        one, other = (read_network(folder / f"{name}.{kind}") for kind in ("pkl", "npz"))
        assert one.network == other.network
        jax.tree.map(np.testing.assert_array_equal, one.weights, other.weights)
