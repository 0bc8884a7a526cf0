"""What a step frees stays with the process while a network learns, and goes back to the system afterwards."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import numpy as np
import psutil
import pytest

from telltale.train._allocator import kept_memory

_T = TypeVar("_T")
BLOCK_BYTES = 96 << 20


def _resident_after_a_block_is_freed() -> int:
    block = np.ones(BLOCK_BYTES, np.uint8)
    del block
    return int(psutil.Process().memory_info().rss)


def _around_kept_memory() -> tuple[int, int, int] | None:
    """Resident before, inside and after; None where the C library cannot be asked."""
    before = _resident_after_a_block_is_freed()
    with kept_memory() as is_kept:
        inside = _resident_after_a_block_is_freed()
    return (before, inside, _resident_after_a_block_is_freed()) if is_kept else None


def _around_an_error() -> tuple[int, int]:
    before = _resident_after_a_block_is_freed()
    try:
        with kept_memory():
            _resident_after_a_block_is_freed()
            raise ZeroDivisionError
    except ZeroDivisionError:
        return before, _resident_after_a_block_is_freed()


def _in_its_own_process(measured: Callable[[], _T]) -> _T:
    """What other tests left free in this process would count."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measured).result()


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_freed_memory_is_kept_inside_and_given_back_after() -> None:
    found = _in_its_own_process(_around_kept_memory)
    if found is None:
        pytest.skip("another C library than glibc")
    before, inside, after = found

    assert inside - before > 0.8 * BLOCK_BYTES
    assert after - before < 0.2 * BLOCK_BYTES


def test_memory_is_given_back_after_an_error() -> None:
    before, after = _in_its_own_process(_around_an_error)

    assert after - before < 0.2 * BLOCK_BYTES
