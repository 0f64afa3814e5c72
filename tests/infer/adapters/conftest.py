import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

KNOWN = {"omega_b": 0.0224, "h": 0.67, "n_s": 0.965}
K = np.geomspace(0.02, 0.3, 24)  # h/Mpc


@pytest.fixture(scope="session")
def exact():
    """Mean and standard deviation of (omega_cdm, ln10A_s) by summing the density over a grid: no sampler."""
    import galaxyjax

    door = galaxyjax.load("matter_power").numpy()
    omega_cdm, ln10A_s = np.linspace(0.112, 0.128, 61), np.linspace(3.0, 3.11, 61)
    first, second = (grid.ravel() for grid in np.meshgrid(omega_cdm, ln10A_s, indexing="ij"))
    theta = {**KNOWN, "omega_cdm": first, "ln10A_s": second}
    power = door.predict(theta, k=K, z=0.5, output="nonlinear")[:, 0]

    def moments(data, covariance):
        residual = power - data
        chi2 = np.sum(residual * np.linalg.solve(covariance, residual.T).T, axis=1)
        weight = np.exp(-0.5 * (chi2 - chi2.min()))
        weight /= weight.sum()
        points = np.stack([first, second], axis=1)
        mean = weight @ points
        return mean, np.sqrt(weight @ (points - mean) ** 2)

    return moments
