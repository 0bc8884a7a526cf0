"""Checkpoints on disk: the earlier one or the new one, whole, whenever a run is killed.

Lightning's own are written under the system's folder for temporary files, and copied over the earlier one where that is
another file system.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from telltale._files import write_files
from telltale.errors import DataError


def save(state: Any, path: Path) -> None:
    """Raises OutputError where there is no room."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_files(path.parent, {path.name: buffer.getvalue()})


def load(path: Path) -> Any:
    """Of a run of one's own: this can run code. Raises DataError where the file is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # what a damaged pickle raises is anything
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}): delete {path.parent} and the stages after it, and go on "
            "with --resume, which then begins this stage anew"
        ) from error


class Checkpoints(TorchCheckpointIO):
    """What Lightning writes and reads."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        found: dict[str, Any] = load(Path(path))
        return found
