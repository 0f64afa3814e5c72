"""The one-file evaluator: the emulator's numbers from NumPy alone."""

import json
import subprocess
import sys

import numpy as np
import pytest

import galaxyjax
from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.numpy_file import write_numpy_file

K, Z = np.geomspace(1.1e-4, 9.9, 90), np.array([0.0, 0.4, 1.3, 3.0])
THETAS = [
    {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.67, "n_s": 0.965, "ln10A_s": 3.05, "logT_AGN": 7.8},
    {"omega_b": 0.0195, "omega_cdm": 0.2, "h": 0.82, "n_s": 0.86, "ln10A_s": 2.2, "logT_AGN": 7.5,
     "m_nu": 0.4, "w0": -0.7, "wa": -0.9},
]  # fmt: skip
OUTPUTS = ("linear", "nonlinear", "nonlinear_baryons", "baryon_suppression")
ALONE = """
import json, sys
sys.path.insert(0, {folder!r})
import evaluator, numpy
thetas, k, z = json.loads(sys.stdin.read())
spectra = lambda t: [evaluator.predict(t, k, z, o).tolist() for o in {outputs!r}]
found = [spectra(t) + [evaluator.sigma8(t, z).tolist()] for t in thetas]
foreign = [m for m in sys.modules if m.split(".")[0] in ("jax", "jaxlib", "galaxyjax", "scipy", "flax")]
for wrong in (dict(thetas[0], h=1.2), dict(thetas[0], sigma9=1.0)):
    try:
        evaluator.predict(wrong, k, z, "linear")
    except ValueError:
        pass
    else:
        foreign.append("no error")
print(json.dumps([found, foreign]))
"""


@pytest.mark.parametrize(
    "outputs", [("nonlinear_baryons",), pytest.param(OUTPUTS, marks=pytest.mark.slow)], ids=["one", "all"]
)
def test_it_equals_the_emulator_in_float64_and_needs_numpy_alone(tmp_path, outputs):
    emulator = galaxyjax.load("matter_power")
    write_numpy_file(tmp_path / "evaluator.py", emulator)
    code = ALONE.format(folder=str(tmp_path), outputs=outputs)
    given = json.dumps([THETAS, K.tolist(), Z.tolist()])
    done = subprocess.run([sys.executable, "-I", "-c", code], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, foreign = json.loads(done.stdout)
    assert foreign == []
    door = emulator.numpy()
    for theta, answers in zip(THETAS, found, strict=True):
        for output, answer in zip(outputs, answers, strict=False):
            expected = door.predict(theta, k=K, z=Z, output=output)
            np.testing.assert_allclose(answer, expected, rtol=1e-6, err_msg=output)
        np.testing.assert_allclose(answers[-1], door.sigma8(theta, Z), rtol=1e-6)


def test_other_families_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="displacement"):
        write_numpy_file(tmp_path / "x.py", galaxyjax.load("nbody_field"))
