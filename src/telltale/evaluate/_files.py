"""What `evaluate --out` writes: JSON for programs, CSV for spreadsheets, pictures for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from telltale import plots
from telltale._csv import to_csv
from telltale._files import drop_earlier, write_files
from telltale.evaluate._grid import Robustness
from telltale.evaluate._measure import Measures, leak_words, or_dash
from telltale.metrics import AT_HALF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from telltale.evaluate import Scored

_WORST = 25
_SHORT = {"auc": "AUC", "ap": "AP"}
_JSON_NAME = "evaluation.json"
_NOT_ALWAYS = frozenset(
    ["perturbed.csv", "risk_coverage.csv"]
    + [f"{name}.png" for name in ("roc", "precision_recall", "confusion", "reliability", "scores")]
    + [f"{name}.png" for name in ("confusion_faces", "worst_mistakes", "methods", "risk_coverage")]
    + [f"{name}.png" for name in ("robustness", "robustness_fpr", "perturbed")]
)
"""Files that some evaluations write and others do not."""


def write(scored: Scored, out: Path) -> None:
    """Everything into `out`, all or nothing; what an earlier evaluation alone wrote goes. Raises `OutputError`."""
    said = scored.evaluation
    files = {
        _JSON_NAME: (said.model_dump_json(indent=1) + "\n").encode(),
        "faces.csv": _faces_csv(scored),
        "videos.csv": _videos_csv(scored),
        "methods.csv": _methods_csv(scored),
    }
    if said.perturbed:
        files["perturbed.csv"] = _perturbed_csv(scored)
    if said.selective is not None:
        rows = list(zip(said.selective.coverage, said.selective.risk, strict=True))
        files["risk_coverage.csv"] = to_csv(["coverage", "risk"], rows)
    files |= {f"{name}.png": png for name, png in pictures(scored).items()}
    is_again = (out / _JSON_NAME).exists()
    write_files(out, files)
    if is_again:
        drop_earlier(out, _NOT_ALWAYS - files.keys())


def pictures(scored: Scored) -> dict[str, bytes]:
    """Name -> PNG. Curves that need both classes are left out where there is one."""
    said, card = scored.evaluation, scored.card
    faces, videos = _scored_faces(scored), _scored_videos(scored)
    # With one face a video, as in a set of pictures, both say the same.
    levels = [(videos, said.video)] if said.video.n == said.frame.n else [(videos, said.video), (faces, said.frame)]
    levels = [(level, measures) for level, measures in levels if 0 < level.is_fake.sum() < len(level.is_fake)]
    found = {}
    if levels:
        found["roc"] = plots.roc([noted(level, measures, "auc") for level, measures in levels])
        found["precision_recall"] = plots.precision_recall([noted(level, measures, "ap") for level, measures in levels])
    if said.video.n:
        found["confusion"] = plots.confusion(
            said.video.confusion, unit="videos", n_abstained=said.abstained, note=AT_HALF
        )
        found["reliability"] = plots.reliability(noted(videos, said.video, "auc"))
        bounds = (card.thresholds.real_below, max(card.thresholds.fake_above, card.thresholds.real_below))
        found["scores"] = plots.score_histogram(videos, thresholds=bounds)
    if said.frame.n:
        if said.frame.n != said.video.n:
            found["confusion_faces"] = plots.confusion(said.frame.confusion, unit="faces", note=AT_HALF)
        found["worst_mistakes"] = _worst_mistakes(scored)
    if len(said.methods) > 1:
        found["methods"] = _methods_table(scored)
    if said.robustness is not None:
        found["robustness"] = robustness_table(said.robustness, scored.card.name)
        found["robustness_fpr"] = false_alarm_table(said.robustness, scored.card.name)
    elif said.perturbed:
        found["perturbed"] = _perturbed_table(scored)
    if said.selective is not None and said.video.n > 1:
        found["risk_coverage"] = plots.risk_coverage(
            {scored.card.name: (said.selective.coverage, said.selective.risk)}, n=said.video.n + said.abstained
        )
    warning = leak_words(said.leaked_groups) if said.leaked_groups else ""
    return {name: plots.to_png(figure, warning=warning) for name, figure in found.items()}


def noted(
    curve: plots.Scored, measures: Measures, figure: Literal["auc", "ap"], *, interval: bool = True
) -> plots.Scored:
    """With that figure behind its name, and its interval where there is one."""
    value, bounds = getattr(measures, figure), measures.ci95.get(figure) if interval else None
    if value is None:
        return curve
    note = f"{_SHORT[figure]} {value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")
    return replace(curve, note=note)


def robustness_table(found: Robustness, name: str) -> Figure:
    """AUC of every cell, with the kinds' means."""
    return plots.heat_table(
        plots.Cells(
            [[*row, mean] for row, mean in zip(found.auc, found.kind_means.values(), strict=True)],
            rows=[kind.replace("_", " ") for kind in found.kinds],
            columns=[*map(str, found.levels), "mean"],
        ),
        quantity="AUC",
        limits=(0.5, 1.0),
        title="Degraded, by kind and level",
        note=f"{name}, as it is {or_dash(found.clean_auc)}, mean of kinds {or_dash(found.grand_mean)}",
    )


def false_alarm_table(found: Robustness, name: str) -> Figure:
    """Share of reals above the score that 5 % of them exceed undegraded."""
    return plots.heat_table(
        plots.Cells(
            found.fpr,
            rows=[kind.replace("_", " ") for kind in found.kinds],
            columns=list(map(str, found.levels)),
        ),
        quantity="share of reals above the clean 5 % bar",
        limits=(0.0, 0.5),
        title="False alarms, by kind and level",
        note=f"{name}, mean {or_dash(found.fpr_mean)}",
    )


def _scored_faces(scored: Scored) -> plots.Scored:
    seen = scored.counted
    return plots.Scored(scored.faces.label[seen], scored.p_face[seen], name="faces")


def _scored_videos(scored: Scored) -> plots.Scored:
    p = scored.p_video
    known = np.isfinite(p)
    label = scored.faces.label[scored.first][known]
    return plots.Scored(label, p[known], name="videos")


def _worst_mistakes(scored: Scored) -> Figure:
    """The faces whose label got the least probability, one a video; of videos about which something was said."""
    faces, p = scored.faces, np.where(scored.counted, scored.p_face, np.nan)
    given = np.where(faces.label == 1, p, 1 - p)
    tiles: list[plots.Tile] = []
    shown: set[int] = set()
    for index in np.argsort(given, kind="stable"):
        video = int(faces.video[index])
        if not np.isfinite(given[index]) or given[index] >= 0.5 or len(tiles) == _WORST:
            break
        if video in shown:
            continue
        shown.add(video)
        tiles.append(_tile(scored, int(index)))
    title = "Worst mistakes"
    if not tiles:  # nothing is wrong: the least sure ones instead
        title = "No mistakes; the least sure"
        known = np.flatnonzero(np.isfinite(given))
        tiles = [_tile(scored, int(i)) for i in known[np.argsort(given[known], kind="stable")][:_WORST]]
    return plots.picture_grid(tiles, title=title, note=f"{scored.card.name}, p(fake) below each")


def _tile(scored: Scored, index: int) -> plots.Tile:
    faces = scored.faces
    return plots.Tile(
        faces.crop(index, scored.card.size_px),
        label="fake" if faces.label[index] else "real",
        caption=f"{scored.p_face[index]:.2f}",
        note=str(faces.columns["video_id"][index]),
    )


def _methods_table(scored: Scored) -> Figure:
    methods = scored.evaluation.methods
    return plots.heat_table(
        plots.Cells(
            [(m.auc, m.found) for m in methods],
            rows=[f"{m.dataset} {m.method} (n = {m.n_fake})" for m in methods],
            columns=["AUC", "found"],
        ),
        quantity="AUC and share found",
        limits=[(0.5, 1.0), (0.0, 1.0)],
        title="Methods",
        note="videos",
    )


def _perturbed_table(scored: Scored) -> Figure:
    said = scored.evaluation
    rows = [("as they are", said.frame, said.video), *((p.name, p.frame, p.video) for p in said.perturbed)]
    return plots.heat_table(
        plots.Cells(
            [(frame.auc, video.auc) for _, frame, video in rows],
            rows=[name for name, _, _ in rows],
            columns=["faces", "videos"],
        ),
        quantity="AUC",
        limits=(0.5, 1.0),
        title="Degraded faces",
    )


def _faces_csv(scored: Scored) -> bytes:
    faces = scored.faces
    names = ("dataset", "video_id", "track_id", "frame_index", "pts_s", "label", "method", "group_id", "source")
    columns = [faces.columns[name].tolist() for name in names]
    values = (
        [*row, _number(logit), _number(p)]
        for *row, logit, p in zip(*columns, scored.logit.tolist(), scored.p_face.tolist(), strict=True)
    )
    return to_csv([*names, "logit", "p_fake"], values)


def _videos_csv(scored: Scored) -> bytes:
    names = ("dataset", "video_id", "label", "method", "group_id")
    rows = []
    for video in scored.videos:
        known = [scored.faces.columns[name][video.first].item() for name in names]
        p = float("nan") if video.p_fake is None else video.p_fake
        rows.append([*known, video.label, _number(p), video.n_tracks, " ".join(video.codes)])
    return to_csv([*names, "verdict", "p_fake", "people", "codes"], rows)


def _methods_csv(scored: Scored) -> bytes:
    names = ["dataset", "method", "n_fake", "n_real", "auc", "auc_low", "auc_high", "found"]
    rows = [
        [m.dataset, m.method, m.n_fake, m.n_real, m.auc, *(m.auc_ci95 or (None, None)), m.found]
        for m in scored.evaluation.methods
    ]
    return to_csv(names, rows)


def _perturbed_csv(scored: Scored) -> bytes:
    figures = ("auc", "accuracy", "log_loss")
    rows = [
        [p.name, level, measures.n, p.abstained, *(getattr(measures, name) for name in figures), p.fpr, p.called_fake]
        for p in scored.evaluation.perturbed
        for level, measures in (("face", p.frame), ("video", p.video))
    ]
    return to_csv(["change", "level", "n", "abstained", *figures, "fpr_at_clean_5pct", "called_fake"], rows)


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
