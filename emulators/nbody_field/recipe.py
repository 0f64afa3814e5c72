from galaxyjax.simulate.design import Range
from galaxyjax.simulate.fields import FieldSuite

RANGES = (
    Range("Omega_m", 0.15, 0.45),
    Range("Omega_b", 0.03, 0.07),
    Range("h", 0.55, 0.85),
    Range("n_s", 0.85, 1.05),
    Range("sigma_8", 0.6, 1.0),
)
TRUTH = FieldSuite(seed=31001, runs=48, cells=64, box_size=128.0, ranges=RANGES)
TEST = FieldSuite(seed=88002, runs=12, cells=64, box_size=128.0, ranges=RANGES)
