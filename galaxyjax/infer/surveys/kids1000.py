"""The published KiDS-1000 cosmic-shear analysis, as a configuration.

    galaxyjax infer kids1000 --out chains/kids1000

Priors, scales, model and covariance are those of Asgari et al. 2021 (A&A 645, A104) and Joachimi et al. 2021
(A&A 646, A129), with the band powers. Differences, each on purpose:

- HMcode2020 with feedback (Mead et al. 2021) in place of HMcode2016. There A_bary was flat in [2, 3.13] with
  eta_0 = 0.98 - 0.12 A_bary, and 3.13 meant no feedback. Here logT_AGN is flat in [7.6, 8.0], where
  HMcode2020 was calibrated on BAHAMAS; its mildest value still suppresses the spectrum. The 2020 version also
  treats wiggles, massive neutrinos and halo concentrations differently: 2016 is off by up to 5%, 2020 by
  2.5%, against simulations.
- ln10A_s is limited to the emulator's [1.6, 4.0], which cuts corners of the flat prior in S8 (low Omega_m,
  high n_s).
- The emulator's measured error is added to the covariance.
- `baryons` puts FLAMINGO's measured response in place of HMcode's feedback: flat in the gas fractions' offset
  -8 to 2 sigma, stars and jets as in FLAMINGO's fiducial model unless given a range; its stated error,
  averaged over that prior, is added to the covariance.
- The masses of three degenerate neutrinos sum to 0.06 eV (there, normal hierarchy).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.data.joint import JointSurvey
from galaxyjax.data.survey import ShearSurvey
from galaxyjax.emulator.baryons import with_baryons
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.infer.distances import Distances
from galaxyjax.infer.joint import JointModel
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal, Distribution, Fixed, Prior, Uniform
from galaxyjax.infer.shear import ShearModel, likelihood_of, shift_names
from galaxyjax.theory.limber import Extension
from galaxyjax.theory.shear import Resolution, Shear

Range = tuple[float, float]
Survey = ShearSurvey | JointSurvey
FEEDBACK = ("sigma_gas", "sigma_star", "jet")

PUBLISHED = {
    "S8": {"value": 0.760, "plus": 0.016, "minus": 0.038},
    "statistic": "band powers; maximum posterior with projected joint highest-density interval",
    "source": "Asgari et al. 2021, A&A 645, A104",
}
"""The published result, to be stated beside ours. Ours is a marginal mean with another HMcode: compare with
care.
"""


@dataclass(frozen=True)
class KiDS1000:
    """Flat LCDM from the KiDS-1000 band powers; (low, high) is a flat prior, a single number is held fixed.

    The shifts of n(z) have the survey's correlated normal prior. The shear calibration's uncertainty is in
    the covariance already and is not marginalised again. The same configuration serves any survey of the same
    kind.
    """

    S8: Range = (0.1, 1.3)
    omega_cdm: Range = (0.051, 0.2)
    omega_b: Range = (0.019, 0.026)
    h: Range = (0.64, 0.82)
    n_s: Range = (0.84, 1.1)
    A_IA: Range = (-6.0, 6.0)
    eta_IA: Range | float = 0.0  # A_IA evolves as ((1 + z) / 1.62)^eta_IA
    logT_AGN: Range = (7.6, 8.0)
    m_nu: float = 0.06  # eV
    w0: float = -1.0
    wa: float = 0.0
    output: str | None = None  # "nonlinear_baryons"; with baryons, and only then, "nonlinear" unless said
    baryons: str | None = None  # a response emulator in place of logT_AGN, e.g. "baryon_response"
    sigma_gas: Range | float = (-8.0, 2.0)
    sigma_star: Range | float = 0.0
    jet: Range | float = 0.0
    emulator_error: bool = True  # add the emulator's measured error to the covariance
    k_max: float = 10.0  # h/Mpc; a power law beyond
    z_max: float = 3.0  # the P integral stops here, lensing efficiencies use all of n(z)

    def __post_init__(self):
        for name in ("S8", "omega_cdm", "omega_b", "h", "n_s", "A_IA", "eta_IA", "logT_AGN", *FEEDBACK):
            value = getattr(self, name)
            if isinstance(value, list):  # JSON knows no tuples
                object.__setattr__(self, name, tuple(value))
            elif not isinstance(value, (tuple, int, float)):
                raise ConfigError(
                    f"KiDS1000.{name} is {value!r}; give (low, high), or a number to hold it fixed"
                )
        if self.output is None:
            object.__setattr__(self, "output", "nonlinear" if self.baryons else "nonlinear_baryons")
        if self.baryons and self.output != "nonlinear":
            raise ConfigError(
                f"KiDS1000: baryons = {self.baryons!r} with output = {self.output!r}, whose logT_AGN "
                "describes the same effect; leave out one"
            )

    def prior(self, survey: Survey) -> Prior:
        """The joint prior of cosmological and nuisance parameters."""
        flat = {n: _term(getattr(self, n)) for n in ("S8", "omega_cdm", "omega_b", "h", "n_s", "A_IA")}
        if self.output == "nonlinear_baryons":
            flat["logT_AGN"] = _term(self.logT_AGN)
        if self.baryons:
            flat |= {name: _term(getattr(self, name)) for name in FEEDBACK}
        if self.eta_IA != 0.0:
            flat["eta_IA"] = _term(self.eta_IA)
        shear = survey.shear
        shifts = CorrelatedNormal(shear.shift_mean, shear.shift_covariance)
        fixed = {name: Fixed(getattr(self, name)) for name in ("m_nu", "w0", "wa")}
        return Prior({**flat, shift_names(shear.nbin): shifts, **fixed})

    def model(self, emulator: Emulator, survey: Survey) -> ShearModel:
        """Band powers from named values; a value outside the emulator's domain is clipped, and flagged."""
        extension = Extension(k_max=self.k_max, z_max=self.z_max)
        shear = Shear.from_survey(survey.shear, Resolution(), extension)
        if self.baryons:
            emulator = with_baryons(emulator, self.baryons).for_prior(self._feedback())
        emulator = emulator.with_policy("clip")
        if survey.distances:
            return JointModel(emulator, shear, self.output, Distances(survey.distances))
        return ShearModel(emulator, shear, self.output)

    def _feedback(self) -> dict[str, np.ndarray]:
        """A lattice of the flat prior of the baryons' parameters, over which their error is averaged."""
        ends = (np.broadcast_to(getattr(self, name), 2) for name in FEEDBACK)
        axes = (np.linspace(*end, 33) if end[0] < end[1] else end[:1] for end in ends)
        return dict(zip(FEEDBACK, np.meshgrid(*axes), strict=True))

    def fiducial(self, survey: Survey) -> Mapping[str, float]:
        """Where the emulator's error is projected: near the published best fit, shifts at their means."""
        middle = {
            "S8": 0.76, "omega_cdm": 0.118, "omega_b": 0.0225, "h": 0.71, "n_s": 0.95, "A_IA": 1.0,
            "logT_AGN": 7.8, "m_nu": self.m_nu, "w0": self.w0, "wa": self.wa,
        }  # fmt: skip
        if self.baryons:
            middle |= {name: float(np.mean(getattr(self, name))) for name in FEEDBACK}
        if self.eta_IA != 0.0:
            middle["eta_IA"] = float(np.mean(self.eta_IA))
        shear = survey.shear
        return middle | dict(zip(shift_names(shear.nbin), shear.shift_mean.tolist(), strict=True))

    def posterior(self, emulator: Emulator, survey: Survey) -> Posterior:
        """Prior, emulator, projection and likelihood in one pure function."""
        model = self.model(emulator, survey)
        likelihood = likelihood_of(model, survey, self.fiducial(survey) if self.emulator_error else None)
        return Posterior(
            prior=self.prior(survey),
            log_likelihood=lambda values: model.log_likelihood(values, likelihood),
            derived=model.derived,
            identity=f"{self!r}\n{model.emulator.contract.digest}\n{survey_digest(survey)}",
        )

    def as_dict(self) -> dict:
        """Plain values for JSON; ``KiDS1000(**values)`` takes them back."""
        return asdict(self)


def survey_digest(survey: Survey) -> str:
    """SHA-256 of a survey's numbers."""
    digest, shear = sha256(), survey.shear
    arrays = (shear.data, shear.covariance, shear.z_mid, shear.nz, shear.shift_mean)
    for array in (*arrays, *(a for part in survey.distances for a in (part.z, part.data, part.covariance))):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _term(value) -> Distribution:
    return Fixed(float(value)) if isinstance(value, (int, float)) else Uniform(*map(float, value))
