"""Matter power spectra from CAMB: the truth that `matter_power` learns and is judged by.

CAMB (Lewis, Challinor & Lasenby 2000) gives the linear transfer functions, HMcode2020 (Mead et al.
2021, MNRAS 502, 1401) the non-linear spectrum and, with feedback, the effect of baryons.
Spectra are of total matter, massive neutrinos included.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from galaxyjax.core.errors import ConfigError, DomainError, unknown_name

OUTPUTS = ("linear", "nonlinear", "nonlinear_baryons", "baryon_suppression")
DEFAULTS = {"m_nu": 0.06, "w0": -1.0, "wa": 0.0, "logT_AGN": 7.8}
BACKGROUND = ("omega_b", "omega_cdm", "h", "m_nu", "w0", "wa")
PARAMETERS = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa", "logT_AGN")


@dataclass(frozen=True)
class CambSettings:
    """How CAMB is run; written into every truth file and into the emulator's contract.

    `time_switch_boost` = 2 costs nothing and removes most of what AccuracyBoost = 2 would: at the default
    the late-radiation truncation moves the acoustic wiggles by up to 1.2e-3. `transfer_k_boost` = 2 halves
    the k spacing above the wiggles, where HMcode's boost bends (1.1e-3 to 7e-4). `l_accuracy_boost` = 2 takes
    the longer hierarchy of massive neutrinos: P changes by 4e-4 at most, but at 1 it jumps with m_nu.
    """

    kmax_h: float = 50.0  # largest wavenumber of the transfer functions, h/Mpc
    accuracy_boost: float = 1.0
    time_switch_boost: float = 2.0
    transfer_k_boost: float = 2.0
    l_accuracy_boost: float = 1.0
    N_eff: float = 3.044
    T_cmb: float = 2.7255
    massive_neutrinos: int = 3
    hierarchy: str = "degenerate"
    dark_energy: str = "ppf"
    nonlinear: str = "mead2020"
    baryons: str = "mead2020_feedback"

    def as_dict(self) -> dict:
        """The settings with CAMB's version, for metadata."""
        return {"code": "CAMB", "version": _camb().__version__, **asdict(self)}


def _camb():
    try:
        import camb
    except ImportError as missing:
        raise ConfigError("CAMB is not installed: pip install 'galaxyjax[camb]'") from missing
    return camb


def transfer(theta, z, settings: CambSettings = CambSettings()):
    """CAMB results holding the linear transfer functions of one cosmology at all redshifts.

    Args:
        theta: mapping with omega_b, omega_cdm, h and optionally m_nu (eV), w0, wa.
        z: (nz,) redshifts.
    """
    camb = _camb()
    theta = {**DEFAULTS, **theta}
    pars = _parameters(theta, settings)
    pars.InitPower.set_params(As=2e-9, ns=0.965)
    # CAMB's kmax is in 1/Mpc, whatever the units of what it returns.
    kmax = settings.kmax_h * float(theta["h"])
    redshifts = sorted({float(value) for value in np.atleast_1d(z)}, reverse=True)
    pars.set_matter_power(redshifts=redshifts, kmax=kmax, silent=True)
    pars.set_accuracy(AccuracyBoost=settings.accuracy_boost, lAccuracyBoost=settings.l_accuracy_boost)
    pars.Accuracy.TimeSwitchBoost = settings.time_switch_boost
    pars.Accuracy.TransferkBoost = settings.transfer_k_boost
    pars.WantCls = False
    pars.NonLinear = camb.model.NonLinear_none
    return camb.get_transfer_functions(pars)


def background(theta, settings: CambSettings = CambSettings()):
    """CAMB results without perturbations: distances, H(z) and r_drag; theta as for `transfer`."""
    return _camb().get_background(_parameters({**DEFAULTS, **theta}, settings))


def _parameters(theta, settings: CambSettings):
    """CAMB's parameters of one expansion history."""
    camb = _camb()
    pars = camb.CAMBparams()
    m_nu = float(theta["m_nu"])
    pars.set_cosmology(
        H0=100.0 * float(theta["h"]),
        ombh2=float(theta["omega_b"]),
        omch2=float(theta["omega_cdm"]),
        omk=0.0,
        mnu=m_nu,
        nnu=settings.N_eff,
        TCMB=settings.T_cmb,
        num_massive_neutrinos=settings.massive_neutrinos if m_nu > 0 else 0,
        neutrino_hierarchy=settings.hierarchy,
    )
    pars.set_dark_energy(w=float(theta["w0"]), wa=float(theta["wa"]), dark_energy_model=settings.dark_energy)
    return pars


@lru_cache(maxsize=1)
def _last_transfer(background: tuple, z: tuple, settings: CambSettings):
    """One transfer function kept: calls that differ in ln10A_s, n_s or logT_AGN alone cost milliseconds."""
    return transfer(dict(background), z, settings)


def set_primordial(results, ln10A_s: float, n_s: float) -> None:
    """Gives an existing transfer function another primordial spectrum (pivot 0.05/Mpc)."""
    results.Params.InitPower.set_params(As=1e-10 * np.exp(float(ln10A_s)), ns=float(n_s))
    results.calc_power_spectra()


def linear_table(results):
    """k (nk,) in h/Mpc, z (nz,) ascending, P (nz, nk) in (Mpc/h)^3 at CAMB's own wavenumbers."""
    k, z, power = results.get_linear_matter_power_spectrum(hubble_units=True, k_hunit=True)
    return np.asarray(k), np.asarray(z), np.asarray(power)


def nonlinear_table(results, version: str, logT_AGN: float | None = None):
    """As `linear_table`, for an HMcode version; logT_AGN only matters with feedback."""
    # CAMB keeps the non-linear ratio of its last power spectra: without calc_power_spectra a new version
    # would be answered with the previous one (get_matter_power_interpolator does so).
    options = {} if logT_AGN is None else {"HMCode_logT_AGN": float(logT_AGN)}
    results.Params.NonLinearModel.set_params(halofit_version=version, **options)
    results.calc_power_spectra()
    k, z, power = results.get_nonlinear_matter_power_spectrum(hubble_units=True, k_hunit=True)
    return np.asarray(k), np.asarray(z), np.asarray(power)


def resample(k_table, table, k):
    """ln table at new wavenumbers: cubic spline of the logarithm in ln k, rows independent."""
    return CubicSpline(np.log(k_table), np.log(table), axis=-1)(np.log(k))


def power(theta, z, k, outputs=OUTPUTS, settings: CambSettings = CambSettings()) -> dict[str, np.ndarray]:
    """Spectra of one cosmology from CAMB.

    Args:
        theta: mapping of `PARAMETERS` (m_nu, w0, wa, logT_AGN have defaults).
        z: (nz,) redshifts; k: (nk,) wavenumbers in h/Mpc, at most `settings.kmax_h`.
        outputs: names among `OUTPUTS`.

    Returns:
        output -> (nz, nk) in (Mpc/h)^3 (the suppression has no unit), and "sigma8" -> (nz,).

    Raises:
        UnknownName: a parameter or output that CAMB is not asked for here.
        DomainError: k beyond the transfer functions.
    """
    for name in theta:
        if name not in PARAMETERS:
            raise unknown_name("parameter", name, PARAMETERS)
    for name in outputs:
        if name not in OUTPUTS:
            raise unknown_name("output", name, OUTPUTS)
    theta = {**DEFAULTS, **theta}
    z, k = np.atleast_1d(np.asarray(z, float)), np.asarray(k, float)
    if k.max() > settings.kmax_h:
        raise DomainError(
            f"k = {k.max():g} h/Mpc exceeds the transfer functions' {settings.kmax_h:g}: raise kmax_h"
        )
    results = _last_transfer(tuple((n, float(theta[n])) for n in BACKGROUND), tuple(z.tolist()), settings)
    set_primordial(results, theta["ln10A_s"], theta["n_s"])
    k_table, z_table, linear = linear_table(results)
    rows = [int(np.argmin(np.abs(z_table - value))) for value in z]
    spectra = {"linear": np.exp(resample(k_table, linear[rows], k))}
    if {"nonlinear", "baryon_suppression"} & set(outputs):
        _, _, table = nonlinear_table(results, settings.nonlinear)
        spectra["nonlinear"] = np.exp(resample(k_table, table[rows], k))
    if {"nonlinear_baryons", "baryon_suppression"} & set(outputs):
        _, _, table = nonlinear_table(results, settings.baryons, theta["logT_AGN"])
        spectra["nonlinear_baryons"] = np.exp(resample(k_table, table[rows], k))
    if "baryon_suppression" in outputs:
        spectra["baryon_suppression"] = spectra["nonlinear_baryons"] / spectra["nonlinear"]
    sigma8 = np.asarray(results.get_sigma8())[::-1]  # CAMB lists it from early to late
    return {**{name: spectra[name] for name in outputs}, "sigma8": sigma8[rows]}


def smooth_power(theta, z, k, outputs=OUTPUTS) -> dict[str, np.ndarray]:
    """As `power`, with settings whose finite differences mean something.

    At the default settings P jumps by 4e-4 with m_nu (the neutrinos' hierarchy gains a multipole), which over
    a step of 0.05 eV is 2% of d ln P / d m_nu.
    """
    return power(theta, z, k, outputs, CambSettings(l_accuracy_boost=2.0))
