"""Make tests/golden/mtcnn.json: what the PyPI package mtcnn 1.0.0 finds in the pictures of tests/mtcnn_pictures.py.

    python -m venv /tmp/golden && /tmp/golden/bin/pip install tensorflow-cpu joblib lz4 av pydantic pillow \
        'opencv-python-headless<5' scikit-image && /tmp/golden/bin/pip install --no-deps mtcnn==1.0.0
    PYTHONPATH=src:tests /tmp/golden/bin/python scripts/make_mtcnn_golden.py tests/golden/mtcnn.json --shared ../shared

At a minimum face of 20 px the package is left as it is. At 40 px its pyramid would go on below 12 px, TensorFlow would
raise, and the package would report no face at all; there the list of levels is replaced by one that ends at 12 px.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import mtcnn.stages.stage_pnet
import numpy as np
import tensorflow
from mtcnn import MTCNN

import mtcnn_pictures

LEAST_CONFIDENCE = 0.9


def ending_at_12_px(width: int, height: int, min_face_size: float, scale_factor: float, min_size: int = 12) -> Any:
    scales, scale = [], min_size / min_face_size
    while min(width, height) * scale >= min_size:
        scales.append(scale)
        scale *= scale_factor
    return np.array(scales)


def faces(detector: Any, rgb: Any, min_face_px: int) -> list[dict[str, Any]]:
    rows = detector.detect_faces(
        rgb, min_face_size=min_face_px, box_format="xyxy", output_type="numpy", fit_to_image=False
    )
    return [
        {
            "box_xyxy": [round(float(v), 2) for v in row[1:5]],
            "points": [[round(float(x), 2), round(float(y), 2)] for x, y in zip(row[6:11], row[11:16], strict=True)],
            "confidence": round(float(row[5]), 5),
        }
        for row in np.asarray(rows)
        if row[5] >= LEAST_CONFIDENCE
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shared", type=Path, required=True)
    args = parser.parse_args()
    detector = MTCNN()
    pictures = {"made": mtcnn_pictures.made(), "shared": dict(mtcnn_pictures.read(args.shared))}
    golden: dict[str, Any] = {
        "made_by": "scripts/make_mtcnn_golden.py",
        "package": "mtcnn 1.0.0",
        "tensorflow": tensorflow.__version__,
        "least_confidence": LEAST_CONFIDENCE,
        "made": [],
        "shared": [],
    }
    untouched = mtcnn.stages.stage_pnet.build_scale_pyramid
    for min_face_px, levels in ((20, untouched), (40, ending_at_12_px)):
        mtcnn.stages.stage_pnet.build_scale_pyramid = levels
        for kind, named in pictures.items():
            for name, rgb in named.items():
                found = faces(detector, rgb, min_face_px)
                golden[kind].append({"picture": name, "min_face_px": min_face_px, "faces": found})
                print(kind, name, min_face_px, len(found))
    args.out.write_text(json.dumps(golden, indent=None).replace('{"picture"', '\n{"picture"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
