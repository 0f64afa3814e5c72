"""The claims that `run.py` measures: which script prints each, on which line, and what is asked of it."""

from dataclasses import dataclass

NUMBER = r"([-+0-9.eE]+)"


@dataclass(frozen=True)
class Line:
    """A number in what a script prints: `pattern` has one group; asked None: only shown.

    unit: printed after the number. more: whether larger is better.
    """

    claim: str
    pattern: str
    asked: float | None
    more: bool = True
    unit: str = "x"


@dataclass(frozen=True)
class Script:
    """A benchmark with its options and the lines that are claims."""

    name: str
    options: tuple[str, ...]
    lines: tuple[Line, ...]
    needs: str = ""  # a package without which the claims are left out
    data: bool = False  # whether it needs the survey
    long: bool = False  # more than five minutes: with --long only


def speed_line(claim: str, measure: str, output: str, asked: float | None) -> Line:
    return Line(claim, rf"^{measure} +{output} +{output} +\S+ +\S+ +{NUMBER}x", asked)


SCRIPTS = (
    Script(
        "speed",
        (),
        (
            speed_line("1000 linear spectra, over cosmopower-jax", "throughput", "linear", 3.0),
            speed_line("1000 non-linear spectra, over cosmopower-jax", "throughput", "nonlinear", 3.0),
            speed_line("one linear spectrum, over cosmopower-jax", "latency", "linear", 1.0),
            speed_line("one non-linear spectrum, over cosmopower-jax", "latency", "nonlinear", 1.0),
            speed_line(
                "gradient of a non-linear spectrum, over cosmopower-jax", "gradient", "nonlinear", None
            ),
        ),
        needs="cosmopower_jax",
    ),
    Script(
        "likelihood_gradient",
        (),
        (Line("KiDS-1000 posterior: value and gradient over value", rf"^ +1 .*\| +{NUMBER}$", 3.0, False),),
    ),
    Script(
        "fft",
        (),
        (
            Line(
                "FFT of 64³ on 8 devices: error", rf"^pencil .*? \S+ +\S+ +{NUMBER} +1e-06", 1e-6, False, ""
            ),
            Line("FFT of 64³ in slabs: jnp.fft.rfftn takes", rf"^slab 8 x 1 +jnp\S+ +\S+ +{NUMBER} ", 1.0),
            Line("FFT of 64³ in slabs: jaxdecomp takes", rf"^slab 8 x 1 +jaxd.*?\) +\S+ +{NUMBER} ", 1.0),
        ),
    ),
    Script(
        "painting",
        (),
        (
            Line("cloud in cell of random particles, over bincount", rf"^random .* {NUMBER}x +3", 3.0),
            Line("cloud in cell of sorted particles, over bincount", rf"^sorted .* {NUMBER}x +3", 3.0),
        ),
    ),
    Script(
        "field_inference",
        (),
        (Line("voxels a second, over blocks padded by 48 cells", rf": {NUMBER} times", 4.0),),
    ),
    Script(
        "vnet_mesh",
        (),
        (
            Line(
                "memory of a V-Net's gradient over its share and halos",
                rf"over an eighth times the surface factor: {NUMBER},",
                1.0,
                False,
                "",
            ),
        ),
    ),
    Script(
        "particle_mesh",
        ("--no-agreement",),
        tuple(
            Line(f"{mesh}³ force mesh, {which}: {what} of a step over pmpp's", pattern, 1.0, False)
            for mesh in (64, 128)
            for which in ("forward", "gradient")
            for what, pattern in (
                ("time", rf"^ *{mesh}\^3 {which} +\S+ +\S+ +{NUMBER}"),
                ("memory", rf"^ *{mesh}\^3 {which} +\S+ +\S+ +\S+ +\S+ +\S+ +{NUMBER}"),
            )
        ),
        needs="pmpp",
    ),
    Script(
        "baryons",
        ("--only-speed",),
        tuple(
            Line(f"baryon_response over FLAMINGO's package: {what}", rf"^{what} .*? {NUMBER}x +\S+x", 100.0)
            for what in ("one point, one z", "one point, 24 z", "1000 points, one z")
        ),
        needs="FlamingoBaryonResponseEmulator",
    ),
    Script(
        "kids1000_nuts",
        ("--seeds", "0"),
        (
            Line(
                "KiDS-1000, cold process to a converged posterior", rf"cold +{NUMBER} s", 120.0, False, " s"
            ),
            Line(
                "KiDS-1000, NUTS: effective draws a gradient",
                rf"warm .* x \d+ +\d+ +{NUMBER}",
                0.07,
                True,
                "",
            ),
        ),
        data=True,
    ),
    Script(
        "samplers",
        ("--only", "nuts", "mclmc"),
        (
            Line(
                "KiDS-1000, NUTS: effective draws a gradient, 4000 drawn", rf"^nuts +{NUMBER}", 0.07, True, ""
            ),
            Line("KiDS-1000, MCLMC: effective draws a gradient", rf"^mclmc +{NUMBER}", 0.12, True, ""),
            Line(
                "KiDS-1000, MCLMC: largest difference of a mean from NUTS's",
                rf"^mclmc .* {NUMBER} +\S+ +\S+ \S+$",
                0.1,
                False,
                " sigma",
            ),
        ),
        data=True,
    ),
    Script(
        "ess_per_second",
        (),
        tuple(
            Line(
                f"KiDS-1000, {kind}: effective draws a second over {peer}, {way}",
                rf"^{kind} over {peer.split()[0]} .*{mark} {NUMBER}x",
                asked,
            )
            for peer, asked in (("NumPyro with cosmopower-jax", 3.0), ("Cobaya with CAMB", 100.0))
            for kind in ("nuts", "mclmc")
            for way, mark in (("compiling included", "whole"), ("sampling alone", "sampling"))
        ),
        needs="cosmopower_jax",
        data=True,
        long=True,
    ),
    Script(
        "hydro_learning",
        (),
        tuple(
            Line(
                f"hydro_field's recipe, three runs: {name} of two judged runs off by chance, z = {z}",
                rf"^{name} +3 +{z} .* {NUMBER}%$",
                None,
                False,
                "%",
            )
            for name in ("gas", "pressure")
            for z in (2, 0)
        ),
        data=True,
        long=True,
    ),
    Script(
        "calibration",
        ("--folder", "calibration"),
        (
            Line(
                "KiDS-1000, 200 mocks by CAMB: smallest p of the ranks",
                rf"^with the emulator's error: .*smallest p {NUMBER}",
                0.01 / 13,
                True,
                "",
            ),
        ),
        data=True,
        long=True,
    ),
    Script(
        "bandpowers",
        (),
        (
            Line(
                "KiDS-1000 band powers against pyccl, near the best fit, over sigma",
                rf"^A_IA \+1, .*likelihood's +{NUMBER} ",
                0.02,
                False,
                "",
            ),
        ),
        needs="pyccl",
        data=True,
    ),
    Script(
        "fisher",
        (),
        (
            Line(
                "Fisher sigmas against differences of CAMB",
                rf"^largest difference: sigma {NUMBER}%",
                1.0,
                False,
                "%",
            ),
            Line(
                "Fisher matrix of 12 parameters, compiling included",
                rf": {NUMBER} s by derivatives",
                None,
                False,
                " s",
            ),
            Line(
                "the same by finite differences of CAMB", rf"included, {NUMBER} s by CAMB", None, False, " s"
            ),
        ),
        needs="camb",
        long=True,
    ),
    Script(
        "gradients",
        (),
        (
            Line(
                "matter_power: largest error of a slope of linear P",
                rf"^largest of linear: {NUMBER}",
                1.0,
                False,
                "%",
            ),
            Line(
                "matter_power: largest error of a slope of non-linear P",
                rf"^largest of nonlinear: {NUMBER}",
                1.0,
                False,
                "%",
            ),
        ),
        needs="camb",
        long=True,
    ),
    Script(
        "nbody_convergence",
        ("--only", "steps", "force"),
        (
            Line(
                "truth of nbody_field, twice the steps, to k = 1",
                rf"^\d+ steps .* {NUMBER}% +0.5% to 1",
                0.5,
                False,
                "%",
            ),
            Line(
                "the same, force mesh twice as fine, to k = 0.5",
                rf"times finer .*?\)(?: +\S+%){{3}} +{NUMBER}%",
                2.0,
                False,
                "%",
            ),
        ),
        long=True,
    ),
    Script(
        "field_level",
        (),
        tuple(
            Line(
                f"32³ field level, {group}: evaluations a sample over the published",
                rf"^ +{group} .*: {NUMBER}$",
                1.0,
                False,
            )
            for group in ("cosmology", "bias", "initial modes")
        ),
        long=True,
    ),
    Script(
        "mass_map",
        (),
        (Line("mass map of kappaTNG: pixel r over Wiener's", rf"over Wiener's: {NUMBER}$", 1.0),),
        data=True,
        long=True,
    ),
    Script(
        "npe",
        ("--only", "gaussian"),
        tuple(
            Line(
                f"posterior from maps: width of {name} over Fisher's bound",
                rf"width of {name} over .*: {NUMBER}",
                1.2,
                False,
            )
            for name in ("ln_amplitude", "slope")
        )
        + (
            Line(
                "posterior from maps: TARP over its sampling band",
                rf"TARP over \d+: {NUMBER} of",
                1.0,
                False,
                "",
            ),
        ),
        long=True,
    ),
)
