"""`nbody_field` at 0.78125 Mpc/h: trained on particle-mesh runs, then fine-tuned on GADGET-4.

galaxyjax simulate emulators/nbody_field_fine     # particle-mesh runs, a few minutes
galaxyjax train emulators/nbody_field_fine        # 5 minutes on two cores
python benchmarks/bridge.py --data DIR             # the runs of GADGET-4, fine-tuning, and what it gains

The boxes are 25 Mpc/h: good for a local map, not for absolute spectra.
"""

from dataclasses import replace

from galaxyjax.emulator.contract import Contract, Input, Output, Refusal
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.design import Range
from galaxyjax.simulate.fields import FieldSuite
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.displacement import DisplacementLoss, DisplacementSuite
from galaxyjax.train.field import FieldTraining, Start

RANGES = (
    Range("Omega_m", 0.2, 0.4),
    Range("Omega_b", 0.04, 0.06),
    Range("h", 0.6, 0.75),
    Range("n_s", 0.92, 1.0),
    Range("sigma_8", 0.7, 0.9),
)
SPACING = 0.78125
OPTIONS = dict(cells=32, box_size=32 * SPACING, ranges=RANGES, redshifts=(2.0, 1.0, 0.5, 0.0), steps=50)

TRUTH = FieldSuite(seed=31501, runs=48, **OPTIONS)
TEST = FieldSuite(seed=88502, runs=8, **OPTIONS)

MODEL = Displacement(spacing=SPACING, widths=(8, 16), blocks=(1, 1), steps=10, refine=3, pace=2.0, scale=0.1)
LOSS = DisplacementLoss(
    displacement=0.25,
    derivative=0.1,
    density=0.25,
    spectrum=10.0,
    scales=(0.3, 3.0, 4.0, 15.0),
    halo=24,
    floor=0.05,
)

TRAINING = FieldTraining(
    model=MODEL,
    source=DisplacementSuite(MODEL, TRUTH, held_out_runs=4, snapshots=3),
    cells=32,
    fit=FieldFitConfig(
        steps=120,
        batch=4,
        accumulate=4,
        learning_rate=3e-3,
        warmup=10,
        evaluate_every=30,
        save_every=30,
        ema=0.95,
    ),
    loss=LOSS,
)


def fine_tuning(start: str, suite: FieldSuite, held_out_runs: int) -> FieldTraining:
    """The second half: on runs of a finer code in `suite`'s folder, from the weights of the first."""
    fit = replace(TRAINING.fit, steps=90, batch=2, accumulate=2, evaluate_every=15, save_every=15)
    source = DisplacementSuite(MODEL, suite, held_out_runs=held_out_runs, snapshots=2)
    return replace(TRAINING, source=source, fit=fit, start=Start(start))


def contract() -> Contract:
    """What the emulator promises."""
    text = {
        "Omega_m": "matter today over the critical density",
        "Omega_b": "baryons today over the critical density",
        "h": "H0 / (100 km/s/Mpc)",
        "n_s": "tilt of the primordial spectrum",
        "sigma_8": "linear amplitude at 8 Mpc/h today",
    }
    inputs = tuple(Input(r.name, "", r.low, r.high, None, text[r.name]) for r in RANGES)
    return Contract(
        name="nbody_field_fine",
        version="1.0.0",
        description="The non-linear matter field at 0.78125 Mpc/h: displacement, velocity, density",
        licence="Apache-2.0",
        family="displacement",
        hyperparameters=MODEL.hyperparameters(),
        inputs=inputs,
        constraints=(),
        outputs=(
            Output("displacement", "Mpc/h", tuple(text), "of particles from a lattice of 0.78125 Mpc/h"),
            Output("velocity", "km/s", tuple(text), "peculiar, of the particles"),
            Output("density", "", tuple(text), "contrast that the particles paint"),
        ),
        derived=(),
        refused=(
            Refusal("momentum", "it is density(...) times velocity: paint `velocity` with `fields.paint`"),
        ),
        k_range=(0.2, 4.0),
        z_range=(0.0, 2.0),
        truth={
            "code": "galaxyjax particle mesh",
            "particles": f"{TRUTH.cells}^3",
            "box_size": TRUTH.box_size,
            "force_mesh": f"{TRUTH.cells * TRUTH.force.refine}^3 {TRUTH.force.scheme}",
            "steps": TRUTH.steps,
            "z_start": TRUTH.z_start,
            "linear_spectrum": "Eisenstein & Hu 1998",
        },
        calibrated=(),
        error={},
        notes=(
            "Learnt in boxes of 25 Mpc/h, which hold no long waves: a local map, not absolute spectra.",
            "From version 1.1 fine-tuned on four GADGET-4 runs; `benchmarks/bridge.py` says what that gains.",
        ),
    )
