"""The CropSpec of pictures that are stored as they came: their size, and the margin that is around the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from telltale._request import ExtractRequest, run_extract
from telltale.crops import CropSpec
from telltale.datasets import Record
from telltale.errors import DataError, TelltaleError
from telltale.prepare._fetching import Fetching, NotFetched
from telltale.prepare._settings import PrepareSettings
from telltale.prepare._task import as_file
from telltale.sampling import SamplePlan
from telltale.sandbox import Worker
from telltale.store import kept_settings

MEASURED_PICTURES = 200
_FEWEST_MEASURED = 10


def crop_as_given(out: Path, records: Sequence[Record], settings: PrepareSettings) -> CropSpec:
    """What the store at `out` has, where it is of these pictures, else measured. Raises `DataError`, `StoreInvalid`."""
    return _kept(out, records, settings) or _measured(records, settings)


def _kept(out: Path, records: Sequence[Record], settings: PrepareSettings) -> CropSpec | None:
    """The crop of the store at `out`, finished or begun, where it holds any of these pictures: what would be measured
    now, on a set that has grown, would make it another store."""
    kept = kept_settings(out)
    if kept is None or kept.settings.get("detect", True) or not kept.holds(records):
        return None
    crop = CropSpec(**kept.settings["crop"])
    return crop if settings.margin_frac is None else replace(crop, margin_frac=settings.margin_frac)


def _measured(records: Sequence[Record], settings: PrepareSettings) -> CropSpec:
    """The `as_given` CropSpec of pictures that are stored as they are: median size, and margin measured on a sample."""
    step = max(1, len(records) // MEASURED_PICTURES)
    sides, margins, fetching = [], [], Fetching()
    with Worker() as worker, TemporaryDirectory(prefix="telltale-") as scratch:
        for record in records[::step][:MEASURED_PICTURES]:
            try:
                with fetching.opened(record, Path(scratch)) as here:
                    request = ExtractRequest(as_file(here, Path(scratch)), SamplePlan("first", 1))
                    messages = list(run_extract(worker, request))
            except (TelltaleError, NotFetched):
                fetching.expect_answers(Path(scratch))
                continue  # it will be a failure by name when its turn comes
            info = messages[0].data
            side = min(info["width_px"], info["height_px"])
            sides.append(side)
            boxes = [
                row["box_xyxy"] for message in messages if message.kind == "faces" for row in message.data["faces"]
            ]
            if boxes:
                longest = max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes)
                margins.append((side / longest - 1.0) / 2.0)
    margin_frac = settings.margin_frac
    if margin_frac is None:
        if len(margins) < min(_FEWEST_MEASURED, len(records)):
            raise DataError(
                f"faces were found in {len(margins)} of {len(sides)} pictures looked at, too few to measure the margin "
                "around them: state it with --margin"
            )
        margin_frac = round(float(np.median(margins)), 3)
    size_px = int(np.clip(np.median(sides) if sides else 224, 8, 1024))
    return CropSpec(kind="as_given", size_px=size_px, margin_frac=margin_frac)
