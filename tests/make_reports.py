"""Reports made by hand, so that output can be tested without a model.

>>> make_report(label="fake").verdict.label
'fake'
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from telltale.types import (
    Attachment,
    CardSummary,
    Code,
    ContainerInfo,
    Credentials,
    ErrorInfo,
    FaceReport,
    FrameCounts,
    Heat,
    InputInfo,
    Label,
    ModelInfo,
    Pictures,
    Provenance,
    Report,
    Stability,
    StabilityRow,
    StreamInfo,
    TrackReport,
    Verdict,
    VideoInfo,
)

THRESHOLDS = (0.21, 0.93)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def make_jpeg(shade: int, *, width_px: int = 64, height_px: int = 64) -> bytes:
    """A small picture that differs by `shade`."""
    rows = np.linspace(0, 160, height_px)[:, None, None] + np.zeros((1, width_px, 3)) + shade % 96
    buffer = io.BytesIO()
    Image.fromarray(rows.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def make_track(
    track_id: int, scores: Sequence[float | None], *, start_s: float = 0.0, step_s: float = 0.5, size_px: float = 120.0
) -> TrackReport:
    """One person with a score every `step_s`; every fifth face is interpolated."""
    faces = tuple(
        FaceReport(
            pts_s=start_s + i * step_s,
            box_xyxy=(100.0 + i, 80.0, 100.0 + i + size_px, 80.0 + size_px),
            p_fake=p,
            source="interpolated" if i % 5 == 4 else "detected",
            confidence=0.99,
        )
        for i, p in enumerate(scores)
    )
    judged = [p for p in scores if p is not None]
    p_fake = max(0.001, min(0.999, sum(judged) / len(judged))) if judged else None
    label: Label = "uncertain"
    reason = f"The face is only {size_px:.0f} pixels large; below 40 the model would be guessing."
    codes: tuple[Code, ...] = (Code.TOO_SMALL,)
    if p_fake is not None:
        label = "fake" if p_fake >= THRESHOLDS[1] else "real" if p_fake < THRESHOLDS[0] else "uncertain"
        codes = (Code.BETWEEN_THRESHOLDS,) if label == "uncertain" else ()
        reason = f"The face scores {p_fake:.0%}; real faces rarely reach {THRESHOLDS[1]:.0%}."
    hot = [face.pts_s for face in faces if face.p_fake is not None and face.p_fake >= THRESHOLDS[1]]
    return TrackReport(
        id=track_id,
        start_s=faces[0].pts_s,
        end_s=faces[-1].pts_s,
        p_fake=p_fake,
        label=label,
        codes=codes,
        reasons=(reason,),
        interval=None if p_fake is None else (max(0.0, p_fake - 0.06), min(1.0, p_fake + 0.03)),
        suspicious_s=((min(hot), max(hot)),) if hot else (),
        faces=faces,
    )


def wave(n: int, low: float, high: float) -> list[float]:
    """Scores that swing between two values."""
    return [low + (high - low) * (0.5 - 0.5 * math.cos(2 * math.pi * i / max(n, 2))) for i in range(n)]


def make_video(path: str, *, duration_s: float = 12.0, is_image: bool = False) -> VideoInfo:
    return VideoInfo(
        path=path,
        sha256=SHA256,
        size_bytes=2_412_331,
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        width_px=1280,
        height_px=720,
        rotation_deg=0,
        duration_s=None if is_image else duration_s,
        fps_header=None if is_image else 29.97,
        n_frames_header=None,
        stream_index=0,
        is_image=is_image,
    )


def make_report(
    path: str = "clips/interview.mp4",
    *,
    label: Label = "fake",
    tracks: Sequence[TrackReport] | None = None,
    duration_s: float = 12.0,
    is_image: bool = False,
    warnings: Sequence[str] = (),
) -> Report:
    """A whole report with that label; pictures included."""
    if label == "failed":
        return Report(
            input=InputInfo(path=path, sha256="", size_bytes=0),
            verdict=Verdict(label="failed"),
            error=ErrorInfo(code="file_missing", message=f"{path}: there is no such file; check the name"),
            model=ModelInfo(name="default", sha256=SHA256),
        )
    if tracks is None:
        n = int(duration_s / 0.5)
        by_label: dict[str, list[TrackReport]] = {
            "fake": [make_track(1, wave(n, 0.94, 0.99)), make_track(2, wave(n - 6, 0.02, 0.12), start_s=2.0)],
            "real": [make_track(1, wave(n, 0.01, 0.1))],
            "uncertain": [make_track(1, wave(n, 0.2, 0.8))],
            "no_face": [],
        }
        tracks = by_label[label]
    worst = max((t for t in tracks if t.p_fake is not None), key=lambda t: t.p_fake or 0, default=None)
    crops = {(t.id, i): make_jpeg(17 * t.id + 5 * i) for t in tracks for i in range(len(t.faces))}
    n_thumbnails = 1 if is_image else 12
    thumbnails = tuple(
        (i * duration_s / n_thumbnails, make_jpeg(8 * i, width_px=128, height_px=72)) for i in range(n_thumbnails)
    )
    no_face = Verdict(label="no_face", codes=(Code.NO_FACE,), reasons=("No face was found in any frame looked at.",))
    return Report(
        input=InputInfo(path=path, sha256=SHA256, size_bytes=2_412_331),
        video=make_video(path, duration_s=duration_s, is_image=is_image),
        verdict=no_face
        if worst is None
        else Verdict(
            label=label,
            p_fake=worst.p_fake,
            interval=worst.interval,
            thresholds=THRESHOLDS,
            codes=worst.codes,
            reasons=worst.reasons,
        ),
        tracks=tuple(tracks),
        model=ModelInfo(name="default", sha256=SHA256),
        settings={"model": "default", "sample": {"kind": "fps", "value": 2.0}, "detector": "mtcnn", "deadline_s": None},
        warnings=tuple(warnings),
        frames=FrameCounts(decoded=360, analysed=24, lost=0),
        timings_s={"read": 0.61, "total": 1.94},
        versions={"telltale": "0.1.0", "python": "3.12.1", "ffmpeg": "8.1.2"},
        pictures=Pictures(thumbnails=thumbnails, crops=crops),
    )


def make_heat() -> bytes:
    """A small RGBA picture, warm on one side."""
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, 4:] = (213, 94, 0, 180)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()


def make_attachment(name: str, kind: Literal["video", "gif"], media_type: str) -> Attachment:
    return Attachment(
        name=name,
        kind=kind,
        told="A file.",
        media_type=media_type,
        size_bytes=5,
        sha256=SHA256,
        width_px=2,
        height_px=2,
    )


def make_full_report(path: str = "clips/interview.mp4", *, text: str = "Lavf60.3.100") -> Report:
    """A report with everything that can be asked for; `text` stands wherever a file can put text."""
    plain = make_report(path)
    heat = dict.fromkeys(plain.pictures.crops, make_heat())
    scores = (0.97, 0.98, 0.91, 0.4, None)
    labels: tuple[Label, ...] = ("fake", "fake", "uncertain", "uncertain", "failed")
    rows = tuple(
        StabilityRow(
            name=f"t{i}",
            told=f"treatment {i}",
            size_bytes=1000 * i or None,
            label=label,
            p_fake=p,
            error=None if p else "the encoder failed",
        )
        for i, (p, label) in enumerate(zip(scores, labels, strict=True))
    )
    container = ContainerInfo(
        format="mov,mp4",
        bit_rate=955_000,
        bits_per_pixel=0.02,
        key_frame_every_s=10.0,
        metadata={"encoder": text, "title": text, text: "a key"},
        streams=(
            StreamInfo(
                kind="video", codec="h264", width_px=1280, height_px=720, bit_rate=900_000, metadata={"t": text}
            ),
        ),
    )
    return plain.model_copy(
        update={
            "explanation": Heat(method="cam", target="fake", full_logit=2.5, n_faces=len(heat), told="Orange is for."),
            "stability": Stability(
                baseline=rows[0], rows=rows[1:], stretch_s=(1.0, 9.0), n_same=1, p_range=(0.4, 0.98), told="It moved."
            ),
            "provenance": Provenance(
                credentials=Credentials(status="invalid", told="They do not fit.", title=text, issuer=text),
                container=container,
            ),
            "attachments": (
                make_attachment("annotated.mp4", "video", "video/mp4"),
                make_attachment("telling.gif", "gif", "image/gif"),
            ),
            "model": plain.model.model_copy(
                update={
                    "card": CardSummary(
                        description="A model.", size_px=224, min_face_px=40, min_faces=3, fake_above=0.93,
                        real_below=0.21, false_positive_rate=0.01, miss_rate=0.05, population="1,000 real faces",
                        training=("dfdc: 3 real, 4 fake. Terms",), licence="Some", limits=("Not proof of anything.",),
                    )
                }
            ),
            "pictures": Pictures(thumbnails=plain.pictures.thumbnails, crops=plain.pictures.crops, heat=heat),
        }
    )  # fmt: skip
