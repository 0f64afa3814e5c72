"""The shelf's `baryon_response`: what it is trained on and how.

galaxyjax simulate emulators/baryon_response    # tabulates the package's data, half a minute
galaxyjax train emulators/baryon_response       # a second
galaxyjax validate emulators/baryon_response    # every simulation predicted from the others

`gas_rate` and the lengths of gas and stars were chosen once, at the largest leave-one-out likelihood of the
five simulations that change only the gas (`benchmarks/baryons.py` prints it around the choice). Two
simulations with jets cannot tell how fast what jets do changes with gas: their length is short, so that the
stated error between them is large.
"""

from galaxyjax.emulator.contract import Calibration, Constraint, Contract, Input, Output, Refusal
from galaxyjax.models.response import Response
from galaxyjax.simulate.responses import ResponseSuite
from galaxyjax.train.response import ResponseTraining

TRUTH = ResponseSuite()

TRAINING = ResponseTraining(
    model=Response(
        simulations=(
            (-8.0, 0.0, 0.0),
            (-4.0, -1.0, 0.0),
            (-4.0, 0.0, 0.0),
            (-4.0, 0.0, 1.0),
            (-2.0, 0.0, 0.0),
            (0.0, -1.0, 0.0),
            (0.0, 0.0, 0.0),
            (0.0, 0.0, 1.0),
            (2.0, 0.0, 0.0),
        ),
        gas_range=(-8.0, 2.0),
        gas_rate=0.1,
        lengths=(0.9, 0.9, 0.25),
        k_min=10**-1.5,
        k_max=10**1.5,
        k_nodes=31,
        z_max=3.0,
        z_nodes=7,
    )
)

_ALL = ("sigma_gas", "sigma_star", "jet")


def contract() -> Contract:
    """What the emulator promises; `galaxyjax validate` adds the measured error."""
    return Contract(
        name="baryon_response",
        version="1.0.0",
        description="What baryons do to the matter power spectrum, P_hydro / P_dark-matter-only, in FLAMINGO",
        licence=(
            "Apache-2.0; the weights are fitted to, and at the simulations reproduce, numbers that "
            "FlamingoBaryonResponseEmulator ships under LGPL-3.0-or-later"
        ),
        family="response",
        hyperparameters=TRAINING.model.hyperparameters(),
        inputs=(
            Input("sigma_gas", "sigma", -8.0, 2.0, 0.0, "offset of the gas fractions of groups and clusters"),
            Input("sigma_star", "sigma", -1.0, 0.0, 0.0, "offset of the galaxy stellar mass function"),
            Input("jet", "", 0.0, 1.0, 0.0, "fraction of the AGN energy that goes into jets"),
        ),
        # With the box these are the convex hull of the nine simulations.
        constraints=(
            Constraint({"jet": 1.0, "sigma_star": -1.0}, 1.0, "jet", "never simulated together"),
            Constraint(
                {"sigma_gas": -1.0, "sigma_star": -4.0, "jet": 4.0}, 8.0, "sigma_gas", "hull, less gas"
            ),
            Constraint(
                {"sigma_gas": 1.0, "sigma_star": -2.0, "jet": 2.0}, 2.0, "sigma_gas", "hull, more gas"
            ),
        ),
        outputs=(Output("response", "", _ALL, "P_hydro / P_dark-matter-only, total matter"),),
        derived=(),
        refused=(Refusal("nonlinear", 'use matter_power.predict(..., baryons="baryon_response")'),),
        k_range=(1e-4, 31.6),
        z_range=(0.0, 3.0),
        truth={**TRUTH.as_dict(), "simulations": 9, "redshifts": 7, "wavenumbers": 31},
        calibrated=(
            Calibration("k", 0.0317, 31.6, "Below 0.032 h/Mpc ln R, less than 4e-4, is let fall as k^2."),
        ),
        error={},
        notes=(
            "One cosmology, FLAMINGO's (Omega_m 0.306, sigma_8 0.807): R is taken not to depend on it, and "
            "the error of that is not in the stated one.",
            "It knows FLAMINGO's subgrid physics. Held against others on the validation page: ANTILLES by "
            "pyspk (Salcido et al. 2023, MNRAS 523, 2247; LGPL-3.0-or-later), closed forms for CAMELS "
            "IllustrisTNG, SIMBA, Astrid and Swift-EAGLE (Kammerer et al. 2025, arXiv:2506.08783; their code "
            "MIT), and HMcode2020 by CAMB (Mead et al. 2021, MNRAS 502, 1401).",
            "Between the simulated values of sigma_star and of jet the mean is a straight line, and the "
            "stated error that of a random walk tied at both ends; nothing was simulated there.",
            "logT_AGN (HMcode2020) is another description of the same effect; the two never go together.",
        ),
    )
