from dataclasses import dataclass

import pytest

from galaxyjax.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """One cache of downloads and compiled code for these tests, never the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALAXYJAX_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def precision():
    """Some verbs switch float64 on, for their process: here it is that of the other tests, too."""
    import jax

    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def command(capsys):
    """Run a command line in this process."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def failed():
    """Assert that a command ended with `code` and one line on stderr holding all the words."""

    def check(outcome: Outcome, *words: str, code: int = 2) -> None:
        assert outcome.code == code
        assert outcome.err.count("\n") == 1 and outcome.err.startswith("galaxyjax: "), outcome.err
        assert "Traceback" not in outcome.err
        for word in words:
            assert word in outcome.err, outcome.err

    return check


@pytest.fixture(scope="session")
def emulator_folder(tmp_path_factory):
    """An untrained but whole emulator of the shelf's family: its spectra are the analytic baseline."""
    import jax

    from galaxyjax.emulator.contract import Constraint, Contract, Input, Output
    from galaxyjax.emulator.store import save
    from galaxyjax.models.spectrum import Spectrum

    model = Spectrum(
        k_nodes=64,
        components=(4, 2, 2, 2, 2),
        shape_widths=(4,),
        growth_widths=(4,),
        boost_widths=(4,),
        suppression_widths=(4,),
    )
    cosmological = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa")
    ranges = {
        "omega_b": (0.019, 0.026, None),
        "omega_cdm": (0.051, 0.255, None),
        "h": (0.6, 0.85, None),
        "n_s": (0.84, 1.1, None),
        "ln10A_s": (1.6, 4.0, None),
        "m_nu": (0.0, 0.5, 0.06),
        "w0": (-1.3, -0.4, -1.0),
        "wa": (-2.0, 0.5, 0.0),
        "logT_AGN": (7.4, 8.3, None),
    }
    contract = Contract(
        name="small_power",
        version="0.0.1",
        description="Untrained, for tests.",
        licence="Apache-2.0",
        family="spectrum",
        hyperparameters=model.hyperparameters(),
        inputs=tuple(Input(name, "", *bounds, name) for name, bounds in ranges.items()),
        constraints=(Constraint({"w0": 1.0, "wa": 1.0}, -0.3, "wa", "PPF"),),
        outputs=(
            Output("linear", "(Mpc/h)^3", cosmological, "linear"),
            Output("nonlinear", "(Mpc/h)^3", cosmological, "nonlinear"),
            Output("baryon_suppression", "", (*cosmological, "logT_AGN"), "ratio"),
        ),
        derived=tuple(Output(name, "", cosmological, name) for name in ("sigma_8", "S8", "Omega_m")),
        refused=(),
        k_range=(1e-4, 10.0),
        z_range=(0.0, 3.0),
        truth={"code": "CAMB"},
        calibrated=(),
        error={},
        notes=(),
    )
    folder = tmp_path_factory.mktemp("shelf") / "small_power"
    save(folder, model.init(jax.random.key(0)), contract)
    return folder
