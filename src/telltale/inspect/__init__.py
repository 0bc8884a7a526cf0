"""Looking at a data set, before `prepare` and after: what is there, what leaks, what gives the classes away.

    facts = inspect_data("/data/FaceForensics++", out_dir="look")    # look/inspect.html, .json, PNGs and GIFs
    for finding in facts.findings:
        print(finding.level, finding.text)

Without `out_dir` no picture is opened and only what the data set says about itself is reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from telltale._files import drop_earlier, write_files
from telltale._versions import versions
from telltale.errors import UsageError, require
from telltale.inspect._facts import Finding, Inspection, Measure, Original, SplitFacts, Unread, find_facts
from telltale.inspect._findings import find_findings
from telltale.inspect._source import Source, open_source
from telltale.split import check_seed

HTML_NAME = "inspect.html"
JSON_NAME = "inspect.json"
_NOT_ALWAYS = frozenset(
    [f"{name}.png" for name in ("counts", "faces", "real_faces", "fake_faces", "first_frames", "augmentation")]
    + ["clip_real.gif", "clip_fake.gif"]
)
"""Pictures that some inspections write and others do not."""
OnFile = Callable[[int, int, str], None]
"""Gets (files done, files in all, the next one's name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectSettings:
    """How to read, and how much to look at. Raises `UsageError` for a seed below 0."""

    format: str = "auto"
    labels: Mapping[str, int] | None = None
    groups: str | None = None
    """These three as for `datasets.read`; not used for a store."""
    n_videos: int = 40
    """So many videos are opened, half of them fake."""
    n_pictures: int = 300
    """The same for pictures, which take less time."""
    detector: str = "mtcnn"
    recipe: str | None = None
    """Show what this training recipe's augmentation does."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_videos < 2 or self.n_pictures < 2:
            raise ValueError(f"n_videos and n_pictures must be 2 or more, got {self.n_videos} and {self.n_pictures}")
        check_seed(self.seed)


def inspect_data(
    path: str | Path,
    *,
    out_dir: str | Path | None = None,
    settings: InspectSettings = InspectSettings(),
    on_file: OnFile | None = None,
) -> Inspection:
    """What there is to know about the data set or store at `path`; with `out_dir` also as a page, pictures and JSON.

    Files are decoded in a worker process. One that cannot be read is named in `unread` and ends nothing.
    Raises what `datasets.read` and `open_store` raise, `UsageError`, `MissingExtra`,
    `OutputError`.
    """
    if settings.recipe is not None and out_dir is None:
        raise UsageError("--recipe shows pictures: say where to write them with --out DIR")
    source = open_source(path, format=settings.format, labels=settings.labels, groups=settings.groups)
    facts = find_facts(source)
    if out_dir is None:
        return facts.model_copy(update={"findings": find_findings(facts)})
    return _with_pictures(source, facts, Path(out_dir), settings, on_file)


def _with_pictures(
    source: Source,
    facts: Inspection,
    out_dir: Path,
    settings: InspectSettings,
    on_file: OnFile | None,
) -> Inspection:
    require("matplotlib", "analyze")
    from telltale.inspect._gather import gather, measures
    from telltale.inspect._page import to_html
    from telltale.inspect._pictures import augment, chart_files, picture_files
    from telltale.recipe import load_recipe

    recipe = None if settings.recipe is None else load_recipe(settings.recipe)
    n = settings.n_pictures if source.unit == "pictures" else settings.n_videos
    sight = gather(source, facts, n=n, detector=settings.detector, seed=settings.seed, on_file=on_file)
    facts = facts.model_copy(
        update={
            "measures": measures(sight.values),
            "n_looked_at": sight.n_sampled,
            "unread": sight.unread,
            "settings": _settings(source, settings, sight.n_sampled),
        }
    )
    facts = facts.model_copy(update={"findings": find_findings(facts)})
    augmented = None if recipe is None else augment(sight, recipe, name=str(settings.recipe), seed=settings.seed)
    charts = chart_files(facts, sight.values)
    files = {
        **charts,
        **picture_files(facts, sight, augmented),
        HTML_NAME: to_html(facts, sight, augmented, charts).encode(),
        JSON_NAME: (facts.model_dump_json(indent=1) + "\n").encode(),
    }
    earlier = _pictures_in(out_dir)
    write_files(out_dir, files)
    drop_earlier(out_dir, earlier - files.keys())
    return facts


def _pictures_in(out_dir: Path) -> set[str]:
    """The names that an inspection written there earlier has used, by its own account, or may have used."""
    from telltale.inspect._gather import N_FAMILIES
    from telltale.inspect._pictures import chart_name

    try:
        said = json.loads((out_dir / JSON_NAME).read_bytes())
        names = {chart_name(row["quantity"]) for row in said["measures"]}
        names |= {f"counts_{split}.png" for split in said["splits"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()
    names |= {f"original_{number}.png" for number in range(1, N_FAMILIES + 1)} | _NOT_ALWAYS
    return {name for name in names if Path(name).name == name}


def _settings(source: Source, settings: InspectSettings, n_looked_at: int) -> dict[str, object]:
    """What another would need to see the same."""
    of_data_sets = ("format", "labels", "groups", "detector")
    left_out = ("n_videos", "n_pictures", *(of_data_sets if source.kind == "store" else ()))
    chosen = {name: value for name, value in asdict(settings).items() if name not in left_out}
    return {**chosen, "looked at": n_looked_at, **versions()}


__all__ = [
    "HTML_NAME",
    "JSON_NAME",
    "Finding",
    "InspectSettings",
    "Inspection",
    "Measure",
    "Original",
    "SplitFacts",
    "Unread",
    "inspect_data",
]
