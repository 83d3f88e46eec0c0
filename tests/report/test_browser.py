"""The page in a real browser: no error, no request, readable by everybody."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from embedkit.report import page
from tests.report.samples import HOSTILE, make_comparison, make_curves, make_probe, thumbnails_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

# What a page must hold to, asked of the browser itself: colours as they are drawn, names as they are read out.
CHECK = """
<script>
const found = [];
const lum = (c) => { const f = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const rgb = (s) => (s.match(/[\\d.]+/g) || []).map(Number);
const ground = (e) => { for (let n = e; n; n = n.parentElement) { const c = rgb(getComputedStyle(n).backgroundColor);
  if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
for (const e of document.querySelectorAll("p, li, th, td, h1, h2, h3, a, summary, figcaption, caption, .caption, .name, .tick, .value, .label")) {
  if (!e.textContent.trim() || !e.getClientRects().length) continue;
  const style = getComputedStyle(e), svg = e instanceof SVGElement;
  if (svg && e.tagName !== "text") continue;
  const a = lum(rgb(svg ? style.fill : style.color).slice(0, 3)), b = lum(ground(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push("contrast " + ratio.toFixed(2) + " of " + e.tagName + "." + e.getAttribute("class"));
}
for (const e of document.querySelectorAll("svg[role], a, input, [role=region]"))
  if (!(e.getAttribute("aria-label") || e.textContent || (e.labels && e.labels.length ? "labelled" : "")).trim()) found.push("no name: " + e.outerHTML.slice(0, 80));
let level = 0;
for (const e of document.querySelectorAll("h1, h2, h3")) { const now = +e.tagName[1];
  if (now > level + 1) found.push("heading jumps to " + e.tagName); level = now; }
for (const e of document.querySelectorAll("table")) if (!e.caption || !e.tHead) found.push("table without caption or head");
for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) found.push("tabindex above 0");
if (document.documentElement.scrollWidth > innerWidth + 1) found.push("wider than the window: " + document.documentElement.scrollWidth + " of " + innerWidth);
const head = document.querySelector("thead th:nth-child(2)");
let sorted = null;
if (head) { head.click(); sorted = head.getAttribute("aria-sort"); }
document.documentElement.setAttribute("data-found", JSON.stringify({ found: [...new Set(found)], sorted, title: document.title,
  requests: performance.getEntriesByType("resource").filter((one) => !one.name.startsWith("data:")).map((one) => one.name) }));
</script>
"""


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
    return json.loads(record.replace("&quot;", '"').replace("&amp;", "&")), console


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_no_error_no_request_and_readable_by_everybody(tmp_path, scheme, width):
    report = make_probe()
    html = page([report, make_comparison(), make_curves()], thumbnails_of(report.results[0].rows.keys[:40]))
    path = tmp_path / "page.html"
    path.write_text(html.replace("</body>", CHECK + "</body>"), encoding="utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    # A window is at least some 500 pixels wide: narrower ones are had by the size of a device.
    seen, console = look(path, tmp_path, f"--window-size={width},900", *dark)
    assert console == []
    assert seen["requests"] == []
    assert seen["found"] == []
    assert seen["sorted"] == "ascending"


def test_hostile_names_do_nothing(tmp_path):
    report = make_probe(HOSTILE, n=200)
    path = tmp_path / "page.html"
    html = page([report], thumbnails_of(report.results[0].rows.keys[:20]))
    path.write_text(html.replace("</body>", CHECK + "</body>"), encoding="utf-8")
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
