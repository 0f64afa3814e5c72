"""A Cobaya theory that answers from an emulator what CAMB or CLASS would be asked.

    theory:
      galaxyjax.infer.adapters.cobaya_theory.MatterPower:
        emulator: matter_power
        nonlinear: nonlinear_baryons

Cobaya (Torrado & Lewis 2021, JCAP 05, 057) counts k in 1/Mpc, P in Mpc^3 and distances in Mpc; here is the
conversion. A cosmology outside the emulator's domain gets zero likelihood, anything else that is wrong stops
the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace

import jax
import numpy as np
from cobaya.theories.cosmo import BoltzmannBase
from cobaya.tools import Pool1D, Pool2D, str_to_list

import galaxyjax
from galaxyjax.core.errors import ConfigError, DomainError
from galaxyjax.core.synonyms import SYNONYMS, translate
from galaxyjax.core.units import C_KM_S
from galaxyjax.infer import parameters
from galaxyjax.infer.adapters import products

BACKGROUND = (
    "Hubble",
    "angular_diameter_distance",
    "comoving_radial_distance",
    "angular_diameter_distance_2",
)
AMPLITUDES = ("sigma8_z", "fsigma8")
PRODUCTS = ("Pk_grid", "Pk_interpolator", *AMPLITUDES, *BACKGROUND)
DERIVED = {
    "sigma8": "sigma_8",
    "S8": "S8",
    "omegam": "Omega_m",
    "H0": "H0",
    "h": "h",
    "A_s_1e9": "A_s_1e9",
    "ln10A_s": "ln10A_s",
}
MATTER = ("delta_tot", "delta_tot")
LEAST_REDSHIFTS = 4  # of Cobaya's interpolator
SLOPE_FROM = 0.8  # the power law beyond k_max has the slope between this share of k_max and k_max


class MatterPower(BoltzmannBase):
    """Total matter's P(k, z), sigma_8, f sigma_8, expansion and distances of flat w0waCDM.

    Parameters may bear the names of CAMB (ombh2, omch2, H0, ns, As, mnu, w, wa), of Cobaya's own examples or
    ours. Where several components could give the same product, `provides` (a list) is all that this one
    offers; `prefix` renames its products and derived parameters, and `provider.get_result("<prefix>Pk_grid",
    nonlinear=True)` reads them.
    """

    emulator: str = "matter_power"
    """A name on the shelf, or a folder."""
    linear: str = "linear"
    """The output that `nonlinear: False` asks for."""
    nonlinear: str = "nonlinear"
    """The output that `nonlinear: True` asks for."""
    nodes: int = 512
    """Wavenumbers of a grid."""
    beyond: str = "refuse"
    """k beyond the emulator's: refuse, or power_law."""
    prefix: str = ""
    provides: list = []
    """All that this theory offers; empty for everything it can."""
    extra_args: dict | None = None
    path: str | None = None
    speed: float = 500.0
    stop_at_error: bool = True

    def initialize(self):
        super().initialize()
        if self.extra_args:
            raise ConfigError(
                f"extra_args {self.extra_args}: an emulator has no precision to set; leave it out"
            )
        if self.beyond not in ("refuse", "power_law"):
            raise ConfigError(f"beyond: {self.beyond!r} is not refuse or power_law")
        self._emulator = galaxyjax.load(self.emulator)
        for output in (self.linear, self.nonlinear):
            self._emulator.contract.output(output)
        self._k_max = self._emulator.contract.k_range[1]  # of the grid, h/Mpc
        self._z: dict[str, np.ndarray] = {}

    # What it takes and gives ------------------------------------------------------------------------------

    def get_allow_agnostic(self):
        return False  # two theories that take anything would be a contradiction to Cobaya

    def get_can_support_params(self):
        contract = self._emulator.contract
        used = {name for output in (self.linear, self.nonlinear) for name in contract.output(output).inputs}
        known = used | set(parameters.COSMOLOGICAL)
        return [n for n in {*known, *SYNONYMS} if SYNONYMS.get(n, n) in known]

    def get_can_provide_methods(self):
        return {} if self.prefix else {name: getattr(self, f"get_{name}") for name in self._offered(PRODUCTS)}

    def get_can_provide(self):
        return [self.prefix + name for name in self._offered(PRODUCTS)] if self.prefix else []

    def get_can_provide_params(self):
        return [self.prefix + name for name in self._offered(DERIVED)]

    def _offered(self, names: Iterable[str]) -> list[str]:
        allowed = str_to_list(self.provides)
        if not allowed:
            return list(names)
        return [name for name in names if name in allowed or self.prefix + name in allowed]

    def get_result(self, result_name, **kwargs):
        return getattr(self, f"get_{result_name.removeprefix(self.prefix)}")(**kwargs)

    def get_param(self, p):
        return super().get_param(p.removeprefix(self.prefix))

    def get_version(self):
        return f"galaxyjax {galaxyjax.__version__}, {self.emulator} {self._emulator.contract.version}"

    # What a run wants -------------------------------------------------------------------------------------

    def initialize_with_params(self):
        super().initialize_with_params()
        values = translate(dict.fromkeys(self.input_params, 1.0))
        z = {"power": np.zeros(1), "sigma8": np.zeros(1)}
        # Shapes only: a name that is missing or says too much is found before the first evaluation.
        jax.eval_shape(
            lambda values: products.products(self._emulator, values, np.ones(1), z, self._outputs()), values
        )

    def must_provide(self, **requirements):
        # Copies: Cobaya takes entries out of what it is handed, and two requests may share one dictionary.
        requirements = {
            name.removeprefix(self.prefix): dict(value) if isinstance(value, Mapping) else value
            for name, value in requirements.items()
        }
        for name, wanted in requirements.items():
            if name in ("Pk_grid", "Pk_interpolator"):
                self._refuse_other_fields(name, wanted)
        super().must_provide(**requirements)
        redshifts = {"power": [], "sigma8": [], "background": []}
        for key, wanted in self._must_provide.items():
            if isinstance(key, tuple):
                redshifts["power"].append(wanted["z"])
                self._reach(wanted["k_max"])
            elif key in (*AMPLITUDES, *BACKGROUND):
                pairs = key == "angular_diameter_distance_2"
                pool = Pool2D(wanted["z_pairs"]) if pairs else Pool1D(wanted["z"])
                self.collectors[key] = SimpleNamespace(z_pool=pool)
                redshifts["sigma8" if key in AMPLITUDES else "background"].append(np.ravel(pool.values))
        self._z = {kind: np.unique(np.concatenate(z)) for kind, z in redshifts.items() if z}
        self._check_redshifts()
        self.check_no_repeated_input_extra()

    def _refuse_other_fields(self, name: str, wanted: dict) -> None:
        for pair in self._norm_vars_pairs(wanted.get("vars_pairs", []), name):
            if pair != MATTER:
                raise ConfigError(f"{name} of {pair}: {self.emulator} gives total matter, {MATTER}, only")

    def _reach(self, k_max: float) -> None:
        """Widen the grid to k_max in 1/Mpc, whatever h; beyond the emulator by a power law, or refused."""
        largest, lowest_h = self._emulator.contract.k_range[1], self._emulator.contract.domain["h"].low
        wanted = float(k_max) / lowest_h
        if wanted > largest and self.beyond == "refuse":
            raise DomainError(
                f"k_max = {k_max:g}/Mpc is {wanted:.4g} h/Mpc at h = {lowest_h:g}, beyond the {largest:g} "
                f"h/Mpc of {self.emulator}: ask for k_max <= {largest * lowest_h:g} (and extrap_kmax where "
                "the likelihood has it), or say `beyond: power_law`"
            )
        self._k_max = max(self._k_max, wanted)

    def _check_redshifts(self) -> None:
        highest = self._emulator.contract.z_range[1]
        for kind in ("power", "sigma8"):
            if kind in self._z and self._z[kind][-1] > highest:
                raise DomainError(
                    f"z = {self._z[kind][-1]:g} is above {highest:g}, the largest redshift of {self.emulator}"
                )
        if "power" in self._z and len(self._z["power"]) < LEAST_REDSHIFTS:
            more = np.linspace(0.0, highest, LEAST_REDSHIFTS + 1)
            self._z["power"] = np.union1d(self._z["power"], more)

    # One evaluation ---------------------------------------------------------------------------------------

    def _outputs(self) -> tuple[str, ...]:
        wanted = [key[1] for key in self._must_provide or () if isinstance(key, tuple)]
        return tuple(self.nonlinear if nonlinear else self.linear for nonlinear in dict.fromkeys(wanted))

    def calculate(self, state, want_derived=True, **params_values_dict):
        values = translate(params_values_dict)
        k = np.geomspace(*self._emulator.contract.k_range, self.nodes)
        found = products.compute(self._emulator, values, k, self._z, self._outputs())
        derived = {name: float(found["derived"][ours]) for name, ours in DERIVED.items()}
        if not np.isfinite(list(derived.values())).all():
            return False  # outside the domain: no likelihood, as of a code that failed
        state["derived_extra"] = derived
        if want_derived:
            state["derived"] = {p: derived[p.removeprefix(self.prefix)] for p in self.output_params}
        h = derived["h"]
        for output, power in found.get("power", {}).items():
            if not np.isfinite(power).all():
                return False
            k_out, power = self._extended(k, power)
            for nonlinear, name in ((False, self.linear), (True, self.nonlinear)):
                if output == name:
                    state[("Pk_grid", nonlinear, *MATTER)] = (k_out * h, self._z["power"], power / h**3)
        self._store_amplitudes(state, found)
        self._store_background(state, found)
        return True

    def _extended(self, k, power):
        """The grid with a power law beyond its last wavenumber, where k_max asks for it."""
        if self._k_max <= k[-1]:
            return k, power
        step = np.log(k[-1] / k[0]) / (len(k) - 1)
        extra = np.geomspace(k[-1], self._k_max, 1 + int(np.ceil(np.log(self._k_max / k[-1]) / step)))[1:]
        start = np.searchsorted(k, SLOPE_FROM * k[-1])
        slope = np.log(power[:, -1:] / power[:, start : start + 1]) / np.log(k[-1] / k[start])
        return np.concatenate([k, extra]), np.hstack([power, power[:, -1:] * (extra / k[-1]) ** slope])

    def _store_amplitudes(self, state, found) -> None:
        for name, ours in (("sigma8_z", "sigma8"), ("fsigma8", "fsigma8")):
            if name in self.collectors:
                at = np.searchsorted(self._z["sigma8"], self.collectors[name].z_pool.values)
                state[name] = found[ours][at]

    def _store_background(self, state, found) -> None:
        for name in (name for name in BACKGROUND if name in self.collectors):
            z = self.collectors[name].z_pool.values
            at = np.searchsorted(self._z["background"], z)
            distance = found["distance"][at]
            if name == "Hubble":
                state[name] = found["hubble"][at] / C_KM_S  # in 1/Mpc
            elif name == "comoving_radial_distance":
                state[name] = distance
            elif name == "angular_diameter_distance":
                state[name] = distance / (1.0 + z)
            else:  # between pairs, in a flat universe
                state[name] = (distance[:, 1] - distance[:, 0]) / (1.0 + z[:, 1])
