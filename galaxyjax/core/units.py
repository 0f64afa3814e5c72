"""Units and constants, once: comoving Mpc/h, h/Mpc, (Mpc/h)^3, km/s, 1e10 Msun/h, eV for neutrinos."""

import math

C_KM_S = 299792.458
"""Speed of light in km/s (exact)."""

HUBBLE_DISTANCE = C_KM_S / 100.0
"""c / H0 in Mpc/h, for every h."""

G_NEWTON = 43.00917267
"""Newton's constant in (km/s)^2 Mpc / (1e10 Msun): G Msun = 1.32712440018e20 m^3/s^2 (IAU 2015 nominal)."""

RHO_CRIT = 27.75366272
"""Critical density today, 3 (100 km/s/Mpc)^2 / (8 pi G), in 1e10 Msun/h per (Mpc/h)^3, for every h."""

T_CMB = 2.7255
"""Temperature of the cosmic microwave background in K (Fixsen 2009)."""

OMEGA_GAMMA = 2.4729753e-5
"""Omega_photon h^2 at T_CMB (CODATA 2018 constants)."""

N_EFF = 3.044
"""Effective number of neutrino species (Froustey, Pitrou & Volpe 2020; Bennett et al. 2021)."""

N_NU = 3
"""Neutrino species that share N_EFF and the mass sum equally."""

K_BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant in eV/K (exact to the digits shown)."""

T_NU = T_CMB * (4.0 / 11.0) ** (1.0 / 3.0) * (N_EFF / N_NU) ** 0.25
"""Neutrino temperature today in K, raised so that N_NU species carry N_EFF."""

OMEGA_NU_MASSLESS = OMEGA_GAMMA * N_EFF * 7.0 / 8.0 * (4.0 / 11.0) ** (4.0 / 3.0)
"""Omega_nu h^2 of all species together if none had a mass."""

_ZETA_3 = 1.2020569031595942
OMEGA_NU_PER_EV = OMEGA_NU_MASSLESS * 180.0 * _ZETA_3 / (7.0 * math.pi**4) / (N_NU * K_BOLTZMANN_EV * T_NU)
"""Omega_nu h^2 per eV of the mass sum, counting rest mass only: (N_EFF / 3)^0.75 / 94.06."""

K_PIVOT = 0.05
"""Wavenumber at which A_s is quoted, in 1/Mpc (not h/Mpc)."""

ARCMIN = math.pi / 180.0 / 60.0
"""One arc minute in radians."""

DEGREE = math.pi / 180.0
"""One degree in radians."""
