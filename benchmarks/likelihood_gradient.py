"""Cost of the KiDS-1000 log posterior's value-and-gradient over its value alone, in one run.

    python benchmarks/likelihood_gradient.py [--repeat 40] [--dtype float32]

Asked: at most 3, aim 2 (the literature and a trial: 4.5 to 4.8). `value` is the whole chain: prior, emulator
with sigma_8 for the S8 parameterisation, projection with shifts and alignment, likelihood. Batches are
vectorised cosmologies, as chains on one device are. Times are CPU time of the process (all threads) and wall
time, each the median of interleaved calls, so that a busy machine touches both alike.
"""

import argparse
import time

import jax
import numpy as np

import galaxyjax
from galaxyjax.data.fetch import Unavailable
from galaxyjax.data.survey import kids1000
from galaxyjax.infer.surveys.kids1000 import KiDS1000
from galaxyjax.simulate.mock import load_mock


def survey():
    """KiDS-1000, or the packaged mock of the same shape."""
    try:
        return kids1000(download=False)
    except Unavailable:
        return load_mock()


def medians(calls: dict, repeat: int) -> dict[str, np.ndarray]:
    """Name -> (CPU, wall) seconds, medians of `repeat` interleaved calls."""
    times = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            jax.block_until_ready(call())
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: np.median(rows, axis=0) for name, rows in times.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", given.dtype == "float64")
    data = survey()
    posterior = KiDS1000().posterior(galaxyjax.load("matter_power"), data)
    print(f"{data.name}, {posterior.dimension} parameters, {given.dtype}, {jax.devices()[0].device_kind}")
    print(
        f"{'batch':>5} {'value [ms]':>18} {'value+gradient [ms]':>20} {'ratio':>15}"
        "   (CPU | wall, per cosmology)"
    )
    for batch in (1, 4, 32):
        points = 0.3 * jax.random.normal(jax.random.key(0), (batch, posterior.dimension), given.dtype)
        compiled = {
            "value": jax.jit(jax.vmap(posterior.log_density)),
            "both": jax.jit(jax.vmap(jax.value_and_grad(posterior.log_density))),
        }
        calls = {name: lambda f=f, points=points: f(points) for name, f in compiled.items()}
        for call in calls.values():
            jax.block_until_ready(call())
        got = medians(calls, given.repeat)
        value, both = (1e3 * got[name] / batch for name in ("value", "both"))
        ratio = both / value
        print(
            f"{batch:>5} {value[0]:>8.3f} | {value[1]:>7.3f} {both[0]:>10.3f} | {both[1]:>7.3f} "
            f"{ratio[0]:>6.2f} | {ratio[1]:>5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
