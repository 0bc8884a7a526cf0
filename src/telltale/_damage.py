"""Which frames damage has spoiled, known before any of them is given out.

Damage lasts from the packet that shows it, in the order of decoding, to the next key frame, because what lies between
is built from it, and decoders keep silent about some of these frames or do not give them out at all. A frame that is
shown before others but decoded after them is held back until these were seen.

>>> damage = Damage(np.array([0, 3, 1, 2]))  # the frame shown second is decoded last
>>> sorted_out = []
>>> for place in range(4):
...     shown = Shown(place, place / 25, is_key=place == 0, is_corrupt=place == 2)
...     sorted_out += [(one.place, is_spoiled) for one, is_spoiled in damage.sort(shown)]
>>> sorted_out
[(0, False), (1, True), (2, True), (3, True)]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from av.video.frame import VideoFrame

from telltale._timestamps import Int64Array

_NEVER = 1 << 62
_MOST_HELD = 16
"""Pictures; usual encoders show 1 to 8 before one that was decoded earlier."""


@dataclass(slots=True)
class Shown:
    """A frame that was decoded."""

    place: int
    """In the video, in display order, from 0."""
    time_s: float
    frame: VideoFrame | None = None
    """None where nobody wants it."""
    _: KW_ONLY
    is_key: bool = False
    is_corrupt: bool = False
    may_be_half: bool = False
    """The other half may be a packet of its own, and gives no frame."""
    is_placed: bool = True
    """Its place is sure, and with it what was decoded before it."""


class Damage:
    """Frames in display order, sorted into good and spoiled ones, and how many were lost.

    `decoded_at`: int64 (n,), for each frame which packet it comes from, counted from 0; None where that is not known,
    and taken to be as they are shown.
    """

    def __init__(self, decoded_at: Int64Array | None = None) -> None:
        at = np.empty(0, np.int64) if decoded_at is None else decoded_at
        shown_at = np.empty_like(at)
        shown_at[at] = np.arange(len(at))
        self._at = at
        self._known_at = np.maximum.accumulate(shown_at)[at] if len(at) else at
        """The place at which all that was decoded before a frame has been shown."""
        self._depth = _depth(at)
        self._deepest = 0
        self._furthest = -1
        self._expected: dict[int, bool] = {}
        self._watched_from = _NEVER
        self._held: deque[Shown] = deque()
        self._last: Shown | None = None
        self._alone: set[int] = set()
        """Places that lost their frame, and no other with it."""
        self._n_before = 0
        self._clean_from = 0
        self._since_packet = _NEVER
        self._since_place = _NEVER

    def expects(self, place: int, *, is_built_on: bool = True, is_beginning: bool = False) -> None:
        """A packet that must give the frame at `place` goes to the decoder. `is_built_on`: others may be built from
        it. `is_beginning`: with it the decoder can show all that follow."""
        self._expected[place] = is_built_on
        if is_beginning and self.is_beginning:
            self._watched_from = min(self._watched_from, place)

    @property
    def is_in_order(self) -> bool:
        """As far as the packets tell, frames are shown as they are decoded."""
        return not self._depth.any()

    @property
    def is_beginning(self) -> bool:
        """No frame was shown yet."""
        return self._last is None

    def packet_lost(self, *, is_last: bool) -> None:
        """A packet could not be decoded; which one is not known, as decoders are some packets late. `is_last`: that was
        found after the last one, and PyAV then loses the frames that came with it, which were decoded before."""
        if min(self._since_packet, self._since_place) == _NEVER:
            self._since_place = self._next
        if is_last:
            self._expected.clear()

    def sort(self, shown: Shown) -> Iterator[tuple[Shown, bool]]:
        """The frames of which it is known by now, with this one, whether they are spoiled."""
        self._miss(shown)
        if shown.is_corrupt:
            self._since_packet = min(self._since_packet, self._packet(shown.place))
        elif shown.is_key:
            yield from self._release(_NEVER)
            self._end(shown.place)
        self._last = shown
        self._held.append(shown)
        yield from self._release(shown.place if shown.is_placed else _NEVER)

    def finish(self, n_frames: int, cut: Sequence[int]) -> Iterator[tuple[Shown, bool]]:
        """After the last packet: the frames that were held. Of `n_frames`, those that never came are lost too. `cut`:
        those of packets that are there in part and gave none; at its end FFmpeg then also loses good ones before."""
        if cut:
            self._since_packet = min(self._since_packet, *map(self._packet, cut))
            self._expected.clear()
        self._miss(Shown(n_frames, 0))
        yield from self._release(_NEVER)
        if self._next < n_frames:
            self._since_place = min(self._since_place, self._next)
        self._n_before += self._n_spoiled(n_frames)
        self._since_packet = self._since_place = _NEVER
        self._alone.clear()

    @property
    def n_frames(self) -> int:
        """Lost so far."""
        return self._n_before + (max(1, self._n_spoiled(self._next)) if self._is_active else 0)

    @property
    def _is_active(self) -> bool:
        return bool(self._alone) or min(self._since_packet, self._since_place) < _NEVER

    @property
    def _next(self) -> int:
        return 0 if self._last is None else self._last.place + 1

    def _packet(self, place: int) -> int:
        return int(self._at[place]) if place < len(self._at) else place

    def _release(self, place: int) -> Iterator[tuple[Shown, bool]]:
        """What is held and known once the frame at `place` is shown."""
        while self._held:
            first = self._held[0].place
            is_known = place == _NEVER or first >= len(self._at) or self._known_at[first] <= place
            if not is_known and sum(one.frame is not None for one in self._held) <= _MOST_HELD:
                break
            is_spoiled = first >= self._since_place or self._packet(first) >= self._since_packet
            yield self._held.popleft(), is_spoiled

    def _end(self, place: int) -> None:
        """Damage ends at a key frame: what is shown after it is built from nothing before."""
        if self._is_active:
            self._n_before += max(1, self._n_spoiled(place))
        self._since_packet = self._since_place = _NEVER
        self._alone.clear()
        self._clean_from = place

    def _n_spoiled(self, until: int) -> int:
        places = np.arange(self._clean_from, until)
        packets = places.copy()
        known = self._at[self._clean_from : until]
        packets[: len(known)] = known
        is_spoiled = (places >= self._since_place) | (packets >= self._since_packet)
        return int(np.count_nonzero(is_spoiled | np.isin(places, list(self._alone))))

    def _miss(self, shown: Shown) -> None:
        """Damage begins with each frame that others may be built from, that had to come before `shown` and did not."""
        missing = {place: is_built_on for place, is_built_on in self._expected.items() if place < shown.place}
        self._expected = {place: is_built_on for place, is_built_on in self._expected.items() if place > shown.place}
        if not shown.is_placed:
            self._expected.clear()
            return
        if self._watched_from == _NEVER:  # a stream that was cut out of another: it begins with what came first
            self._watched_from = shown.place
        for place, is_built_on in missing.items():
            if self._is_excused(place):
                continue
            if is_built_on:
                self._since_packet = min(self._since_packet, self._packet(place))
            else:
                self._alone.add(place)
        if self._furthest < shown.place < len(self._at):
            self._deepest = max(self._deepest, int(self._depth[shown.place]))
        self._furthest = max(self._furthest, shown.place)

    def _is_excused(self, place: int) -> bool:
        """Decoders leave out what is built from frames before the beginning; H.264's learns how long it must wait from
        frames that came too late to be shown; and the second half of an interlaced frame may be a packet of its own."""
        if place < self._watched_from or self._depth[place] > self._deepest:
            return True
        last = self._last
        if last is None or not last.may_be_half:
            return False
        return place == last.place + 1 and self._packet(place) == self._packet(last.place) + 1


def _depth(decoded_at: Int64Array) -> Int64Array:
    """For each frame, how many are decoded before it and shown after it."""
    depth = np.zeros_like(decoded_at)
    n_moved = int(np.abs(decoded_at - np.arange(len(decoded_at))).max(initial=0))
    for lag in range(1, min(2 * n_moved + 1, len(decoded_at))):
        depth[:-lag] += decoded_at[lag:] < decoded_at[:-lag]
    return depth


__all__ = ["Damage", "Shown"]
