"""Write the golden feature files of format 1.0: python tests/golden/make_golden.py [FOLDER].

They are never written again: a later version of embedkit must read those in this folder. A new version of the format
adds files of its own beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from embedkit.specs import BackboneSpec, DecodeSpec, Dtype, FeatureSpec, PreprocessSpec
from embedkit.tables.head import Failure, TableHead
from embedkit.tables.table import FeatureTable


def spec(width: int, dtype: Dtype) -> FeatureSpec:
    return FeatureSpec(
        backbone=BackboneSpec(
            architecture="resnet50",
            weights="sha256:" + "0123456789abcdef" * 4,
            width=width,
            model_args={"drop_rate": 0.1},
            layer=-2,
            pool="cls+avg",
            precision="bf16",
            engine="openvino",
        ),
        preprocess=PreprocessSpec(
            input_size=(224, 224),
            interpolation="bicubic",
            crop_pct=0.95,
            crop_mode="center",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            resize="fast",
        ),
        decode=DecodeSpec(decoder="simplejpeg", scale=2, contract=1),
        dtype=dtype,
        format=1,
    )


def digests(rows: int) -> np.ndarray:
    return np.arange(32 * rows, dtype=np.int64).reshape(rows, 32).astype(np.uint8)


def features(rows: int, width: int, dtype: Dtype) -> np.ndarray:
    return (np.arange(rows * width).reshape(rows, width) / 4 - 1).astype(dtype)


def tables() -> dict[str, FeatureTable]:
    classes = TableHead(
        spec=spec(3, "float32"),
        keys=["cats/1.jpg", "cats/2 ä.jpg", "..", "line\nbreak", "dogs/日本.png"],
        digests=digests(5),
        labels=["cat", "cat", "", "dog", "dog"],
        classes=["cat", "dog", "newt"],
        split=["train", "test", "train", "", "val"],
        groups=["p1", "p2", "p1", "p3", ""],
        columns={
            "site": ["north", "", "south", "north", "é"],
            "weight": np.array([0.5, np.nan, -np.inf, 1e-300, 0.0]),
            "count": np.array([1, -(2**63), 2**63 - 1, 0, 7]),
            "indoor": np.array([True, False, False, True, True]),
            "a/b 100%": ["x", "y", "", "", "z"],
        },
        failures=[
            Failure("broken.jpg", "image file is truncated (12 bytes not processed)", bytes(range(100, 132))),
            Failure("gone.jpg", "No such file or directory"),
        ],
        provenance={
            "model": "resnet50.a1_in1k",
            "source": "/data/pets",
            "created": "2026-11-21T12:00:00+00:00",
            "versions": {"embedkit": "0.1.0", "timm": "1.0.31"},
            "drift": 0.9991,
        },
    )
    values = TableHead(
        spec=spec(2, "float16"), keys=["a", "b", "c"], digests=digests(3), labels=np.array([1.5, np.nan, -2.25])
    )
    several = TableHead(
        spec=spec(2, "float32"),
        keys=["a", "b"],
        digests=digests(2),
        labels=np.array([[True, False, True], [False, False, False]]),
        classes=["red", "green", "blue"],
    )
    one = TableHead(spec=spec(1, "float32"), keys=[""], digests=digests(1))
    none = TableHead(spec=spec(4, "float16"), keys=[], digests=digests(0), labels=[], split=[], columns={"site": []})
    heads = {"class": classes, "value": values, "multilabel": several, "one-row": one, "no-rows": none}
    return {
        f"feature-file-1.0-{name}.h5": FeatureTable(
            head, features(len(head), head.spec.backbone.width, head.spec.dtype)
        )
        for name, head in heads.items()
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for file_name, table in tables().items():
        table.write(folder / file_name)
