"""r_drag, H(z) and D_M(z) against CAMB; with --fit, the coefficients of z_drag in theory/sound_horizon.py.

    python benchmarks/sound_horizon.py [--fit]        # 20 s, needs CAMB

Printed: the largest and the root-mean-square relative difference over a Sobol design of omega_b, omega_cdm,
m_nu, h, w0 and wa that the fit has not seen, inside the domain of `matter_power`. Asked: r_drag within 1e-3,
H and D_M within 1e-4.
"""

import argparse
import sys

import camb
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

from galaxyjax.core import background, units
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.theory.sound_horizon import drag_horizon, drag_redshift

Z = np.array([0.1, 0.3, 0.5, 0.7, 0.93, 1.3, 1.5, 2.33, 4.0])
LOW = (0.019, 0.051, 0.0, 0.6, -1.3, -1.0)
HIGH = (0.026, 0.255, 0.5, 0.85, -0.6, 0.4)
FIT_LOW, FIT_HIGH = (0.017, 0.03, 0.0), (0.028, 0.28, 0.6)  # somewhat more than the domain
ASKED = {"r_drag": 1e-3, "H(z)": 1e-4, "D_M(z)": 1e-4}


def truth(omega_b, omega_cdm, m_nu, h=0.7, w0=-1.0, wa=0.0):
    """CAMB's background."""
    pars = camb.CAMBparams()
    pars.set_cosmology(
        H0=100.0 * h,
        ombh2=omega_b,
        omch2=omega_cdm,
        omk=0.0,
        mnu=m_nu,
        nnu=units.N_EFF,
        TCMB=units.T_CMB,
        num_massive_neutrinos=3 if m_nu > 0.0 else 0,
        neutrino_hierarchy="degenerate",
    )
    pars.set_dark_energy(w=w0, wa=wa, dark_energy_model="ppf")
    return camb.get_background(pars)


def design(low, high, count, seed):
    """A scrambled Sobol design (count, len(low))."""
    return qmc.scale(qmc.Sobol(len(low), seed=seed).random(count), low, high)


def fit() -> None:
    """Print the coefficients of ln z_drag, least squares on 512 points."""
    points = design(FIT_LOW, FIT_HIGH, 512, 3)
    z_drag = np.array([truth(*point).get_derived_params()["zdrag"] for point in points])
    x, y, m = np.log(points[:, 0] / 0.0224), np.log(points[:, 1] / 0.12), points[:, 2]
    orders = [(i, j) for i in range(4) for j in range(4 - i)]
    columns = [x**i * y**j for i, j in orders] + [m, m * x, m * y]
    solution = np.linalg.lstsq(np.stack(columns, 1), np.log(z_drag), rcond=None)[0]
    for i in range(4):
        print([float(f"{c:.8g}") for (a, _), c in zip(orders, solution, strict=False) if a == i])
    print([float(f"{c:.6g}") for c in solution[-3:]])


def measure() -> bool:
    """Print the comparison; return whether a limit is missed."""
    found = {name: [] for name in (*ASKED, "z_drag")}
    ours = jax.jit(
        lambda c: (
            drag_horizon(c),
            drag_redshift(c),
            background.hubble(c, jnp.asarray(Z)),
            background.comoving_distance(c, jnp.asarray(Z)),
        )
    )
    for omega_b, omega_cdm, m_nu, h, w0, wa in design(LOW, HIGH, 256, 11):
        peer = truth(omega_b, omega_cdm, m_nu, h, w0, wa)
        derived = peer.get_derived_params()
        values = ours(Cosmology(omega_b, omega_cdm, h, 0.96, 3.0, m_nu, w0, wa))
        r_drag, z_drag, hubble, distance = (np.asarray(value) for value in values)
        found["r_drag"].append(r_drag / h / derived["rdrag"] - 1.0)
        found["z_drag"].append(z_drag / derived["zdrag"] - 1.0)
        found["H(z)"].append(hubble * h / peer.hubble_parameter(Z) - 1.0)
        found["D_M(z)"].append(distance / h / peer.comoving_radial_distance(Z) - 1.0)
    print(f"{'ours / CAMB - 1, 256 cosmologies':34} {'largest':>10} {'rms':>10} {'asked':>10}")
    missed = False
    for name, errors in found.items():
        largest, rms = np.abs(errors).max(), np.sqrt(np.mean(np.square(errors)))
        asked = ASKED.get(name)
        print(f"{name:34} {largest:10.1e} {rms:10.1e} {'' if asked is None else f'{asked:10.0e}'}")
        missed |= asked is not None and largest > asked
    return missed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="print the coefficients")
    jax.config.update("jax_enable_x64", True)
    if parser.parse_args().fit:
        fit()
    sys.exit(int(measure()))
