"""How far the truth of the field emulator is from more steps, finer forces and an earlier start.

    python benchmarks/nbody_convergence.py [--cells 64] [--steps 40] [--json convergence.json]

Settings are those of the suite in `emulators/nbody_field/recipe.py`; each run changes one of them, with the
same white noise. Printed: P(k) today over that of the suite's settings, minus 1, in per cent, the worst of
all shells up to k. Asked: at most 0.5% to k = 1 h/Mpc for twice the steps, 2% to k = 0.5 for a force mesh
twice as fine; an earlier start is shown beside them. What remains after that, against a theory that no mesh
limits: the boost P / P_linear of the same modes over HMcode-2020's (`pip install camb`), which itself is
right to 2.5% (Mead et al. 2021); a single box adds its own scatter.

--cells keeps the suite's spacing of particles. Pick --only for some of the runs: a force mesh twice as fine
takes 8 times as long as the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.fields import gaussian, spectra
from galaxyjax.fields.gravity import Force, density
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.simulate.fields import FieldSuite, linear_field, run_fields

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

THETA = {"Omega_m": 0.31, "Omega_b": 0.049, "h": 0.68, "n_s": 0.965, "sigma_8": 0.81}
LIMITS = {"steps": (1.0, 0.005), "force": (0.5, 0.02), "start": None}
SHOWN = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def settings(cells: int, steps: int) -> FieldSuite:
    """The suite of the recipe, smaller when asked, with one snapshot today."""
    from emulators.nbody_field.recipe import TRUTH

    spacing = TRUTH.box_size / TRUTH.cells
    return replace(TRUTH, cells=cells, box_size=cells * spacing, steps=steps, redshifts=(0.0,))


def variants(base: FieldSuite) -> dict[str, FieldSuite]:
    """One changed setting each."""
    return {
        "steps": replace(base, steps=2 * base.steps),
        "force": replace(base, force=replace(base.force, refine=2 * base.force.refine)),
        "start": replace(base, z_start=19.0),
    }


def spectrum(suite: FieldSuite, mesh, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """k in h/Mpc, P today in (Mpc/h)^3, seconds of a run without its compilation."""
    noise = gaussian.white_noise(jax.random.key(seed), suite.cells, mesh)
    theta = {name: jnp.float32(value) for name, value in THETA.items()}
    run = jax.jit(lambda t, w: run_fields(t, w, suite, mesh)[-1][0]).lower(theta, noise).compile()
    began = time.perf_counter()
    displacement = jax.block_until_ready(run(theta, noise))
    took = time.perf_counter() - began
    grid = density(displacement, suite.box_size, mesh, Force(refine=2, scheme="tsc"))
    edges = spectra.shell_edges(suite.cells, suite.box_size)
    found = spectra.power_spectrum(grid, box_size=suite.box_size, mesh=mesh, edges=edges, scheme="tsc")
    return np.asarray(found.k, float), np.asarray(found.power, float), took


def linear(suite: FieldSuite, mesh, seed: int) -> np.ndarray:
    """P today of the same modes if they had only grown."""
    noise = gaussian.white_noise(jax.random.key(seed), suite.cells, mesh)
    grid = fft.inverse(linear_field(THETA, noise, suite.box_size, mesh), mesh)
    edges = spectra.shell_edges(suite.cells, suite.box_size)
    return np.asarray(
        spectra.power_spectrum(grid, box_size=suite.box_size, mesh=mesh, edges=edges).power, float
    )


def hmcode(k: np.ndarray) -> np.ndarray | None:
    """P / P_linear of HMcode-2020 at the same sigma_8, None without CAMB."""
    try:
        import camb
    except ImportError:
        print("CAMB is not installed: no comparison with HMcode", file=sys.stderr)
        return None
    h = THETA["h"]
    physical = {"ombh2": THETA["Omega_b"] * h**2, "omch2": (THETA["Omega_m"] - THETA["Omega_b"]) * h**2}

    def results(amplitude, model):
        given = camb.set_params(
            H0=100 * h, **physical, mnu=0.0, ns=THETA["n_s"], As=amplitude, WantCls=False,
            NonLinear="NonLinear_pk" if model else "NonLinear_none", halofit_version="mead2020",
        )  # fmt: skip
        given.set_matter_power(redshifts=[0.0], kmax=20.0)
        return camb.get_results(given)

    amplitude = 2e-9 * (THETA["sigma_8"] / results(2e-9, False).get_sigma8_0()) ** 2
    powers = [
        results(amplitude, model).get_matter_power_interpolator(nonlinear=model).P(0.0, k)
        for model in (True, False)
    ]
    return powers[0] / powers[1]


def main() -> int:
    """Print the table; return 1 when a limit is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cells", type=int, default=64, help="particles a side")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7, help="of the white noise")
    parser.add_argument("--only", nargs="*", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--json", help="write the numbers to this file")
    arguments = parser.parse_args()
    mesh, base = build_mesh("data=1"), settings(arguments.cells, arguments.steps)
    k, power, took = spectrum(base, mesh, arguments.seed)
    shown = [at for at in SHOWN if at < k[-1]]
    force = base.force
    print(
        f"{base.cells}^3 particles in {base.box_size:g} Mpc/h, {base.steps} steps from z = {base.z_start:g}, "
        f"force mesh {force.refine} times finer ({force.scheme}): {took:.0f} s "
        f"on {jax.devices()[0].device_kind}"
    )
    print(f"{'P(k) / P - 1, worst up to k =':42}" + "".join(f"{at:>8}" for at in shown) + "  asked")
    report, missed = {"k": k.tolist(), "power": power.tolist(), "seconds": took, "runs": {}}, False
    for name, suite in variants(base).items():
        if name not in arguments.only:
            continue
        _, other, took = spectrum(suite, mesh, arguments.seed)
        off = other / power - 1.0
        label = {
            "steps": f"{suite.steps} steps",
            "force": f"force mesh {suite.force.refine} times finer",
            "start": f"from z = {suite.z_start:g}",
        }[name]
        row = "".join(f"{100 * np.abs(off[k <= at]).max():7.2f}%" for at in shown)
        verdict = ""
        if LIMITS[name] is not None:
            reach, limit = LIMITS[name]
            over = np.abs(off[k <= reach]).max() > limit
            missed |= over
            verdict = f"  {100 * limit:g}% to {reach:g}" + (", MISSED" if over else "")
        print(f"{label + f' ({took:.0f} s)':42}{row}{verdict}", flush=True)
        report["runs"][name] = {"ratio": (1.0 + off).tolist(), "seconds": took}
    boost = power / linear(base, mesh, arguments.seed)
    theory = hmcode(k)
    if theory is not None:
        off = boost / theory - 1.0
        near = [int(np.argmin(np.abs(k - at))) for at in shown]
        # Neighbouring shells together: a single one scatters.
        mean = [off[max(0, i - 1) : i + 2].mean() for i in near]
        print(f"{'boost over HMcode-2020 - 1, near k':42}" + "".join(f"{100 * m:7.1f}%" for m in mean))
        report["boost_over_hmcode"] = (1.0 + off).tolist()
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**vars(arguments), "theta": THETA, **report}, indent=1))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
