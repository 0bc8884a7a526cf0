"""Telltale's own errors: a code that scripts can test, a message that ends with the next step.

    TelltaleError
    ├── UsageError            usage                  what was asked for makes no sense together
    ├── MissingExtra          missing_extra          an optional dependency is not installed
    ├── DeviceMissing         device_missing         a processor was asked for that is not usable here
    ├── InputError                                   something is wrong with the file that was given
    │   ├── FileMissing           file_missing
    │   ├── NotAFile              not_a_file             a folder, FIFO, socket or device
    │   ├── FileUnreadable        file_unreadable
    │   ├── FileEmpty             file_empty
    │   ├── UnsupportedContainer  unsupported_container  playlists, documents, junk
    │   ├── UnsupportedCodec      unsupported_codec      a video in a format without a decoder here
    │   ├── NoVideoStream         no_video_stream        sound only
    │   ├── NoFrames              no_frames              a video stream from which nothing decodes
    │   ├── CorruptFile           corrupt_file
    │   ├── TooManyPixels         too_many_pixels
    │   └── TooManyStreams        too_many_streams
    ├── WorkerError                                  the process that reads hostile files was stopped
    │   ├── DeadlineExceeded      deadline_exceeded
    │   ├── OutOfMemory           out_of_memory
    │   ├── WorkerCrashed         worker_crashed
    │   └── WorkerNotStarted      worker_not_started
    ├── ModelError                                   a bundle or detector cannot be used
    │   ├── UnknownName           unknown_name           no model, detector, reader or recipe of that name
    │   ├── DetectorWeights       detector_weights       a face detector's weights are missing or not what was pinned
    │   ├── WeightsMissing        weights_missing        a bundle with a graph alone: nothing trains from it
    │   └── BundleInvalid         bundle_invalid         wrong hash, missing file, NaN weights, wrong shape
    ├── DataError                                    a data set or store cannot be used
    │   ├── UnknownLabel          unknown_label
    │   ├── LeakFound             leak_found             one group on two sides of a split
    │   └── StoreInvalid          store_invalid          checksum, missing shard, wrong schema
    ├── OutputError           output_failed          disk full, read-only folder
    │   └── OutputBusy            output_busy            another command writes there now
    └── Stopped               stopped                whoever asked for it no longer wants it

A value that cannot be, as in `SamplePlan("fps", -1)`, is a ValueError, and a `web.Client` that waited too long
raises TimeoutError.

>>> error_from_code("file_empty", "clip.mp4 has 0 bytes")
FileEmpty('clip.mp4 has 0 bytes')
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import ClassVar


class TelltaleError(Exception):
    """Base of Telltale's own errors. `code` is stable; the message is for people."""

    code: ClassVar[str] = "error"

    @property
    def message(self) -> str:
        return str(self)


class UsageError(TelltaleError):
    code = "usage"


class MissingExtra(TelltaleError):
    code = "missing_extra"


class DeviceMissing(TelltaleError):
    code = "device_missing"


class InputError(TelltaleError):
    code = "input"


class FileMissing(InputError):
    code = "file_missing"


class NotAFile(InputError):
    code = "not_a_file"


class FileUnreadable(InputError):
    code = "file_unreadable"


class FileEmpty(InputError):
    code = "file_empty"


class UnsupportedContainer(InputError):
    code = "unsupported_container"


class UnsupportedCodec(InputError):
    code = "unsupported_codec"


class NoVideoStream(InputError):
    code = "no_video_stream"


class NoFrames(InputError):
    code = "no_frames"


class CorruptFile(InputError):
    code = "corrupt_file"


class TooManyPixels(InputError):
    code = "too_many_pixels"


class TooManyStreams(InputError):
    code = "too_many_streams"


class WorkerError(TelltaleError):
    code = "worker"


class DeadlineExceeded(WorkerError):
    code = "deadline_exceeded"


class OutOfMemory(WorkerError):
    code = "out_of_memory"


class WorkerCrashed(WorkerError):
    code = "worker_crashed"


class WorkerNotStarted(WorkerError):
    """Of the machine, not of a file: a long run stops rather than blame file after file."""

    code = "worker_not_started"


class ModelError(TelltaleError):
    code = "model"


class UnknownName(ModelError):
    code = "unknown_name"


class DetectorWeights(ModelError):
    code = "detector_weights"


class WeightsMissing(ModelError):
    code = "weights_missing"


class BundleInvalid(ModelError):
    code = "bundle_invalid"


class DataError(TelltaleError):
    code = "data"


class UnknownLabel(DataError):
    code = "unknown_label"


class LeakFound(DataError):
    code = "leak_found"


class StoreInvalid(DataError):
    code = "store_invalid"


class OutputError(TelltaleError):
    code = "output_failed"


class OutputBusy(OutputError):
    code = "output_busy"


class Stopped(TelltaleError):
    code = "stopped"


def _tree(root: type[TelltaleError]) -> dict[str, type[TelltaleError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def error_from_code(
    code: str, message: str, *, among: Iterable[type[TelltaleError]] = (TelltaleError,)
) -> TelltaleError:
    """The error that a worker process named by `code`; one that is of none of these kinds becomes `WorkerCrashed`."""
    kinds = {of_code: kind for root in among for of_code, kind in _tree(root).items()}
    return kinds.get(code, WorkerCrashed)(message)


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about a `name` that is none of `names`; empty where none is spelled like it.

    >>> nearest("mtcn", ["haar", "mtcnn"])
    '; did you mean mtcnn?'
    """
    import difflib

    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise `MissingExtra` with the exact command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module.split('.')[0]} is not installed, and this needs it: pip install 'telltale[{extra}]'"
        ) from error


__all__ = [
    "BundleInvalid",
    "CorruptFile",
    "DataError",
    "DeadlineExceeded",
    "DetectorWeights",
    "DeviceMissing",
    "FileEmpty",
    "FileMissing",
    "FileUnreadable",
    "InputError",
    "LeakFound",
    "MissingExtra",
    "ModelError",
    "NoFrames",
    "NoVideoStream",
    "NotAFile",
    "OutOfMemory",
    "OutputBusy",
    "OutputError",
    "Stopped",
    "StoreInvalid",
    "TelltaleError",
    "TooManyPixels",
    "TooManyStreams",
    "UnknownLabel",
    "UnknownName",
    "UnsupportedCodec",
    "UnsupportedContainer",
    "UsageError",
    "WeightsMissing",
    "WorkerCrashed",
    "WorkerError",
    "WorkerNotStarted",
    "error_from_code",
    "nearest",
    "require",
]
