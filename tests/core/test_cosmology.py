import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prior import HIGH, LOW, NAMES, PLANCK, camb_params, draw

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, UnknownName

points = st.fixed_dictionaries(
    {name: st.floats(low, high) for name, low, high in zip(NAMES, LOW, HIGH, strict=True)}
)
ways = st.tuples(
    st.sampled_from(["h", "H0"]),
    st.sampled_from(["omega_b", "Omega_b"]),
    st.sampled_from(["omega_cdm", "Omega_cdm", "omega_m", "Omega_m"]),
    st.sampled_from(["ln10A_s", "A_s", "logA"]),
)


@given(points, ways)
def test_every_parameterisation_comes_back(point, way):
    """Read a cosmology out in any parameterisation and in again: the same eight numbers."""
    cosmology = Cosmology(**point)
    with jax.enable_x64(True):
        said = {name: cosmology.ln10A_s if name == "logA" else getattr(cosmology, name) for name in way}
        said |= {name: point[name] for name in ("n_s", "m_nu", "w0", "wa")}
        back = Cosmology.from_mapping(said).to_mapping()
    for name, value in point.items():
        # omega_cdm may be the small difference of two larger numbers.
        assert float(back[name]) == pytest.approx(value, rel=1e-13, abs=1e-15), name


@given(points)
def test_densities_add_up(point):
    cosmology = Cosmology(**point)
    assert cosmology.Omega_m == pytest.approx(cosmology.Omega_b + cosmology.Omega_cdm + cosmology.Omega_nu)
    assert cosmology.Omega_cb == pytest.approx((1 - cosmology.f_nu) * cosmology.Omega_m)
    assert cosmology.omega_nu == pytest.approx(point["m_nu"] * (3.044 / 3) ** 0.75 / 94.064, rel=1e-5)
    assert (cosmology.omega_nu == 0.0) == (point["m_nu"] == 0.0)


@pytest.mark.parametrize("m_nu", [0.0, 0.01, 0.06, 0.5])
def test_matter_is_camb_s(m_nu):
    """Omega_m to 2e-5 and omega_nu to the neutrinos' kinetic energy, 1.8e-6."""
    pytest.importorskip("camb")
    cosmology = Cosmology(**PLANCK | {"m_nu": m_nu})
    params = camb_params(cosmology)
    assert cosmology.omega_nu == pytest.approx(params.omnuh2, abs=1.8e-6)
    assert cosmology.Omega_m == pytest.approx(params.omegam, rel=2e-5)


def test_defaults():
    minimal = {name: value for name, value in PLANCK.items() if name != "m_nu"}
    assert Cosmology.from_mapping(minimal) == Cosmology(**minimal, m_nu=0.06, w0=-1.0, wa=0.0)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"omega_cmd": 0.1}, UnknownName, "unknown parameter 'omega_cmd': did you mean omega_cdm"),
        ({"H0": 67.0}, ConfigError, "h and H0 both fix the hubble"),
        ({"Omega_m": 0.3}, ConfigError, "omega_cdm and Omega_m both fix the matter"),
        ({"A_s": 2e-9}, ConfigError, "ln10A_s and A_s both fix the amplitude"),
        ({"S8": 0.8}, ConfigError, "S8: its ln10A_s follows only from a spectrum"),
        ({"omega_b": None}, ConfigError, "nothing fixes the baryons: give omega_b or Omega_b"),
        ({"n_s": None}, ConfigError, "nothing fixes the tilt: give n_s"),
    ],
)
def test_what_is_unknown_given_twice_or_missing_is_named(change, error, words):
    said = {name: value for name, value in (PLANCK | change).items() if value is not None}
    with pytest.raises(error, match=words):
        Cosmology.from_mapping(said)


def test_conversion_is_traceable_and_differentiable(float64):
    """d omega_cdm / d Omega_m = h^2, and d omega_cdm / d H0 = 2 Omega_m h / 100 at fixed omega_b."""
    said = {"H0": 70.0, "Omega_m": 0.3, "omega_b": 0.0224, "n_s": 0.96, "A_s": 2.1e-9}
    slopes = jax.jit(jax.grad(lambda s: Cosmology.from_mapping(s).omega_cdm))(said)
    assert float(slopes["Omega_m"]) == pytest.approx(0.49, rel=1e-12)
    assert float(slopes["H0"]) == pytest.approx(2 * 0.3 * 0.7 / 100, rel=1e-12)
    slopes = jax.grad(lambda s: Cosmology.from_mapping(s).ln10A_s)(said)
    assert float(slopes["A_s"]) == pytest.approx(1 / 2.1e-9, rel=1e-12)


def test_amplitude_survives_single_precision():
    cosmology = Cosmology.from_mapping(PLANCK | {"ln10A_s": jnp.float32(3.045)})
    assert cosmology.A_s.dtype == jnp.float32
    assert float(cosmology.A_s) == pytest.approx(np.exp(3.045) * 1e-10, rel=1e-6)
    said = {name: value for name, value in PLANCK.items() if name != "ln10A_s"} | {"A_s": cosmology.A_s}
    assert float(Cosmology.from_mapping(said).ln10A_s) == pytest.approx(3.045, rel=1e-6)


def test_a_batch_maps_over_a_pytree():
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *draw(5, seed=3))
    densities = jax.jit(jax.vmap(lambda cosmology: cosmology.Omega_m))(batch)
    expected = [cosmology.Omega_m for cosmology in draw(5, seed=3)]
    np.testing.assert_allclose(densities, expected, rtol=1e-6)
