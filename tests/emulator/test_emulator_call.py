"""The callable: right values, right gradients, under every transformation, and a domain that is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_emulator import DEFAULTS, NAMES, THETA, closed_form, toy_contract

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, DataError, DomainError, UnknownName
from galaxyjax.emulator.contract import Constraint, Input, Output
from galaxyjax.emulator.emulator import Emulator

K = np.geomspace(1e-3, 5.0, 40)
Z = np.array([0.0, 0.5, 1.5])


def oracle(theta, weights, k=K, z=Z):
    return np.exp(closed_form(theta, k, z)) * np.asarray(k) ** float(weights["layers"][0]["slope"][0])


def test_a_plain_call_is_the_model_at_named_parameters(toy):
    found = toy.predict(THETA, k=K, z=Z, output="linear")
    assert found.shape == (3, 40) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, oracle(THETA, toy.weights), rtol=1e-5)


def test_defaults_stand_in_for_what_is_left_out(toy):
    full = {**THETA, "m_nu": 0.06, "w0": -1.0, "wa": 0.0, "logT_AGN": 7.8}
    for output in ("linear", "nonlinear"):
        left_out = toy.predict(THETA, k=K, z=Z, output=output)
        np.testing.assert_array_equal(left_out, toy.predict(full, k=K, z=Z, output=output))
    with pytest.raises(ConfigError, match="logT_AGN"):
        toy.predict(THETA, k=K, z=Z, output="nonlinear_baryons")
    ratio = toy.predict(full, k=K, z=Z, output="baryon_suppression")
    both = toy.predict(full, k=K, z=Z, output="nonlinear_baryons") / toy.predict(
        full, k=K, z=Z, output="nonlinear"
    )
    np.testing.assert_allclose(ratio, both, rtol=1e-5)


def test_batches_broadcast_and_equal_single_calls_and_vmap(toy):
    h = np.array([[0.65], [0.7]])
    n_s = np.array([0.9, 0.95, 1.0])
    batch = toy.predict({**THETA, "h": h, "n_s": n_s}, k=K, z=Z, output="nonlinear")
    assert batch.shape == (2, 3, 3, 40)
    single = toy.predict({**THETA, "h": 0.7, "n_s": 0.9}, k=K, z=Z, output="nonlinear")
    np.testing.assert_allclose(batch[1, 0], single, rtol=1e-5)
    mapped = jax.vmap(lambda v: toy.predict({**THETA, "h": 0.7, "n_s": v}, k=K, z=Z, output="nonlinear"))(n_s)
    np.testing.assert_allclose(batch[1], mapped, rtol=1e-5)


def test_each_redshift_and_each_member_may_have_its_own_wavenumbers(toy):
    rows = np.stack([K, 0.5 * K, 0.2 * K])
    found = toy.predict(THETA, k=rows, z=Z, output="linear")
    for i in range(3):
        one = toy.predict(THETA, k=rows[i], z=Z[i], output="linear")
        assert one.shape == (1, 40)
        np.testing.assert_allclose(found[i], one[0], rtol=1e-5)
    deep = toy.predict({**THETA, "h": [0.65, 0.7]}, k=np.stack([rows, 0.7 * rows]), z=Z, output="linear")
    one = toy.predict({**THETA, "h": 0.7}, k=0.7 * rows, z=Z, output="linear")
    np.testing.assert_allclose(deep[1], one, rtol=1e-5)


def test_jit_of_a_function_of_the_emulator_and_of_theta(toy):
    eager = toy.predict(THETA, k=K, z=Z, output="nonlinear")
    compiled = jax.jit(lambda e, t: e.predict(t, k=K, z=Z, output="nonlinear"))
    np.testing.assert_allclose(compiled(toy, THETA), eager, rtol=1e-6)
    moved = jax.tree.map(lambda w: w + 0.1, toy)
    assert isinstance(moved, Emulator) and moved.contract is toy.contract
    ratio = compiled(moved, THETA) / eager
    np.testing.assert_allclose(ratio, np.broadcast_to(np.exp(0.1) * K**0.1, ratio.shape), rtol=1e-4)


def test_gradients_are_those_of_the_closed_form(toy):
    names = [*THETA, *DEFAULTS]
    vector = np.array([{**THETA, **DEFAULTS}[name] for name in names])

    def log_power(v):
        return jnp.log(toy.predict(dict(zip(names, v, strict=True)), k=K, z=Z, output="linear"))

    forward, reverse = jax.jacfwd(log_power)(jnp.array(vector)), jax.jacrev(log_power)(jnp.array(vector))
    for i, name in enumerate(names):
        step = 1e-5 * np.eye(len(names))[i]
        up, down = (
            closed_form(dict(zip(names, v, strict=True)), K, Z) for v in (vector + step, vector - step)
        )
        np.testing.assert_allclose(forward[..., i], (up - down) / 2e-5, rtol=1e-3, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(reverse[..., i], forward[..., i], rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_slope_in_k_is_a_derivative(toy):
    log_power = lambda lnk: jnp.log(toy.predict(THETA, k=jnp.exp(lnk)[None], z=0.5, output="linear"))[0, 0]  # noqa: E731
    slope = jax.grad(log_power)(jnp.log(1e-3))
    # Large scales: P rises almost as k^n_s, bent a little by the transfer function.
    assert 0.85 < slope < THETA["n_s"]


def test_the_gradient_of_ln_power_with_respect_to_weights(toy):
    gradient = jax.grad(
        lambda e: jnp.log(e.predict(THETA, k=K, z=Z, output="linear")).sum(), allow_int=False
    )(toy)
    assert float(gradient.weights["amplitude"]) == pytest.approx(3 * 40, rel=1e-5)
    assert float(gradient.weights["layers"][0]["slope"][0]) == pytest.approx(3 * np.log(K).sum(), rel=1e-4)


def test_the_dtype_follows_the_inputs(toy):
    assert toy.predict(THETA, k=K, z=Z, output="linear").dtype == jnp.float32
    single = toy.predict(THETA, k=K, z=Z, output="linear")
    with jax.enable_x64(True):
        double = toy.predict(THETA, k=K, z=Z, output="linear")
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, single, rtol=1e-5)
        theta = {name: np.float32(value) for name, value in {**THETA, **DEFAULTS}.items()}
        small = toy.predict(theta, k=K.astype(np.float32), z=Z.astype(np.float32), output="linear")
        assert small.dtype == jnp.float32
        # Central differences in float64 see the derivative to 1e-8; so must the model.
        f = lambda h: jnp.log(toy.predict({**THETA, "h": h}, k=K, z=Z, output="nonlinear"))  # noqa: E731
        difference = (f(0.7 + 1e-5) - f(0.7 - 1e-5)) / 2e-5
        np.testing.assert_allclose(jax.jacfwd(f)(0.7), difference, rtol=1e-6, atol=1e-7)
    half = toy.predict({**THETA, "h": jnp.bfloat16(0.7)}, k=K, z=Z, output="linear")
    assert half.dtype == jnp.float32


def test_derived_quantities(toy):
    found = toy.derived({**THETA, "h": [0.65, 0.7]})
    assert set(found) == {"sigma_8", "S8", "Omega_m"} and found["S8"].shape == (2,)
    omega_m = [float(Cosmology.from_mapping({**THETA, "h": h}).Omega_m) for h in (0.65, 0.7)]
    np.testing.assert_allclose(found["Omega_m"], omega_m, rtol=1e-6)
    np.testing.assert_allclose(found["S8"], found["sigma_8"] * np.sqrt(found["Omega_m"] / 0.3), rtol=1e-6)
    np.testing.assert_allclose(
        toy.sigma8({**THETA, "h": 0.65}, [0.0, 1.0])[0], found["sigma_8"][0], rtol=1e-5
    )
    # sigma_8 goes as the square root of A_s.
    louder = toy.derived({**THETA, "h": 0.65, "ln10A_s": THETA["ln10A_s"] + 0.2})["sigma_8"]
    assert float(louder) == pytest.approx(float(found["sigma_8"][0]) * np.exp(0.1), rel=1e-5)
    slope = jax.grad(lambda a: toy.derived({**THETA, "ln10A_s": a})["S8"])(3.0)
    assert float(slope) == pytest.approx(0.5 * float(toy.derived({**THETA, "ln10A_s": 3.0})["S8"]), rel=1e-5)


@pytest.mark.parametrize(
    ("theta", "named"),
    [
        ({"h": 0.9}, ["h = 0.9", "0.85"]),
        ({"omega_b": 0.01}, ["omega_b = 0.01", "0.019"]),
        ({"h": float("nan")}, ["h = nan", "not a number"]),
        ({"m_nu": -1e-6}, ["m_nu = -1e-06", "eV", "below 0"]),
        ({"n_s": np.array([0.9, 1.3, 1.2])}, ["n_s = 1.3", "1.1"]),
        ({"n_s": jnp.array([0.9, 1.3])}, ["n_s = 1.2", "1.1"]),
        ({"w0": -0.5, "wa": 0.3}, ["w0 = -0.5", "wa = 0.3", "w0 + wa <= -0.3"]),
        ({"w0": np.array([-1.0, -0.5]), "wa": 0.4}, ["w0 = -0.5", "wa = 0.4", "-0.1"]),
        ({"w0": -0.4, "wa": float("inf")}, ["wa = inf"]),
    ],
)
def test_a_number_outside_raises_with_name_value_and_bound(toy, theta, named):
    with pytest.raises(DomainError) as error:
        toy.predict({**THETA, **theta}, k=K, z=Z, output="linear")
    assert all(word in str(error.value) for word in named), str(error.value)


def test_wavenumber_and_redshift_have_bounds_too(toy):
    for arguments, named in (
        ({"k": [0.1, 12.0], "z": 0.0}, "k = 12 h/Mpc is above 10"),
        ({"k": [0.0], "z": 0.0}, "k = 0 h/Mpc is below 0.0001"),
        ({"k": [0.1], "z": [0.0, 3.1]}, "z = 3.1 is above 3"),
        ({"k": [0.1], "z": -0.1}, "z = -0.1 is below 0"),
    ):
        with pytest.raises(DomainError, match=named):
            toy.predict(THETA, **arguments, output="linear")
    with pytest.raises(DomainError, match="z = 4"):
        toy.sigma8(THETA, 4.0)
    with pytest.raises(DomainError, match="h = 0.5"):
        toy.derived({**THETA, "h": 0.5})


def test_bounds_written_in_float32_are_inside(toy):
    edge = {
        "h": jnp.float32(0.85),
        "n_s": np.float32(1.1),
        "omega_b": jnp.float32(0.019),
        "w0": np.float32(-0.4),
    }
    edge["wa"] = np.float32(0.1)
    for k in (jnp.geomspace(1e-4, 10.0, 100), np.geomspace(1e-4, 10.0, 777).astype(np.float32)):
        found = toy.predict({**THETA, **edge}, k=k, z=jnp.float32(3.0), output="linear")
        assert np.isfinite(found).all()
        inside = jax.jit(lambda t, k=k: toy.predict(t, k=k, z=3.0, output="linear"))({**THETA, **edge})
        assert np.isfinite(inside).all()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"theta": {**THETA, "H_0": 70.0}}, UnknownName),
        ({"theta": [0.02, 0.12]}, ConfigError),
        ({"theta": {"h": 0.7}}, ConfigError),
        ({"theta": {**THETA, "h": "big"}}, DataError),
        ({"theta": {**THETA, "h": [[0.7], [0.7, 0.7]]}}, DataError),
        ({"theta": {**THETA, "h": [0.7, 0.7], "n_s": [1.0, 1.0, 1.0]}}, ConfigError),
        ({"theta": {**THETA, "h": 0.7 + 0j}}, DataError),
        ({"z": [[0.0]]}, ConfigError),
        ({"k": np.ones((2, 5))}, ConfigError),
        ({"output": "sigma_8"}, ConfigError),
        ({"output": "P"}, UnknownName),
        ({"output": "cb"}, UnknownName),
    ],
)
def test_misuse_gets_an_error_of_its_kind(toy, arguments, error):
    with pytest.raises(error):
        toy.predict(**{"theta": THETA, "k": K, "z": Z, "output": "linear", **arguments})


def call(toy, policy, theta, k=K, z=Z, output="linear"):
    return jax.jit(lambda t, k, z: toy.with_policy(policy).predict(t, k=k, z=z, output=output))(theta, k, z)


def test_nan_marks_members_outside_and_only_those(toy):
    h = jnp.array([0.7, 0.95, 0.65])
    found = call(toy, "nan", {**THETA, "h": h})
    assert np.isnan(found[1]).all()
    inside = toy.predict({**THETA, "h": [0.7, 0.65]}, k=K, z=Z, output="linear")
    np.testing.assert_allclose(found[jnp.array([0, 2])], inside, rtol=1e-5)
    joint = call(toy, "nan", {**THETA, "w0": -0.5, "wa": jnp.array([0.3, 0.1])})
    assert np.isnan(joint[0]).all() and np.isfinite(joint[1]).all()
    edges = call(toy, "nan", THETA, jnp.array([1e-5, 0.1, 11.0]), jnp.array([0.0, 3.5]))
    np.testing.assert_array_equal(np.isfinite(edges), [[False, True, False], [False, False, False]])
    assert np.isnan(call(toy, "nan", {**THETA, "h": jnp.nan})).all()
    assert np.isnan(jax.jit(lambda h: toy.derived({**THETA, "h": h}))(0.5)["Omega_m"])
    assert np.isnan(jax.jit(lambda z: toy.sigma8(THETA, z))(jnp.array([1.0, 5.0]))).tolist() == [False, True]


def test_the_nan_of_one_member_leaves_the_gradients_of_others_exact(toy, float64):
    def loss(h, shared, mask):
        power = toy.predict({**THETA, "h": h, "n_s": shared}, k=K, z=Z, output="linear")
        value = jnp.log(power).sum((-1, -2))
        return jnp.where(mask(value), value, 0.0).sum()

    finite = jnp.isfinite
    value, gradients = jax.value_and_grad(loss, (0, 1))(jnp.array([0.7, 0.95, -1.0, jnp.nan]), 0.96, finite)
    alone_value, alone = jax.value_and_grad(loss, (0, 1))(jnp.array([0.7]), 0.96, finite)
    assert float(value) == pytest.approx(float(alone_value), rel=1e-12)
    np.testing.assert_allclose(gradients[0], [alone[0][0], 0.0, 0.0, 0.0], rtol=1e-12)
    np.testing.assert_allclose(gradients[1], alone[1], rtol=1e-12)


def test_one_wavenumber_outside_leaves_the_gradient_of_the_rest(toy):
    def loss(h, k):
        power = toy.predict({**THETA, "h": h}, k=k, z=Z, output="linear")
        return jnp.where(jnp.isnan(power), 0.0, jnp.log(power)).sum()

    with_bad = jax.grad(loss, (0, 1))(0.7, jnp.array([0.1, 20.0, 0.0]))
    without = jax.grad(loss, (0, 1))(0.7, jnp.array([0.1]))
    np.testing.assert_allclose(with_bad[0], without[0], rtol=1e-5)
    np.testing.assert_allclose(with_bad[1], [without[1][0], 0.0, 0.0], rtol=1e-5)


def test_outside_the_value_is_nan_and_the_slope_zero(toy):
    total = lambda h: jnp.log(toy.predict({**THETA, "h": h}, k=K, z=Z, output="linear")).sum()  # noqa: E731
    value, slope = jax.value_and_grad(total)(0.9)
    assert np.isnan(value) and slope == 0.0


def test_clip_moves_to_the_nearest_value_inside_and_wa_to_the_joint_bound(toy):
    found = call(toy, "clip", {**THETA, "h": 0.95, "w0": -0.2, "wa": 0.4})
    inside = toy.predict({**THETA, "h": 0.85, "w0": -0.4, "wa": 0.1}, k=K, z=Z, output="linear")
    np.testing.assert_allclose(found, inside, rtol=1e-5)
    edges = call(toy, "clip", THETA, jnp.array([1e-5, 0.1, 11.0]), jnp.array([-1.0, 3.5]))
    inside = toy.predict(THETA, k=[1e-4, 0.1, 10.0], z=[0.0, 3.0], output="linear")
    np.testing.assert_allclose(edges, inside, rtol=1e-5)
    plain = toy.with_policy("clip").predict({**THETA, "h": 0.95}, k=K, z=Z, output="linear")
    np.testing.assert_allclose(plain, call(toy, "clip", {**THETA, "h": 0.95}), rtol=1e-6)


def test_clip_reduces_from_below_when_the_coefficient_is_negative():
    inputs = (Input("a", "", 0.0, 1.0, None, ""), Input("b", "", 0.0, 2.0, None, ""))
    contract = toy_contract(
        inputs=inputs,
        constraints=(Constraint({"a": 1.0, "b": -1.0}, 0.0, "b", "a <= b"),),
        outputs=(Output("sum", "", ("a", "b"), ""),),
        derived=(),
        calibrated=(),
    )

    class Sum:
        def power(self, weights, x, k, z, output):
            return (x["a"] + 10.0 * x["b"])[..., None, None] + 0.0 * k

    emulator = Emulator({}, Sum(), contract).with_policy("clip")
    assert float(emulator.predict({"a": 0.9, "b": 0.2}, k=1.0, z=0.0, output="sum")[0, 0]) == pytest.approx(
        9.9
    )


def test_extrapolate_changes_nothing(toy):
    h = 0.95
    found = call(toy, "extrapolate", {**THETA, "h": h})
    np.testing.assert_allclose(found, oracle({**THETA, "h": h}, toy.weights), rtol=1e-5)
    with pytest.raises(ConfigError, match="bounce"):
        toy.with_policy("bounce")


def test_policies_agree_inside_the_domain(toy):
    answers = [call(toy, policy, THETA) for policy in ("nan", "clip", "extrapolate")]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-6)
    np.testing.assert_allclose(answers[2], answers[0], rtol=1e-6)


def test_numbers_at_hand_are_checked_even_beside_tracers(toy):
    with pytest.raises(DomainError, match="omega_b"):
        jax.jit(lambda h: toy.predict({**THETA, "h": h, "omega_b": 0.5}, k=K, z=Z, output="linear"))(0.7)


def test_a_repeated_plain_call_compiles_once(toy):
    toy.predict(THETA, k=K, z=Z, output="nonlinear")
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        patch.setattr(type(toy.model), "power", lambda *a: compiled.append(a))
        for h in (0.66, 0.71):
            assert np.isfinite(toy.predict({**THETA, "h": h}, k=K, z=Z, output="nonlinear")).all()
    assert not compiled


def test_unused_names_list_is_the_contract(toy):
    assert tuple(toy.contract.domain)[:8] == NAMES
