"""A particle-mesh step, forward and gradient, beside pmpp's (PM++): time, memory, and that they agree.

    pip install pmpp
    python benchmarks/particle_mesh.py [--particles 64] [--refine 1 2] [--steps 5] [--repeats 5]

The same particles, moved by second-order perturbation theory to z = 9, fall to z = 0 by the same number of
steps, equal in the growth factor, with cloud in cell on a force mesh `refine` times finer than the lattice,
in float32 on one device. Gradient: of a random projection of the last displacements by first displacements
and velocities; cosmology is left out, on both sides. Both run the steps backwards, so neither keeps them.
Times are medians of turns taken in alternation by one process; memory is what the compiled program allocates
beside its arguments and results, and with --rss what running it adds to the resident memory of a fresh
process (Linux). pmpp leaves out of its force what is beyond the particles' Nyquist frequency, we do
not: so they agree on large scales, and the table says how far.

Asked: at most pmpp's time and memory. Aim: half.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.background import growth_factor
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.eisenstein_hu import linear_power
from galaxyjax.fields import gaussian, nbody, spectra
from galaxyjax.fields.gravity import Force, density
from galaxyjax.mesh.budget import temp_bytes
from galaxyjax.mesh.topology import build_mesh

ASKED, AIM = 1.0, 0.5
Z_START, SPACING = 9.0, 2.0  # Mpc/h between particles
OMEGA_M, OMEGA_B, H, N_S, SIGMA_8 = 0.31, 0.049, 0.68, 0.965, 0.81
FLAT = Cosmology.from_mapping(
    {"Omega_m": OMEGA_M, "Omega_b": OMEGA_B, "h": H, "n_s": N_S, "ln10A_s": 3.0, "m_nu": 0.0}
)


def start(particles: int, spacing: float = SPACING, seed: int = 1):
    """Return modes of linear density today, displacement and dx/dD at z = 9, of particles^3 on one device."""
    mesh, box = build_mesh("data=1"), particles * spacing
    noise = gaussian.white_noise(jax.random.key(seed), particles, mesh)
    modes = gaussian.linear_modes(noise, linear_power(FLAT, SIGMA_8), box, mesh)
    return modes, *nbody.begin(modes, FLAT, Z_START, mesh)


def ours(
    particles: int, steps: int, refine: int, spacing: float = SPACING, kick: str = "bullfrog"
) -> Callable:
    """Return (displacement, dx/dD) at z = 9 -> the same today, both (n, n, n, 3) in Mpc/h."""
    mesh, force = build_mesh("data=1"), Force(refine=refine)
    plan = nbody.schedule(FLAT, jnp.float32(0.0), steps, z_start=Z_START)
    return lambda x, v: nbody.evolve(x, v, plan, mesh, particles * spacing, force)


def peer(particles: int, steps: int, refine: int, spacing: float = SPACING) -> tuple[Callable, Callable]:
    """Return pmpp's (displacement, dx/dD) -> the same, and its own perturbation theory, modes -> the same."""
    double = jax.config.jax_enable_x64  # pmpp's import switches it on
    from pmpp.core.configuration import Configuration
    from pmpp.cosmology import boltzmann, growth
    from pmpp.cosmology.models import E2
    from pmpp.cosmology.models import Cosmology as Peer
    from pmpp.initial_conditions.lpt import lpt
    from pmpp.nbody import Particles
    from pmpp.nbody import nbody as evolve

    jax.config.update("jax_enable_x64", double)
    # The scale factors at which D takes equal steps.
    z = np.linspace(Z_START + 0.5, 0.0, 20001)
    found = np.asarray(growth_factor(FLAT, jnp.asarray(z, jnp.float32)), float)
    edges = np.linspace(np.interp(-Z_START, -z, found), 1.0, steps + 1)
    a = 1.0 / (1.0 + np.interp(edges, found, z))
    a[0], a[-1] = 1.0 / (1.0 + Z_START), 1.0
    settings = Configuration(
        ptcl_spacing=spacing, ptcl_grid_shape=(particles,) * 3, mesh_shape=refine, cosmo_dtype=jnp.float32,
        a_start=float(a[0]), a_custom=tuple(map(float, a)), nbody_cosmo_grad=False, pallas_cic=False,
        growth_a_custom=(0.0, *map(float, np.geomspace(0.01, 1.0, 512))),
    )  # fmt: skip
    cosmology = boltzmann(
        Peer(settings, 2.0, N_S, OMEGA_M, OMEGA_B, h=H), settings, transfer=False, varlin=False
    )
    today = growth(1.0, cosmology, settings)

    def momentum(a):
        """What dx/dD, with D = 1 today, is multiplied by to be a^2 dx/dt in units of H0."""
        return a**2 * jnp.sqrt(E2(a, cosmology)) * growth(a, cosmology, settings, deriv=1) / today

    lattice = Particles.gen_grid(settings)
    shape = (particles,) * 3 + (3,)

    def state(p, a):
        return p.disp.reshape(shape), p.vel.reshape(shape) / momentum(a).astype(jnp.float32)

    def run(x, v):
        v = v * momentum(a[0]).astype(jnp.float32)
        begun = lattice.replace(disp=x.reshape(-1, 3), vel=v.reshape(-1, 3))
        return state(evolve(begun, cosmology, settings), 1.0)

    def perturb(modes):
        planes = modes.values[..., : particles // 2 + 1]
        return state(lpt(planes * settings.ptcl_cell_vol / today, cosmology, settings), a[0])

    return run, perturb


def gradient(run: Callable, weights: jax.Array) -> Callable:
    """Return the gradient of a projection of the displacements by the first state."""
    return jax.grad(lambda x, v: jnp.sum(weights * run(x, v)[0]), (0, 1))


def compiled(side: str, which: str, n: int, steps: int, refine: int):
    """Return one program and its arguments."""
    _, x, v = start(n)
    run = ours(n, steps, refine) if side == "galaxyjax" else peer(n, steps, refine)[0]
    weights = jax.random.normal(jax.random.key(2), x.shape)
    call = run if which == "forward" else gradient(run, weights)
    return jax.jit(call).lower(x, v).compile(), (x, v)


def turns(sides: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Median seconds of each, in alternation, after one turn that does not count."""
    seconds = {label: [] for label in sides}
    for turn in range(repeats + 1):
        for label, call in sides.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            if turn:
                seconds[label].append(time.perf_counter() - began)
    return {label: statistics.median(values) for label, values in seconds.items()}


def agreement(n: int, steps: int, refine: int, spacing: float = SPACING) -> dict[str, float]:
    """Relative differences of displacements at the start and today; P ratio and 1 - r at two scales today."""
    mesh, box = build_mesh("data=1"), n * spacing
    modes, x, v = start(n, spacing)
    run, perturb = peer(n, steps, refine, spacing)
    first = jax.jit(perturb)(modes)
    mine, theirs = jax.jit(ours(n, steps, refine, spacing))(x, v), jax.jit(run)(x, v)
    away = lambda a, b: float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))  # noqa: E731
    grids = [density(pair[0], box, mesh, Force(refine=1)) for pair in (mine, theirs)]
    k, ratio = spectra.transfer(*grids, box_size=box, mesh=mesh)
    r = spectra.coherence(*grids, box_size=box, mesh=mesh)[1]
    table = {
        "start: displacement": away(x, first[0]),
        "start: dx/dD": away(v, first[1]),
        "today: displacement": away(mine[0], theirs[0]),
        "today: dx/dD": away(mine[1], theirs[1]),
    }
    for scale in (0.25, 0.5, 0.75):
        at = int(jnp.argmin(jnp.abs(k - scale * jnp.pi / spacing)))
        table[f"P/P - 1 at k = {float(k[at]):.2f}"] = float(ratio[at] ** 2) - 1.0
        table[f"1 - r at k = {float(k[at]):.2f}"] = 1.0 - float(r[at])
    return table


def peak(side: str, which: str, arguments: argparse.Namespace, refine: int) -> float:
    """MB by which running a program lifts the resident memory of a fresh process."""
    words = [
        sys.executable, __file__, "--one", side, which, "--refine", str(refine),
        "--particles", str(arguments.particles), "--steps", str(arguments.steps),
    ]  # fmt: skip
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])["peak"]


def one(side: str, which: str, arguments: argparse.Namespace) -> None:
    """The part of `peak` that the fresh process does: Linux alone counts anew when asked."""
    program, given = compiled(side, which, arguments.particles, arguments.steps, arguments.refine[0])
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    jax.block_until_ready(program(*given))
    print(json.dumps({"peak": (resident() - before) / 1024}))


def resident() -> int:
    """The most memory that was resident since the count began, kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> int:
    """Print the tables; return 1 when a limit is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--particles", type=int, default=64, help="a side")
    parser.add_argument("--refine", type=int, nargs="+", default=[1, 2], help="cells between particles")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--rss", action="store_true", help="peak memory of processes as well")
    parser.add_argument("--no-agreement", action="store_true", help="leave the comparison of results out")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="write the numbers to this file")
    arguments = parser.parse_args()
    if arguments.one:
        one(*arguments.one, arguments)
        return 0
    n, steps, rows, missed = arguments.particles, arguments.steps, [], False
    kind = jax.devices()[0].device_kind
    print(f"{kind}, {n}^3 particles, {steps} steps, medians of {arguments.repeats} turns")
    names = ("ours s/step", "pmpp s/step", "ratio", "ours MB", "pmpp MB", "ratio")
    print(f"{'mesh':>6} {'':9}" + "".join(f"{name:>12}" for name in names))
    for refine in arguments.refine:
        for which in ("forward", "gradient"):
            programs = {side: compiled(side, which, n, steps, refine) for side in ("galaxyjax", "pmpp")}
            took = turns({s: lambda p=p, g=g: p(*g) for s, (p, g) in programs.items()}, arguments.repeats)
            memory = {side: temp_bytes(program) / 2**20 for side, (program, _) in programs.items()}
            speed, size = (t["galaxyjax"] / t["pmpp"] for t in (took, memory))
            row = {"refine": refine, "which": which, "seconds": took, "megabytes": memory}
            if arguments.rss:
                row["peak"] = {side: peak(side, which, arguments, refine) for side in programs}
            rows.append(row)
            worst = max(speed, size)
            missed |= worst > ASKED
            print(
                f"{n * refine:>5}^3 {which:9}{took['galaxyjax'] / steps:12.3f}{took['pmpp'] / steps:12.3f}"
                f"{speed:12.2f}{memory['galaxyjax']:12.0f}{memory['pmpp']:12.0f}{size:12.2f}"
                f"{'  MISSED' if worst > ASKED else '  within the aim' if worst <= AIM else ''}",
                flush=True,
            )
            if arguments.rss:
                print(f"{'':16} peak of a process, MB: " + str({s: round(p) for s, p in row["peak"].items()}))
    if not arguments.no_agreement:
        for refine in arguments.refine:
            rows.append({"refine": refine, "agreement": agreement(n, steps, refine)})
            print(f"\nforce mesh {n * refine}^3, ours against pmpp:")
            for label, value in rows[-1]["agreement"].items():
                print(f"  {label:24} {value:10.2e}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(
                {"device": jax.devices()[0].device_kind, **vars(arguments), "rows": rows}, file, indent=1
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
