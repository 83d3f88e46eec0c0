"""Run the demonstration and keep what it printed: text, a picture of the terminal, and the picture of the README.

    python -m docs.recordings

Run it again when the demonstration says something else; `tests/test_readme.py` holds the README to the text.
"""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from embedkit import CurveReport, FeatureRequest, curve

IMAGES = Path(__file__).parent / "images"
COMMANDS = ("embedkit demo", "embedkit info embedkit-demo/digits.h5")
_LINE, _LETTER = 17, 7.3


def main() -> None:
    """Write docs/images: demo.txt, demo.svg, terminal.svg."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        recorded = [(command, _type(command, folder)) for command in COMMANDS]
        (IMAGES / "demo.txt").write_text(recorded[0][1], encoding="utf-8")
        (IMAGES / "terminal.svg").write_text(_terminal(recorded), encoding="utf-8")
        patterns = Path(folder, "embedkit-demo", "patterns")
        requests = [FeatureRequest(), FeatureRequest("pixels32"), FeatureRequest("colour-histogram")]
        where = {"floors": False, "store": Path(folder, "embedkit-demo", "store")}  # which holds every feature by now
        _picture(curve(patterns / "split.csv", requests, shots=[1, 3, 10, 30], **where), patterns)


def _type(command: str, folder: str) -> str:
    """Type a command in a folder with an own store; return what comes on stdout."""
    program = shutil.which("embedkit")
    start = [program] if program else [sys.executable, "-c", "from embedkit_cli.main import main; main()"]
    environment = os.environ | {"EMBEDKIT_STORE": os.path.join(folder, "store")}
    done = subprocess.run(
        [*start, *command.split()[1:]], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.replace(folder + os.sep, "")


def _terminal(recorded: list[tuple[str, str]]) -> str:
    """Draw what was typed and printed as a terminal shows it."""
    lines: list[tuple[str, str]] = []
    for command, printed in recorded:
        lines.append(("#7ee787", f"$ {command}"))
        lines += [("#c9d1d9", line) for line in [*printed.rstrip().split("\n"), ""]]
    width, height = round(max(len(line) for _, line in lines) * _LETTER + 24), len(lines) * _LINE + 20
    text = "".join(
        f'<text x="12" y="{(place + 1) * _LINE + 4}" fill="{colour}" xml:space="preserve">{html.escape(line)}</text>\n'
        for place, (colour, line) in enumerate(lines)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="monospace" font-size="12">\n<title>A terminal: {html.escape(COMMANDS[0])}</title>\n'
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n{text}</svg>\n'
    )


def _picture(report: CurveReport, patterns: Path) -> None:
    """Draw accuracy by labels beside one picture of each kind."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    import embedkit.plot

    mpl.rcParams |= {"svg.hashsalt": "embedkit", "font.size": 8}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), width_ratios=(1, 1.3), layout="constrained")
    kinds = sorted(folder for folder in patterns.iterdir() if folder.is_dir())
    rows = [[Image.open(folder / "00.png").resize((64, 64)) for folder in kinds[at : at + 5]] for at in (0, 5)]
    sheet = Image.new("RGB", (5 * 66, 2 * 66), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * 66, y * 66))
    left.imshow(sheet)
    left.set_axis_off()
    left.set_title("ten kinds of patterns")
    embedkit.plot.curve(report, ax=right)
    right.set(xscale="log", xticks=[1, 3, 10, 30], xticklabels=[1, 3, 10, "all 30"])
    right.minorticks_off()
    figure.savefig(IMAGES / "demo.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
