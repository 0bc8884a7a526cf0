"""Row 17: two thousand files with seeded damage. `make fuzz N=100000` reads more of the same list."""

from __future__ import annotations

from pathlib import Path

import fuzz

MEMORY_LIMIT = 1 << 30


def test_mutated_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "originals").mkdir()
    tally = fuzz.run(range(2000), fuzz.make_originals(tmp_path / "originals"), jobs=2)
    assert tally.n >= 2000
    assert not tally.failures, fuzz.told(tally, 1.0)
    assert tally.peak_memory_bytes <= MEMORY_LIMIT
    assert tally.classes["read"] > 100
    assert tally.classes["corrupt_file"] > 100


def test_the_same_number_is_the_same_file() -> None:
    files = [bytes(range(256)), b"x" * 300]
    assert [fuzz.mutated(n, files) for n in range(50)] == [fuzz.mutated(n, files) for n in range(50)]
    assert len({fuzz.mutated(n, files) for n in range(50)}) > 40
