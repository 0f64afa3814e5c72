"""What the processes of a training do together before the first collective."""

from __future__ import annotations

import orbax.checkpoint as ocp


def compile_ahead(update, measure, arguments) -> None:
    """Compile before anybody runs: a rank that compiles longer would leave the others alone in a collective.

    Gloo gives up after 30 s without all of them.
    """
    state, _, batch = arguments
    update.lower(*arguments).compile()
    measure.lower(state.average, batch).compile()


def meet(name: str, patience: float) -> None:
    """Wait for all processes, through the coordinator and not through a collective."""
    seconds = patience or 24 * 3600.0
    ocp.multihost.get_barrier_sync_fn()(key=f"galaxyjax {name}", timeout_ms=int(1000 * seconds))
