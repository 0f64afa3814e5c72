"""The shelf's `hydro_field`: gas, temperature, pressure and stars from the density of matter.

galaxyjax train emulators/hydro_field       # 15 minutes on one core, mean head and flow
galaxyjax validate emulators/hydro_field    # against two pairs of runs that training never saw

Truth: paired runs of GADGET-4, with and without gas, in boxes of 25 Mpc/h (datasets `pairs` and `twin_codes`,
found through GALAXYJAX_DATA). Primordial cooling, a UV background and star formation; no winds and no AGN.
Pairs 0 to 2 and the fiducial pair train, pair 3 says when to stop, pairs 4 and 5 judge.
"""

from galaxyjax.data.baryons import Pair
from galaxyjax.data.manifest import load_manifest
from galaxyjax.emulator.contract import Contract, Input, Output, Refusal
from galaxyjax.models.hydro import Hydro
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import FieldTraining
from galaxyjax.train.hydro import PairExamples
from galaxyjax.train.hydro_cells import CellSource, SeenSource
from galaxyjax.train.hydro_heads import Flow, FlowLoss, HydroLoss, MeanHead

CELLS = 32
SPACING = 25.0 / CELLS
FIDUCIAL = (("Omega_m", 0.3), ("Omega_b", 0.049), ("h", 0.6711), ("n_s", 0.9624), ("sigma_8", 0.8))


def pairs(*numbers: int) -> tuple[Pair, ...]:
    """Both moments, z = 2.005 and 0, of numbered pairs."""
    sets = load_manifest("pairs").sets
    made = []
    for number in numbers:
        name = f"pair_{number:02d}"
        theta = tuple((key, float(value)) for key, value in sets[name].fixed.items() if key != "seed")
        for z in ("z2", "z0"):
            made.append(Pair(name, "pairs", f"{name}_dmo_{z}.hdf5", f"{name}_sfr_{z}.hdf5", theta))
    return tuple(made)


def fiducial(*snapshots: int) -> tuple[Pair, ...]:
    """Moments of the fiducial run; between z = 2 and 0, where the twin has none, with its own dark matter."""
    folder = {"dmo": "g4_dmo_L25N32_fid", "sfr": "g4_sfr_L25N32_fid"}
    made = []
    for number in snapshots:
        name = f"snapshot_{number:03d}.hdf5"
        dark = f"{folder['dmo' if number in (1, 4) else 'sfr']}/{name}"
        made.append(Pair("fiducial", "twin_codes", dark, f"{folder['sfr']}/{name}", FIDUCIAL))
    return tuple(made)


TRAIN = PairExamples(pairs(0, 1, 2) + fiducial(1, 2, 3, 4), CELLS)
VALIDATION = PairExamples(pairs(3), CELLS)
# Never seen in training or in any choice; touched once a release.
TEST = PairExamples(pairs(4, 5), CELLS)

# Filtering scale and temperature-density relation: least squares on TRAIN, `benchmarks/hydro_baselines.py`.
MODEL = Hydro(
    spacing=SPACING,
    early=True,
    widths=(32,),
    blocks=(1,),
    kernel=1,
    smoothing=(0.4, 0.8, 1.6, 3.2, 6.4),
    potential=(1.0, 2.0, 4.0, 8.0),
    tides=(0.6, 1.2, 2.4),
    filtering=(0.195, 0.36),
    relation=(9.506, 1.105, 0.457, 0.027, 0.371, -0.207),
    flow_widths=(8, 16),
    flow_blocks=(1, 1),
)

TRAINING = FieldTraining(
    model=MeanHead(MODEL, seen=True, cells=True),
    source=CellSource(MODEL, TRAIN, VALIDATION),
    cells=16,
    fit=FieldFitConfig(
        steps=1000, batch=1, learning_rate=4e-3, warmup=50, evaluate_every=50, save_every=500, ema=0.99
    ),
    loss=HydroLoss(MODEL, cells=True),
)

# The flow, after the mean head and from its weights.
SECOND = FieldTraining(
    model=Flow(MODEL, seen=True),
    source=SeenSource(MODEL, TRAIN, VALIDATION),
    cells=CELLS,
    fit=FieldFitConfig(
        steps=1200, batch=1, learning_rate=6e-3, warmup=50, evaluate_every=100, save_every=200, ema=0.99
    ),
    loss=FlowLoss(),
)


def contract() -> Contract:
    """What the emulator promises; `galaxyjax validate` adds the measured error."""
    inputs = (
        Input("Omega_m", "", 0.2, 0.4, None, "matter today over the critical density"),
        Input(
            "Omega_b", "", 0.045, 0.053, 0.049, "baryons today over the critical density; trained at 0.049"
        ),
        Input("sigma_8", "", 0.7, 0.9, None, "linear amplitude at 8 Mpc/h today"),
    )
    names = tuple(entry.name for entry in inputs)
    return Contract(
        name="hydro_field",
        version="1.1.1",
        description="Gas density, temperature, pressure and stellar mass from the density of matter",
        licence="Apache-2.0",
        family="hydro",
        hyperparameters=MODEL.hyperparameters(),
        inputs=inputs,
        constraints=(),
        outputs=(
            Output("gas", "1e10 Msun/h (Mpc/h)^-3", names, "comoving density of gas"),
            Output("stars", "1e10 Msun/h (Mpc/h)^-3", names, "comoving density of stars"),
            Output("temperature", "K", names, "of the gas, weighted by mass"),
            Output("pressure", "1e10 Msun/h (Mpc/h)^-3 (km/s)^2", names, "thermal, comoving"),
        ),
        derived=(),
        refused=(Refusal("metals", "the truth has no metal-line cooling and no winds that carry them"),),
        k_range=(0.2, 4.0),
        z_range=(0.0, 2.01),
        truth={
            "code": "GADGET-4",
            "physics": "primordial cooling, UV background, star formation (Springel & Hernquist 2003)",
            "particles": "2 x 32^3",
            "box_size": 25.0,
            "painting": "TSC on 32^3",
            "cosmologies": "6 of (Omega_m, sigma_8) and the fiducial; h 0.6711, n_s 0.9624, Omega_b 0.049",
        },
        calibrated=(),
        error={},
        notes=(
            "Gas and stars have together the mean Omega_b rho_crit in every box, whatever the matter: total "
            "baryon mass is conserved exactly. Gas alone is not.",
            "`predict` gives the expected gas, stars and pressure and the typical temperature: its pressure "
            "is not its gas times its temperature. `sample` gives draws, which obey the ideal gas law.",
            "Draws differ by what one density leaves open cell by cell. What differs from run to run as a "
            "whole is not among it: their distributions are narrower than those of simulations.",
            "The training runs lie on one line, Omega_m + sigma_8 = 1.1; off it, the networks know cosmology "
            "through the field, the depth of potentials, and sigma_8 Omega_m^-0.2 alone.",
            "No AGN and no winds: gas is not pushed out of haloes, so nothing here bears on how "
            "feedback changes the power spectrum or the thermal SZ signal of groups.",
            "Boxes of 25 Mpc/h hold no waves beyond 0.25 h/Mpc and no cluster above about 1e14 Msun/h, "
            "and the pressure spectrum of a box is that of its one or two largest haloes: ten cells hold 65 "
            "to 95% of its variance.",
            "The truth resolves gas particles of 6e8 Msun/h; only the first stars are seen at z = 2.",
            "Redshifts between 0 and 2 were learnt from one run (z = 0.49 and 1.02) and are not judged.",
        ),
    )
