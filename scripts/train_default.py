"""Train the default model, or export a checkpoint of a run, finished or not.

    python scripts/train_default.py ../shared RUN                                  faces, all stages, RUN/bundle
    python scripts/train_default.py ../shared RUN --resume                         go on where it stopped
    python scripts/train_default.py ../shared RUN --export 1 --out BUNDLE          the best epoch of stage 1 so far
    python scripts/train_default.py ../shared RUN --export 1 --out BUNDLE --sides val test      with test figures

More than seven hours on two cores. Faces are laid out in RUN/faces first, if they are not there
(scripts/default_faces.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from telltale.recipe import load_recipe
from telltale.train import TrainSettings, export_checkpoint, train

SOURCES = ("dfdc", "portraits", "talkers")


def faces_in(run: Path, shared: Path) -> list[Path]:
    paths = [run / "faces" / f"{name}.parquet" for name in SOURCES]
    if not all(path.is_file() for path in paths):
        script = Path(__file__).with_name("default_faces.py")
        subprocess.run([sys.executable, str(script), str(shared), str(run / "faces")], check=True)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--export", type=int, metavar="STAGE")
    parser.add_argument("--checkpoint", default="best", help="best or last")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sides", nargs="+", default=["val"], choices=["val", "test"])
    given = parser.parse_args()
    faces = faces_in(given.run, given.shared)
    recipe = load_recipe("default", overrides=given.overrides)
    if given.export is None:
        weights = str(given.shared / "weights/mobilenet_v2_imagenet.npz")
        settings = TrainSettings(weights=weights, workers=given.workers, resume=given.resume)
        bundle = train(faces, recipe=recipe, out=given.run, settings=settings)
    else:
        bundle = export_checkpoint(
            given.run / f"stage-{given.export}" / f"{given.checkpoint}.ckpt",
            faces,
            recipe=recipe,
            out=given.out or given.run / "bundle",
            sides=tuple(given.sides),
            with_weights=False,
        )
    print(bundle.path, bundle.sha256)
    for side, figures in bundle.card.metrics.items():
        print(side, figures)


if __name__ == "__main__":
    main()
