"""What is written on charts can be read."""

from __future__ import annotations

import re

import numpy as np

from embedkit.report.charts import curves, heat


def test_the_names_of_a_confusion_matrix_end_before_its_edge():
    names = ["short", "a name of 20 letters"]
    drawn = heat(np.eye(2, dtype=np.int64), names, {}, title="t")
    width = float(re.search(r'viewBox="0 0 (\d+)', drawn)[1])
    last = max(float(x) for x in re.findall(r"translate\(([0-9.]+)", drawn))
    # 20 letters of some 6.5 pixels, turned by 60 degrees.
    assert last + 20 * 6.5 * 0.5 <= width


def test_numbers_below_a_chart_do_not_lie_on_each_other():
    sizes = [10.0 ** (power / 2) for power in range(-10, 1)]
    series = [("svm", sizes, [0.5] * len(sizes), [None] * len(sizes), False)]
    drawn = curves(series, title="t", across="C", share=True)
    below = [
        (float(x), label)
        for tag, label in re.findall(r"<text ([^>]*)>([-0-9.e]+)</text>", drawn)
        if 'y="314' in tag and (x := re.search(r'x="([0-9.]+)"', tag)[1])
    ]
    assert len(below) > 3
    assert "1" in {label for _, label in below}
    below.sort()
    for (left, one), (right, other) in zip(below, below[1:], strict=False):
        assert right - left >= 6.5 * (len(one) + len(other)) / 2, (one, other)
