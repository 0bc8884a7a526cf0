"""From a file to explained faces: found and cropped in the worker as in a scan, the most telling ones explained."""

from __future__ import annotations

import heapq
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from telltale import _heat
from telltale._files import check_writable, drop_earlier, write_files
from telltale._png import png
from telltale._request import face_from_json, run_extract
from telltale._text import clock, encodable, percent
from telltale.aggregate import calibrate, shortfall
from telltale.errors import DeadlineExceeded
from telltale.explain import ExplainedFace, create, middle_face
from telltale.runtime import BATCH_SIZE, ClipCutter, Scorer, middle_s
from telltale.sandbox import Worker
from telltale.scan import ScanSettings, extract_request, load_scorer
from telltale.types import Clip, Code, Face, RgbImage, Track, VideoInfo

Told = Callable[[float, str], None]
JSON_NAME = "explanations.json"
_OURS = re.compile(r"person-\d+-[\d.]+s-[a-z]+\.(png|npy)")
"""Names of what is written for a face; nothing else is ever taken away."""
_SHOWN_PX = 320
_GAP_PX, _TEXT_PX = 14, 15
_PAPER = 24
_WORDS = {
    "heat": "orange for {target}, blue against",
    "for": "the five strongest for {target}",
    "for_and_against": "the ten strongest, for and against",
}
_NOT_PROOF = "What the model reacted to, not what was forged. Not proof."
_NOT_JUDGED = {Code.TOO_SMALL: "face too small", Code.TOO_FEW_FACES: "seen in too few frames"}


def explain_file(
    path: str | os.PathLike[str],
    *,
    model: str | Path | Scorer,
    method: str,
    n_faces: int,
    out: Path | None,
    on_progress: Told,
    settings: Mapping[str, Any],
) -> list[ExplainedFace]:
    """See `explain.explain`."""
    explainer = create(method, **settings)
    if out is not None:
        check_writable(out)
    with Worker() as worker:  # starts up while the model loads
        scorer = model if isinstance(model, Scorer) else load_scorer(model)
        explainer.check(scorer.bundle)
        people = _People(scorer)
        chosen = _most_telling(people.clips(path, worker, on_progress), scorer, n_faces)
    calibration = scorer.bundle.card.calibration
    faces = []
    for number, clip in enumerate(chosen):
        found = explainer.explain(scorer, clip, on_progress=_of_face(number, len(chosen), on_progress))
        code = people.code(clip.track_id)
        p_fake = None if code else float(calibrate(np.array([found.logit]), calibration)[0])
        faces.append(ExplainedFace(clip.track_id, middle_s(clip), p_fake, clip, found, code))
    if out is not None:
        earlier = _pictures_in(out)
        files = _files(path, scorer, faces, is_still=people.is_still)
        write_files(out, files)
        drop_earlier(out, earlier - files.keys())
    return faces


def _of_face(number: int, n_faces: int, on_progress: Told) -> Callable[[float], None]:
    """Told the share of one face, tells that of all."""

    def told(share: float) -> None:
        on_progress((number + share) / n_faces, f"explaining face {number + 1} of {n_faces}")

    told(0.0)
    return told


def _pictures_in(out: Path) -> set[str]:
    """What an earlier run wrote into `out`, by its own account."""
    try:
        said = json.loads((out / JSON_NAME).read_bytes())
        names = {row[key] for row in said["faces"] for key in ("picture", "heat")}
        return {name for name in names if _OURS.fullmatch(name)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


class _People:
    """Everybody in a file, and their clips as a scan would cut them."""

    is_still = False

    def __init__(self, scorer: Scorer) -> None:
        self._card = scorer.bundle.card
        self._faces: dict[int, list[Face]] = {}

    def clips(self, path: str | os.PathLike[str], worker: Worker, on_progress: Told) -> Iterator[Clip]:
        """Every clip that the model would score."""
        cutter = ClipCutter(self._card.n_frames)
        request = extract_request(path, self._card, ScanSettings())
        duration_s: float | None = None
        with closing(run_extract(worker, request)) as messages:
            for message in messages:
                if message.kind == "info":
                    duration_s, self.is_still = message.data["duration_s"], VideoInfo(**message.data).is_still
                if message.kind == "faces":
                    on_progress(min(message.data["pts_s"] / duration_s, 1.0) if duration_s else 0.0, "reading")
                    for row, crop in zip(message.data["faces"], message.arrays["crops"], strict=True):
                        track_id = row["track_id"] + 1  # people count from 1
                        self._faces.setdefault(track_id, []).append(face_from_json(row))
                        yield from cutter.add(track_id, row["pts_s"], crop, source=row["source"])
                elif message.kind == "done" and message.data["is_out_of_time"]:
                    raise DeadlineExceeded("reading the file took too long, so its most telling faces are not known")
        yield from cutter.finish()

    def code(self, track_id: int) -> Code | None:
        """Why a scan does not judge this person, once all was read."""
        minimum = self._card.minimum
        track = Track(track_id, tuple(self._faces[track_id]))
        lacking = shortfall(track, 1 if self.is_still else minimum.n_faces, minimum.face_px, "")
        return None if lacking is None else lacking[0]


def _most_telling(clips: Iterator[Clip], scorer: Scorer, n_faces: int) -> list[Clip]:
    """Of each person the `n_faces` that score highest, in the order of persons and times; memory stays flat."""
    best: dict[int, list[tuple[float, float, Clip]]] = {}
    batch: list[Clip] = []

    def take(batch: Sequence[Clip]) -> None:
        for clip, logit in zip(batch, scorer.score(batch).logit.tolist(), strict=True):
            held = best.setdefault(clip.track_id, [])
            entry = (logit, -middle_s(clip), clip)
            if len(held) < n_faces:
                heapq.heappush(held, entry)
            elif entry[:2] > held[0][:2]:
                heapq.heapreplace(held, entry)

    for clip in clips:
        batch.append(clip)
        if len(batch) == BATCH_SIZE:
            take(batch)
            batch = []
    take(batch)
    chosen = [clip for held in best.values() for _, _, clip in held]
    return sorted(chosen, key=lambda clip: (clip.track_id, middle_s(clip)))


def _files(
    path: str | os.PathLike[str], scorer: Scorer, faces: list[ExplainedFace], *, is_still: bool
) -> dict[str, bytes]:
    """File name -> content."""
    full = _heat.full_scale([face.explanation.heat for face in faces])
    files: dict[str, bytes] = {}
    rows = []
    for face in faces:
        stem = f"person-{face.track_id}-{face.pts_s:.2f}s-{face.explanation.method}"
        files[f"{stem}.png"] = png(_panel(face, full, is_still=is_still))
        buffer = io.BytesIO()
        np.save(buffer, face.explanation.heat, allow_pickle=False)
        files[f"{stem}.npy"] = buffer.getvalue()
        rows.append(
            {
                "track_id": face.track_id,
                "pts_s": face.pts_s,
                "p_fake": face.p_fake,
                "code": face.code,
                "logit": face.explanation.logit,
                "method": face.explanation.method,
                "target": face.explanation.target,
                "settings": dict(face.explanation.settings),
                "picture": f"{stem}.png",
                "heat": f"{stem}.npy",
            }
        )
    about = {
        "input": encodable(os.fspath(path)),
        "model": {"name": scorer.bundle.card.name, "sha256": scorer.bundle.sha256},
        "full_logit": round(full, 4),
        "faces": rows,
    }
    return files | {JSON_NAME: (json.dumps(about, indent=1, allow_nan=False) + "\n").encode("ascii")}


def _panel(face: ExplainedFace, full: float, *, is_still: bool) -> RgbImage:
    """The crop and the pictures of its explanation beside each other, with words below."""
    from telltale._annotate_ink import text_mask, write

    found = face.explanation
    words = {name: [text.format(target=found.target)] for name, text in _WORDS.items()}
    words["face"] = _caption(face, is_still=is_still)
    pictures = {"face": middle_face(face.clip), **found.pictures(face.clip, full=full)}
    side, line = _SHOWN_PX, round(1.6 * _TEXT_PX)
    below = _GAP_PX + side + _TEXT_PX // 2
    page = np.full((side + 3 * line + 2 * _GAP_PX, len(pictures) * (side + _GAP_PX) + _GAP_PX, 3), _PAPER, np.uint8)
    for i, (name, picture) in enumerate(pictures.items()):
        x = _GAP_PX + i * (side + _GAP_PX)
        page[_GAP_PX : _GAP_PX + side, x : x + side] = _enlarged(picture, side)
        for row, text in enumerate(words.get(name, [name])):
            write(page, text_mask(text, _TEXT_PX), x, below + row * line)
    write(page, text_mask(_NOT_PROOF, _TEXT_PX), _GAP_PX, below + 2 * line)
    return page


def _caption(face: ExplainedFace, *, is_still: bool) -> list[str]:
    who = f"person {face.track_id}" + ("" if is_still else f" at {clock(face.pts_s)}")
    if face.code is not None:
        return [who, f"not judged: {_NOT_JUDGED[face.code]}"]
    return [who, f"fake score {percent(face.p_fake or 0.0)}"]


def _enlarged(rgb: RgbImage, side_px: int) -> RgbImage:
    import cv2

    how = cv2.INTER_AREA if rgb.shape[0] > side_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (side_px, side_px), interpolation=how), np.uint8)
