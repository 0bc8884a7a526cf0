"""What `prepare` stores, and how it looks for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from telltale._files import file_sha256
from telltale.crops import CropSpec
from telltale.faces import DetectorConfig, files_read, yunet
from telltale.sampling import SamplePlan


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """What is stored. Everything but `deadline_s` and `n_threads` is part of the store's identity."""

    plan: SamplePlan = SamplePlan()
    detector: str = "mtcnn"
    detector_config: DetectorConfig = DetectorConfig()
    crop: CropSpec = CropSpec()
    faces: Literal["all", "largest"] = "all"
    """`largest`: of each video only the track whose faces are largest together."""
    detect: bool = True
    """False: pictures are stored as they are, and their margin is measured unless `margin_frac` says it."""
    margin_frac: float | None = None
    """For pictures stored as they are: the margin around their faces, if it is known."""
    boxes_from_original: bool = False
    """Fakes are cut where their original's faces are. A fake whose original is not there keeps its own."""
    image_format: Literal["jpeg", "png"] = "jpeg"
    deadline_s: float | None = None
    n_threads: int = 2

    def identity(self) -> dict[str, Any]:
        """The settings that change what is stored, as JSON. Raises `DetectorWeights`, `UsageError`."""
        said = asdict(self)
        for name in ("deadline_s", "n_threads", "margin_frac"):
            del said[name]
        for name in ("n_threads", "model_path"):
            del said["detector_config"][name]
        if self.detect and self.detector_config.model_path is not None:
            for file in files_read(self.detector, config=self.detector_config):
                # The published file is what is taken where none is named: the same store.
                if (digest := file_sha256(Path(file))) != yunet.SHA256:
                    said["detector_config"]["model_sha256"] = digest
        return said
