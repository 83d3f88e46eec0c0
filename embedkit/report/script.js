"use strict";
// Without this the page says the same: it sorts tables, filters them, and shows what a point of the map is.
document.querySelectorAll("table").forEach((table) => {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.setAttribute("aria-sort", "none");
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const read = (row) => row.cells[column] ? row.cells[column].textContent.trim() : "";
      const number = (cell) => { const found = /^(?:< )?(-?[\d.,]+(?:e-?\d+)?)/.exec(cell); return found ? parseFloat(found[1].replace(/,/g, "")) : NaN; };
      [...body.rows].sort((one, other) => {
        const a = read(one), b = read(other), x = number(a), y = number(b);
        const order = isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y;
        return down ? -order : order;
      }).forEach((row) => body.append(row));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
  if (body.rows.length > 12) {
    const label = document.createElement("label"), field = document.createElement("input");
    label.className = "filter";
    label.append("Show rows with ", field);
    field.type = "search";
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      [...body.rows].forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
    });
    table.parentElement.before(label);
  }
});
document.querySelectorAll(".map").forEach((map) => {
  const box = document.createElement("div");
  box.className = "hover";
  box.hidden = true;
  map.append(box);
  const show = (point) => {
    box.replaceChildren();
    const place = point.dataset.thumb;
    if (place !== undefined) {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
      svg.setAttribute("class", "thumb");
      use.setAttribute("href", "#t" + place);
      svg.append(use);
      box.append(svg);
    }
    box.append(point.querySelector("title").textContent);
    const frame = map.getBoundingClientRect(), at = point.getBoundingClientRect();
    box.style.left = Math.min(at.left - frame.left + 12, frame.width - 130) + "px";
    box.style.top = at.top - frame.top + 12 + "px";
    box.hidden = false;
  };
  map.addEventListener("pointerover", (event) => {
    if (event.target.classList.contains("point")) show(event.target); else box.hidden = true;
  });
  map.addEventListener("pointerleave", () => { box.hidden = true; });
});
document.querySelectorAll("#save-answers").forEach((button) => {
  const cell = (value) => {
    const harmless = /^[=+\-@\t\r\n]/.test(value) ? "'" + value : value;
    return /[",\r\n]/.test(harmless) ? '"' + harmless.replace(/"/g, '""') + '"' : harmless;
  };
  button.addEventListener("click", () => {
    const rows = [...document.querySelectorAll("input[data-key]")].map((field) => cell(field.dataset.key) + "," + cell(field.value.trim()));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["path,label\n" + rows.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "answers.csv";
    link.click();
  });
});
