"""Whether this installation is fit: versions, weights, codecs, what confines the decoder, memory, places to write.

    for check in examine():
        print(check.status, check.name, check.told, check.fix)

Nothing is changed and nothing is fetched. `telltale doctor` prints one line a check, each with its fix.

>>> is_older("8.1.1", "8.1.2"), is_older("12.10", "12.2"), is_older("2.6.0+cpu", "2.6")
(True, False, False)
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal

from telltale._cores import usable_cores
from telltale.errors import TelltaleError
from telltale.types import Written

Status = Literal["ok", "note", "fail"]

OLDEST = {
    "av": ("18.1", "its FFmpeg has known vulnerabilities"),
    "pillow": ("12.2", "known vulnerabilities in decoders of pictures"),
    "onnxruntime": ("1.20", "too old for the shipped models"),
    "pydantic": ("2.9", "too old"),
    "torch": ("2.6", "torch.load runs code (CVE-2025-32434)"),
    "starlette": ("0.47.2", "uploads can stop the server (CVE-2025-54121)"),
    "python-multipart": ("0.0.27", "uploads can stop the server (CVE-2026-42561)"),
}
"""Distribution -> the oldest version that is let pass, and why."""
OLDEST_FFMPEG = "8.1.2"
_ALWAYS = ("av", "pillow", "onnxruntime", "pydantic")
_DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mjpeg", "prores")
_ENCODERS = {
    "libx264": "annotated clips, --stability",
    "libx265": "--perturb",
    "libvpx-vp9": "--perturb",
    "aac": "sound",
}
_EXTRAS = {"analyze": "sklearn", "train": "lightning", "explain": "captum", "web": "fastapi", "ray": "ray",
           "provenance": "c2pa", "bucket": "s3fs"}  # fmt: skip
_FIXES = {
    "landlock": "run on Linux 5.13 or later with Landlock among its security modules (lsm=landlock)",
    "seccomp": "install libseccomp (Debian, Ubuntu: apt install libseccomp2)",
    "no_new_privileges": "run on Linux",
    "capabilities": "run on Linux",
    "resource_limits": "run on Linux or macOS",
}
_CALLS = {
    "landlock": "landlock_create_ruleset, landlock_add_rule and landlock_restrict_self",
    "capabilities": "capget and capset",
}
_LEAST_MEMORY, _LEAST_DISK = 1 << 30, 1 << 29
_AGAIN = "install Telltale again from its clone: pip install --force-reinstall --no-deps ."
_ENOUGH_S = 60.0


class Check(Written):
    """One thing that was looked at."""

    name: str
    status: Status
    """note: it works, with something missing."""
    told: str
    fix: str = ""


def examine() -> Iterator[Check]:
    """Every check, as it is made; a few seconds in all."""
    steps: tuple[Callable[[], Iterable[Check]], ...] = (
        _python, _distributions, _ffmpeg, _codecs, _models, _detectors, _worker, _machine, _providers, _places, _extras,
    )  # fmt: skip
    for step in steps:
        try:
            yield from step()
        except (ImportError, OSError, TelltaleError) as error:
            name = step.__name__.strip("_")
            yield Check(
                name=name,
                status="fail",
                told=f"cannot be checked: {error}",
                fix=_AGAIN,
            )


def is_older(version: str, than: str) -> bool:
    """Whether `version` comes before `than`; suffixes after the numbers do not count."""
    found, oldest = (_numbers(text) for text in (version, than))
    length = max(len(found), len(oldest))
    return found + (0,) * (length - len(found)) < oldest + (0,) * (length - len(oldest))


def _numbers(version: str) -> tuple[int, ...]:
    start = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in start[0].split(".")) if start else ()


def _python() -> Iterator[Check]:
    is_old = sys.version_info < (3, 11)
    said = ".".join(str(part) for part in sys.version_info[:3])
    yield Check(
        name="python",
        status="fail" if is_old else "ok",
        told=said,
        fix="install Python 3.11 or later" if is_old else "",
    )


def _distributions() -> Iterator[Check]:
    for name, (oldest, why) in OLDEST.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in _ALWAYS and not (name == "onnxruntime" and _has("onnxruntime-gpu")):
                yield Check(name=name, status="fail", told="not installed", fix=f"pip install '{name}>={oldest}'")
            continue
        if is_older(version, oldest):
            yield Check(
                name=name, status="fail", told=f"{version}: {why}", fix=f"pip install --upgrade '{name}>={oldest}'"
            )
        else:
            yield Check(name=name, status="ok", told=version)
    if _has("onnxruntime") and _has("onnxruntime-gpu"):
        told = "onnxruntime and onnxruntime-gpu are both installed and overwrite each other"
        fix = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        yield Check(name="onnxruntime-gpu", status="fail", told=told, fix=fix)


def _has(distribution: str) -> bool:
    return any(True for _ in metadata.distributions(name=distribution))


def _ffmpeg() -> Iterator[Check]:
    import av

    version = str(av.ffmpeg_version_info)
    if is_older(version.lstrip("n"), OLDEST_FFMPEG):
        told = f"{version} in PyAV: known vulnerabilities before {OLDEST_FFMPEG}"
        yield Check(name="ffmpeg", status="fail", told=told, fix="pip install --upgrade --only-binary av 'av>=18.1'")
    else:
        yield Check(name="ffmpeg", status="ok", told=f"{version}, in PyAV")


def _codecs() -> Iterator[Check]:
    from PIL import features

    missing = [name for name in _DECODERS if not _knows(name, "r")]
    fix = "pip install --force-reinstall --only-binary av 'av>=18.1'"
    if missing:
        yield Check(name="decoders", status="fail", told=f"missing: {', '.join(missing)}", fix=fix)
    else:
        yield Check(name="decoders", status="ok", told=", ".join(_DECODERS))
    without = [f"{name} ({what})" for name, what in _ENCODERS.items() if not _knows(name, "w")]
    if without:
        yield Check(name="encoders", status="note", told=f"missing: {', '.join(without)}", fix=fix)
    else:
        yield Check(name="encoders", status="ok", told=", ".join(_ENCODERS))
    pictures = [name for name in ("jpg", "zlib", "webp", "avif") if not features.check(name)]
    if pictures:
        told = f"Pillow was built without {', '.join(pictures)}"
        yield Check(name="pictures", status="note" if pictures == ["avif"] else "fail", told=told,
                    fix="pip install --force-reinstall --only-binary pillow pillow")  # fmt: skip
    else:
        yield Check(name="pictures", status="ok", told="JPEG, PNG, GIF, BMP, WebP, AVIF")


def _knows(codec: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.codec.Codec(codec, mode)
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _models() -> Iterator[Check]:
    from telltale.bundle import load_bundle, shipped_names
    from telltale.runtime import Scorer

    for name in shipped_names():
        try:
            bundle = load_bundle(name)
            Scorer(bundle)
        except TelltaleError as error:
            fix = _AGAIN
            yield Check(name=f"model {name}", status="fail", told=error.message, fix=fix)
        else:
            yield Check(name=f"model {name}", status="ok", told=f"intact, SHA-256 {bundle.sha256[:16]}…")


def _detectors() -> Iterator[Check]:
    import numpy as np

    from telltale import faces
    from telltale.types import Frame

    blank = Frame(0, 0.0, np.full((64, 64, 3), 128, np.uint8))
    for name in ("mtcnn", "haar"):
        try:
            faces.create(name).detect([blank])
        except TelltaleError as error:
            fix = f"{_AGAIN}, and pip install 'opencv-python-headless>=4.10,<5'"
            yield Check(name=f"detector {name}", status="fail", told=error.message, fix=fix)
        else:
            yield Check(name=f"detector {name}", status="ok", told="finds its weights")


def _worker() -> Iterator[Check]:
    """Starts the process that decodes, and asks it what it has given up."""
    from telltale.sandbox import Worker

    started = time.perf_counter()
    with Worker() as worker:
        (message,) = worker.run("confined", {}, deadline_s=_ENOUGH_S)
    yield Check(name="worker", status="ok", told=f"starts in {time.perf_counter() - started:.1f} s")
    yield from isolation(message.data)


def isolation(states: Mapping[str, str]) -> Iterator[Check]:
    """A check of each measure, from what a worker says that it has given up (`_confine.in_force`)."""
    for feature, state in states.items():
        holds = state == "on" or state.startswith("version")
        told = state if holds else f"{state}; files are decoded with less protection"
        fix = _FIXES.get(feature, "")
        if state.startswith("refused"):
            fix = f"a filter of a service or container forbids it: let it allow {_CALLS.get(feature, feature)}"
        yield Check(name=f"isolation {feature}", status="ok" if holds else "note", told=told, fix="" if holds else fix)


def _machine() -> Iterator[Check]:
    yield Check(name="cores", status="ok", told=str(usable_cores()))
    available = _available_memory()
    if available is None:
        yield Check(name="memory", status="note", told="unknown on this system", fix="give it 2 GiB a job")
    else:
        told = f"{available / (1 << 30):.1f} GiB available"
        is_little = available < _LEAST_MEMORY
        yield Check(name="memory", status="note" if is_little else "ok", told=told,
                    fix="a job may take 1 GiB: scan with --jobs 1, or free some" if is_little else "")  # fmt: skip


def _available_memory() -> int | None:
    """What the system has left, or the container is allowed, whichever is less."""
    found = []
    with_limit = (("/proc/meminfo", r"MemAvailable:\s+(\d+) kB", 1024), ("/sys/fs/cgroup/memory.max", r"(\d+)", 1))
    for path, rule, unit in with_limit:
        try:
            match = re.search(rule, Path(path).read_text("ascii", "replace"))
        except OSError:
            continue
        if match:
            found.append(int(match[1]) * unit)
    return min(found, default=None)


def _providers() -> Iterator[Check]:
    import onnxruntime as ort

    names = [name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()]
    others = ", ".join(name for name in names if name != "CPU") or "nothing else"
    if "CUDA" not in names:
        yield Check(name="scoring", status="ok", told=f"on the CPU; ONNX Runtime also has: {others}")
    elif _starts_cuda():
        yield Check(name="scoring", status="ok", told="on CUDA, unless --device cpu is given")
    else:
        fix = "check the driver with nvidia-smi, and that CUDA and cuDNN are those of onnxruntime-gpu"
        told = "on the CPU: ONNX Runtime has CUDA and cannot start it"
        yield Check(name="scoring", status="note", told=told, fix=fix)
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        yield Check(name="training", status="ok", told=f"on {torch.cuda.get_device_name(0)}")
    else:
        yield Check(name="training", status="note", told="on the CPU, slowly", fix="use a machine with an NVIDIA GPU")


def _starts_cuda() -> bool:
    """Asked of a loaded model: ONNX Runtime lists CUDA where it was built with it, and may go on without."""
    from telltale.bundle import load_bundle
    from telltale.runtime import Scorer

    return Scorer(load_bundle("default"), device="auto").device == "cuda"


def _places() -> Iterator[Check]:
    for name, folder in (("temporary files", Path(tempfile.gettempdir())), ("this folder", Path.cwd())):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x" * 4096)
                file.flush()
        except OSError as error:
            told = f"{folder} cannot be written ({error.strerror})"
            status: Status = "fail" if name == "temporary files" else "note"
            fix = "set TMPDIR to a folder that can be" if status == "fail" else "name another folder with --out"
            yield Check(name=name, status=status, told=told, fix=fix)
            continue
        free = shutil.disk_usage(folder).free
        is_little = free < _LEAST_DISK
        told, fix = f"{folder}, {free / (1 << 30):.1f} GiB free", "free some space" if is_little else ""
        yield Check(name=name, status="note" if is_little else "ok", told=told, fix=fix)


def _extras() -> Iterator[Check]:
    for extra, module in _EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            yield Check(
                name=f"extra {extra}", status="note", told="not installed", fix=f"pip install 'telltale[{extra}]'"
            )
        else:
            yield Check(name=f"extra {extra}", status="ok", told="installed")


__all__ = ["OLDEST", "OLDEST_FFMPEG", "Check", "examine", "is_older", "isolation"]
