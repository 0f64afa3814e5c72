"""The CosmoSIS module: on a stand-in for its data block, and under CosmoSIS itself where it is installed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pages
import pytest

import galaxyjax
from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.infer.adapters import cosmosis_module

VALUES = {"h0": 0.67, "ombh2": 0.0224, "omch2": 0.12, "n_s": 0.965, "a_s": 2.1e-9, "mnu": 0.06, "w": -0.9}
SMALL = {"zmax": 1.0, "nz": 5, "nk": 50, "nz_background": 5}


class Block(dict):
    """What the module uses of a DataBlock: section and name, without regard to case, and grids."""

    def __init__(self, **sections):
        super().__init__({(s, n): v for s, names in sections.items() for n, v in names.items()})

    def has_value(self, section, name):
        return (section, name) in self

    def put_grid(self, section, *named):
        for name, value in zip(named[::2], named[1::2], strict=True):
            self[section, name] = value


def execute(values, options=SMALL, **sections):
    settings = cosmosis_module.setup(Block(module_options=options))
    block = Block(cosmological_parameters=values, **sections)
    return cosmosis_module.execute(block, settings), block


def test_a_block_gets_what_camb_would_write():
    camb = pytest.importorskip("camb")
    status, block = execute(VALUES)
    assert status == 0
    pars = camb.CAMBparams()
    pars.set_dark_energy(w=-0.9)
    pars.set_cosmology(H0=67.0, ombh2=0.0224, omch2=0.12, mnu=0.06, nnu=3.044, num_massive_neutrinos=3)
    truth = camb.get_background(pars)
    z = block["distances", "z"]
    assert block["distances", "nz"] == 5 and z[-1] == 1.0
    np.testing.assert_allclose(block["distances", "d_m"], truth.comoving_radial_distance(z), rtol=1e-6)
    np.testing.assert_allclose(block["distances", "d_l"][1:], truth.luminosity_distance(z[1:]), rtol=1e-6)
    np.testing.assert_allclose(block["distances", "h"], truth.h_of_z(z), rtol=1e-6)  # 1/Mpc
    np.testing.assert_allclose(
        block["distances", "mu"][1:], 5 * np.log10(truth.luminosity_distance(z[1:])) + 25, rtol=1e-6
    )
    # The fit knows no massive neutrinos, which hold growth back by 3/5 of their share: 0.3% here.
    np.testing.assert_allclose(block["growth_parameters", "f_z"], growth_rate(block), rtol=0.01)


def growth_rate(block, w=-0.9):
    """Omega_m(z)^gamma, gamma = 0.55 + 0.05 (1 + w) (Linder 2005, eqs 16 and 17)."""
    z, omega_m = block["growth_parameters", "z"], block["cosmological_parameters", "omega_m"]
    dark = (1.0 - omega_m) * (1.0 + z) ** (3.0 * (1.0 + w))
    return (omega_m * (1.0 + z) ** 3 / (omega_m * (1.0 + z) ** 3 + dark)) ** (0.55 + 0.05 * (1.0 + w))


def test_spectra_are_those_of_the_emulator():
    emulator = galaxyjax.load("matter_power")
    status, block = execute(VALUES)
    theta = {
        "omega_b": 0.0224,
        "omega_cdm": 0.12,
        "h": 0.67,
        "n_s": 0.965,
        "ln10A_s": np.log(21.0),
        "w0": -0.9,
    }
    k, z = block["matter_power_nl", "k_h"], block["matter_power_nl", "z"]
    expected = emulator.numpy().predict(theta, k=k, z=z, output="nonlinear")
    np.testing.assert_allclose(block["matter_power_nl", "p_k"], expected, rtol=1e-9)


def hubble_and_sigma_8(block):
    """The same cosmology by other names."""
    sigma_8, omega_m = (block["cosmological_parameters", name] for name in ("sigma_8", "omega_m"))
    return {
        "hubble": 67.0, "omega_b": 0.0224 / 0.67**2, "omega_m": omega_m, "n_s": 0.965, "sigma_8": sigma_8,
        "mnu": 0.06, "w": -0.9,
    }  # fmt: skip


def test_the_first_of_several_names_counts():
    settings = cosmosis_module.setup(Block(module_options=SMALL))
    values = VALUES | {"hubble": 99.0, "omega_m": 0.9, "sigma_8": 0.1, "wa": 0.2}  # what `consistency` adds
    found = cosmosis_module.read_parameters(Block(cosmological_parameters=values), settings)
    assert found == {
        "h": 0.67, "omega_b": 0.0224, "omega_cdm": 0.12, "A_s": 2.1e-9, "n_s": 0.965, "m_nu": 0.06,
        "w0": -0.9, "wa": 0.2,
    }  # fmt: skip


@pytest.mark.slow
def test_other_names_give_the_same_spectra():
    _, block = execute(VALUES)
    named = hubble_and_sigma_8(block)
    _, other = execute(named)
    np.testing.assert_allclose(other["matter_power_nl", "p_k"], block["matter_power_nl", "p_k"], rtol=1e-9)
    assert other["cosmological_parameters", "sigma_8"] == named["sigma_8"]  # as sampled, not written again


@pytest.mark.slow
def test_feedback_comes_from_its_own_section():
    options = SMALL | {"nonlinear": "nonlinear_baryons"}
    calm, violent = (execute(VALUES, options, halo_model_parameters={"logt_agn": t})[1] for t in (7.6, 8.0))
    ratio = violent["matter_power_nl", "p_k"] / calm["matter_power_nl", "p_k"]
    assert ratio[0, -1] != pytest.approx(1.0, abs=0.02) and ratio[0, 0] == pytest.approx(1.0, abs=1e-4)


def test_what_cannot_be_met_is_said():
    assert execute(VALUES | {"omch2": 0.5})[0] == 1  # outside the domain: no likelihood
    with pytest.raises(UnknownName, match="nothing gives n_s"):
        execute({name: value for name, value in VALUES.items() if name != "n_s"})
    with pytest.raises(ConfigError, match="flat"):
        execute(VALUES | {"omega_k": 0.1})
    with pytest.raises(ConfigError, match="reaches z = 3"):
        execute(VALUES, SMALL | {"zmax": 4.0})


@pytest.mark.slow
def test_cosmosis_itself_samples_with_the_module(tmp_path, exact):
    """The page's three files under the `cosmosis` command."""
    pytest.importorskip("cosmosis")
    for name, content in pages.files("cosmosis").items():
        (tmp_path / name).write_text(content)
    root = Path(galaxyjax.__file__).parents[1]
    environment = os.environ | {"MODULE": cosmosis_module.__file__, "PYTHONPATH": str(root)}
    command = [str(Path(sys.executable).with_name("cosmosis")), "spectra.ini"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = (tmp_path / "chain.txt").read_text().splitlines()
    names = lines[0].lstrip("#").split()
    chain = np.loadtxt(tmp_path / "chain.txt")[300:]
    columns = [names.index(f"cosmological_parameters--{name}") for name in ("omch2", "log1e10as")]
    k = np.geomspace(0.02, 0.3, 24)
    truth = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.67, "n_s": 0.965, "ln10A_s": 3.05}
    power = galaxyjax.load("matter_power").numpy().predict(truth, k=k, z=0.5, output="nonlinear")[0]
    data = power + 0.03 * power * np.random.default_rng(1).standard_normal(24)
    mean, std = exact(data, np.diag((0.03 * power) ** 2))
    np.testing.assert_allclose((chain[:, columns].mean(0) - mean) / std, 0.0, atol=0.35)
    np.testing.assert_allclose(chain[:, columns].std(0) / std, 1.0, atol=0.25)
