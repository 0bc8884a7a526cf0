"""Train the default model, export a checkpoint of one of its members, finished or not, or join bundles of them.

    python scripts/train_default.py ../shared RUN                                  faces, both members, RUN/bundle
    python scripts/train_default.py ../shared RUN --resume                         go on where it stopped
    python scripts/train_default.py ../shared RUN --export 1 3 --out BUNDLE        member 1, its best epoch of stage 3
    python scripts/train_default.py ../shared RUN --join BUNDLE BUNDLE --out BUNDLE --sides val test   with test figures

Twelve hours on two cores. Faces are laid out in RUN/faces first, if they are not there (scripts/default_faces.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from telltale.bundle import load_bundle
from telltale.recipe import load_recipe
from telltale.train import TrainSettings, export_checkpoint, join, load_all, train

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
    parser.add_argument("--export", type=int, nargs=2, metavar=("MEMBER", "STAGE"))
    parser.add_argument("--checkpoint", default="best", help="best or last")
    parser.add_argument("--join", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sides", nargs="+", default=["val"], choices=["val", "test"])
    given = parser.parse_args()
    faces = faces_in(given.run, given.shared)
    recipe = load_recipe("default", overrides=given.overrides)
    out, sides = given.out or given.run / "bundle", tuple(given.sides)
    if given.export is not None:
        member, stage = given.export
        checkpoint = given.run / f"member-{member}" / f"stage-{stage}" / f"{given.checkpoint}.ckpt"
        recipe = recipe.members[member].recipe
        bundle = export_checkpoint(checkpoint, faces, recipe=recipe, out=out, sides=sides, with_weights=False)
    elif given.join is not None:
        bundles, shares = [load_bundle(path) for path in given.join], [member.share for member in recipe.members]
        bundle = join(bundles, load_all(faces), recipe, shares=shares, out=out, sides=sides, with_weights=False)
    else:
        weights = str(given.shared / "weights/mobilenet_v2_imagenet.npz")
        settings = TrainSettings(weights=weights, workers=given.workers, resume=given.resume)
        bundle = train(faces, recipe=recipe, out=given.run, settings=settings)
    print(bundle.path, bundle.sha256)
    for side, figures in bundle.card.metrics.items():
        print(side, figures)


if __name__ == "__main__":
    main()
