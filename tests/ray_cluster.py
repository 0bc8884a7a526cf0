"""A Ray cluster on this machine, for tests that share one: each start takes longer than all that is done on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def ray_cluster() -> Iterator[str]:
    """The address of a cluster of two processors; its workers get the environment of this moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        from ray.cluster_utils import Cluster

        without = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}  # starts sooner
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **without})
        try:
            yield started.address
        finally:
            started.shutdown()  # type: ignore[no-untyped-call]


__all__ = ["ray_cluster"]
