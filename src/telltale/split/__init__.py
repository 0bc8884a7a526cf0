"""Who trains, who validates, who tests: grouped, stratified by label and method, and the same again from the same seed.

A group (the original video and every fake of it, the persons in it where that leaves more than one group) is never
on two sides. Where a record says who is in it, everybody they share a video with goes along, as long as the sides
still come out at the sizes asked for; where they would not (in Celeb-DF everybody is connected with everybody), the
group is kept together and the persons left on two sides are counted in the result.

>>> from telltale.types import VideoRecord
>>> def video(name, label, group):
...     return VideoRecord(dataset="d", video_id=name, path=name, name=name, label=label, group_id=group)
>>> records = [video(f"{kind}{i}", kind == "fake", f"d:{i}") for i in range(10) for kind in ("real", "fake")]
>>> split = make_split(records, ratio="80/10/10", seed=1)
>>> split.counts(records)
{'train': (8, 8), 'val': (1, 1), 'test': (1, 1)}
>>> split.side("real3") == split.side("fake3")
True
>>> make_split(records, by="random", seed=1).leaked_groups != ()
True
"""

from __future__ import annotations

from telltale.split._draw import Draw, check_seed
from telltale.split._groups import (
    Leaks,
    Member,
    check_leaks,
    fakes_alone,
    find_leaks,
    group_pieces,
    joined_group,
    names_videos,
    persons,
    whole_groups,
)
from telltale.split._make import SIDES, By, Split, k_fold, make_split, parse_ratio, thin_sides
from telltale.split._stores import Dealt, split_stores

__all__ = [
    "SIDES",
    "By",
    "Dealt",
    "Draw",
    "Leaks",
    "Member",
    "Split",
    "check_leaks",
    "check_seed",
    "fakes_alone",
    "find_leaks",
    "group_pieces",
    "joined_group",
    "k_fold",
    "make_split",
    "names_videos",
    "parse_ratio",
    "persons",
    "split_stores",
    "thin_sides",
    "whole_groups",
]
