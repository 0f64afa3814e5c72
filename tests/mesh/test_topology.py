"""Meshes: sizes and their text, devices and fields that do not fit, and who counts as several processes."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.mesh import topology
from galaxyjax.mesh.topology import FIELD, MeshShape, axis_size, build_mesh, check_field, start

sizes = st.integers(1, 64)


@given(sizes, sizes, sizes, sizes)
def test_text_and_shape_are_inverse(data, x, y, stage):
    shape = MeshShape(data, x, y, stage)
    assert MeshShape.parse(str(shape)) == shape
    assert shape.devices == data * x * y * stage


def test_axes_left_out_have_size_one_and_spaces_do_not_matter():
    assert MeshShape.parse(" y=4 , x = 2") == MeshShape(data=1, x=2, y=4)
    assert MeshShape.parse("") == MeshShape()


@pytest.mark.parametrize("text", ["x=0", "x=-2", "x=two", "x", "x=", "x=1.5", "x=2,x=2"])
def test_text_that_is_no_mesh_is_named(text):
    with pytest.raises(ConfigError, match="x"):
        MeshShape.parse(text)


def test_unknown_axis_lists_the_known():
    with pytest.raises(UnknownName, match="'z'.*data, stage, x, y"):
        MeshShape.parse("z=2")


def test_default_puts_all_devices_on_data():
    mesh = build_mesh()
    assert dict(mesh.shape) == {"data": 8, "x": 1, "y": 1}
    assert set(mesh.axis_types) == {AxisType.Auto}


def test_every_device_appears_once():
    for text in ("data=2,x=2,y=2", "x=8", "stage=2,data=4", "x=1"):
        mesh = build_mesh(text)
        ids = [device.id for device in mesh.devices.flat]
        assert len(set(ids)) == len(ids) == MeshShape.parse(text).devices


def test_stage_leads_only_when_there_are_stages():
    assert build_mesh("stage=2,data=2,x=2").axis_names == ("stage", "data", "x", "y")
    assert build_mesh("data=2,x=2").axis_names == ("data", "x", "y")
    assert axis_size(build_mesh("x=2"), "stage") == 1


def test_too_many_devices_is_an_error_with_the_numbers():
    with pytest.raises(ConfigError, match=r"data=2,x=4,y=2 takes 2 x 4 x 2 = 16 devices but there are 8"):
        build_mesh("data=2,x=4,y=2")


class Device:
    """What a mesh asks of a device, on two processes."""

    platform = device_kind = "cpu"

    def __init__(self, number):
        self.id, self.process_index = number, number // 2


def test_several_processes_must_all_take_part():
    with pytest.raises(ConfigError, match="takes 2 = 2 devices but there are 4 on several processes"):
        build_mesh("x=2", devices=[Device(i) for i in range(4)])


def test_field_blocks_are_where_the_spec_says():
    mesh = build_mesh("data=2,x=2,y=2")
    field = np.arange(2 * 4 * 4 * 3 * 1.0).reshape(2, 4, 4, 3, 1)
    array = jax.device_put(field, NamedSharding(mesh, FIELD))
    for shard in array.addressable_shards:
        assert shard.data.shape == (1, 2, 2, 3, 1)
        d, x, y = np.argwhere(mesh.devices == shard.device)[0]
        np.testing.assert_array_equal(shard.data, field[d : d + 1, 2 * x : 2 * x + 2, 2 * y : 2 * y + 2])


def test_field_that_does_not_divide_is_an_error_with_the_numbers():
    mesh = build_mesh("data=2,x=2,y=2")
    check_field(mesh, 6, batch=4)
    check_field(mesh, (8, 4, 5))
    check_field(mesh, 16, multiple=8)
    with pytest.raises(ConfigError, match="9 cells along x do not divide over x=2.*multiple of 2"):
        check_field(mesh, 9)
    with pytest.raises(ConfigError, match="5 cells along y"):
        check_field(mesh, (8, 5, 4))
    with pytest.raises(ConfigError, match="24 cells along x.*multiples of 8.*multiple of 16"):
        check_field(mesh, 24, multiple=8)
    with pytest.raises(ConfigError, match="3 fields do not divide over data=2"):
        check_field(mesh, 8, batch=3)


SLURM = {"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
ORTE = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1"}
TPU = {"TPU_ML_PLATFORM": "JAX"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("environ", "cluster"),
    [
        ({}, ""),
        (SLURM, "Slurm"),
        (SLURM | {"SLURM_NTASKS": "1"}, ""),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, ""),  # a shell in an allocation
        (ORTE, "Open MPI"),
        (ORTE | {"OMPI_COMM_WORLD_SIZE": "1"}, ""),
        (TPU, "TPU pod"),  # a TPU VM whose hosts only the metadata server knows
        (TPU | {"TPU_WORKER_HOSTNAMES": "t0,t1"}, "TPU pod"),
        (TPU | {"TPU_WORKER_HOSTNAMES": "t0"}, ""),
        (TPU | {"TPU_WORKER_HOSTNAMES": "t0", "MEGASCALE_NUM_SLICES": "2"}, "TPU pod"),
        (TPU | {"TPU_SKIP_MDS_QUERY": "1"}, ""),
        (POD, ""),  # a notebook in a pod
    ],
)
def test_who_started_several_processes(environ, cluster):
    assert topology._cluster(environ, "tpu,cpu") == cluster


def test_a_cpu_run_on_a_pod_is_one_process():
    assert topology._cluster(TPU | {"TPU_WORKER_HOSTNAMES": "t0,t1"}, "cpu") == ""


def test_indexed_kubernetes_job_needs_the_package(monkeypatch):
    environ = POD | {"JOB_COMPLETION_INDEX": "1"}
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: object())
    assert topology._cluster(environ, "cuda") == "Kubernetes"
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"jax\[k8s\].*GALAXYJAX_PROCESSES=1"):
        topology._cluster(environ, "cuda")


@pytest.fixture
def initialized(monkeypatch):
    """Record what `jax.distributed.initialize` is asked, without starting it."""
    calls = []
    for name in ("COORDINATOR", "PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"GALAXYJAX_{name}", raising=False)
    monkeypatch.setattr(topology, "_cluster", lambda environ, platforms: "")
    monkeypatch.setattr(jax.distributed, "initialize", lambda **keywords: calls.append(keywords))
    return calls


def test_one_process_starts_nothing(initialized, monkeypatch):
    assert not start()
    assert not start(processes=1)
    monkeypatch.setenv("GALAXYJAX_PROCESSES", "1")
    assert not start()
    assert initialized == []


def test_environment_gives_what_arguments_do_not(initialized, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_COORDINATOR", "localhost:1234")
    monkeypatch.setenv("GALAXYJAX_PROCESSES", "4")
    monkeypatch.setenv("GALAXYJAX_PROCESS_ID", "3")
    assert start(process_id=2)
    asked = {"coordinator_address": "localhost:1234", "num_processes": 4, "process_id": 2}
    assert initialized == [asked | {"cluster_detection_method": "deactivate"}]


def test_a_scheduler_fills_what_is_missing(initialized, monkeypatch):
    monkeypatch.setattr(topology, "_cluster", lambda environ, platforms: "Slurm")
    assert start()
    assert initialized[0]["cluster_detection_method"] is None
    assert initialized[0]["coordinator_address"] is None


def test_half_an_address_is_an_error(initialized, monkeypatch):
    with pytest.raises(ConfigError, match="num_processes, process_id not given"):
        start(coordinator="localhost:1")
    with pytest.raises(ConfigError, match=r"process_id=2 must lie in 0\.\.1"):
        start("localhost:1", 2, 2)
    with pytest.raises(ConfigError, match="host:port"):
        start("localhost", 2, 0)
    monkeypatch.setenv("GALAXYJAX_PROCESSES", "two")
    with pytest.raises(ConfigError, match="GALAXYJAX_PROCESSES='two'"):
        start()
    assert initialized == []


def test_starting_after_the_devices_is_an_error():
    jax.devices()
    with pytest.raises(ConfigError, match="before"):
        start("localhost:1", 2, 0)
