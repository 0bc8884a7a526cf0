"""What a step frees stays with the process while a network learns, and goes back to the system afterwards."""

from __future__ import annotations

import sys

import numpy as np
import psutil
import pytest

from telltale.train._allocator import kept_memory

BLOCK_BYTES = 96 << 20


def _resident_after_a_block_is_freed() -> int:
    block = np.ones(BLOCK_BYTES, np.uint8)
    del block
    return int(psutil.Process().memory_info().rss)


def _fail_with_memory_kept() -> None:
    with kept_memory():
        _resident_after_a_block_is_freed()
        raise ZeroDivisionError


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_freed_memory_is_kept_inside_and_given_back_after() -> None:
    before = _resident_after_a_block_is_freed()
    with kept_memory() as is_kept:
        if not is_kept:
            pytest.skip("another C library than glibc")
        inside = _resident_after_a_block_is_freed()
    after = _resident_after_a_block_is_freed()

    assert inside - before > 0.8 * BLOCK_BYTES
    assert after - before < 0.2 * BLOCK_BYTES


def test_memory_is_given_back_after_an_error() -> None:
    before = _resident_after_a_block_is_freed()
    with pytest.raises(ZeroDivisionError):
        _fail_with_memory_kept()

    assert _resident_after_a_block_is_freed() - before < 0.2 * BLOCK_BYTES
