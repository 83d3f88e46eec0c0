"""The page in a real browser: no error, no request, readable by everybody."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from embedkit.labelling import read_answers
from embedkit.report import page
from tests.report.samples import (
    HOSTILE,
    make_audit,
    make_comparison,
    make_curves,
    make_explanations,
    make_label,
    make_probe,
    make_search,
    thumbnails_of,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

# What a page must hold to, asked of the browser itself: colours as they are drawn, names as they are read out.
CHECK = f"<script>{Path(__file__).with_name('check.js').read_text()}</script>"


def look(path, tmp_path, *options):
    """Open a page; return what the check found, and what the console said."""
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
            *(
                "--enable-logging=stderr",
                f"--user-data-dir={tmp_path / 'profile'}",
                *options,
                "--dump-dom",
                path.as_uri(),
            ),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    record = re.search(r'data-found="([^"]*)"', done.stdout).group(1)
    return json.loads(html.unescape(record)), console


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_no_error_no_request_and_readable_by_everybody(tmp_path, scheme, width):
    report = make_probe()
    keys = [*report.results[0].rows.keys[:40], "cat/1.jpg", "cat/2.jpg"]
    written = page(
        [report, make_comparison(), make_curves(), make_explanations(), make_audit(), make_search()],
        thumbnails_of(keys),
    )
    path = tmp_path / "page.html"
    path.write_text(written.replace("</body>", CHECK + "</body>"), encoding="utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    # A window is at least some 500 pixels wide: narrower ones are had by the size of a device.
    seen, console = look(path, tmp_path, f"--window-size={width},900", *dark)
    assert console == []
    assert seen["requests"] == []
    assert seen["found"] == []
    assert seen["sorted"] == "ascending"


FILL_IN = """<script>
const fields = [...document.querySelectorAll("input[data-key]")];
["cat", " say \\"cat\\", or dog ", "", "=1+1"].forEach((value, place) => { fields[place].value = value; });
let text = null;
window.Blob = class extends Blob { constructor(parts, options) { super(parts, options); text = parts.join(""); } };
HTMLAnchorElement.prototype.click = function () {
  const found = { name: this.download, text, link: this.href.slice(0, 5) };
  document.documentElement.setAttribute("data-found", JSON.stringify(found));
};
document.getElementById("save-answers").click();
</script>"""


def test_the_button_saves_answers_that_label_reads(tmp_path):
    """What is typed into the fields comes out of `--answers` as it was typed, odd names and texts too."""
    keys = ["cat/1.jpg", 'odd, "name".jpg', "left open.jpg", "=formula.jpg"]
    path = tmp_path / "label.html"
    written = page([make_label(keys)], thumbnails_of(keys))
    path.write_text(written.replace("</body>", FILL_IN + "</body>"), encoding="utf-8")
    seen, console = look(path, tmp_path)
    assert console == []
    assert (seen["name"], seen["link"]) == ("answers.csv", "blob:")
    (tmp_path / "answers.csv").write_text(seen["text"], encoding="utf-8", newline="")
    answers = read_answers(tmp_path / "answers.csv", set(keys))
    assert answers == {keys[0]: "cat", keys[1]: 'say "cat", or dog', keys[3]: "=1+1"}


def test_it_prints(tmp_path):
    path, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    path.write_text(page([make_probe(), make_explanations()]), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
    subprocess.run(
        [CHROMIUM, *options, f"--print-to-pdf={printed}", path.as_uri()], capture_output=True, timeout=120, check=True
    )
    data = printed.read_bytes()
    assert data.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12


def test_hostile_names_do_nothing(tmp_path):
    report = make_probe(HOSTILE, n=200)
    path = tmp_path / "page.html"
    records = [make(name) for make in (make_explanations, make_audit, make_search) for name in HOSTILE]
    written = page([report, *records], thumbnails_of(report.results[0].rows.keys[:20]))
    path.write_text(written.replace("</body>", CHECK + "</body>"), encoding="utf-8")
    seen, console = look(path, tmp_path)
    assert console == []
    assert seen["title"] == "photos"
    assert seen["requests"] == []


def test_the_check_itself_sees_what_is_wrong(tmp_path):
    """A test that cannot fail proves nothing: a page with each fault is caught."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bad = (
            "<!doctype html><h1>x</h1><h3>y</h3><p style='color:#ccc;background:#fff'>pale</p><svg role=img></svg>"
            f"<table><tr><td>1</td></tr></table><img src='http://127.0.0.1:{server.server_port}/x.png'>"
            "<script>console.error('oops')</script><div style='width:3000px'>wide</div></body>"
        )
        path = tmp_path / "bad.html"
        path.write_text(bad.replace("</body>", CHECK + "</body>"), encoding="utf-8")
        seen, console = look(path, tmp_path)
        server.shutdown()
    assert any("oops" in line for line in console)
    assert {one.split()[0] for one in seen["found"]} == {"contrast", "no", "heading", "table", "wider"}
    assert asked == ["/x.png"]
