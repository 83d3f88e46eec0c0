"""What a notebook shows of an embedder and of a result."""

from __future__ import annotations

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder


def test_an_embedder_says_what_its_features_are(tmp_path):
    embedder = ImageEmbedder("pixels32", store=str(tmp_path / "<store>"))
    before = embedder._repr_mimebundle_()["text/html"]
    assert "settled" in before
    assert "pixels32" in before
    embedder.fit(np.zeros((2, 8, 8, 3), np.uint8))
    after = embedder._repr_html_()
    for fact in ("3072 an image", embedder.spec_.fingerprint[:16], "&lt;store&gt;", "fp32"):
        assert fact in after
    assert "sk-" in after  # scikit-learn's own picture, with the parameters
    assert "pixels32" in make_pipeline(embedder, StandardScaler())._repr_html_()
