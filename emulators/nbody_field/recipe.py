"""The shelf's `nbody_field`: what it is trained on and how.

galaxyjax simulate emulators/nbody_field    # 168 particle-mesh runs: about 10 minutes on two cores
galaxyjax train emulators/nbody_field       # about 20 minutes on two cores
galaxyjax validate emulators/nbody_field    # against runs, and cosmologies, that training never saw
"""

from galaxyjax.emulator.contract import Contract, Input, Output, Refusal
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.design import Range
from galaxyjax.simulate.fields import FieldSuite
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.displacement import DisplacementLoss, DisplacementSuite
from galaxyjax.train.field import FieldTraining

RANGES = (
    Range("Omega_m", 0.15, 0.45),
    Range("Omega_b", 0.03, 0.07),
    Range("h", 0.55, 0.85),
    Range("n_s", 0.85, 1.05),
    Range("sigma_8", 0.6, 1.0),
)

TRUTH = FieldSuite(seed=31001, runs=160, cells=32, box_size=64.0, ranges=RANGES)
# Never seen in training or in any choice; touched once a release.
TEST = FieldSuite(seed=88002, runs=8, cells=64, box_size=128.0, ranges=RANGES)

MODEL = Displacement(spacing=2.0, widths=(8, 16), blocks=(1, 1), steps=10, refine=3, pace=2.0, scale=0.05)

TRAINING = FieldTraining(
    model=MODEL,
    source=DisplacementSuite(MODEL, TRUTH, held_out_runs=12, snapshots=3),
    cells=32,
    fit=FieldFitConfig(
        steps=350,
        batch=4,
        accumulate=4,
        learning_rate=3e-3,
        warmup=20,
        evaluate_every=50,
        save_every=50,
        ema=0.98,
    ),
    loss=DisplacementLoss(displacement=0.25, derivative=0.1, density=0.25, spectrum=10.0, floor=0.05),
)


def contract() -> Contract:
    """What the emulator promises; `galaxyjax validate` adds the measured error."""
    text = {
        "Omega_m": "matter today over the critical density",
        "Omega_b": "baryons today over the critical density",
        "h": "H0 / (100 km/s/Mpc)",
        "n_s": "tilt of the primordial spectrum",
        "sigma_8": "linear amplitude at 8 Mpc/h today",
    }
    inputs = tuple(Input(r.name, "", r.low, r.high, None, text[r.name]) for r in RANGES)
    names = tuple(text)
    return Contract(
        name="nbody_field",
        version="1.1.0",
        description="The non-linear matter field from white noise: displacement, velocity, density",
        licence="Apache-2.0",
        family="displacement",
        hyperparameters=MODEL.hyperparameters(),
        inputs=inputs,
        constraints=(),
        outputs=(
            Output("displacement", "Mpc/h", names, "of particles from their lattice, 2 Mpc/h apart"),
            Output("velocity", "km/s", names, "peculiar, of the particles"),
            Output("density", "", names, "contrast that the particles paint"),
        ),
        derived=(),
        refused=(
            Refusal("momentum", "it is density(...) times velocity: paint `velocity` with `fields.paint`"),
        ),
        k_range=(1e-3, 1.5),
        z_range=(0.0, 3.0),
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
            "Total matter without massive neutrinos; whole periodic boxes of any size at this spacing.",
            "The truth resolves forces to 0.67 Mpc/h: haloes' insides are softer than a tree code's. P(k) of "
            "itself: with twice the steps within 0.1% to k = 1 h/Mpc, with a force mesh twice as fine 1.0% "
            "away to k = 0.5 and 4.6% to k = 1 (benchmarks/nbody_convergence.py).",
        ),
    )
