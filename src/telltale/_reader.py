"""What the readers of videos (`_file_reader`) and of pictures (`pictures`) give, and share.

What was found out on the way (`codes`, `warnings`, `info`, counts) is computed when asked for, so it is
right also when the iteration was left early.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from telltale._source import FileHash, Source
from telltale.sampling import Choice, SamplePlan
from telltale.types import Code, Float64Array, Frame, VideoInfo

Finding = tuple[Code, str]

CONVERSIONS = {
    Code.HDR_TONE_MAPPED: "The video is HDR; it was tone-mapped to what an ordinary screen shows.",
    Code.ALPHA_COMPOSITED: "Transparent parts were made white.",
    Code.INTERLACED: "The video is interlaced; where two moments were woven together one of them was kept.",
}


class VideoReader(ABC):
    """Frames in time order, and what was found out about the file on the way."""

    def __init__(self, source: Source, info: VideoInfo, file_hash: FileHash) -> None:
        self._source = source
        self._hash = file_hash
        self._info = info
        self._is_finished = False
        self.n_decoded = 0
        """Frames decoded so far."""

    @property
    def info(self) -> VideoInfo:
        """Size as displayed and timestamps are final after the last frame. The SHA-256 is "" until it is known;
        after the last frame, or when closed, it is waited for."""
        if not self._info.sha256 and (self._is_finished or self._hash.is_done):
            self._info = replace(self._info, sha256=self._hash.result())
        return self._info

    def info_within(self, seconds: float) -> VideoInfo:
        """`info`, whose SHA-256 is waited for so long, and stays "" where it takes longer."""
        self._hash.result(within_s=seconds)
        return self.info

    @property
    @abstractmethod
    def sampled_s(self) -> Float64Array:
        """(n,) times of the frames that the plan takes, as the file has them."""

    @property
    def origin_s(self) -> float:
        """What the container calls the moment that is 0 seconds here."""
        return 0.0

    @property
    def interval_s(self) -> float:
        """The usual time between two frames."""
        return 0.1

    @property
    def n_lost(self) -> int:
        """Frames known to be damaged or missing so far."""
        return 0

    @abstractmethod
    def findings(self) -> list[Finding]:
        """What a report must say about how this file was read, so far: codes and sentences."""

    @property
    def codes(self) -> list[Code]:
        return [code for code, _ in self.findings()]

    @property
    def warnings(self) -> list[str]:
        return [warning for _, warning in self.findings()]

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        self._is_finished = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def left_out(choice: Choice, plan: SamplePlan, times_s: Float64Array, total_s: float | None) -> list[Finding]:
    """What of the clip the plan leaves out: its end, or frames everywhere. `choice` is the plan's from `times_s`."""
    found: list[Finding] = []
    if choice.ended_by is not None:
        last_s = float(times_s[choice.indices[-1]] - times_s[0])
        seen_s = plan.seconds if plan.seconds and choice.ended_by == "seconds" else last_s
        whole = "" if total_s is None else f" of {total_s:.1f}"
        seen = f"{seen_s:.1f}{whole} s were" if seen_s else "frame was"
        named = "--" + choice.ended_by.replace("_", "-")
        found.append((Code.BEGINNING_ONLY, f"Only the first {seen} looked at ({named})."))
    if choice.was_capped:
        n = len(choice.indices)
        told = f"The clip is long: {n} frames spread over the whole of it were chosen instead of {choice.n_wanted}."
        found.append((Code.CAPPED, told))
    return found


def converted(codes: set[Code]) -> list[Finding]:
    """The findings about what was done to the pictures."""
    return [(code, CONVERSIONS[code]) for code in sorted(codes)]
