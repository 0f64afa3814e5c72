"""An emulator on disk is whole and verified, or it is refused by the name of the file that is wrong."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from toy_emulator import THETA, Toy, toy_contract

import galaxyjax
from galaxyjax.core.errors import ConfigError, FileError, UnknownName
from galaxyjax.core.files import sha256
from galaxyjax.emulator import shelf, store
from galaxyjax.emulator.error import ErrorModel, measure
from galaxyjax.models.spectrum import Spectrum

WEIGHTS = "weights/weights.safetensors"


def small_error():
    rng = np.random.default_rng(3)
    k, z = np.geomspace(1e-3, 10.0, 20), np.linspace(0.0, 3.0, 5)
    return ErrorModel({"linear": measure(1e-3 * rng.normal(size=(30, 5, 20)), k, z, rank=4, nodes=(4, 8))})


@pytest.fixture
def folder(tmp_path, toy_family):
    store.save(tmp_path / "toy", toy_family().init(jax.random.key(2)), toy_contract(), small_error())
    return tmp_path / "toy"


def test_an_emulator_comes_back_as_it_was(folder):
    weights = Toy().init(jax.random.key(2))
    found = galaxyjax.load(folder)
    assert found.model == Toy(0.5, (3.0,)) and hash(found.model)
    jax.tree.map(np.testing.assert_array_equal, found.weights, weights)
    assert found.error == small_error() and hash(found.error) == hash(small_error())
    assert set(found.contract.files) == {WEIGHTS, "error.npz"}
    mode = (folder / "contract.json").stat().st_mode
    assert all((folder / name).stat().st_mode == mode for name in found.contract.files)
    # Two loads are one emulator to jit: the static parts compare by content.
    assert jax.tree.structure(found) == jax.tree.structure(galaxyjax.load(str(folder)))
    k = np.geomspace(0.01, 1.0, 7)
    power = found.predict(THETA, k=k, z=0.0, output="linear")
    moved = jax.tree.map(lambda w: w + 0.2, found).predict(THETA, k=k, z=0.0, output="linear")
    np.testing.assert_allclose(moved / power, np.exp(0.2) * k[None] ** 0.2, rtol=1e-4)


def test_floats_are_stored_in_single_precision(tmp_path, toy_family):
    with jax.enable_x64(True):
        weights = {"amplitude": jnp.float64(0.1), "layers": [{"slope": jnp.array([0.2], jnp.float64)}]}
        store.save(tmp_path / "toy", weights, toy_contract())
    assert {array.dtype for array in load_file(tmp_path / "toy" / WEIGHTS).values()} == {np.dtype("float32")}


def test_saving_again_keeps_what_others_put_there_and_drops_what_no_longer_belongs(folder):
    (folder / "recipe.py").write_text("# recipe")
    (folder / "validation").mkdir()
    (folder / "validation" / "spectra.json").write_text("{}")
    store.save(folder, Toy().init(jax.random.key(5)), toy_contract(version="1.1.0"))
    assert (folder / "recipe.py").read_text() == "# recipe"
    assert (folder / "validation" / "spectra.json").exists() and not (folder / "error.npz").exists()
    found = galaxyjax.load(folder)
    assert found.contract.version == "1.1.0" and found.error is None
    assert sorted(path.name for path in folder.parent.iterdir()) == ["toy"]


def test_a_save_that_fails_leaves_the_old_emulator_or_nothing(folder, tmp_path):
    before = {path: sha256(path) for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="amplitude"):
        store.save(folder, {**Toy().init(jax.random.key(0)), "amplitude": jnp.nan}, toy_contract())
    with pytest.raises(FileError, match="slope"):  # weights of another model do not read back
        store.save(folder, {"amplitude": jnp.zeros(())}, toy_contract())
    with pytest.raises(FileError, match="family"):
        store.save(tmp_path / "new", Toy().init(jax.random.key(0)), toy_contract(family="oracle"))
    assert {path: sha256(path) for path in folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy"]


def alter(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: alter(f / WEIGHTS), "weights.safetensors"),
        (lambda f: os.truncate(f / WEIGHTS, 20), "weights.safetensors"),
        (lambda f: os.truncate(f / WEIGHTS, 0), "weights.safetensors"),
        (lambda f: (f / WEIGHTS).unlink(), "weights.safetensors"),
        (lambda f: (f / "error.npz").unlink(), "error.npz"),
        (lambda f: alter(f / "error.npz"), "error.npz"),
        (lambda f: (f / "contract.json").unlink(), "contract.json"),
        (lambda f: os.truncate(f / "contract.json", 100), "contract.json"),
        (lambda f: (f / "contract.json").write_text("{}"), "contract.json"),
    ],
)
def test_damage_is_named(folder, damage, named):
    damage(folder)
    with pytest.raises(FileError, match=named):
        galaxyjax.load(folder)


def rewrite(folder, tensors=None, **changes):
    """Change tensors or contract and make the hashes right again: what a careful forger would do."""
    if tensors is not None:
        save_file(tensors, folder / WEIGHTS)
    path = folder / "contract.json"
    content = {**json.loads(path.read_text()), **changes}
    if "files" not in changes:
        content["files"] = {name: sha256(folder / name) for name in content["files"]}
    path.write_text(json.dumps(content))


ZERO = np.zeros((), np.float32)


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"amplitude": ZERO}, "layers/0/slope.*missing"),
        ({"amplitude": ZERO, "layers/0/slope": np.zeros(2, np.float32)}, "layers/0/slope.*shape"),
        (
            {"amplitude": ZERO, "layers/0/slope": np.zeros(1, np.float32), "more": ZERO},
            "more.*does not belong",
        ),
        ({"amplitude": ZERO, "layers/0/slope": np.full(1, np.nan, np.float32)}, "layers/0/slope.*NaN"),
    ],
)
def test_tensors_of_another_model_are_refused(folder, tensors, named):
    rewrite(folder, tensors)
    with pytest.raises(FileError, match=named):
        galaxyjax.load(folder)


def test_files_with_right_hashes_and_wrong_content_are_refused(folder):
    (folder / WEIGHTS).write_bytes(b"\x80\x04not tensors at all")
    rewrite(folder)
    with pytest.raises(FileError, match="not a whole safetensors"):
        galaxyjax.load(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"family": "oracle"}, "unknown family"),
        ({"hyperparameters": {"depth": 3}}, "hyperparameters"),
        ({"files": {}}, "weights.safetensors"),
    ],
)
def test_a_contract_for_something_else_is_refused(folder, changes, named):
    rewrite(folder, **changes)
    with pytest.raises(FileError, match=named):
        galaxyjax.load(folder)


def test_a_file_outside_the_folder_is_never_read(folder):
    outside = folder.parent / "secret"
    outside.write_text("x")
    files = {WEIGHTS: sha256(folder / WEIGHTS), "../secret": sha256(outside)}
    rewrite(folder, files=files)
    with pytest.raises(FileError, match="outside the folder"):
        galaxyjax.load(folder)


def test_names_paths_and_what_is_neither(tmp_path, toy_family, monkeypatch):
    package, beside = tmp_path / "galaxyjax" / "_shelf", tmp_path / "emulators"
    monkeypatch.setattr(shelf, "places", lambda: (package, beside))
    weights = Toy().init(jax.random.key(0))
    store.save(package / "toy", weights, toy_contract(version="1.0.0"))
    store.save(beside / "toy", weights, toy_contract(version="2.0.0"))
    store.save(beside / "other", weights, toy_contract(name="other"))
    (beside / "broken").mkdir()
    (beside / "broken" / "contract.json").write_text("{")
    (beside / "untrained").mkdir()
    assert galaxyjax.load("toy").contract.version == "1.0.0"
    assert galaxyjax.load(beside / "toy").contract.version == "2.0.0"
    entries = {entry.name: entry for entry in galaxyjax.shelf()}
    assert sorted(entries) == ["broken", "other", "toy"]
    assert entries["broken"].contract is None and "contract.json" in entries["broken"].summary()["problem"]
    summary = entries["other"].summary()
    total = sum(path.stat().st_size for path in (beside / "other").rglob("*") if path.is_file())
    assert summary["size"] == total and summary["domain"]["h"] == (0.6, 0.85)
    assert summary["constraints"] == ["w0 + wa <= -0.3"] and summary["licence"] == "Apache-2.0"
    json.dumps(summary)
    with pytest.raises(UnknownName, match="did you mean other"):
        galaxyjax.load("othr")
    with pytest.raises(FileError, match="galaxyjax train"):
        galaxyjax.load("untrained")
    with pytest.raises(FileError, match="contract.json"):
        galaxyjax.load(beside / "untrained")
    with pytest.raises(FileError, match="no such folder"):
        galaxyjax.load(tmp_path / "nowhere" / "toy")


def test_the_real_family_survives_the_disk(tmp_path):
    model = Spectrum(
        k_nodes=32,
        components=(4, 4, 3, 4, 3),
        shape_widths=(8,),
        growth_widths=(8,),
        boost_widths=(8,),
        suppression_widths=(8,),
    )
    weights = model.init(jax.random.key(4))
    contract = toy_contract(family="spectrum", hyperparameters=model.hyperparameters())
    emulator = store.save(tmp_path / "power", weights, contract)
    assert emulator.model == model
    jax.tree.map(np.testing.assert_array_equal, emulator.weights, weights)
    theta = {**THETA, "logT_AGN": 7.8}
    k, z = np.geomspace(1e-3, 5.0, 11), np.array([0.0, 1.0])
    for output in ("linear", "nonlinear_baryons"):
        found = emulator.predict(theta, k=k, z=z, output=output)
        assert found.shape == (2, 11) and np.isfinite(found).all() and (found > 0).all()
    rows = np.stack([k, 0.5 * k])  # each redshift its own wavenumbers
    found = emulator.predict(theta, k=rows, z=z, output="linear")
    one = emulator.predict(theta, k=rows[1], z=z, output="linear")
    np.testing.assert_allclose(found[1], one[1], rtol=2e-4)
