import pytest

from galaxyjax.emulator.contract import Calibration, Constraint, Contract, Input, Output, Refusal


@pytest.fixture(scope="session")
def contract() -> Contract:
    """A contract with one of everything that a card must show."""
    return Contract(
        name="small_power",
        version="1.2.0",
        description="Matter power spectra for tests.",
        licence="Apache-2.0",
        family="spectrum",
        hyperparameters={},
        inputs=(
            Input("omega_cdm", "", 0.051, 0.255, None, "cold dark matter density"),
            Input("w0", "", -1.3, -0.4, -1.0, "dark energy today"),
            Input("wa", "", -2.0, 0.5, 0.0, "its slope"),
            Input("logT_AGN", "", 7.4, 8.3, 7.8, "feedback | strength"),
        ),
        constraints=(Constraint({"w0": 1.0, "wa": 1.0}, -0.3, "wa", "PPF"),),
        outputs=(Output("nonlinear", "(Mpc/h)^3", ("omega_cdm", "w0", "wa"), "HMcode2020"),),
        derived=(Output("sigma_8", "", ("omega_cdm", "w0", "wa"), "today"),),
        refused=(Refusal("nonlinear_cb", "HMcode gives total matter only"),),
        k_range=(1e-4, 10.0),
        z_range=(0.0, 3.0),
        truth={"code": "CAMB", "version": "2.0.5", "nonlinear": "mead2020", "settings": {"kmax_h": 50.0}},
        calibrated=(
            Calibration("z", 0.0, 2.0, "HMcode was calibrated at z <= 2."),
            Calibration("logT_AGN", 7.6, 8.0, "Calibrated on BAHAMAS."),
        ),
        error={"nonlinear": {"p95": 0.000912345, "p99": 0.00187}},
        notes=("No primordial features.",),
    )
