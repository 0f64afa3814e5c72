"""Examples of baryons by (seed, step), the losses of both heads on any mesh, and CAMELS files."""

import shutil
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.units import RHO_CRIT
from galaxyjax.data.baryons import BaryonFields
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.hydro import Hydro
from galaxyjax.models.hydro_fields import IDEAL, Baryons
from galaxyjax.train.camels import CamelsExamples, CamelsRecipe
from galaxyjax.train.field import LAYOUT, FieldBatch
from galaxyjax.train.hydro import HydroSource
from galaxyjax.train.hydro_cells import CellSource, SeenSource
from galaxyjax.train.hydro_heads import Flow, FlowLoss, HydroLoss, MeanHead

MODEL = Hydro(spacing=1.0, widths=(2,), blocks=(1,), flow_widths=(2,), flow_blocks=(0,))


@dataclass(frozen=True)
class Drawn:
    """Two boxes of random numbers that keep their promises."""

    name: str
    seed: int

    @property
    def simulations(self):
        return (self.name,)

    def __len__(self):
        return 2

    def fields(self, index, variant=0):
        rng = np.random.default_rng([self.seed, index, variant])
        draw = lambda low, high: rng.uniform(low, high, (8, 8, 8)).astype(np.float32)  # noqa: E731
        gas, stars, heat = draw(0.1, 2.0), draw(0.0, 0.1), 10.0 ** draw(3.5, 6.0)
        total = (gas + stars).mean()
        gas, stars = gas / total, stars / total
        return BaryonFields(draw(0.1, 2.0), gas, stars, heat, gas * IDEAL * heat, 0.5, 8.0)

    def theta(self, index):
        return {"Omega_m": 0.3, "sigma_8": 0.8}

    def identity(self):
        return f"{self.name} {self.seed}"


SOURCE = HydroSource(MODEL, Drawn("a", 1), Drawn("b", 2), variants=2)


def test_batches_are_a_function_of_seed_and_step():
    mesh = build_mesh("data=2,x=2,y=2")
    one, again, other = (SOURCE.batch(mesh, 2, 1, step) for step in (7, 7, 8))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.field, other.field)
    np.testing.assert_array_equal(one.field, SOURCE.batch(build_mesh("x=1"), 2, 1, 7).field)
    assert one.field.shape == (2, 8, 8, 8, 5 + 3) and one.style.shape == (2, 4)
    # Moved together: the truth of a cell stays with its matter.
    own = Drawn("a", 1)
    known = {round(float(m), 4): g for i in (0, 1) for v in (0, 1) for m, g in zip(
        own.fields(i, v).matter.ravel(), own.fields(i, v).gas.ravel(), strict=True)}  # fmt: skip
    cell = np.asarray(one.field[0, 3, 1, 2])
    np.testing.assert_allclose(known[round(float(cell[0]), 4)], cell[1])


@pytest.mark.parametrize("head, loss", [(MeanHead(MODEL), HydroLoss(MODEL)), (Flow(MODEL), FlowLoss())])
def test_losses_and_their_slopes_are_equal_on_four_devices(head, loss):
    params = MODEL.init(jax.random.key(0))
    found = []
    for shape in ("x=1", "x=2,y=2"):
        mesh = build_mesh(shape)

        def value(params, batch, mesh=mesh):
            def inside(p, b):
                made = head.apply_block(p, b.field, b.style)
                return jax.lax.pmean(loss(made, b, ("x", "y")), mesh.axis_names)

            return jax.shard_map(inside, mesh=mesh, in_specs=(P(), LAYOUT), out_specs=P())(params, batch)

        found.append(jax.jit(jax.value_and_grad(value))(params, FieldBatch(*SOURCE.batch(mesh, 1, 0, 0))))
    (one, slope), (several, slopes) = found
    np.testing.assert_allclose(several, one, rtol=1e-4)
    size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(b, a, atol=2e-4 * size)
    mean = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope["mean"]))
    assert (mean == 0.0) == isinstance(head, Flow)  # the flow leaves the mean head as it is


def test_the_truth_has_the_least_loss():
    """Expectations at the truth have no deviance; latents at it and narrow have the largest likelihood."""
    batch, mesh = SOURCE.held_out(build_mesh("x=1"), 1)[0], build_mesh("x=1")
    gas, stars, heat, _ = np.moveaxis(np.asarray(batch.target), -1, 0)
    total = gas + stars
    latents = np.stack([np.log(total), np.log(stars / gas), np.log(heat)], axis=-1)
    mean = np.concatenate([latents, np.zeros_like(latents[..., :1])], axis=-1)
    loss = HydroLoss(MODEL)

    @jax.jit
    def value(shift, scatter):
        made = jnp.concatenate([mean + shift, latents + shift, jnp.full_like(latents, scatter)], axis=-1)
        truth = Baryons(*np.moveaxis(np.asarray(batch.target), -1, 0))

        def inside(p, b):
            both = loss(p, b, ("x", "y")), loss.expectation(p[..., :4], truth, truth.pressure.mean())
            return jax.lax.pmean(jnp.stack(both), mesh.axis_names)

        return jax.shard_map(inside, mesh=mesh, in_specs=(LAYOUT.field, LAYOUT), out_specs=P())(made, batch)

    whole, alone = value(0.0, 0.1)
    assert abs(float(alone)) < 1e-5  # of a float32 difference of terms of order one
    for shift in (-0.2, 0.2):
        assert all(value(shift, 0.1) > jnp.array([whole + 0.05, 1e-3]))
    assert value(0.3, 0.3)[0] < value(0.3, 0.1)[0]  # a scatter that says how far the truth is


def test_cells_stand_for_their_box():
    """Cells drawn by density, each counted by the inverse of its chance: the loss of the box, on average."""
    model = replace(MODEL, kernel=1)
    source, mesh = CellSource(model, Drawn("a", 1), Drawn("b", 2), variants=1, side=4), build_mesh("x=1")
    params = model.init(jax.random.key(1))
    boxes = SeenSource(model, Drawn("b", 2), Drawn("a", 1), variants=1).held_out(mesh, 1)
    head, loss = MeanHead(model, seen=True, cells=True), HydroLoss(model, cells=True)

    def value(head, loss):
        def inside(p, b):
            made = head.apply_block(p, b.field, b.style[:, :3])
            return jax.lax.pmean(loss(made, b, ("x", "y")), mesh.axis_names)

        return jax.jit(jax.shard_map(inside, mesh=mesh, in_specs=(P(), LAYOUT), out_specs=P()))

    small = value(head, loss)
    found = np.array([small(params, source.batch(mesh, 1, 3, step)) for step in range(80)])
    # Four times of the flow see one box; no conservation here, as a handful of cells has none.
    whole = value(MeanHead(model, seen=True, cells=True), HydroLoss(model))
    wanted = np.mean([whole(params, FieldBatch(*box)) for box in boxes])
    assert abs(found.mean() - wanted) < 4.0 * found.std() / np.sqrt(len(found))
    np.testing.assert_array_equal(source.batch(mesh, 1, 3, 5).field, source.batch(mesh, 1, 3, 5).field)
    every = np.mean(
        [
            small(params, part)
            for part in replace(source, validation=Drawn("a", 1), training=Drawn("b", 2)).held_out(mesh, 1)
        ]
    )
    np.testing.assert_allclose(every, wanted, rtol=0.02)
    with pytest.raises(ConfigError, match="kernel=3 and 1 levels look beyond a cell"):
        CellSource(MODEL, Drawn("a", 1), Drawn("b", 2))


def test_what_is_seen_once_is_what_the_heads_see():
    """A head fed with features makes of a box what one fed with matter makes."""
    mesh, params = build_mesh("x=1"), MODEL.init(jax.random.key(1))
    plain, ahead = SOURCE.batch(mesh, 1, 4, 2), SeenSource(MODEL, Drawn("a", 1), Drawn("b", 2), variants=2)
    seen = ahead.batch(mesh, 1, 4, 2)

    def run(head, batch):
        inside = lambda p, b: head.apply_block(p, b.field, b.style)  # noqa: E731
        return jax.jit(jax.shard_map(inside, mesh=mesh, in_specs=(P(), LAYOUT), out_specs=LAYOUT.field))(
            params, batch
        )

    for one, other in ((MeanHead(MODEL), MeanHead(MODEL, seen=True)), (Flow(MODEL), Flow(MODEL, seen=True))):
        np.testing.assert_allclose(run(other, seen), run(one, plain), atol=2e-4)


def test_folds_do_not_share_a_simulation():
    with pytest.raises(ConfigError, match="simulation a is in training and in validation"):
        HydroSource(MODEL, Drawn("a", 1), Drawn("a", 2))


@pytest.fixture
def camels(tmp_path, data_root, monkeypatch):
    """Small files as CAMELS Multifield lays them out: 1,000 simulations of 4^3 cells, 15 maps of each."""
    shutil.copytree(data_root / "parameter_tables", tmp_path / "parameter_tables")
    monkeypatch.setenv("GALAXYJAX_DATA", str(tmp_path))
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(3)
    for kind, shape, names in (
        ("3D_grids", (1000, 4, 4, 4), "Grids_{}_{}_128_z=0.0"),
        ("2D_maps", (15000, 4, 4), "Maps_{}_{}_z=0.00"),
    ):
        folder = tmp_path / "cmd" / kind / "data"
        folder.mkdir(parents=True)
        for field, low, high in (("Mgas", 1e9, 3e10), ("Mstar", 0, 1e9), ("T", 1e4, 1e6), ("P", 1e2, 1e5)):
            np.save(
                folder / f"{names.format(field, 'Astrid_LH')}.npy", rng.uniform(low, high, shape).astype("f4")
            )
        np.save(
            folder / f"{names.format('Mtot', 'Nbody_Astrid_LH')}.npy",
            rng.uniform(1e9, 1e11, shape).astype("f4"),
        )
    return tmp_path / "cmd"


def test_camels_grids_and_maps_read_by_their_manifest(camels):
    grids = CamelsExamples("Astrid_LH", 5, 9, cells=128, coarsen=2)
    found, raw = grids.fields(1), np.load(camels / "3D_grids/data/Grids_Mgas_Astrid_LH_128_z=0.0.npy")[6]
    stars = np.load(camels / "3D_grids/data/Grids_Mstar_Astrid_LH_128_z=0.0.npy")[6]
    heat = np.load(camels / "3D_grids/data/Grids_T_Astrid_LH_128_z=0.0.npy")[6]
    np.testing.assert_allclose(found.gas.mean(), raw.mean() / (raw + stars).mean(), rtol=1e-5)
    first = (slice(0, 2),) * 3
    np.testing.assert_allclose(
        found.temperature[0, 0, 0], np.sum(heat[first] * raw[first]) / raw[first].sum(), rtol=1e-5
    )
    pressure = np.load(camels / "3D_grids/data/Grids_P_Astrid_LH_128_z=0.0.npy")[6]
    # (Msun/h)/(kpc/h)^3 are 1e9 / 1e10 of the project's unit.
    np.testing.assert_allclose(found.pressure.mean(), 0.1 * pressure.mean() / (0.049 * RHO_CRIT), rtol=1e-5)
    theta = grids.theta(1)
    row = (camels.parent / "parameter_tables/CAMELS/Astrid/CosmoAstroSeed_Astrid_L25n256_LH.txt").read_text()
    line = next(line.split() for line in row.splitlines() if line.split()[0] == "LH_6")
    assert theta["Omega_m"] == float(line[1]) and theta["A_AGN2"] == float(line[6]) and "seed" not in theta
    maps = replace(grids, product="map", coarsen=1, cells=4, redshift="0.00")
    found = maps.fields(31)  # the second map of the third simulation
    raw = np.load(camels / "2D_maps/data/Maps_Mgas_Astrid_LH_z=0.00.npy")[7 * 15 + 1]
    assert found.gas.shape == (4, 4, maps.layers) and maps.theta(31) == grids.theta(2) and len(maps) == 60
    np.testing.assert_allclose(found.gas[..., 2] / found.gas[0, 0, 0], raw / raw[0, 0], rtol=1e-5)


@pytest.mark.slow
def test_a_recipe_of_camels_maps_takes_a_step(camels):
    """The shipped recipes' own trainings, on files of 4 cells: finite losses of both heads."""
    recipe = CamelsRecipe("Astrid", "map", cells=4, coarsen=1, steps=600)
    mesh = build_mesh("x=1")
    for training in recipe.trainings(recipe.examples(0, 3), recipe.examples(3, 4)):
        batch = training.source.batch(mesh, 1, 0, 0)
        assert batch.field.shape == (1, 4, 4, 4, 5 + 4) and batch.style.shape == (1, 8)
        np.testing.assert_array_equal(batch.field[:, :, :, 0], batch.field[:, :, :, 3])
        params = training.model.init(jax.random.key(0))

        def value(params, batch, training=training):
            inside = lambda p, b: jax.lax.pmean(  # noqa: E731
                training.loss(training.model.apply_block(p, b.field, b.style), b, ("x", "y")), mesh.axis_names
            )
            return jax.shard_map(inside, mesh=mesh, in_specs=(P(), LAYOUT), out_specs=P())(params, batch)

        assert np.isfinite(jax.jit(value)(params, batch))
    assert recipe.contract().hyperparameters["style"] == recipe.model().style
