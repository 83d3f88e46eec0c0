const found = [];
const lum = (c) => { const f = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const rgb = (s) => (s.match(/[\d.]+/g) || []).map(Number);
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
