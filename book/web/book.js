// A page that was opened as a file may not read others, so the search shows titles there, without the lines around what it found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Tables with many rows: headings sort, a field filters.

// What a cell sorts by: numbers as numbers (1,234; 0.647 ± 0.004 †; 1.98M; 15:07), all else as text, nothing last.
function sortKey(text) {
  const found = /^[-−+]?[\d.,]*\d(?::\d\d)*[kM]?/.exec(text);
  if (!found) return text === "–" ? "" : text.toLowerCase();
  const [whole, ...parts] = found[0].replaceAll(",", "").replace("−", "-").split(":");
  const unit = { k: 1e3, M: 1e6 }[whole.at(-1)] ?? 1;
  return [parseFloat(whole) * unit, ...parts.map(Number)].reduce((sum, part) => sum * 60 + part);
}

function compareKeys(one, other) {
  if (one === "" || other === "") return (one === "") - (other === "");
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en");
}

function makeSortable(wrapper) {
  const table = wrapper.querySelector("table");
  const body = table.tBodies[0], rows = [...body.rows];
  if (body.querySelector("[rowspan]")) return;
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headings.forEach((heading, column) => {
    if (heading.localName !== "th" || heading.colSpan > 1) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      if (order) heading.setAttribute("aria-sort", order);
      const keys = new Map(rows.map((row) => [row, sortKey(row.cells[column].textContent.trim())]));
      const sign = order === "descending" ? -1 : 1;
      const last = (row) => keys.get(row) === "";
      const compare = (one, other) => last(one) - last(other) || sign * compareKeys(keys.get(one), keys.get(other));
      body.append(...(order ? [...rows].sort(compare) : rows));
    });
  });
  const label = document.createElement("label"), field = document.createElement("input"), count = document.createElement("output");
  label.className = "table-filter";
  field.type = "search";
  label.append("Rows that contain", field, count);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    count.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
  wrapper.prepend(label);
}

// Figures: the value of a line under the pointer.

function showValues(svg) {
  const lines = [];
  for (const group of svg.querySelectorAll("g.values")) {
    const { name, x, y } = JSON.parse(group.dataset.values);
    const numbers = (group.querySelector("path")?.getAttribute("d").match(/-?[\d.]+/g) ?? []).map(Number);
    if (numbers.length !== 2 * x.length) continue;  // parts of the line are beyond the axes
    const points = x.map((_, k) => new DOMPoint(numbers[2 * k], numbers[2 * k + 1]));
    lines.push({ group, points, texts: x.map((value, k) => `${name ? `${name}: ` : ""}${y[k]} at ${value}`) });
  }
  if (!lines.length) return;
  const note = document.createElement("div"), ring = document.createElementNS(svg.namespaceURI, "circle");
  note.className = "drawing-values";
  ring.setAttribute("class", "found");
  ring.setAttribute("r", 5);
  const hide = () => { note.remove(); ring.remove(); };
  svg.onpointermove = (event) => {
    let nearest = { distance: 24 };  // pixels
    for (const { group, points, texts } of lines) {
      const matrix = group.getScreenCTM();
      points.forEach((point, k) => {
        const { x, y } = point.matrixTransform(matrix);
        const distance = Math.hypot(x - event.clientX, y - event.clientY);
        if (distance < nearest.distance) nearest = { distance, group, point, x, y, text: texts[k] };
      });
    }
    if (!nearest.group) return hide();
    ring.setAttribute("cx", nearest.point.x);
    ring.setAttribute("cy", nearest.point.y);
    nearest.group.append(ring);
    note.textContent = nearest.text;
    document.body.append(note);
    const left = Math.min(nearest.x + 12, document.documentElement.clientWidth - note.offsetWidth - 4);
    note.style.left = `${Math.max(left, 0) + scrollX}px`;
    note.style.top = `${nearest.y + 12 + scrollY}px`;
  };
  svg.onpointerleave = hide;
}

// Figures on a narrow page: panels below each other, with the axes that they shared with their neighbours.

const union = (boxes) => {
  const left = Math.min(...boxes.map((box) => box.left)), top = Math.min(...boxes.map((box) => box.top));
  const right = Math.max(...boxes.map((box) => box.right)), bottom = Math.max(...boxes.map((box) => box.bottom));
  return { left, top, right, bottom, width: right - left, height: bottom - top };
};

// Where an element of a drawing is, in the units of the drawing; lines that end at the frame of the axes are left out.
function boxOf(svg, element) {
  const scale = svg.viewBox.baseVal.width / svg.getBoundingClientRect().width, origin = svg.getBoundingClientRect();
  const leaves = [element, ...element.querySelectorAll("*")].filter(
    (leaf) => /^(text|path|use|image)$/.test(leaf.localName) && !leaf.closest("defs, [clip-path]"),
  );
  const rects = leaves.map((leaf) => leaf.getBoundingClientRect()).filter((rect) => rect.width || rect.height);
  return union(
    rects.map(({ left, top, right, bottom }) => ({
      left: (left - origin.left) * scale,
      top: (top - origin.top) * scale,
      right: (right - origin.left) * scale,
      bottom: (bottom - origin.top) * scale,
    })),
  );
}

// The frame of axes: what its lines are cut at or, where nothing is, its ground; null where it has neither.
function frameOf(svg, axes) {
  const cut = axes.querySelector("[clip-path]")?.getAttribute("clip-path").match(/#([^)"]+)/)[1];
  const rect = cut && svg.getElementById(cut)?.querySelector("rect");
  if (rect) {
    const [left, top, width, height] = ["x", "y", "width", "height"].map((name) => Number(rect.getAttribute(name)));
    return { left, top, right: left + width, bottom: top + height, width, height };
  }
  const ground = axes.querySelector(":scope > g:first-child > path");
  return ground && boxOf(svg, ground);
}

const near = (one, other) => Math.abs(one - other) < 0.5;

// An axis whose numbers stand at a neighbour alone gets them, if the neighbour's ticks are at the same places; where neither has
// ticks, names beside the same frame.
function ownAxes(panels) {
  const ticks = (axis, name) => [...axis.querySelectorAll("use")].map((tick) => Number(tick.getAttribute(name)));
  const copies = [];
  for (const panel of panels) {
    [...panel.axes.querySelectorAll(":scope > .axis")].forEach((axis, which) => {
      const name = which ? "y" : "x", places = ticks(axis, name);
      if (axis.querySelector("text")) return;
      const beside = ({ frame }) =>
        which
          ? near(frame.top, panel.frame.top) && near(frame.bottom, panel.frame.bottom)
          : near(frame.left, panel.frame.left) && near(frame.right, panel.frame.right);
      const model = panels
        .map((other) => [other, other.axes.querySelectorAll(":scope > .axis")[which]])
        .find(([neighbour, other]) => {
          if (!other?.querySelector("text")) return false;
          const found = ticks(other, name), texts = [...other.querySelectorAll("text")].map((text) => text.textContent);
          if (!places.length) return !found.length && beside(neighbour) && !texts.some((text) => /\d$/.test(text) && !/[a-z]/i.test(text));
          return found.length === places.length && found.every((place, k) => near(place, places[k]));
        });
      if (model) copies.push({ panel, axis: model[1], x: which ? panel.frame.left - model[0].frame.left : 0, y: which ? 0 : panel.frame.bottom - model[0].frame.bottom });
    });
  }
  for (const { panel, axis, x, y } of copies) {
    const copy = axis.cloneNode(true);
    copy.querySelectorAll("[id]").forEach((each) => each.removeAttribute("id"));
    copy.setAttribute("transform", `translate(${x} ${y})`);
    panel.axes.append(copy);
  }
}

// In a grid, a panel without a title gets the one above its column; where no column has one, that of its row.
function ownTitles(svg, panels) {
  const titleOf = ({ axes, frame }) =>
    [...axes.querySelectorAll(":scope > g")].find((part) => part.querySelector(":scope > text") && boxOf(svg, part).bottom <= frame.top + 1);
  const titles = new Map(panels.map((panel) => [panel, titleOf(panel)]));
  const column = (one) => panels.filter((other) => near(one.frame.left, other.frame.left) && near(one.frame.right, other.frame.right));
  const row = (one) => panels.filter((other) => near(one.frame.top, other.frame.top) && near(one.frame.bottom, other.frame.bottom));
  const copies = [];
  for (const panel of panels.filter((each) => !titles.get(each) && column(each).length > 1)) {
    const named = (others) => others.filter((other) => titles.get(other));
    const [from] = [...named(column(panel)), ...named(row(panel))];
    const [first, ...more] = named(from ? (near(from.frame.left, panel.frame.left) ? column(panel) : row(panel)) : []);
    if (!first || more.length) continue;
    const copy = titles.get(first).cloneNode(true);
    copy.setAttribute("transform", `translate(${panel.frame.left - first.frame.left} ${panel.frame.top - first.frame.top})`);
    copies.push([panel.axes, copy]);
  }
  for (const [axes, copy] of copies) axes.append(copy);
}

// The entries of a figure's legend, each its marks and its text.
function entriesOf(legend) {
  const entries = [[]];
  for (const part of legend.children) {
    if (part.localName !== "g") continue;
    entries.at(-1).push(part);
    if (part.querySelector("text")) entries.push([]);
  }
  return entries.filter((entry) => entry.some((part) => part.querySelector("text")));
}

function stackPanels(svg) {
  const figure = svg.querySelector("g"), gap = 12;
  const parts = [...figure.children];
  const axes = parts.filter((part) => part.classList.contains("axes"));
  const panels = axes.map((each) => ({ axes: each, frame: frameOf(svg, each) }));
  if (panels.some((panel) => !panel.frame)) return;
  const groups = [];
  for (const panel of panels) {
    const { frame } = panel, level = (other) => frame.top < other.bottom && other.top < frame.bottom;
    const over = (other) => level(other) && frame.left < other.right - 1 && other.left < frame.right - 1;
    // Axes on the same place are one panel, and a colour bar belongs to the one before it.
    const bar = frame.width < 0.1 * svg.viewBox.baseVal.width;
    const home = groups.find((group) => over(group[0].frame)) ?? (bar && groups.findLast((group) => level(group[0].frame)));
    if (home) home.push(panel);
    else groups.push([panel]);
  }
  if (groups.length < 2) return;
  ownAxes(panels);
  ownTitles(svg, panels);
  const blocks = groups.map((group) => ({
    elements: group.map((panel) => panel.axes),
    frame: group[0].frame,
    box: union(group.flatMap((panel) => [panel.frame, boxOf(svg, panel.axes)])),
  }));
  const inset = Math.max(...blocks.map(({ frame, box }) => frame.left - box.left));
  for (const block of blocks) block.x = inset - (block.frame.left - block.box.left);
  blocks.sort((one, other) => (near(one.frame.top, other.frame.top) ? one.frame.left - other.frame.left : one.frame.top - other.frame.top));
  const lines = (elements) => ({ elements, box: union(elements.map((each) => boxOf(svg, each))), x: 0 });
  const above = [], below = [];
  for (const part of parts) {
    const text = part.querySelector(":scope > text");
    if (part.classList.contains("legend")) below.push(...entriesOf(part).map(lines));
    if (!text) continue;
    const turned = /rotate\(-90/.test(text.getAttribute("transform") ?? "");
    if (turned) text.removeAttribute("transform");
    const before = turned || boxOf(svg, part).bottom <= Math.min(...panels.map((panel) => panel.frame.top));
    (before ? above : below).push(lines([part]));
  }
  // Marks that only the whole figure gives a place, such as arrows between panels, have none here.
  const placed = [...above, ...blocks, ...below];
  const kept = new Set(placed.flatMap((block) => block.elements));
  for (const part of parts) if (!kept.has(part) && !part.classList.contains("legend")) part.remove();
  let y = 0;
  for (const { elements, box, x } of placed) {
    for (const element of elements) element.setAttribute("transform", `translate(${x - box.left} ${y - box.top})`);
    y += box.height + (blocks.some((block) => block.elements === elements) ? gap : gap / 3);
  }
  const width = Math.max(...placed.map(({ box, x }) => x + box.width));
  svg.setAttribute("viewBox", `0 0 ${width} ${y}`);
  svg.setAttribute("width", `${width}pt`);
  svg.setAttribute("height", `${y}pt`);
  svg.classList.add("stacked");
}

function fitDrawing(svg, narrow) {
  const before = { inner: svg.innerHTML, viewBox: svg.getAttribute("viewBox"), width: svg.getAttribute("width"), height: svg.getAttribute("height") };
  const fit = () => {
    if (narrow.matches) stackPanels(svg);
    else if (svg.classList.contains("stacked")) {
      svg.innerHTML = before.inner;
      for (const name of ["viewBox", "width", "height"]) svg.setAttribute(name, before[name]);
      svg.classList.remove("stacked");
    } else return;
    showValues(svg);
  };
  showValues(svg);
  narrow.addEventListener("change", fit);
  if (narrow.matches) fit();
}

// A table that is scrolled, however little, can be reached by Tab.
function reachable() {
  document.querySelectorAll(".table-on-page").forEach((region) => {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  });
}

document.addEventListener("DOMContentLoaded", () => {
  // The theme hides its table of contents while something with this class is beside it, and fails on pages that have none.
  const contents = document.querySelector("div.bd-sidebar-secondary");
  if (contents) document.querySelectorAll(".table-on-page.wide").forEach((table) => table.classList.add("full-width"));
  const narrow = matchMedia("screen and (max-width: 48rem)");
  document.querySelectorAll("svg.drawing").forEach((svg) => fitDrawing(svg, narrow));
  document.querySelectorAll(".table-on-page.sortable").forEach(makeSortable);
  reachable();
  window.addEventListener("resize", reachable);
});
