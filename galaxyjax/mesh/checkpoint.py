"""Checkpoints of a run on a mesh: whole or absent, written beside the run, restored onto any other mesh."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from galaxyjax.core.errors import ConfigError

REMOVED = ".removed"  # below the folder of the checkpoints


class Restored(NamedTuple):
    """One checkpoint: state as the template lies, local (None when the mesh is another), about (JSON)."""

    state: Any
    local: Any
    about: dict


class Checkpoints:
    """The checkpoints in one folder, of one run.

    Args:
        folder: one that all processes see.
        identity: name -> hash of what makes the run what it is, e.g. recipe, data, normalisation; saved in
            every checkpoint, and another one is refused.
        mesh: where the state lies now.
        keep: the newest are kept, this many.

    A checkpoint appears by one rename when all processes have written their shards: a reader, or a run
    that was killed while writing, finds the one before. An old one leaves by one rename, too, before
    its files are removed. `save` returns once the state has been copied.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, str], mesh: Mesh, keep: int = 2):
        self.folder, self.identity = Path(folder).absolute(), dict(identity)
        self.mesh = {"processes": jax.process_count()} | {k: int(v) for k, v in mesh.shape.items()}
        # Orbax removes an old checkpoint file by file, and a kill in between leaves one that cannot be read.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, cleanup_tmp_directories=True, todelete_subdir=REMOVED
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception) -> None:
        # Closing waits for what is being written, and for all processes: after an error of one, for ever.
        if exception[0] is None or jax.process_count() == 1:
            self._manager.close()
            self._remove()

    @property
    def latest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state, local=None, about: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint in the background, unless this step has one; every process must call it.

        state: pytree of arrays, sharded as they like. local: what belongs to the devices of this very mesh
        (residuals of compressed sums). about: JSON beside it.
        """
        if self.latest == step:
            return
        header = {"identity": self.identity, "mesh": self.mesh, "about": dict(about or {})}
        items = {"state": ocp.args.StandardSave(state), "header": ocp.args.JsonSave(header)}
        if local is not None:
            items["local"] = ocp.args.StandardSave(local)
        # Orbax waits for the last one anyway; while it puts an old one aside, nothing may be removed there.
        self.wait()
        self._remove()
        self._manager.save(step, args=ocp.args.Composite(**items), force=True)

    def wait(self) -> None:
        """Return when what `save` was given is on disk."""
        self._manager.wait_until_finished()

    def restore(self, template, local=None, step: int | None = None) -> Restored | None:
        """The newest checkpoint, or that of `step`; None when there is none.

        template, local: pytrees of `jax.ShapeDtypeStruct` with shardings, or of arrays: where the state shall
        lie now, whatever mesh and however many processes it was saved from.

        Raises:
            ConfigError: the folder holds another run, or a state of another structure.
        """
        step = self.latest if step is None else step
        if step is None:
            return None
        header = self._read(step, header=ocp.args.JsonRestore())["header"]
        self._check(header["identity"])
        wanted = {"state": ocp.args.StandardRestore(template)}
        # Errors that bfloat16 left on one device mean nothing on another: a new mesh starts them at zero.
        if local is not None and header["mesh"] == self.mesh:
            wanted["local"] = ocp.args.StandardRestore(local)
        try:
            found = self._read(step, **wanted)
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f"{self.folder}: step {step} does not hold this run's state ({_first_line(error)}); it was "
                "written by another version: choose another --checkpoints"
            ) from error
        return Restored(found["state"], found.get("local"), header["about"])

    def _remove(self) -> None:
        """Delete what retention has put aside."""
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / REMOVED, ignore_errors=True)

    def _read(self, step: int, **items):
        return self._manager.restore(step, args=ocp.args.Composite(**items))

    def _check(self, found: Mapping[str, str]) -> None:
        other = sorted(k for k in self.identity.keys() | found.keys() if self.identity.get(k) != found.get(k))
        if other:
            verb = "differs" if len(other) == 1 else "differ"
            raise ConfigError(
                f"{self.folder}: holds another run ({', '.join(other)} {verb}); choose another --checkpoints"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
