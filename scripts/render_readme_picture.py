"""Photograph a report for the README, with Chromium (Debian's package `chromium`).

make demo
python scripts/render_readme_picture.py demo-report/astronaut_selfblended-*/report.html    # writes docs/report.png
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

SIZE_PX = (1200, 1076)
SCALE = 1.25
N_COLOURS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description="Photograph a report for the README.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "report.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.png"
        command = [
            *("chromium", "--headless", "--no-sandbox", "--hide-scrollbars", f"--force-device-scale-factor={SCALE}"),
            *(f"--window-size={SIZE_PX[0]},{SIZE_PX[1]}", f"--screenshot={raw}", arguments.page.resolve().as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True)
        picture = Image.open(raw).convert("RGB").quantize(N_COLOURS, method=Image.Quantize.MEDIANCUT)
        picture.save(arguments.out, optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
