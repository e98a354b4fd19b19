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
      if (group.classList.contains("off")) continue;
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
// ticks, names beside the same frame. Panels that stay beside each other share the axis on the left still.
function ownAxes(panels, narrow) {
  const ticks = (axis, name) => [...axis.querySelectorAll("use")].map((tick) => Number(tick.getAttribute(name)));
  const copies = [];
  for (const panel of panels) {
    [...panel.axes.querySelectorAll(":scope > .axis")].forEach((axis, which) => {
      const name = which ? "y" : "x", places = ticks(axis, name);
      if (axis.querySelector("text") || (which && !narrow)) return;
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

// In a grid, a panel without a title gets the next one above it in its column; where no column has one, that of its row.
function ownTitles(svg, panels) {
  const titleOf = ({ axes, frame }) =>
    [...axes.querySelectorAll(":scope > g")].find((part) => part.querySelector(":scope > text") && boxOf(svg, part).bottom <= frame.top + 1);
  const titles = new Map(panels.map((panel) => [panel, titleOf(panel)]));
  const column = (one) => panels.filter((other) => near(one.frame.left, other.frame.left) && near(one.frame.right, other.frame.right));
  const row = (one) => panels.filter((other) => near(one.frame.top, other.frame.top) && near(one.frame.bottom, other.frame.bottom));
  const copies = [];
  for (const panel of panels.filter((each) => !titles.get(each) && column(each).length > 1)) {
    const named = (others) => others.filter((other) => titles.get(other));
    const above = named(column(panel)).filter((other) => other.frame.top < panel.frame.top);
    const [first, ...more] = above.length ? above.slice(-1) : named(column(panel)).length ? [] : named(row(panel));
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

// Draw a figure anew: on a narrow page its panels below each other, else in their rows; with a row's name, panels of that name alone.
function arrange(svg, narrow, row) {
  const figure = svg.querySelector("g"), gap = 12;
  const parts = [...figure.children].flatMap((part) => (part.classList.contains("subfigure") ? [...part.children] : [part]));
  const axes = parts.filter((part) => part.classList.contains("axes"));
  const panels = axes.map((each) => ({ axes: each, frame: frameOf(svg, each) }));
  if (panels.some((panel) => !panel.frame)) return;
  const groups = [];
  for (const panel of panels) {
    const { frame } = panel, level = (other) => frame.top < other.bottom && other.top < frame.bottom;
    const over = (other) => level(other) && frame.left < other.right - 1 && other.left < frame.right - 1;
    // Axes on the same place are one panel, and a colour bar belongs to the one before it.
    const bar = frame.width < 0.1 * svg.viewBox.baseVal.width;
    const home = groups.find((group) => (narrow ? over : level)(group[0].frame)) ?? (bar && groups.findLast((group) => level(group[0].frame)));
    if (home) home.push(panel);
    else groups.push([panel]);
  }
  if (groups.length < 2) {
    svg.classList.toggle("stacked", narrow && svg.viewBox.baseVal.width <= 400);  // one panel that can still be read when it is shrunk
    return;
  }
  ownAxes(panels, narrow);
  ownTitles(svg, panels);
  const shown = groups.filter((group) => !row || group.some((panel) => panel.axes.dataset.row === row));
  const blocks = shown.map((group) => ({
    elements: group.map((panel) => panel.axes),
    frame: group[0].frame,
    box: union(group.flatMap((panel) => [panel.frame, boxOf(svg, panel.axes)])),
    after: gap,
  }));
  const inset = Math.max(...blocks.map(({ frame, box }) => frame.left - box.left));
  for (const block of blocks) block.x = narrow ? inset - (block.frame.left - block.box.left) : block.box.left;
  const lines = (elements) => {
    const box = union(elements.map((each) => boxOf(svg, each)));
    return { elements, frame: box, box, x: narrow ? 0 : box.left, after: gap / 3 };
  };
  const legends = [];
  for (const part of parts) {
    const text = part.querySelector(":scope > text");
    if (part.classList.contains("legend")) legends.push(...(narrow ? entriesOf(part).map(lines) : [lines([part])]));
    // Of the words over a part of the figure, those whose panels are all hidden are left out.
    const beside = part.parentElement === figure ? axes : axes.filter((each) => part.parentElement.contains(each));
    if (!text || !blocks.some((block) => block.elements.some((each) => beside.includes(each)))) continue;
    const turned = /rotate\(-90/.test(text.getAttribute("transform") ?? "");
    if (turned) text.removeAttribute("transform");
    const block = lines([part]);
    if (turned) block.frame = { ...block.box, top: 0 };
    blocks.push(block);
  }
  blocks.sort((one, other) => (near(one.frame.top, other.frame.top) ? one.frame.left - other.frame.left : one.frame.top - other.frame.top));
  // Marks that only the whole figure gives a place, such as arrows between panels, have none here.
  const placed = [...blocks, ...legends];
  const kept = new Set(placed.flatMap((block) => block.elements));
  for (const part of parts.filter((each) => !kept.has(each) && !each.classList.contains("legend"))) {
    figure.append(...part.querySelectorAll("defs"));  // shapes of ticks and dots that others use, too
    part.remove();
  }
  let y = 0;
  for (const { elements, box, x, after } of placed) {
    for (const element of elements) element.setAttribute("transform", `translate(${x - box.left} ${y - box.top})`);
    y += box.height + after;
  }
  const width = narrow ? Math.max(...placed.map(({ box, x }) => x + box.width)) : svg.viewBox.baseVal.width;
  svg.setAttribute("viewBox", `0 0 ${width} ${y}`);
  svg.setAttribute("width", `${width}pt`);
  svg.setAttribute("height", `${y}pt`);
  svg.classList.toggle("stacked", narrow);
}

// A button that says whether it is pressed.
function makeSwitch(label, press) {
  const button = document.createElement("button");
  button.type = "button";
  button.ariaPressed = false;
  button.append(label);
  button.addEventListener("click", press);
  return button;
}

// Entries of the legend, as buttons over them, show their lines alone; names of rows above the figure show their panels alone.
function makeSwitches(svg, redraw) {
  const entries = new Map(), chosen = new Set(), state = { row: "" };
  const frame = document.createElement("div"), rows = document.createElement("div"), hint = document.createElement("div");
  const update = () => {
    const off = (ids) =>
      ["a", "b"].some((kind) => {
        const own = ids.filter((id) => id[0] === kind);
        return own.length && [...chosen].some((id) => id[0] === kind) && !own.some((id) => chosen.has(id));
      });
    for (const each of svg.querySelectorAll("[data-entries]")) each.classList.toggle("off", off(each.dataset.entries.split(" ")));
    for (const [id, button] of entries) button.ariaPressed = chosen.has(id);
    for (const button of rows.children) button.ariaPressed = button.value === state.row;
  };
  const show = (row) => { state.row = row; redraw(); };
  const all = () => { chosen.clear(); show(""); };
  state.place = () => {
    const { width, height } = svg.viewBox.baseVal;
    for (const parts of [...svg.querySelectorAll(".legend")].flatMap(entriesOf)) {
      const id = parts.at(-1).dataset.entry, button = entries.get(id);
      if (!button) continue;
      for (const part of parts.slice(0, -1)) part.dataset.entries = id;
      const box = union(parts.map((part) => boxOf(svg, part)));
      button.style.left = `${(100 * (box.left - 3)) / width}%`;
      button.style.top = `${(100 * (box.top - 2)) / height}%`;
      button.style.width = `${(100 * (box.width + 6)) / width}%`;
      button.style.height = `${(100 * (box.height + 4)) / height}%`;
    }
    update();
  };
  for (const entry of svg.querySelectorAll("[data-entry]")) {
    const id = entry.dataset.entry, name = entry.textContent;
    const button = makeSwitch("", () => { if (!chosen.delete(id)) chosen.add(id); update(); });
    button.ariaLabel = name;
    button.title = `${name} alone, or with other entries that are chosen`;
    entries.set(id, button);
  }
  const names = new Set([...svg.querySelectorAll("[data-row]")].map((axes) => axes.dataset.row));
  for (const name of names.size ? ["", ...names] : []) {
    const button = makeSwitch(name || "all", () => show(name));
    button.value = name;
    rows.append(button);
  }
  if (!entries.size && !names.size) return state;
  rows.setAttribute("role", "group");
  rows.ariaLabel = "Panels shown";
  rows.className = hint.className = "drawing-switches";
  const pointed = svg.querySelector(".values") ? "; point at a line for its values" : "";
  hint.append(`Click entries of the legend to see them alone${pointed}. `, makeSwitch("Show all", all));
  frame.className = "drawing-frame";
  svg.replaceWith(frame);
  frame.append(svg, ...entries.values());
  if (names.size) frame.before(rows);
  if (entries.size) frame.after(hint);
  for (const part of [frame, rows, hint]) part.addEventListener("keydown", (event) => { if (event.key === "Escape") all(); });
  return state;
}

function fitDrawing(svg, narrow, paper) {
  const before = { inner: svg.innerHTML, viewBox: svg.getAttribute("viewBox"), width: svg.getAttribute("width"), height: svg.getAttribute("height") };
  let whole = true;
  const fit = () => {
    svg.onpointerleave?.();
    if (!whole) {
      svg.innerHTML = before.inner;
      for (const name of ["viewBox", "width", "height"]) svg.setAttribute(name, before[name]);
      svg.classList.remove("stacked");
    }
    const row = paper.matches ? "" : switches.row;
    whole = !narrow.matches && !row;
    if (!whole) arrange(svg, narrow.matches, row);
    showValues(svg);
    switches.place();
  };
  const switches = makeSwitches(svg, fit);
  for (const media of [narrow, paper]) media.addEventListener("change", fit);
  fit();
}

document.addEventListener("DOMContentLoaded", () => {
  const narrow = matchMedia("screen and (max-width: 48rem)"), paper = matchMedia("print");
  document.querySelectorAll("svg.drawing").forEach((svg) => fitDrawing(svg, narrow, paper));
});
