"""The shelf's `nbody_field`: what it is trained on and how.

galaxyjax simulate emulators/nbody_field    # 60 particle-mesh runs of 64^3: about 15 minutes on two cores
galaxyjax train emulators/nbody_field       # about 50 minutes on two cores
galaxyjax validate emulators/nbody_field    # against runs, and cosmologies, that training never saw
"""

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

TRUTH = FieldSuite(seed=31001, runs=48, cells=64, box_size=128.0, ranges=RANGES)
# Never seen in training or in any choice; touched once a release.
TEST = FieldSuite(seed=88002, runs=12, cells=64, box_size=128.0, ranges=RANGES)

MODEL = Displacement(spacing=2.0, widths=(8, 16), blocks=(1, 1), steps=5, refine=2)

TRAINING = FieldTraining(
    model=MODEL,
    source=DisplacementSuite(MODEL, TRUTH, held_out_runs=4, snapshots=2),
    cells=64,
    fit=FieldFitConfig(steps=420, batch=1, learning_rate=6e-3, warmup=20, evaluate_every=60, save_every=30, ema=0.98),
    loss=DisplacementLoss(),
)
