"""The distributed real FFT against numpy's in float64: values, gradients, layout and what it communicates."""

import json
import os
import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh import aot, fft
from galaxyjax.mesh.budget import collectives
from galaxyjax.mesh.topology import GRID, build_mesh

N, BOX = 64, 100.0
MESHES = {"x=1": 0, "x=8": 1, "y=8": 1, "x=2,y=4": 2, "data=2,x=2,y=2": 2}  # and its all-to-alls
SLAB_AND_PENCIL = ["x=8", "x=2,y=4"]


@cache
def field() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, N, N)).astype(np.float32).astype(np.float64)


@cache
def numpy_wavenumbers() -> tuple[np.ndarray, ...]:
    k = 2 * np.pi / BOX * N * np.fft.fftfreq(N)
    return k[:, None, None], k[None, :, None], np.abs(k[None, None, : N // 2 + 1])


def transfer(kx, ky, kz):
    """A smooth filter that is not the same along the axes."""
    return 1 / (1 + 2 * kx**2 + ky**2 + 0.5 * kz**2)


def numpy_convolve(f) -> np.ndarray:
    return np.fft.irfftn(transfer(*numpy_wavenumbers()) * np.fft.rfftn(f), (N,) * 3, axes=(0, 1, 2))


def filtered(s):
    return s.replace(s.values * transfer(s.kx, s.ky, s.kz))


def power(f, mesh):
    """sum_k T |F|² over all modes; its gradient is 2 N³ ifft(T F)."""
    s = fft.forward(f, mesh, BOX)
    return jnp.sum(s.weight * transfer(s.kx, s.ky, s.kz) * jnp.abs(s.values) ** 2)


def skewness(f, mesh):
    """sum h³ of h = T * f; its gradient is T * 3 h², since T is even."""
    return jnp.sum(fft.inverse(filtered(fft.forward(f, mesh, BOX)), mesh) ** 3)


def placed(array, mesh, dtype=jnp.float32):
    return jax.device_put(jnp.asarray(array, dtype), NamedSharding(mesh, GRID))


def run(function, argument):
    """The result, and the kinds of all collectives that the compiled program executes."""
    program = jax.jit(function).lower(argument).compile()
    return program(argument), [c.kind for c in collectives(program) for _ in range(c.count)]


def error(found, expected) -> float:
    return np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("shape", "swaps"), MESHES.items())
def test_spectrum_is_numpys_by_one_all_to_all_for_a_slab_and_two_for_a_pencil(shape, swaps):
    mesh = build_mesh(shape)
    spectrum, sent = run(lambda f: fft.forward(f, mesh, BOX), placed(field(), mesh))
    modes, expected = np.asarray(spectrum.values)[..., : N // 2 + 1], np.fft.rfftn(field())
    assert sent == ["all-to-all"] * swaps
    assert error(modes, expected) <= 1e-6
    assert np.abs(modes - expected).max() <= 1e-6 * np.abs(expected).max()
    # Padding is nought, and wavenumbers are those of the modes.
    assert spectrum.values.sharding.is_equivalent_to(spectrum.sharding(mesh), 3)
    assert np.all(np.asarray(spectrum.values)[..., N // 2 + 1 :] == 0)
    assert spectrum.values.shape[2] % mesh.shape["y"] == 0
    kx, ky, kz = numpy_wavenumbers()
    half = slice(0, N // 2)  # the sign of the Nyquist plane is free
    np.testing.assert_allclose(np.asarray(spectrum.kx)[half], kx[half], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(spectrum.kx)[N // 2 + 1 :], kx[N // 2 + 1 :], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(spectrum.ky)[:, half], ky[:, half], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(spectrum.kz)[..., : N // 2 + 1], kz, rtol=1e-6)
    for found, expected in zip(
        fft.wavenumbers((N,) * 3, mesh, BOX), (spectrum.kx, spectrum.ky, spectrum.kz), strict=False
    ):
        np.testing.assert_array_equal(found, expected)
    back, sent = run(lambda s: fft.inverse(s, mesh), spectrum)
    assert sent == ["all-to-all"] * swaps
    assert error(back, field()) <= 1e-6


@pytest.mark.parametrize("shape", SLAB_AND_PENCIL)
def test_gradients_are_numpys_and_send_as_much_again(shape):
    mesh, swaps = build_mesh(shape), MESHES[shape]
    grid = placed(field(), mesh)
    found, sent = run(jax.grad(lambda f: power(f, mesh)), grid)
    assert sent == ["all-to-all"] * 2 * swaps
    assert found.sharding.is_equivalent_to(grid.sharding, 3)
    assert error(found, 2 * N**3 * numpy_convolve(field())) <= 1e-6
    found, sent = run(jax.grad(lambda f: skewness(f, mesh)), grid)
    assert sent == ["all-to-all"] * 4 * swaps
    assert error(found, numpy_convolve(3 * numpy_convolve(field()) ** 2)) <= 1e-6


@pytest.mark.parametrize("shape", SLAB_AND_PENCIL)
def test_double_precision(shape, float64):
    mesh = build_mesh(shape)

    def everything(f):
        s = fft.forward(f, mesh, BOX)
        slopes = [jax.grad(loss)(f, mesh) for loss in (power, skewness)]
        return s.values, fft.inverse(s, mesh), *slopes

    modes, back, by_power, by_skewness = jax.jit(everything)(placed(field(), mesh, jnp.float64))
    assert error(np.asarray(modes)[..., : N // 2 + 1], np.fft.rfftn(field())) <= 1e-12
    assert error(back, field()) <= 1e-12
    assert error(by_power, 2 * N**3 * numpy_convolve(field())) <= 1e-12
    assert error(by_skewness, numpy_convolve(3 * numpy_convolve(field()) ** 2)) <= 1e-12


@pytest.mark.parametrize("shape", [(4, 6, 9), (2, 8, 10), (6, 2, 1)])
def test_parseval_with_weights_on_any_box(shape):
    """sum f² = sum weight |F|² / (nx ny nz), also for odd sizes: the weights count each mode once."""
    mesh = build_mesh("x=2,y=2")
    f = np.random.default_rng(2).normal(size=shape)

    @jax.jit
    def sums(grid):
        s = fft.forward(grid, mesh, (10.0, 20.0, 30.0))
        power = jnp.sum(s.weight * jnp.abs(s.values) ** 2) / np.prod(shape)
        return power, jnp.sum(s.weight), fft.inverse(s, mesh)

    power, weights, back = sums(placed(f, mesh))
    np.testing.assert_allclose(power, np.sum(f**2), rtol=1e-5)
    assert float(weights) * shape[0] * shape[1] == np.prod(shape)
    np.testing.assert_allclose(back, f, atol=1e-5)


def test_translation_turns_phases():
    """f(x - s) has the spectrum exp(-i k s) F(k)."""
    mesh, n, cells = build_mesh("data=2,x=2,y=2"), 16, (3, -2, 5)
    f = np.random.default_rng(3).normal(size=(n, n, n))
    moved = fft.forward(placed(np.roll(f, cells, axis=(0, 1, 2)), mesh), mesh, BOX)
    s = fft.forward(placed(f, mesh), mesh, BOX)
    phase = sum(k * cell * BOX / n for k, cell in zip((s.kx, s.ky, s.kz), cells, strict=True))
    assert error(s.values * jnp.exp(-1j * phase), np.asarray(moved.values)) <= 1e-6


def test_gradient_of_a_plane_wave_along_each_axis():
    """i k F is the derivative: exact for a wave that the grid holds, in a box with three different sides."""
    mesh, n, sides = build_mesh("x=2,y=4"), 16, (50.0, 100.0, 200.0)
    x = np.meshgrid(*(np.arange(n) / n * side for side in sides), indexing="ij")
    k = [2 * np.pi * m / side for m, side in zip((2, -3, 1), sides, strict=True)]
    phase = sum(ki * xi for ki, xi in zip(k, x, strict=True))

    @jax.jit
    def slopes(f):
        s = fft.forward(f, mesh, sides)
        return [fft.inverse(s.replace(1j * ki * s.values), mesh) for ki in (s.kx, s.ky, s.kz)]

    for slope, ki in zip(slopes(placed(np.sin(phase), mesh)), k, strict=True):
        np.testing.assert_allclose(slope, ki * np.cos(phase), atol=1e-6)


def test_a_batch_goes_over_data_and_each_field_alone():
    mesh, spec = build_mesh("data=2,x=2,y=2"), P("data", "x", "y", None)
    f = np.random.default_rng(4).normal(size=(4, 8, 8, 8)).astype(np.float32)
    batch = jax.device_put(f, NamedSharding(mesh, spec))
    s = fft.forward(batch, mesh)
    assert s.spec == P("data", None, "x", "y")
    assert error(np.asarray(s.values)[..., :5], np.fft.rfftn(f, axes=(1, 2, 3))) <= 1e-6
    assert error(fft.inverse(s, mesh), f) <= 1e-6


def test_block_form_composes_inside_a_shard_map():
    """A filter, a reduction over the mesh and its gradient in one shard_map equal the global form's."""
    mesh, n = build_mesh("x=2,y=4"), 16
    f = placed(np.random.default_rng(5).normal(size=(n, n, n)), mesh)

    def block(b):
        return jax.lax.psum(jnp.sum(fft.inverse_block(filtered(fft.forward_block(b, BOX))) ** 3), ("x", "y"))

    inside = jax.jit(jax.value_and_grad(jax.shard_map(block, mesh=mesh, in_specs=GRID, out_specs=P())))(f)
    outside = jax.jit(jax.value_and_grad(lambda b: skewness(b, mesh)))(f)
    np.testing.assert_allclose(inside[0], outside[0], rtol=1e-5)
    assert error(inside[1], np.asarray(outside[1])) <= 1e-6


def test_jaxdecomp_agrees():
    """An independent distributed FFT (complex, output transposed) on the same blocks of the same devices."""
    jaxdecomp = pytest.importorskip("jaxdecomp", reason="needs pip install jaxdecomp")
    mesh = build_mesh("x=2,y=4")
    plain = jax.sharding.Mesh(mesh.devices[0], ("x", "y"))
    f = field()[:32, :32, :32].astype(np.float32)
    theirs = jaxdecomp.fft.pfft3d(jax.device_put(f.astype(np.complex64), NamedSharding(plain, P("x", "y"))))
    ours = np.asarray(fft.forward(placed(f, mesh), mesh).values)[..., :17]
    # Theirs is (ky, kz, kx).
    assert error(ours, np.asarray(theirs).transpose(2, 0, 1)[..., :17]) <= 1e-6


def test_grids_that_do_not_fit_are_named():
    mesh = build_mesh("x=2,y=4")
    with pytest.raises(ConfigError, match="9 cells along x do not divide over x=2"):
        fft.forward(jnp.zeros((9, 8, 8)), mesh)
    with pytest.raises(ConfigError, match="6 cells along y do not divide over y=4"):
        fft.forward(jnp.zeros((8, 6, 8)), mesh)
    with pytest.raises(ConfigError, match="9 cells along y do not divide over x=2"):
        fft.forward(jnp.zeros((8, 9, 8)), build_mesh("x=2"))
    with pytest.raises(DataError, match="bfloat16; convert"):
        fft.forward(jnp.zeros((8, 8, 8), jnp.bfloat16), mesh)
    with pytest.raises(DataError, match="shape"):
        fft.forward(jnp.zeros((8, 8)), mesh)


TPU = """
import json
import jax, jax.numpy as jnp
from galaxyjax.mesh import aot, fft
from galaxyjax.mesh.budget import collectives
from galaxyjax.mesh.cost import fft_bytes
from galaxyjax.mesh.topology import GRID, MeshShape

mesh = aot.topology_mesh("v5p:2x2x2", "x=2,y=4")
grid = aot.placed(jax.ShapeDtypeStruct((64, 64, 64), jnp.float32), mesh, GRID)
power = lambda f: jnp.sum(jnp.abs(fft.forward(f, mesh).values) ** 2)
sent = lambda run: [(c.kind, c.bytes) for c in collectives(jax.jit(run).lower(grid).compile()) for _ in range(c.count)]
hand = list(fft_bytes((64, 64, 64), MeshShape(x=2, y=4)).values())
found = sent(lambda f: fft.forward(f, mesh).values), sent(jax.grad(power)), hand
print("RESULT", json.dumps(found))
"""  # noqa: E501


@pytest.mark.slow
def test_a_tpu_also_sends_real_and_imaginary_parts_together():
    """Compiled for eight chips: two all-to-alls forward, two back, each of the bytes counted by hand."""
    pytest.importorskip("libtpu", reason="needs pip install libtpu")
    # libtpu takes over a process's TPU settings.
    environ = os.environ | aot.ENVIRONMENT | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", TPU], env=environ, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    forward, gradient, hand = json.loads(line.removeprefix("RESULT "))
    assert sorted(forward) == sorted(["all-to-all", swap] for swap in hand)
    assert sorted(gradient) == sorted(["all-to-all", swap] for swap in 2 * hand)
