import numpy as np
import pytest
from scipy import constants

from galaxyjax.core import units

MPC = constants.parsec * 1e6


def test_critical_density_from_codata():
    """3 H^2 / 8 pi G with CODATA's G, known to 2e-5, and the nominal solar mass parameter."""
    density = 3 * (1e5 / MPC) ** 2 / (8 * np.pi)  # times 1 / G
    assert units.RHO_CRIT == pytest.approx(density / 1.32712440018e20 * MPC**3 / 1e10, rel=1e-8)
    solar = pytest.importorskip("astropy.constants").M_sun.value
    assert units.RHO_CRIT == pytest.approx(density / constants.G / solar * MPC**3 / 1e10, rel=5e-5)
    assert units.G_NEWTON == pytest.approx(3e4 / (8 * np.pi * units.RHO_CRIT), rel=1e-8)


def test_photon_density_from_codata():
    energy = 4 * constants.Stefan_Boltzmann / constants.c**3 * units.T_CMB**4
    critical = 3 * (1e5 / MPC) ** 2 / (8 * np.pi * constants.G)
    assert units.OMEGA_GAMMA == pytest.approx(energy / critical, rel=1e-7)
    assert units.K_BOLTZMANN_EV == pytest.approx(constants.k / constants.e, rel=1e-9)


def test_neutrino_densities_are_camb_s():
    camb = pytest.importorskip("camb")
    from camb import constants as camb_constants

    rest = (units.N_EFF / 3) ** 0.75 / camb_constants.neutrino_mass_fac
    assert units.OMEGA_NU_PER_EV == pytest.approx(rest, rel=1e-6)
    params = camb.set_params(H0=100, ombh2=0.02, omch2=0.1, mnu=0, num_massive_neutrinos=0, nnu=units.N_EFF)
    background = camb.get_background(params)
    assert units.OMEGA_NU_MASSLESS == pytest.approx(background.get_Omega("neutrino"), rel=1e-6)
    assert units.OMEGA_GAMMA == pytest.approx(background.get_Omega("photon"), rel=1e-6)


def test_lengths_and_angles():
    assert units.HUBBLE_DISTANCE == pytest.approx(2997.92458, rel=1e-12)
    assert units.ARCMIN * 60 == pytest.approx(units.DEGREE) == pytest.approx(np.pi / 180)
