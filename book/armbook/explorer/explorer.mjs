// The loss explorer: margin losses of triples on the unit circle, with the pull on every point.
//
// One module for two places: a live notebook, where anywidget calls render() with a model that Python shares, and a built page,
// where armlib/explorer.py inlines this text with a model of a few lines. So there are no imports. The functions down to
// "The page" need no document; tests compare them with armlib.losses.

export const ROLES = ["queries", "positives", "negatives"];
export const TARGETS = ["static", "adaptive", "distributed", "mean", "variance"];
export const READINGS = { "paper": "paper", "released-code": "released code" };
export const ERRORS = {
  squared: { value: l => l * l, slope: l => 2 * l },
  absolute: { value: Math.abs, slope: Math.sign },
  soft: { value: l => Math.max(-l, 0) + Math.log1p(Math.exp(-Math.abs(l))), slope: l => -1 / (1 + Math.exp(l)) },
};
const KEYS = ["angles", "target", "value", "penalty", "in_batch", "reading", "error", "stop_gradient", "chosen", "colours"];
const RADIAN = Math.PI / 180;

// ---- The loss ----

// What armlib.losses.MarginLoss refuses, by the setting that has to give way.
export function refusals({ target, penalty, in_batch, reading, stop_gradient }) {
  const found = {};
  const penalised = target === "static" && penalty > 0;
  if (in_batch && target !== "static" && target !== "adaptive")
    found.in_batch = `In batch is for static and adaptive targets; ${target} uses the batch already.`;
  if (reading !== "paper" && (penalised || target === "mean" || target === "variance"))
    found.reading = `The released code has no ${penalised ? "static target with a penalty" : target + " target"}.`;
  if (stop_gradient && target === "static")
    found.stop_gradient = "A static target has no gradient to stop.";
  if (stop_gradient && target === "variance")
    found.stop_gradient = "With its gradient stopped, the variance would not move anything.";
  return found;
}

// Why a control cannot be used now, by name; a control that can be used is not named.
export function reasons(state) {
  const found = {};
  for (const [key, on] of [["in_batch", true], ["reading", "released-code"], ["stop_gradient", true]]) {
    const reason = refusals({ ...state, [key]: on })[key];
    if (reason) found[key] = reason;
  }
  if (state.target !== "static") found.value = found.penalty = "Only static targets have a value and a penalty.";
  else if (state.reading !== "paper") found.penalty = refusals({ ...state, penalty: 1 }).reading;
  if (state.target === "variance") found.error = "The variance is not an error, so there is none to choose.";
  return found;
}

// The settings to change for another target: those that do not go with it return to their defaults.
export function chooseTarget(state, target) {
  const changes = { target }, defaults = { in_batch: false, reading: "paper", stop_gradient: false };
  for (const key of Object.keys(refusals({ ...state, target }))) changes[key] = defaults[key];
  return changes;
}

// Which points enter l_ij: its margin is phi(q_own, p_own) - phi(q_query, n_negative), its target t_ij that of p_i and n_j.
export function terms({ target, in_batch, reading }, size) {
  const whole = in_batch || target === "distributed" || target === "variance";
  const list = [];
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      if (!whole && i !== j) continue;
      const own = reading === "paper" ? i : j;
      list.push(in_batch ? { i, j, own, query: i, negative: j } : { i, j, own, query: own, negative: own });
    }
  return list;
}

// Loss, margins, targets and differences l_ij (matrices, null where a variant has none), and the gradient by angle in radians.
export function measure(angles, state) {
  const [q, p, n] = ROLES.map(role => angles[role].map(degrees => degrees * RADIAN));
  const size = q.length, empty = () => q.map(() => q.map(() => null)), zeros = () => q.map(() => 0);
  const gradient = { queries: zeros(), positives: zeros(), negatives: zeros() };
  const scaled = p.map(a => n.map(b => (1 + Math.cos(a - b)) / 2));
  const means = scaled.map(row => row.reduce((sum, t) => sum + t, 0) / size);
  const pullTarget = (i, j, amount) => {  // adds amount times the gradient of t_ij
    const slope = Math.sin(p[i] - n[j]) / 2;
    gradient.positives[i] -= amount * slope;
    gradient.negatives[j] += amount * slope;
  };
  const result = { loss: 0, margins: empty(), targets: empty(), differences: empty(), gradient };
  const list = terms(state, size), error = ERRORS[state.error];
  const penalty = state.target === "variance" ? 1 : state.target === "static" ? state.penalty : 0;
  for (let i = 0; penalty && i < size; i++)
    for (let j = 0; j < size; j++) {
      const away = scaled[i][j] - means[i];
      result.loss += penalty * away * away / size ** 2;
      pullTarget(i, j, penalty * 2 * away / size ** 2);
    }
  for (const { i, j, own, query, negative } of list) {
    if (state.target === "variance") {
      result.targets[i][j] = scaled[i][j];
      result.differences[i][j] = scaled[i][j] - means[i];
      continue;
    }
    const margin = Math.cos(q[own] - p[own]) - Math.cos(q[query] - n[negative]);
    const target = state.target === "static" ? state.value : state.target === "mean" ? means[i] : scaled[i][j];
    const slope = error.slope(margin - target) / list.length;
    result.margins[i][j] = margin;
    result.targets[i][j] = target;
    result.differences[i][j] = margin - target;
    result.loss += error.value(margin - target) / list.length;
    gradient.queries[own] -= slope * Math.sin(q[own] - p[own]);
    gradient.positives[own] += slope * Math.sin(q[own] - p[own]);
    gradient.queries[query] += slope * Math.sin(q[query] - n[negative]);
    gradient.negatives[negative] -= slope * Math.sin(q[query] - n[negative]);
    if (state.target === "static" || state.stop_gradient) continue;
    if (state.target === "mean") for (let k = 0; k < size; k++) pullTarget(i, k, -slope / size);
    else pullTarget(i, j, -slope);
  }
  return result;
}

// The angles after one step of gradient descent.
export function descend(angles, state, rate = 0.5) {
  const { gradient } = measure(angles, state);
  return Object.fromEntries(ROLES.map(role =>
    [role, angles[role].map((degrees, k) => turn(degrees - rate * gradient[role][k] / RADIAN))]));
}

// Where the negative of a term would stand if the margin met the target: two angles in degrees, or none within reach.
export function goals(angles, state, measured, { i, j, own, query }) {
  const cosine = Math.cos((angles.queries[own] - angles.positives[own]) * RADIAN) - measured.targets[i][j];
  if (state.target === "variance" || Math.abs(cosine) > 1) return [];
  const away = Math.acos(cosine) / RADIAN;
  return [turn(angles.queries[query] - away), turn(angles.queries[query] + away)];
}

// ---- Words and marks ----

const turn = degrees => ((degrees % 360) + 360) % 360;
const small = number => String(number + 1).replace(/\d/g, digit => "₀₁₂₃₄₅₆₇₈₉"[digit]);
export const label = (role, k) => role === "queries" ? `q${small(k)}` : `d${small(k)}${role === "positives" ? "⁺" : "⁻"}`;
export function written(number, digits = 2) {
  const text = number.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
export const variant = ({ target, in_batch }) => target + (in_batch ? ", in-batch" : "");

// The points that enter l_ij, as [role, index]; none where the variant has no such term.
export function members(state, size, i, j) {
  const term = terms(state, size).find(term => term.i === i && term.j === j);
  if (!term) return [];
  const found = state.target === "variance" ? [] :
    [["queries", term.own], ["positives", term.own], ["queries", term.query], ["negatives", term.negative]];
  if (state.target === "mean") found.push(["positives", i], ...Array.from({ length: size }, (_, k) => ["negatives", k]));
  else if (state.target !== "static") found.push(["positives", i], ["negatives", j]);
  return found.filter(([role, k], at) => found.findIndex(other => other[0] === role && other[1] === k) === at);
}

// How l_ij comes about, in symbols and numbers.
export function explain(angles, state, measured, i, j) {
  const size = angles.queries.length, name = `l${small(i)}${small(j)}`, three = number => written(number, 3);
  const term = terms(state, size).find(term => term.i === i && term.j === j);
  if (!term) return `${name}: this variant compares each triple with itself only.`;
  const [target, l] = [measured.targets[i][j], measured.differences[i][j]];
  const t = `½(1 + φ(${label("positives", i)}, ${label("negatives", j)}))`;
  if (state.target === "variance") return `${name} = ${t} − mean of row ${i + 1} = ${three(target)} − ${three(target - l)} = ${three(l)}`;
  const similarity = (query, role, k) => `φ(${label("queries", query)}, ${label(role, k)})`;
  const symbols = { static: "ε", mean: `mean of ½(1 + φ(${label("positives", i)}, d⁻))` }[state.target] ?? t;
  const margin = `${similarity(term.own, "positives", term.own)} − ${similarity(term.query, "negatives", term.negative)}`;
  return `${name} = ${margin} − ${symbols} = ${three(measured.margins[i][j])} − ${three(target)} = ${three(l)}`;
}

// The state in one paragraph, for those who do not see the drawing.
export function summary(angles, state, measured) {
  const k = Math.min(state.chosen, angles.queries.length - 1);
  const kinds = [state.target === "static" ? `Static target ${written(state.value)}` : `Target ${state.target}`];
  if (state.target === "static" && state.penalty) kinds.push(`penalty ${written(state.penalty)}`);
  if (state.in_batch) kinds.push("in batch");
  kinds.push(`reading of the ${READINGS[state.reading]}`);
  if (state.target !== "variance") kinds.push(`${state.error} error`);
  if (state.stop_gradient) kinds.push("targets as constants");
  const pulls = ROLES.map(role => `${label(role, k)} ${pull(-measured.gradient[role][k])}`);
  return `${kinds.join(", ")}: loss ${measured.loss.toFixed(3)}. ${explain(angles, state, measured, k, k)}. Pulled: ${pulls.join(", ")}.`;
}
const pull = amount => Math.abs(amount) < 0.005 ? "nowhere" : `${amount > 0 ? "counter-clockwise" : "clockwise"} by ${Math.abs(amount).toFixed(2)}`;

// ---- The drawing: SVG as text, with the circle's centre at 0, 0 ----

const RADIUS = 122, LONGEST = 90, SCALE = 170;  // pixels of an arrow: at most, and for a gradient of 1 per radian
const at = (degrees, radius = RADIUS) => [radius * Math.cos(degrees * RADIAN), -radius * Math.sin(degrees * RADIAN)];
const place = pair => pair.map(value => value.toFixed(1)).join(" ");

// An arrow along the tangent from a point, or nothing where the pull is too small to see.
export function arrow(degrees, amount) {
  const length = Math.min(LONGEST, SCALE * Math.abs(amount));
  if (length < 2) return "";
  const [x, y] = at(degrees), sign = Math.sign(amount);
  const [dx, dy] = [-Math.sin(degrees * RADIAN) * sign, -Math.cos(degrees * RADIAN) * sign], head = Math.min(9, length);
  const tip = [x + dx * length, y + dy * length], foot = [tip[0] - dx * head, tip[1] - dy * head];
  const side = by => place([foot[0] - dy * by, foot[1] + dx * by]);
  return `<path class="arrow" d="M${place([x, y])}L${place(foot)}M${side(head / 2)}L${place(tip)}L${side(-head / 2)}Z"/>`;
}

export function marks(angles, state, measured) {
  const size = angles.queries.length, k = Math.min(state.chosen, size - 1);
  const ticks = terms(state, size).filter(term => term.i === k).flatMap(term => goals(angles, state, measured, term))
    .map(degrees => `<path class="goal" d="M${place(at(degrees, RADIUS - 10))}L${place(at(degrees, RADIUS + 10))}"/>`);
  const arrows = ROLES.flatMap(role => angles[role].map((degrees, k) => arrow(degrees, -measured.gradient[role][k])));
  return ticks.join("") + arrows.join("");
}

// The similarities that enter l_ij as chords: whole lines for the margin, a dotted one for the target.
export function chords(angles, state, i, j) {
  const size = angles.queries.length, term = terms(state, size).find(term => term.i === i && term.j === j);
  if (!term) return "";
  const line = (kind, one, a, other, b) => `<path class="chord ${kind}" d="M${place(at(angles[one][a]))}L${place(at(angles[other][b]))}"/>`;
  const found = state.target === "variance" ? "" :
    line("with", "queries", term.own, "positives", term.own) + line("against", "queries", term.query, "negatives", term.negative);
  const others = state.target === "static" ? [] : state.target === "mean" ? [...Array(size).keys()] : [j];
  return found + others.map(other => line("towards", "positives", i, "negatives", other)).join("");
}

const SHAPES = {
  queries: `<path class="shape" d="M0 -9L9 0L0 9L-9 0Z"/>`,
  positives: `<circle class="shape" r="8"/><path class="sign" d="M-4 0H4M0 -4V4"/>`,
  negatives: `<circle class="shape" r="8"/><path class="sign" d="M-4 0H4"/>`,
};
const NAMES = { queries: "query", positives: "positive", negatives: "negative" };

// Everything that stays while points move; `mark` keeps the ids of two explorers on one page apart.
export function skeleton(size, mark) {
  const quiet = `data-lm-suppress-shortcuts="true"`;  // or JupyterLab takes the arrow keys for itself
  const named = (key, text, field) => `<div class="field" data-field="${key}"><label for="${mark}-${key}">${text}</label>${field}</div>`;
  const options = entries => entries.map(([value, text]) => `<option value="${value}">${text}</option>`).join("");
  const select = (key, text, entries) => named(key, text, `<select id="${mark}-${key}" data-key="${key}" aria-describedby="${mark}-why" ${quiet}>${options(entries)}</select>`);
  const range = (key, text, low, high) => named(key, text, `<input id="${mark}-${key}" data-key="${key}" type="range" min="${low}" max="${high}" step="0.05" aria-describedby="${mark}-why" ${quiet}><output for="${mark}-${key}" data-value="${key}"></output>`);
  const check = (key, text) => named(key, text, `<input id="${mark}-${key}" data-key="${key}" type="checkbox" aria-describedby="${mark}-why" ${quiet}>`);
  const indices = [...Array(size).keys()], same = list => list.map(value => [value, value]);
  const points = ROLES.flatMap(role => indices.map(k => `<g class="point ${role}" data-role="${role}" data-index="${k}" tabindex="0" role="slider"
    aria-label="${NAMES[role]} ${k + 1}" aria-valuemin="0" aria-valuemax="360" ${quiet}><circle class="hit" r="17"/>${SHAPES[role]}<text class="name" aria-hidden="true">${label(role, k)}</text></g>`));
  const cell = (i, j) => `<td role="gridcell" data-row="${i}" data-column="${j}" tabindex="${i || j ? -1 : 0}" ${quiet}></td>`;
  return `
<div class="controls" role="group" aria-label="Which loss">
  ${select("target", "Target", same(TARGETS))}${range("value", "Value ε", 0, 1)}${range("penalty", "Variance penalty", 0, 2)}
  ${select("error", "Error", same(Object.keys(ERRORS)))}${select("reading", "Reading", Object.entries(READINGS))}
  ${check("in_batch", "In batch")}${check("stop_gradient", "Targets as constants")}
  ${select("chosen", "Triple", indices.map(k => [k, k + 1]))}
</div>
<p class="why" id="${mark}-why"></p>
<div class="views">
  <div class="drawing">
    <svg viewBox="-200 -200 400 400" role="group" aria-label="Queries, positives and negatives on the unit circle">
      <circle class="circle" r="${RADIUS}"/><g class="chords"></g><g class="marks"></g>${points.join("")}
      <text class="loss" aria-hidden="true" y="6"></text>
    </svg>
    <p class="hint">Drag a point, or reach it with Tab and turn it with the arrow keys (Shift: finer, Page keys: coarser).</p>
    <div class="buttons"><button type="button" data-steps="1" ${quiet}>1 step downhill</button><button type="button" data-steps="50" ${quiet}>50 steps</button><button type="button" data-steps="0" ${quiet}>Start again</button></div>
  </div>
  <div class="numbers">
    <table class="triples"><caption>Triples</caption><thead><tr><th scope="col">i</th><th scope="col">margin</th><th scope="col">target</th><th scope="col">mean l</th></tr></thead>
      <tbody>${indices.map(k => `<tr data-triple="${k}"><th scope="row">${k + 1}</th><td></td><td></td><td></td></tr>`).join("")}</tbody></table>
    <table class="matrix" role="grid" aria-label="Differences l of row i and column j"><caption>l<sub>ij</sub>: positive i by row, negative j by column</caption>
      <thead><tr role="row"><td></td>${indices.map(j => `<th scope="col" role="columnheader">${label("negatives", j)}</th>`).join("")}</tr></thead>
      <tbody>${indices.map(i => `<tr role="row"><th scope="row" role="rowheader">${label("positives", i)}</th>${indices.map(j => cell(i, j)).join("")}</tr>`).join("")}</tbody></table>
    <p class="explained"></p>
  </div>
</div>
<p class="summary" role="status" aria-live="polite"></p>`;
}

// ---- The page ----

let explorers = 0;

function render({ model, el }) {
  const root = document.createElement("div"), mark = `armlib-explorer-${++explorers}`;
  const first = model.get("angles"), still = matchMedia("(prefers-reduced-motion: reduce)");
  let size = 0, cell = null, waiting = 0, frame = 0;
  root.className = "armlib-explorer";
  el.append(root);
  const get = () => Object.fromEntries(KEYS.map(key => [key, model.get(key)]));
  const one = selector => root.querySelector(selector), all = selector => [...root.querySelectorAll(selector)];
  // Writes only what differs: a browser takes new text under a resting mouse for a movement of it, and would trace that cell.
  const put = (field, text) => { if (field.textContent !== text) field.textContent = text; };
  const change = changes => {
    for (const [key, value] of Object.entries(changes)) model.set(key, value);
    model.save_changes();
  };
  const move = (role, k, degrees) => {
    const angles = model.get("angles"), turned = Math.round(turn(degrees) * 100) / 100;
    change({ chosen: k, angles: { ...angles, [role]: angles[role].map((old, index) => index === k ? turned : old) } });
  };

  function draw() {
    const state = get(), { angles } = state, measured = measure(angles, state);
    if (size !== angles.queries.length) {
      size = angles.queries.length;
      cell = null;
      root.innerHTML = skeleton(size, mark);
    }
    const chosen = Math.min(state.chosen, size - 1);
    root.style.setProperty("--variant", state.colours[variant(state)] ?? "currentColor");
    drawControls(state);
    one(".marks").innerHTML = marks(angles, state, measured);
    one("text.loss").textContent = `loss ${measured.loss.toFixed(3)}`;
    for (const point of all(".point")) {
      const { role, index } = point.dataset, degrees = angles[role][index], amount = -measured.gradient[role][index];
      point.setAttribute("transform", `translate(${place(at(degrees))})`);
      point.setAttribute("aria-valuenow", turn(degrees).toFixed(1));
      point.setAttribute("aria-valuetext", `${turn(degrees).toFixed(1)} degrees, pulled ${pull(amount)}`);
      point.classList.toggle("chosen", +index === chosen);
      const [x, y] = at(degrees, role === "queries" ? -24 : 24), name = point.querySelector(".name");
      name.setAttribute("x", x.toFixed(1));
      name.setAttribute("y", (y + 5).toFixed(1));
    }
    drawNumbers(state, measured, chosen);
    clearTimeout(waiting);  // a screen reader hears the end of a movement, not each of its steps
    waiting = setTimeout(() => { one(".summary").textContent = summary(angles, state, measured); }, one(".summary").textContent ? 500 : 0);
  }

  function drawControls(state) {
    const why = reasons(state);
    for (const control of all("[data-key]")) {
      const { key } = control.dataset;
      if (control.type === "checkbox") control.checked = state[key];
      else control.value = state[key];
      if (key === "reading") control.querySelector("[value=released-code]").disabled = Boolean(why.reading);
      else control.disabled = Boolean(why[key]);
      control.closest(".field").classList.toggle("off", Boolean(why[key]));
    }
    for (const output of all("[data-value]")) output.textContent = written(state[output.dataset.value]);
    one(".why").textContent = [...new Set(Object.values(why))].join(" ");
  }

  function drawNumbers(state, measured, chosen) {
    const { angles } = state, mean = list => list.reduce((sum, value) => sum + value, 0) / list.length;
    for (const row of all("[data-triple]")) {
      const k = +row.dataset.triple, [q, p, n] = ROLES.map(role => angles[role][k] * RADIAN);
      const targets = measured.targets[k].filter(value => value !== null), [low, high] = [Math.min(...targets), Math.max(...targets)];
      const texts = [written(Math.cos(q - p) - Math.cos(q - n)), written(low) === written(high) ? written(low) : `${written(low)} to ${written(high)}`,
        written(mean(measured.differences[k].filter(value => value !== null)))];
      row.querySelectorAll("td").forEach((field, index) => put(field, texts[index]));
      row.classList.toggle("chosen", k === chosen);
    }
    for (const field of all("[data-row]")) {
      const l = measured.differences[field.dataset.row][field.dataset.column];
      put(field, l === null ? "·" : written(l));
      field.style.setProperty("--share", `${l === null ? 0 : Math.round(Math.min(1, Math.abs(l)) * 45)}%`);
      field.setAttribute("aria-label", l === null ? "none" : written(l));
    }
    const [i, j] = cell ?? [chosen, chosen], inside = members(state, size, i, j).map(([role, k]) => `${role} ${k}`);
    for (const point of all(".point")) point.classList.toggle("inside", cell !== null && inside.includes(`${point.dataset.role} ${point.dataset.index}`));
    root.classList.toggle("tracing", cell !== null);
    one(".chords").innerHTML = cell ? chords(angles, state, i, j) : "";
    one(".explained").textContent = explain(angles, state, measured, i, j);
  }

  function descendBy(steps) {
    cancelAnimationFrame(frame);
    if (steps === 0) return change({ angles: first });
    let angles = model.get("angles");
    if (steps > 1 && !still.matches) {
      change({ angles: descend(angles, get()) });
      frame = requestAnimationFrame(() => descendBy(steps - 1));
      return;
    }
    for (let done = 0; done < steps; done++) angles = descend(angles, get());
    change({ angles });
  }

  const trace = target => {
    const field = target?.closest?.("[data-row]");
    const next = field ? [+field.dataset.row, +field.dataset.column] : null;
    if (String(next) === String(cell)) return;
    cell = next;
    drawNumbers(get(), measure(model.get("angles"), get()), Math.min(model.get("chosen"), size - 1));
  };
  const listeners = {
    input({ target }) {
      const { key } = target.dataset;
      if (!key) return;
      if (key === "target") change(chooseTarget(get(), target.value));
      else if (target.type === "checkbox") change({ [key]: target.checked });
      else change({ [key]: key === "error" || key === "reading" ? target.value : +target.value });
    },
    click({ target }) {
      if (target.dataset.steps) descendBy(+target.dataset.steps);
      const field = target.closest("[data-row]");
      if (field) change({ chosen: +field.dataset.row });
    },
    keydown(event) {
      const point = event.target.closest(".point"), field = event.target.closest("[data-row]"), by = {
        ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-6, 0], PageDown: [6, 0],
      }[event.key];
      if (!by || !(point || field) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      if (point) {
        const { role, index } = point.dataset;
        return move(role, +index, model.get("angles")[role][index] + (by[1] - by[0]) * (event.shiftKey ? 0.5 : 5));
      }
      const inside = value => Math.max(0, Math.min(size - 1, value));
      const next = one(`[data-row="${inside(+field.dataset.row + by[0])}"][data-column="${inside(+field.dataset.column + by[1])}"]`);
      field.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    },
    pointerdown(event) {
      const point = event.target.closest(".point");
      if (!point || event.button > 0) return;
      cancelAnimationFrame(frame);
      point.setPointerCapture(event.pointerId);
      point.classList.add("held");
    },
    pointermove(event) {
      const point = event.target.closest(".point.held");
      if (!point) return;
      const box = one("svg").getBoundingClientRect();
      const x = event.clientX - box.left - box.width / 2, y = box.top + box.height / 2 - event.clientY;
      move(point.dataset.role, +point.dataset.index, Math.atan2(y, x) / RADIAN);
    },
    lostpointercapture({ target }) { target.closest(".point")?.classList.remove("held"); },
    pointerover({ target }) { trace(target); },
    pointerleave() { trace(document.activeElement); },
    focusin({ target }) {
      trace(target);
      if (target.matches(".point") && +target.dataset.index !== model.get("chosen")) change({ chosen: +target.dataset.index });
    },
    focusout() { trace(null); },
  };
  for (const [name, listener] of Object.entries(listeners)) root.addEventListener(name, listener);
  for (const key of KEYS) model.on(`change:${key}`, draw);
  draw();
  return () => {
    for (const key of KEYS) model.off(`change:${key}`, draw);
    cancelAnimationFrame(frame);
    clearTimeout(waiting);
    root.remove();
  };
}

export default { render };
