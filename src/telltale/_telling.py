"""Which moments of a person tell most: one rule for the verdict's words, the annotated clip and recompression.

telling_spans(track, 3)         # the three suspicious spans with the highest scores, in time order
"""

from __future__ import annotations

import bisect
import statistics

from telltale.types import TrackReport

TELLING_S = 3.0


def telling_means(track: TrackReport) -> list[tuple[float, float]]:
    """(time, mean score over `TELLING_S` from then on) of each scored face, in time order."""
    scored = [(face.pts_s, face.p_fake) for face in track.faces if face.p_fake is not None]
    times, scores = [time_s for time_s, _ in scored], [p_fake for _, p_fake in scored]
    ends = [bisect.bisect_right(times, time_s + TELLING_S) for time_s in times]
    return [(time_s, round(statistics.fmean(scores[i : ends[i]]), 3)) for i, time_s in enumerate(times)]


def telling_spans(track: TrackReport, n: int) -> list[tuple[float, float]]:
    """The `n` suspicious spans in which such a mean is highest, in time order."""
    means = telling_means(track)

    def highest(span: tuple[float, float]) -> float:
        return max((mean for time_s, mean in means if span[0] <= time_s <= span[1]), default=0.0)

    return sorted(sorted(track.suspicious_s, key=highest, reverse=True)[:n])
