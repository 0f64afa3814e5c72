"""A distilled network says how far it is from the emulator, and its file says the same."""

import numpy as np
import pytest

import galaxyjax
from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.foreign import read_network, write_cosmopower
from galaxyjax.train.distil import Distillation, distil

DOMAIN = {
    "omega_b": (0.0222, 0.0226), "omega_cdm": (0.11, 0.13), "h": (0.66, 0.68), "n_s": (0.96, 0.97),
    "ln10A_s": (3.0, 3.1), "z": (0.0, 1.0),
}  # fmt: skip
# Too small to be good: what it says of itself is the point. The page's run has the accuracy.
SMALL = Distillation(
    output="linear", modes=40, widths=(24, 24), spectra=500, held_out=200, batch=64, steps=300
)


@pytest.mark.slow
def test_the_stated_error_is_that_of_the_written_file(tmp_path):
    emulator = galaxyjax.load("matter_power")
    foreign, error = distil(emulator, SMALL, DOMAIN)
    assert 1e-4 < error["p50"] < error["p95"] < error["p99"] <= error["max"]
    write_cosmopower(tmp_path / "linear.npz", foreign, {"omega_b": "ombh2"})
    network = read_network(tmp_path / "linear.npz")
    rng = np.random.default_rng(5)
    theta = {n: rng.uniform(*edges, 300).astype(np.float32) for n, edges in error["inputs"].items()}
    found = np.asarray(network.predict(theta))
    z = theta.pop("z")
    errors = []
    for i in range(0, 300, 15):
        one = {name: float(value[i]) for name, value in theta.items()}
        power = (
            emulator.predict(one, k=network.modes / one["h"], z=float(z[i]), output="linear")[0]
            / one["h"] ** 3
        )
        errors.append(np.abs(found[i] / np.asarray(power) - 1.0))
    assert np.percentile(errors, 95.0) < 1.5 * error["p95"]
    assert np.max(errors) < 1.5 * error["max"]


def test_wavenumbers_out_of_reach():
    with pytest.raises(ConfigError, match="leaves .* h/Mpc at h = 0.6 to 0.85"):
        distil(galaxyjax.load("matter_power"), Distillation(k_range=(1e-4, 10.0)))
