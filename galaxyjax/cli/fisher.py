"""`galaxyjax fisher`: forecasts with exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.core.errors import ConfigError, unknown_name

POINTS = 15  # of a profile
REACH = 3.0  # of its grid, in forecast deviations on either side of the best fit


@dataclass(frozen=True)
class Forecast:
    """Forecast the errors of a survey's parameters from exact derivatives of its theory vector.

    Priors count: normal ones (shifts of n(z)) as they are, flat ones as normal ones of the same variance.
    With --profile, the profile likelihood of the data themselves, at the best fit of all other parameters.
    """

    analysis: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ANALYSIS")] = "kids1000"
    """kids1000, or a Python configuration file (see `galaxyjax infer`)."""
    survey: Annotated[
        str | None, tyro.conf.arg(metavar="SURVEY", help_behavior_hint="(default: the analysis's own)")
    ] = None
    """kids1000, mock or a survey's .npz file; further ones after commas, e.g. kids1000,desi_dr2_bao."""
    emulator: Annotated[
        str | None, tyro.conf.arg(metavar="EMULATOR", help_behavior_hint="(default: matter_power)")
    ] = None
    """An emulator on the shelf, or its folder."""
    fix: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="(optional)")] = ()
    """Parameters that are held fixed."""
    set: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="(repeatable)"),
    ] = ()
    """The point of the forecast; the analysis's fiducial point where left out."""
    profile: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="(optional)")
    ] = ()
    """Parameters whose profile likelihood is traced."""
    data_alone: bool = False
    """Leave flat priors out; what the data do not measure then has huge errors, or none."""
    camb: bool = False
    """Repeat the forecast with finite differences of CAMB (minutes); its amplitude is then ln10A_s."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Draw ellipses to FILE.png, .pdf or .svg, and profiles to FILE_profiles beside it."""
    json: bool = False
    """Print all numbers as JSON instead of a table."""

    resume: ClassVar[str] = "nothing was written"

    def run(self) -> None:
        if self.plot is not None and self.plot.suffix not in (".png", ".pdf", ".svg"):
            raise ConfigError(
                f"--plot {self.plot}: no figure format {self.plot.suffix!r}; use .png, .pdf or .svg"
            )
        console.start_jax(x64=True)
        import galaxyjax
        from galaxyjax.cli.infer import configuration, read_survey
        from galaxyjax.infer.fisher import fisher
        from galaxyjax.infer.shear import likelihood_of

        analysis, given = configuration(self.analysis)
        survey = read_survey(self.survey or given["SURVEY"])
        emulator = galaxyjax.load(self.emulator or given["EMULATOR"])
        prior, model = analysis.prior(survey), analysis.model(emulator, survey)
        self._check(prior)
        values = self._point(analysis, survey, prior)
        names = [name for name in prior.names if name not in self.fix]
        likelihood = likelihood_of(
            model, survey, analysis.fiducial(survey) if analysis.emulator_error else None
        )
        flat = not self.data_alone
        if self.camb:
            values, names = _with_amplitude(model, values, names)
        found = {"emulator": fisher(model.vector, likelihood, values, names, prior, flat)}
        if self.camb:
            found["CAMB"] = _differences(model, likelihood, values, names, prior, flat)
        profiles = self._profiles(analysis, survey, emulator, values | dict(analysis.fiducial(survey)), found)
        result = _result(self.analysis, survey, emulator, found, profiles)
        paths = self._draw(survey, found, profiles)
        if self.json:
            console.print_json({**result, "files": [str(path) for path in paths]})
            return
        _show(result)
        for path in paths:
            console.say(f"wrote {path}")

    def _check(self, prior) -> None:
        for option, names in (("--fix", self.fix), ("--profile", self.profile)):
            for name in names:
                if name not in prior.names:
                    raise unknown_name(f"parameter of {option}", name, prior.names)

    def _point(self, analysis, survey, prior) -> dict[str, float]:
        from galaxyjax.cli.predict import settings

        given = settings([word for words in self.set for word in words])
        known = {**prior.fixed, **analysis.fiducial(survey)}
        for name in given:
            if name not in known:
                raise unknown_name("parameter", name, known)
        return {**known, **given}

    def _profiles(self, analysis, survey, emulator, start, found) -> list:
        if not self.profile:
            return []
        import numpy as np

        from galaxyjax.core.progress import Progress
        from galaxyjax.infer.profile import best_fit, profile

        posterior = analysis.posterior(emulator, survey)
        best, _ = best_fit(posterior, {name: start[name] for name in posterior.prior.names})
        sigma, profiles = next(iter(found.values())).sigma, []
        with Progress(len(self.profile), "profiles") as progress:
            for name in self.profile:
                low, high = posterior.prior.bounds[name]
                width = REACH * sigma.get(name, np.inf)
                edges = [max(best[name] - width, -np.inf if low is None else low)]
                edges += [min(best[name] + width, np.inf if high is None else high)]
                if not np.isfinite(edges).all():
                    raise ConfigError(
                        f"--profile {name}: it is held fixed in the forecast; leave it out of --fix"
                    )
                profiles.append(profile(posterior, name, np.linspace(*edges, POINTS), best))
                progress.advance()
        return profiles

    def _draw(self, survey, found, profiles) -> list[Path]:
        if self.plot is None:
            return []
        from galaxyjax.report import forecast, style

        paths = [style.save(forecast.ellipses(found, title=survey.name), self.plot)]
        if profiles:
            path = self.plot.with_stem(f"{self.plot.stem}_profiles")
            paths.append(style.save(forecast.profiles(profiles, title=survey.name), path))
        return paths


def _with_amplitude(model, values, names) -> tuple[dict[str, float], list[str]]:
    """ln10A_s in the place of S8, which a Boltzmann code cannot be given."""
    import jax
    import jax.numpy as jnp

    if "S8" not in values:
        return values, names
    cosmology = jax.jit(model.cosmology)({name: jnp.asarray(value, float) for name, value in values.items()})
    values = {name: value for name, value in values.items() if name != "S8"}
    values["ln10A_s"] = float(cosmology.ln10A_s)
    return values, ["ln10A_s" if name == "S8" else name for name in names]


def _differences(model, likelihood, values, names, prior, flat):
    from galaxyjax.core.progress import Progress
    from galaxyjax.infer.fisher import by_differences
    from galaxyjax.infer.truth import steps, truth_vector

    with Progress(2 * len(names), "CAMB", unit="spectra") as progress:

        def vector(point):
            found = truth_vector(model, point)
            progress.advance()
            return found

        return by_differences(vector, likelihood, values, steps(names), prior, flat)


def _result(analysis, survey, emulator, found, profiles) -> dict:
    first = next(iter(found.values()))
    return {
        "analysis": analysis,
        "data": survey.name,
        "emulator": f"{emulator.contract.name} {emulator.contract.version}",
        "values": dict(zip(first.names, first.values.tolist(), strict=True)),
        "forecasts": {
            name: {
                "sigma": entry.sigma,
                "conditional_sigma": entry.conditional_sigma,
                "names": list(entry.names),
                "matrix": entry.matrix,
                "covariance": entry.covariance,
            }
            for name, entry in found.items()
        },
        "profiles": {
            entry.name: {
                "grid": entry.grid,
                "chi2": entry.chi2,
                "best_fit": entry.best_fit,
                "interval_68": entry.interval(1.0),
                "interval_95": entry.interval(3.841),
            }
            for entry in profiles
        },
    }


def _show(result: dict) -> None:
    forecasts, values = result["forecasts"], result["values"]
    console.say(f"{result['data']}, {result['emulator']}\n")
    first = forecasts["emulator"]
    rows = []
    for name, value in values.items():
        sigma, alone = first["sigma"][name], first["conditional_sigma"][name]
        rows.append([name, console.number(value), console.number(sigma, 3), console.number(alone, 3)])
        if "CAMB" in forecasts:
            rows[-1].append(f"{sigma / forecasts['CAMB']['sigma'][name]:.4f}")
    extra = ["sigma / CAMB's"] if "CAMB" in forecasts else []
    console.table(["", "value", "sigma", "all others known", *extra], rows)
    for name, entry in result["profiles"].items():
        low, high = (("open" if v is None else console.number(v)) for v in entry["interval_68"])
        console.say(f"\nprofile of {name}: {console.number(entry['best_fit'])}, 68% {low} to {high}")
