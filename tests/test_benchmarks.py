"""The table of claims reads what the benchmarks print, and says when a claim is missed."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run():
    sys.path.insert(0, str(ROOT / "benchmarks"))  # where a script finds those beside it
    spec = importlib.util.spec_from_file_location("benchmarks_run", ROOT / "benchmarks" / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# Lines as the scripts print them, and the numbers that the table must find in them.
PRINTED = {
    "speed": (
        "throughput  linear     linear         2.027    10.217    5.0x    3.0x  10.0x     5.1x\n"
        "throughput  nonlinear  nonlinear      3.609    18.458    5.1x    3.0x  10.0x     5.3x\n"
        "throughput  nonlinear  linear         3.528    10.151    2.9x       -      -     2.9x\n"
        "latency     linear     linear         0.136     0.188    1.4x    1.0x   2.0x     1.9x\n"
        "latency     nonlinear  nonlinear      0.169     0.371    2.2x    1.0x   2.0x     3.0x\n"
        "gradient    nonlinear  nonlinear      0.216     0.602    2.8x       -      -     3.0x\n",
        [5.0, 5.1, 1.4, 2.2, 2.8],
    ),
    "likelihood_gradient": ("    1    0.608 |   0.488      1.460 |   1.028   2.40 |  2.11\n", [2.11]),
    "fft": (
        "slab 8 x 1        1.5e-07   2.2e-07   2.3e-07   1e-06   1, 1, 2\n"
        "pencil 2 x 4      1.5e-07   2.1e-07   2.2e-07   1e-06   2, 2, 4\n"
        "slab 8 x 1      galaxyjax            1.68    1.00       135   1 all-to-all\n"
        "slab 8 x 1      jnp.fft.rfftn        4.66    2.77      1049   1 all-gather\n"
        "slab 8 x 1      jaxdecomp (c2c)      2.70    1.61       262   1 all-to-all\n",
        [2.2e-7, 2.77, 1.61],
    ),
    "painting": (
        "random               31.0          151.7     4.9x   3.0x\n"
        "sorted               17.5          128.0     7.3x   3.0x\n",
        [4.9, 7.3],
    ),
    "field_inference": (
        "whole box 1e+06 voxels/s, padded by 48 1.9e+05: 5.12 times (arithmetic 5.36); largest ...\n",
        [5.12],
    ),
    "particle_mesh": (
        "   64^3 forward         0.012       0.063        0.19          39         105        0.37\n"
        "   64^3 gradient        0.041       0.215        0.19          70         280        0.25\n"
        "  128^3 forward         0.102       0.142        0.72         150         172        0.87\n"
        "  128^3 gradient        0.281       0.598        0.47         162         558        0.29\n",
        [0.19, 0.37, 0.19, 0.25, 0.72, 0.87, 0.47, 0.29],
    ),
    "baryons": (
        "package, one call         1.6000 ms    1.4000 ms        1x      1x\n"
        "one point, one z          0.0390 ms    0.0150 ms       41x     95x  MISSED\n"
        "one point, 24 z           0.0220 ms    0.0190 ms     1745x   1800x\n"
        "1000 points, one z        0.8000 ms    0.7000 ms     2000x   2100x\n",
        [41, 1745, 2000],
    ),
    "kids1000_nuts": (
        "   0  cold     21.9 s   24 s   30 s  1.0031   520  4 x 900     9000    0.080        0     0 ...\n"
        "   0  warm     12.1 s   14 s   20 s  1.0031   520  4 x 900     9000    0.080        0     0 ...\n",
        [21.9, 0.08],
    ),
    "samplers": (
        "nuts                   0.078       A_IA  1.0021  4061      51786   659  0.424\n"
        "mclmc                  0.228    omega_m  1.0011  2508      11000   183  0.070"
        "   0.046  0.023  0.969 1.062\n",
        [0.078, 0.228, 0.046],
    ),
    "ess_per_second": (
        "nuts over NumPyro + cosmopower-jax: whole 8.1x, sampling 12.3x (asked 3x, aim 10x)\n"
        "mclmc over NumPyro + cosmopower-jax: whole 9.1x, sampling 25.0x (asked 3x, aim 10x)\n"
        "nuts over Cobaya + CAMB: whole 1500.2x, sampling 4000.1x (asked 100x, aim 1000x)\n"
        "mclmc over Cobaya + CAMB: whole 1700.3x, sampling 9000.4x (asked 100x, aim 1000x)\n",
        [8.1, 12.3, 9.1, 25.0, 1500.2, 4000.1, 1700.3, 9000.4],
    ),
    "hydro_learning": (
        "gas               3    2    7.2% +-  7%        16.3%          11.5%\n"
        "gas               3    0   22.8% +- 12%        24.3%          17.2%\n"
        "pressure          3    2   38.5% +- 43%        93.9%          66.4%\n"
        "pressure          3    0   31.1% +- 21%        47.2%          33.4%\n"
        "gas               1    2    5.5% +- 21%        46.4%          32.8%\n",
        [11.5, 17.2, 66.4, 33.4],
    ),
    "calibration": (
        "with the emulator's error: passes; smallest p 0.021 (h), asked 0.00077; TARP p 0.4; ...\n"
        "half the covariance: FAILS; smallest p 1e-09 (S8), asked 0.00077; TARP p 0.001; ...\n",
        [0.021],
    ),
    "bandpowers": (
        "A_IA +1, ln10A_s 2.95, all of P, fine nodes       0.00080   0.000002   0.0010\n"
        "A_IA +1, ln10A_s 2.95, the likelihood's           0.00110   0.000003   0.0010\n"
        "A_IA -3, ln10A_s 2.4, the likelihood's            0.00500   0.000003   0.0010\n",
        [0.0011],
    ),
    "fisher": (
        "KiDS-1000, 12 parameters: 10.21 s by derivatives, compiling included, 429 s by CAMB\n"
        "largest difference: sigma 0.05%, correlations 0.0004\n",
        [0.05, 10.21, 429],
    ),
    "gradients": (
        "linear               wa            0.510     0.990\nlargest of linear: 0.990\n"
        "largest of nonlinear: 1.800  \n",
        [0.99, 1.8],
    ),
    "nbody_convergence": (
        "80 steps (200 s)      0.01%   0.02%   0.02%   0.04%   0.05%   0.08%  0.5% to 1\n"
        "force mesh 6 times finer (900 s)      0.10%   0.20%   0.50%   1.03%   2.00%   4.60%  2% to 0.5\n",
        [0.08, 1.03],
    ),
    "field_level": (
        "  cosmology         310.2 evaluations a sample, published  600.0: 0.52\n"
        "  bias              410.2 evaluations a sample, published  600.0: 0.68\n"
        "  initial modes     210.2 evaluations a sample, published  600.0: 0.35\n",
        [0.52, 0.68, 0.35],
    ),
    "mass_map": ("  pixel r over Wiener's: 1.031\n", [1.031]),
    "npe": (
        "gaussian: 40000 maps, 3000 steps, 493 s\n"
        "  width of ln_amplitude over Fisher's: 1.032\n"
        "  width of slope over Fisher's: 1.035\n"
        "  TARP over 2000: 0.82 of its band (inside), p = 0.305\n",
        [1.032, 1.035, 0.82],
    ),
    "vnet_mesh": ("0.61 MB; over an eighth times the surface factor: 0.831, asked 1.0\n", [0.831]),
}


def test_the_lines_of_every_script_are_found(run):
    assert {script.name for script in run.SCRIPTS} == set(PRINTED)
    for script in run.SCRIPTS:
        assert (ROOT / "benchmarks" / f"{script.name}.py").is_file()
        text, numbers = PRINTED[script.name]
        found = [re.search(line.pattern, text, re.MULTILINE) for line in script.lines]
        assert [float(match.group(1)) for match in found] == numbers, script.name


def test_a_claim_is_met_missed_or_only_shown(run):
    more, less = run.Line("a", "", 3.0), run.Line("b", "", 1e-6, False, "")
    assert run.claim_of(more, 3.0, "c")["met"] is True and run.claim_of(more, 2.9, "c")["met"] is False
    assert run.claim_of(less, 2e-6, "c")["met"] is False and run.claim_of(less, 5e-7, "c")["ratio"] == 2.0
    assert run.claim_of(run.Line("d", "", None), 2.8, "c")["met"] is None
    lost = run.claim_of(more, None, "c", "not measured (exit code 1)")
    assert lost["met"] is False and lost["ratio"] is None


def test_accuracy_is_what_the_contracts_say(run):
    rows = {row["claim"]: row for row in run.accuracy()}
    (row,) = [row for claim, row in rows.items() if "nonlinear, p95" in claim]
    assert row["met"] and row["asked"] == "at most 0.1%" and 0.01 < row["value"] < 0.1
