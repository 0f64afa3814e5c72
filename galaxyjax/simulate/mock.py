"""A mock cosmic-shear survey made from the truth: CAMB's spectrum, never an emulator's.

Five tomographic bins in analytic form, Gaussian noise and cosmic variance of a survey like KiDS-1000 in depth
and area, one noise realisation from a frozen seed. The package ships the result (`load_mock`), so that an
installation without data and without CAMB still has something honest to analyse. `galaxyjax simulate mock`
makes it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gamma

import galaxyjax.data
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.files import read_json, write_json
from galaxyjax.core.units import ARCMIN, DEGREE
from galaxyjax.data.survey import ShearSurvey, load_survey
from galaxyjax.simulate import boltzmann
from galaxyjax.theory.bandpowers import band_edges, band_filters
from galaxyjax.theory.limber import Extension
from galaxyjax.theory.shear import Resolution, Shear

SHIPPED = Path(galaxyjax.data.__file__).parent / "mock_shear.npz"
TRUTH_FILE = "mock_shear_truth.json"
NOTE = "A mock: spectra from CAMB, analytic redshift distributions, Gaussian noise. Not data of any survey."
TRUTH = {
    "omega_b": 0.0224,
    "omega_cdm": 0.119,
    "h": 0.69,
    "n_s": 0.966,
    "ln10A_s": 2.95,
    "m_nu": 0.06,
    "w0": -1.0,
    "wa": 0.0,
    "logT_AGN": 7.8,
    "A_IA": 0.6,
}


@dataclass(frozen=True)
class MockSurvey:
    """What the mock is. n_eff: galaxies per square arcmin in each bin; sigma_e: scatter of a shear component.

    n_i(z) ~ z^alpha exp[-(z / z_0)^beta] (Smail, Ellis & Fitchett 1994) with mean redshift mean_z.
    """

    truth: dict[str, float] = field(default_factory=lambda: dict(TRUTH))
    seed: int = 1000
    area: float = 777.0  # square degrees
    sigma_e: float = 0.27
    n_eff: tuple[float, ...] = (0.6, 1.2, 1.6, 1.3, 1.3)
    mean_z: tuple[float, ...] = (0.26, 0.40, 0.56, 0.79, 0.95)
    alpha: tuple[float, ...] = (3.0, 5.0, 6.0, 7.0, 7.0)
    beta: float = 2.5
    z_width: float = 0.05
    z_end: float = 3.0
    bands: int = 8
    ell_range: tuple[float, float] = (100.0, 1500.0)
    theta_range: tuple[float, float] = (0.5, 300.0)  # arcmin
    apodisation: float = 0.5
    shift_sigma: float = 0.01
    k_max: float = 45.0  # h/Mpc, of CAMB's table; a power law beyond
    resolution: Resolution = Resolution(n_z=64, n_ell=64, n_gauss=5)

    @property
    def pairs(self) -> np.ndarray:
        """(npair, 2) bins counted from 1, in the order of the data."""
        nbin = len(self.n_eff)
        return np.array([(i, j) for i in range(1, nbin + 1) for j in range(i, nbin + 1)])

    @property
    def z_edges(self) -> np.ndarray:
        """Edges of the redshift histogram."""
        return self.z_width * np.arange(round(self.z_end / self.z_width) + 1)

    @property
    def noise(self) -> np.ndarray:
        """(nbin,) shape-noise spectra sigma_e^2 / n_eff, in steradians."""
        return self.sigma_e**2 * ARCMIN**2 / np.asarray(self.n_eff)

    @property
    def f_sky(self) -> float:
        """Share of the sky."""
        return self.area * DEGREE**2 / (4.0 * np.pi)


def smail(z, mean: float, alpha: float, beta: float) -> np.ndarray:
    """n(z) ~ z^alpha exp[-(z / z_0)^beta] with unit integral and the mean redshift asked for."""
    z_0 = mean * gamma((alpha + 1.0) / beta) / gamma((alpha + 2.0) / beta)
    norm = beta / (z_0 * gamma((alpha + 1.0) / beta))
    return norm * (np.asarray(z, float) / z_0) ** alpha * np.exp(-((np.asarray(z, float) / z_0) ** beta))


def make_mock(spec: MockSurvey = MockSurvey()) -> tuple[ShearSurvey, dict]:
    """The survey and its truth: parameters, derived values, C_ell (npair, nell) at ell, settings; takes 30 s.

    Raises ConfigError when CAMB is not installed.
    """
    template = _survey(spec, np.ones(len(spec.pairs) * spec.bands), np.eye(len(spec.pairs) * spec.bands))
    shear = Shear.from_survey(template, spec.resolution, Extension(k_max=spec.k_max, z_max=spec.z_end))
    theta = {name: value for name, value in spec.truth.items() if name in boltzmann.PARAMETERS}
    cosmology = Cosmology.from_mapping({name: value for name, value in theta.items() if name != "logT_AGN"})
    k = np.geomspace(1e-4, spec.k_max, 800)
    spectra = boltzmann.power(theta, [0.0, *shear.z_nodes], k, ("nonlinear_baryons",))
    splines = [CubicSpline(np.log(k), np.log(row)) for row in spectra["nonlinear_baryons"][1:]]

    def power(k_asked, z):
        # The redshifts asked for are the nodes CAMB was run at, row by row.
        log_k = np.log(np.maximum(np.asarray(k_asked, float), k[0]))
        return jnp.asarray(np.exp([spline(row) for spline, row in zip(splines, log_k, strict=True)]))

    table = shear.table(power, cosmology)
    shift = jnp.zeros(template.nbin)
    c_ell = np.asarray(shear.angular_power(table, cosmology, shift, spec.truth["A_IA"]), float)
    sigma_8 = float(spectra["sigma8"][0])
    Omega_m = float(cosmology.Omega_m)
    truth = {
        "parameters": dict(spec.truth),
        "derived": {"sigma_8": sigma_8, "Omega_m": Omega_m, "S8": sigma_8 * (Omega_m / 0.3) ** 0.5},
        "spec": {name: value for name, value in asdict(spec).items() if name != "truth"},
        "camb": boltzmann.CambSettings().as_dict(),
        "ell": shear.ell_nodes.tolist(),
        "c_ell": c_ell.tolist(),
        "signal": (c_ell @ shear.bands.T).ravel().tolist(),
    }
    return observe(spec, shear.ell_nodes, c_ell, np.asarray(truth["signal"])), truth


def observe(spec: MockSurvey, ell, c_ell, signal) -> ShearSurvey:
    """The survey with its covariance and one noise realisation. signal: (ndata,) without noise."""
    covariance = gaussian_covariance(spec, ell, c_ell)
    sigma = np.sqrt(np.diag(covariance))
    factor = np.linalg.cholesky(covariance / np.outer(sigma, sigma))
    noise = sigma * (factor @ np.random.default_rng(spec.seed).standard_normal(len(sigma)))
    return _survey(spec, np.asarray(signal, float) + noise, covariance)


def gaussian_covariance(spec: MockSurvey, ell, c_ell) -> np.ndarray:
    """Covariance (ndata, ndata) of band powers from shape noise and the cosmic variance of a Gaussian field.

    ell: (nell,) nodes, c_ell: (npair, nell) without noise. A multipole has (2 ell + 1) f_sky modes. E modes
    of signal and noise enter through W_EE, B modes (noise alone) through W_EB = W+ - W-. Left out: the mask's
    shape, super-sample and non-Gaussian parts (Joachimi et al. 2021, A&A 646, A129 has them for KiDS-1000).
    """
    edges = band_edges(*spec.ell_range, spec.bands)
    fine, plus, minus = band_filters(edges, spec.theta_range, spec.apodisation)
    seen = (fine > 0.5) & (fine < 1e6)
    fine, plus, minus = fine[seen], plus[:, seen], minus[:, seen]
    measure = np.gradient(np.log(fine)) * fine**3 / ((2.0 * fine + 1.0) * spec.f_sky)
    norm = 2.0 * np.log(edges[1:] / edges[:-1])[:, None]
    filters = {"E": (plus + minus) / norm, "B": (plus - minus) / norm}

    bins = spec.pairs - 1
    nbin = len(spec.n_eff)
    inside = (fine >= ell[0]) & (fine <= ell[-1])
    signal = np.zeros((nbin, nbin, len(fine)))
    smooth = CubicSpline(np.log(ell), np.asarray(c_ell) * ell, axis=1)(np.log(fine[inside])) / fine[inside]
    for (i, j), row in zip(bins, smooth, strict=True):
        signal[i, j, inside] = signal[j, i, inside] = row
    noise = np.diag(spec.noise)[..., None] * np.ones(len(fine))

    blocks = np.zeros((len(bins), len(bins), spec.bands, spec.bands))
    for mode, spectrum in (("E", signal + noise), ("B", noise)):
        weighted = filters[mode] * measure
        for a, (i, j) in enumerate(bins):
            for b, (m, n) in enumerate(bins[: a + 1]):
                product = spectrum[i, m] * spectrum[j, n] + spectrum[i, n] * spectrum[j, m]
                if np.any(product):
                    block = (weighted * product) @ filters[mode].T
                    blocks[a, b] += block
                    if a != b:
                        blocks[b, a] += block.T
    covariance = blocks.transpose(0, 2, 1, 3).reshape(len(bins) * spec.bands, -1)
    return 0.5 * (covariance + covariance.T)


def write_mock(path: str | Path = SHIPPED, spec: MockSurvey = MockSurvey()) -> Path:
    """Make the mock and write it to `path`, with its truth beside it as JSON."""
    path = Path(path)
    survey, truth = make_mock(spec)
    write_json(path.parent / TRUTH_FILE, truth)
    survey.save(path)
    return path


def load_mock() -> ShearSurvey:
    """The mock survey that the package ships; needs neither CAMB nor a network."""
    return load_survey(SHIPPED)


def load_truth() -> dict:
    """The truth of the shipped mock: parameters, derived values, C_ell at ell, noiseless signal, settings."""
    return read_json(SHIPPED.parent / TRUTH_FILE)


def _survey(spec: MockSurvey, data, covariance) -> ShearSurvey:
    edges = spec.z_edges
    middles = 0.5 * (edges[1:] + edges[:-1])
    nbin = len(spec.n_eff)
    return ShearSurvey(
        name="mock",
        z_low=edges[:-1],
        z_mid=middles,
        z_high=edges[1:],
        nz=np.stack([smail(middles, m, a, spec.beta) for m, a in zip(spec.mean_z, spec.alpha, strict=True)]),
        pairs=spec.pairs,
        ell_edges=band_edges(*spec.ell_range, spec.bands),
        theta_range=spec.theta_range,
        apodisation=spec.apodisation,
        data=data,
        covariance=covariance,
        shift_mean=np.zeros(nbin),
        shift_covariance=spec.shift_sigma**2 * np.eye(nbin),
        note=NOTE,
    )
