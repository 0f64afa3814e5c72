"""Two processes of four devices each hold, together, the batch of one process."""

import socket
import subprocess
import sys

PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
from galaxyjax.mesh.topology import build_mesh, start
start(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
from galaxyjax.data.examples import ArrayExamples
from galaxyjax.data.loader import Loader
rng = np.random.default_rng(1)
arrays = {"v": rng.normal(size=(13, 4, 4, 4, 3)).astype("f4"), "l": np.arange(26.0).reshape(13, 2)}
loader = Loader(ArrayExamples(arrays, {"v": "vector", "l": "label"}, range(13)), 8, 5)
for shape in ("data=2,x=2,y=2", "data=8", "x=4,y=2"):
    pairs = zip(loader.on_mesh(build_mesh(shape), 3, 2), loader.batches(3, 2), strict=True)
    for made, plain in pairs:
        for name, array in made.items():
            assert len(array.addressable_shards) == 4
            for shard in array.addressable_shards:
                np.testing.assert_array_equal(np.asarray(shard.data), plain[name][shard.index])
"""


def test_two_processes_hold_the_batch_of_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    running = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, address, str(rank)], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        for process in running:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said.decode()[-2000:]
    finally:
        for process in running:
            process.kill()
