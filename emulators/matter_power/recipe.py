"""The shelf's `matter_power`: what it is trained on and how.

galaxyjax simulate emulators/matter_power    # CAMB, about 3.5 s of two cores a run
galaxyjax train emulators/matter_power       # about 15 minutes on two cores
galaxyjax validate emulators/matter_power    # the error, on truth that training never saw
"""

from galaxyjax.emulator.contract import Calibration, Constraint, Contract, Input, Output, Refusal
from galaxyjax.models.spectrum import Spectrum
from galaxyjax.simulate.design import Range, SumBelow
from galaxyjax.simulate.suite import PowerSuite
from galaxyjax.train.config import FitConfig
from galaxyjax.train.spectrum import SpectrumTraining

BACKGROUND = (
    Range("omega_b", 0.019, 0.026),
    Range("omega_cdm", 0.051, 0.255),
    Range("h", 0.60, 0.85),
    Range("m_nu", 0.0, 0.5),
    Range("w0", -1.3, -0.4),
    Range("wa", -2.0, 0.5),
)
PRIMORDIAL = (Range("n_s", 0.84, 1.10), Range("ln10A_s", 1.6, 4.0), Range("logT_AGN", 7.4, 8.3))
CONSTRAINTS = (SumBelow("w0", "wa", -0.3),)
PRIOR = dict(background=BACKGROUND, primordial=PRIMORDIAL, constraints=CONSTRAINTS)

TRUTH = PowerSuite(seed=20261, runs=768, **PRIOR)
# Never seen in training or in any choice; touched once a release.
TEST = PowerSuite(seed=77004, runs=128, draws=6, **PRIOR)

TRAINING = SpectrumTraining(
    model=Spectrum(amplitude_widths=(64, 64)),
    background=BACKGROUND,
    constraints=CONSTRAINTS,
    amplitude=FitConfig(steps=80_000, batch=1024),
    shape=FitConfig(steps=40_000),
    growth=FitConfig(steps=30_000),
    boost=FitConfig(steps=45_000, batch=1024),
    suppression=FitConfig(steps=20_000),
    growth_equations=131_072,
)

_LINEAR = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa")
_SPECTRUM = "(Mpc/h)^3"


def contract() -> Contract:
    """What the emulator promises; `galaxyjax validate` adds the measured error."""
    middle = {"m_nu": 0.06, "w0": -1.0, "wa": 0.0}
    text = {
        "omega_b": ("", "physical density of baryons"),
        "omega_cdm": ("", "physical density of cold dark matter"),
        "h": ("", "H0 / (100 km/s/Mpc)"),
        "n_s": ("", "tilt of the primordial spectrum"),
        "ln10A_s": ("", "ln(10^10 A_s) at 0.05/Mpc"),
        "m_nu": ("eV", "sum of three equal neutrino masses"),
        "w0": ("", "dark energy: w(a) = w0 + wa (1 - a)"),
        "wa": ("", "dark energy: w(a) = w0 + wa (1 - a)"),
        "logT_AGN": ("", "HMcode2020 feedback: log10 of the heating temperature in K"),
    }
    ranges = {r.name: r for r in BACKGROUND + PRIMORDIAL}
    inputs = tuple(
        Input(name, unit, ranges[name].low, ranges[name].high, middle.get(name), description)
        for name, (unit, description) in text.items()
    )
    baryons = (*_LINEAR, "logT_AGN")
    return Contract(
        name="matter_power",
        version="1.2.0",
        description="Power spectra of total matter: linear, HMcode2020, HMcode2020 with baryonic feedback",
        licence="Apache-2.0",
        family="spectrum",
        hyperparameters=TRAINING.model.hyperparameters(),
        inputs=inputs,
        constraints=(Constraint({"w0": 1.0, "wa": 1.0}, -0.3, "wa", "matter dominates early on"),),
        outputs=(
            Output("linear", _SPECTRUM, _LINEAR, "linear spectrum"),
            Output("nonlinear", _SPECTRUM, _LINEAR, "HMcode2020, gravity only"),
            Output("nonlinear_baryons", _SPECTRUM, baryons, "HMcode2020 with feedback"),
            Output("baryon_suppression", "", baryons, "nonlinear_baryons / nonlinear"),
        ),
        derived=(
            Output("sigma_8", "", _LINEAR, "linear amplitude of total matter at 8 Mpc/h today"),
            Output("S8", "", _LINEAR, "sigma_8 sqrt(Omega_m / 0.3)"),
            Output("Omega_m", "", _LINEAR, "matter today, neutrinos included"),
        ),
        refused=tuple(
            Refusal(name, "HMcode gives the spectrum of total matter only") for name in ("cb", "nonlinear_cb")
        ),
        k_range=(1e-4, 10.0),
        z_range=(0.0, 3.0),
        truth=TRUTH.settings.as_dict(),
        calibrated=(
            Calibration("z", 0.0, 2.0, "HMcode2020 was calibrated on simulations at z <= 2"),
            Calibration("logT_AGN", 7.6, 8.0, "HMcode2020's feedback was calibrated on BAHAMAS, 7.6 to 8.0"),
        ),
        error={},
        notes=(
            "Total matter, massive neutrinos included; three degenerate neutrinos, N_eff 3.044.",
            "At sigma_8 below 0.3 HMcode itself depends on CAMB's kmax at the percent level.",
        ),
    )
