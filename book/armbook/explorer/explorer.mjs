// The loss explorer: margin losses of triples on the unit circle, with the pull on every point and the way that gradient descent takes.
//
// One module for two places: a live notebook, where anywidget calls render() with a model that Python shares, and a built page,
// where armbook/explorer/widget.py inlines this text with a model of a few lines. So there are no imports. The functions down to
// "The page" need no document; tests compare them with armlib.losses.
//
// All that is shown follows from the model: `angles` are where gradient descent starts, `steps` how far it has come.

export const ROLES = ["queries", "positives", "negatives"];
export const TARGETS = ["static", "adaptive", "distributed", "mean", "variance"];
export const READINGS = { "paper": "paper", "released-code": "released code" };
export const ERRORS = {
  squared: { value: l => l * l, slope: l => 2 * l },
  absolute: { value: Math.abs, slope: Math.sign },
  soft: { value: l => Math.max(-l, 0) + Math.log1p(Math.exp(-Math.abs(l))), slope: l => -1 / (1 + Math.exp(l)) },
};
export const COMPARED = ["static", "adaptive", "distributed"];
export const MOST_STEPS = 200;
const KEYS = ["angles", "target", "value", "penalty", "in_batch", "reading", "error", "stop_gradient", "chosen", "colours",
  "steps", "compare", "seed", "lesson", "lessons"];
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

// The angles at each step of gradient descent, the start first.
export function path(angles, state, steps) {
  const found = [angles];
  while (found.length <= steps) found.push(descend(found[found.length - 1], state));
  return found;
}

// The losses that are shown side by side: static, adaptive and distributed targets with the other settings, or the one chosen.
export function panels(state) {
  if (!state.compare || !COMPARED.includes(state.target)) return [state];
  return COMPARED.map(target => ({ ...state, ...chooseTarget(state, target) }));
}

// The margin of each triple, whatever the loss compares.
export const margins = angles => angles.queries.map((q, k) =>
  Math.cos((q - angles.positives[k]) * RADIAN) - Math.cos((q - angles.negatives[k]) * RADIAN));

// Angles drawn uniformly, in tenths of a degree, by mulberry32; armbook.explorer.circle.random_start draws the same.
export function randomStart(seed, size = 4) {
  let state = seed >>> 0;
  const draw = () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let mixed = Math.imul(state ^ state >>> 15, state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return Math.floor(3600 * (((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32)) / 10;
  };
  return Object.fromEntries(ROLES.map(role => [role, Array.from({ length: size }, draw)]));
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
  return `${name} = ${margin} − ${symbols} = ${three(measured.margins[i][j])} − ${three(target)} = ${three(l)}${sign(l) && `, ${SIGNS[sign(l)]}`}`;
}

// Whether a margin is too narrow or too wide for its target, to the digits that are shown; empty where it meets it.
export const sign = l => Math.abs(l) < 0.005 ? "" : l < 0 ? "narrow" : "wide";
const SIGNS = { narrow: "the margin is too narrow", wide: "the margin is too wide" };

const pull = amount => Math.abs(amount) < 0.005 ? "nowhere" : `${amount > 0 ? "counter-clockwise" : "clockwise"} by ${Math.abs(amount).toFixed(2)}`;
const mean = list => list.reduce((sum, value) => sum + value, 0) / list.length;
const numbers = row => row.filter(value => value !== null);

// The loss that is looked at, in words.
export function named(state) {
  const kinds = [state.target === "static" ? `Static target ${written(state.value)}` : `Target ${state.target}`];
  if (state.target === "static" && state.penalty) kinds.push(`penalty ${written(state.penalty)}`);
  if (state.in_batch) kinds.push("in batch");
  kinds.push(`reading of the ${READINGS[state.reading]}`);
  if (state.target !== "variance") kinds.push(`${state.error} error`);
  if (state.stop_gradient) kinds.push("targets as constants");
  return kinds.join(", ");
}

// The state in one paragraph: all panels, then the triple that is chosen.
export function summary(shown, state) {
  const { angles, measured } = shown.find(panel => panel.state.target === state.target), k = Math.min(state.chosen, angles.queries.length - 1);
  const pulls = ROLES.map(role => `${label(role, k)} ${pull(-measured.gradient[role][k])}`);
  const steps = state.steps ? ` after ${state.steps} step${state.steps === 1 ? "" : "s"}` : "";
  const others = shown.length === 1 ? "" : ` ${shown.map(panel =>
    `${panel.state.target}: loss ${panel.measured.loss.toFixed(3)}, smallest margin ${written(Math.min(...margins(panel.angles)))}`).join("; ")}.`;
  return `${named(state)}${steps}: loss ${measured.loss.toFixed(3)}.${others} ${explain(angles, state, measured, k, k)}. Pulled: ${pulls.join(", ")}.`;
}

// What a point is, where it stands and where it is pulled.
export function describe(angles, state, measured, role, k, text = "") {
  const cosine = (one, a, other, b) => `φ(${label(one, a)}, ${label(other, b)}) = ${written(Math.cos((angles[one][a] - angles[other][b]) * RADIAN))}`;
  const pairs = { queries: [["queries", "positives"], ["queries", "negatives"]], positives: [["queries", "positives"], ["positives", "negatives"]],
    negatives: [["queries", "negatives"], ["positives", "negatives"]] }[role];
  const said = `${label(role, k)} at ${turn(angles[role][k]).toFixed(1)}°: ${pairs.map(([one, other]) => cosine(one, k, other, k)).join(", ")}; pulled ${pull(-measured.gradient[role][k])}.`;
  return text ? `${said} “${text}”` : said;
}

// A triple's margin against its target.
export function compare(angles, state, measured, k) {
  const targets = numbers(measured.targets[k]), l = mean(numbers(measured.differences[k]));
  const against = targets.length > 1 ? `mean target ${written(mean(targets))}` : `target ${written(targets[0])}`;
  if (state.target === "variance") return `Triple ${k + 1}: margin ${written(margins(angles)[k])}; its targets, ${against}, should be equal.`;
  return `Triple ${k + 1}, ${variant(state)}: ${targets.length > 1 && state.in_batch ? "mean " : ""}margin ${written(mean(numbers(measured.margins[k])))}, ${against}, difference ${written(l)}${sign(l) && `: ${SIGNS[sign(l)]}`}.`;
}

// ---- Places ----

// The angles of labels, in degrees, moved apart until each is `apart` from its neighbours, in the order in which they were.
export function spread(degrees, apart) {
  const order = degrees.map((_, k) => k).sort((a, b) => turn(degrees[a]) - turn(degrees[b]) || a - b), size = order.length;
  const wanted = Math.min(apart, 360 / size - 1e-9), placed = degrees.map(turn);
  if (size < 2) return placed;
  for (let round = 0; round < 500; round++) {
    let moved = 0;
    for (let k = 0; k < size; k++) {
      const [one, next] = [order[k], order[(k + 1) % size]], gap = placed[next] - placed[one] + (k + 1 === size ? 360 : 0);
      if (gap >= wanted - 1e-6) continue;
      placed[one] -= (wanted - gap) / 2;
      placed[next] += (wanted - gap) / 2;
      moved = Math.max(moved, wanted - gap);
    }
    if (moved < 1e-3) break;
  }
  return placed;
}

// How many places inwards each point stands so that none covers another: 0 on the circle, one more for each that is in the way.
export function levels(degrees, apart) {
  const found = [];
  degrees.forEach((angle, k) => {
    const near = found.filter((_, other) => Math.abs((turn(angle - degrees[other]) + 180) % 360 - 180) < apart);
    let level = 0;
    while (near.includes(level)) level += 1;
    found[k] = level;
  });
  return found;
}

// ---- The drawing: SVG as text, with the circle's centre at 0, 0 ----

const RADIUS = 132, LONGEST = 60, SCALE = 120;  // pixels of an arrow: at most, and for a gradient of 1 per radian
const at = (degrees, radius = RADIUS) => [radius * Math.cos(degrees * RADIAN), -radius * Math.sin(degrees * RADIAN)];
const place = pair => pair.map(value => value.toFixed(1)).join(" ");
const line = (kind, ...pairs) => `<path class="${kind}" d="M${pairs.map(place).join("L")}"/>`;

// An arrow along the tangent, from the edge of a point, or nothing where the pull is too small to see.
export function arrow(degrees, amount, radius = RADIUS, size = 1) {
  const length = Math.min(LONGEST, SCALE * Math.abs(amount));
  if (length < 2) return "";
  const direction = Math.sign(amount), [dx, dy] = [-Math.sin(degrees * RADIAN) * direction, -Math.cos(degrees * RADIAN) * direction];
  const [x, y] = at(degrees, radius), edge = 10 * size, head = Math.min(9 * size, length);
  const start = [x + dx * edge, y + dy * edge], tip = [start[0] + dx * length, start[1] + dy * length], foot = [tip[0] - dx * head, tip[1] - dy * head];
  const side = by => place([foot[0] - dy * by, foot[1] + dx * by]);
  return `<path class="arrow" d="M${place(start)}L${place(foot)}M${side(head / 2)}L${place(tip)}L${side(-head / 2)}Z"/>`;
}

// Where every point stands, by role: its radius, so that none covers another.
export function radii(angles, size = 1) {
  const all = ROLES.flatMap(role => angles[role]), count = angles.queries.length;
  const inward = levels(all, 20 * size / RADIUS / RADIAN).map(level => RADIUS - 20 * size * level);
  return Object.fromEntries(ROLES.map((role, k) => [role, inward.slice(k * count, (k + 1) * count)]));
}

// Marks of where the chosen triple's negatives should be, and an arrow for every pull.
export function marks(angles, state, measured, size = 1) {
  const count = angles.queries.length, k = Math.min(state.chosen, count - 1), standing = radii(angles, size);
  const ticks = terms(state, count).filter(term => term.i === k).flatMap(term => goals(angles, state, measured, term))
    .map(degrees => line("goal", at(degrees, RADIUS - 9 * size), at(degrees, RADIUS + 9 * size)));
  const arrows = ROLES.flatMap(role => angles[role].map((degrees, k) => arrow(degrees, -measured.gradient[role][k], standing[role][k], size)));
  return ticks.join("") + arrows.join("");
}

// The way of every point as a spiral from its start, at four fifths of the radius, to the circle, where it is now.
export function trails(path) {
  const last = path.length - 1, every = Math.max(1, Math.ceil(last / 60));
  if (!last) return "";
  return ROLES.flatMap(role => path[0][role].map((start, k) => {
    let angle = start, before = start;
    const pairs = [at(start, 0.8 * RADIUS)];
    path.forEach((angles, step) => {
      angle += (turn(angles[role][k] - before) + 180) % 360 - 180;
      before = angles[role][k];
      if (step && (step % every === 0 || step === last)) pairs.push(at(angle, RADIUS * (0.8 + 0.2 * step / last)));
    });
    const [x, y] = pairs[0];
    return line(`trail ${role}`, ...pairs) + `<circle class="trail-start" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3"/>`;
  })).join("");
}

// Margin and target of the chosen triple as lengths along the query's axis: from the foot of d- to that of d+, and beside it from
// the foot of d+ as far as the target reaches. Between their ends is the difference.
export function lengths(angles, state, measured) {
  const k = Math.min(state.chosen, angles.queries.length - 1), [q, p, n] = ROLES.map(role => angles[role][k]);
  const foot = degrees => Math.cos((degrees - q) * RADIAN) * RADIUS, along = (far, aside = 0) => {
    const [[x, y], [u, v]] = [at(q, far), at(q + 90, aside)];
    return [x + u, y + v];
  };
  const feet = [foot(p), foot(n)], axis = line("axis", along(-RADIUS), along(RADIUS));
  const drops = line("drop", at(p), along(feet[0])) + line("drop", at(n), along(feet[1]));
  const margin = line("margin", along(feet[0]), along(feet[1]));
  const targets = numbers(measured.targets[k]);
  if (state.target === "variance" || !targets.length) return axis + drops + margin;
  // In batch the triple's own margin has a target of its own; otherwise it has to meet all of them.
  const target = state.in_batch ? measured.targets[k][k] : mean(targets), several = targets.length > 1 && !state.in_batch;
  const wanted = feet[0] - target * RADIUS, side = (turn(p - q) < 180 ? -1 : 1) * 11, l = (feet[0] - feet[1]) / RADIUS - target;
  const each = several ? targets.map(t => line("target-tick", along(feet[0] - t * RADIUS, side - 5), along(feet[0] - t * RADIUS, side + 5))).join("") : "";
  const gap = sign(l) && line(`gap ${sign(l)}`, along(feet[1], side / 2), along(wanted, side / 2));
  const [[mx, my], [tx, ty]] = [along((feet[0] + feet[1]) / 2, -side * 1.4), along((feet[0] + wanted) / 2, side * 2.4)];
  const word = (text, x, y) => `<text class="length-name" x="${x.toFixed(1)}" y="${(y + 5).toFixed(1)}">${text}</text>`;
  const words = word("margin", mx, my) + word("target", tx, ty);
  return axis + drops + gap + margin + line("target", along(feet[0], side), along(wanted, side)) + each + words;
}

// The similarities that enter l_ij as chords: whole lines for the margin, a dotted one for the target.
export function chords(angles, state, i, j) {
  const size = angles.queries.length, term = terms(state, size).find(term => term.i === i && term.j === j);
  if (!term) return "";
  const chord = (kind, one, a, other, b) => line(`chord ${kind}`, at(angles[one][a]), at(angles[other][b]));
  const found = state.target === "variance" ? "" :
    chord("with", "queries", term.own, "positives", term.own) + chord("against", "queries", term.query, "negatives", term.negative);
  const others = state.target === "static" ? [] : state.target === "mean" ? [...Array(size).keys()] : [j];
  return found + others.map(other => chord("towards", "positives", i, "negatives", other)).join("");
}

// A line chart of values by step: a line for each loss with its name at the end, names moved apart.
// `series` holds names, kinds (which decide colour and dashes) and values; `steps` is how far the axis reaches.
export function chart(title, series, steps, low, high) {
  const [left, right, top, bottom] = [38, 240, 24, 132], x = step => left + (right - left) * step / steps;
  const y = value => bottom - (bottom - top) * (value - low) / (high - low || 1), ends = series.map(({ values }) => y(values[values.length - 1]));
  const order = ends.map((_, k) => k).sort((a, b) => ends[a] - ends[b] || a - b), names = [...ends];
  order.forEach((k, rank) => { if (rank) names[k] = Math.max(names[k], names[order[rank - 1]] + 14); });
  const over = Math.max(0, Math.max(...names) - bottom);
  const ticks = [low, high].map(value => `<text class="tick" x="${left - 5}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${written(value, 1)}</text>`).join("");
  const zero = low < 0 ? line("rule", [left, y(0)], [right, y(0)]) + `<text class="tick" x="${left - 5}" y="${(y(0) + 4).toFixed(1)}" text-anchor="end">0</text>` : "";
  const drawn = series.map(({ kind, values }) => line(`curve ${kind}`, ...(values.length > 1 ? values : [values[0], values[0]]).map((value, step) => [x(step), y(value)]))
    + `<circle class="end ${kind}" cx="${x(values.length - 1).toFixed(1)}" cy="${y(values[values.length - 1]).toFixed(1)}" r="3.5"/>`).join("");
  const words = series.map(({ name, kind, values }, k) => line(`curve ${kind}`, [right + 7, names[k] - over], [right + 25, names[k] - over])
    + `<text class="series" x="${right + 29}" y="${(names[k] - over + 4).toFixed(1)}">${name} ${written(values[values.length - 1])}</text>`).join("");
  const said = `${title} after ${series[0].values.length - 1} steps: ${series.map(({ name, values }) => `${name} ${written(values[values.length - 1])}`).join(", ")}`;
  return `<svg viewBox="0 0 372 160" role="img" aria-label="${said}"><text class="chart-title" x="${left}" y="13">${title}</text>${line("rule", [left, top], [left, bottom], [right, bottom])}${zero}${ticks}
    <text class="tick" x="${left}" y="150">0</text><text class="tick" x="${right}" y="150" text-anchor="end">${steps} steps</text>${drawn}${words}</svg>`;
}

// Margins and targets of all triples as lengths, from -2 to 2, one row a triple.
export function bars(angles, state, measured) {
  const percent = value => `${(25 * (value + 2)).toFixed(2)}%`, own = margins(angles);
  const span = (kind, a, b) => `<i class="${kind}" style="left:${percent(Math.min(a, b))};width:${(25 * Math.abs(a - b)).toFixed(2)}%"></i>`;
  return own.map((margin, k) => {
    const targets = numbers(measured.targets[k]), met = numbers(measured.margins[k]), m = met.length ? mean(met) : margin, t = mean(targets);
    const ticks = targets.length > 1 ? targets.map(value => `<i class="tick" style="left:${percent(value)}"></i>`).join("") : "";
    const gap = state.target === "variance" || !sign(m - t) ? "" : span(`gap ${sign(m - t)}`, m, t);
    return `<div class="bar${k === state.chosen ? " chosen" : ""}" data-bar="${k}"><b>${k + 1}</b><span class="track"><i class="zero"></i>${gap}${span("margin", 0, m)}${ticks}<i class="target" style="left:${percent(t)}"></i></span></div>`;
  }).join("") + `<div class="bar scale"><b></b><span class="track">${[-2, -1, 0, 1, 2].map(value => `<em style="left:${percent(value)}">${written(value, 0)}</em>`).join("")}</span></div>`;
}

const SHAPES = {
  queries: `<path class="shape" d="M0 -9L9 0L0 9L-9 0Z"/>`,
  positives: `<circle class="shape" r="8"/><path class="sign" d="M-4 0H4M0 -4V4"/>`,
  negatives: `<circle class="shape" r="8"/><path class="sign" d="M-4 0H4"/>`,
};
const NAMES = { queries: "query", positives: "positive", negatives: "negative" };
const QUIET = `data-lm-suppress-shortcuts="true"`;  // or JupyterLab takes the arrow keys for itself
const text = given => given.replace(/[&<>"]/g, sign => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

// One circle with its points; `looked` says whether it is the one whose points the Tab key reaches.
function panel(kind, size, looked) {
  const points = ROLES.flatMap(role => [...Array(size).keys()].map(k => `<g class="point ${role}" data-role="${role}" data-index="${k}" tabindex="${looked ? 0 : -1}" role="slider"
    aria-label="${NAMES[role]} ${k + 1}" aria-valuemin="0" aria-valuemax="360" ${QUIET}><circle class="hit" r="15"/>${SHAPES[role]}</g>`));
  const names = ROLES.flatMap(role => [...Array(size).keys()].map(k => `<path class="leader"/><text class="name" aria-hidden="true" data-name="${role} ${k}">${label(role, k)}</text>`));
  return `<section class="panel" data-panel="${kind}" aria-label="${kind}">
    <p class="title"><button type="button" data-look="${kind}" ${QUIET}></button> <output class="loss"></output></p>
    <svg class="circle-of" viewBox="-196 -196 392 392" role="group" aria-label="Queries, positives and negatives on the unit circle, ${kind}">
      <circle class="circle" r="${RADIUS}"/><g class="lengths"></g><g class="chords"></g><g class="trails"></g><g class="marks"></g>${points.join("")}<g class="names">${names.join("")}</g>
    </svg>
    <div class="bars" aria-hidden="true"></div>
  </section>`;
}

// Everything that stays while points move; `mark` keeps the ids of two explorers on one page apart.
export function skeleton(state, mark) {
  const size = state.angles.queries.length, indices = [...Array(size).keys()], same = list => list.map(value => [value, value]);
  const named = (key, text, field) => `<div class="field" data-field="${key}"><label for="${mark}-${key}">${text}</label>${field}</div>`;
  const options = entries => entries.map(([value, text]) => `<option value="${value}">${text}</option>`).join("");
  const select = (key, text, entries) => named(key, text, `<select id="${mark}-${key}" data-key="${key}" aria-describedby="${mark}-why" ${QUIET}>${options(entries)}</select>`);
  const range = (key, text, low, high, step) => named(key, text, `<input id="${mark}-${key}" data-key="${key}" type="range" min="${low}" max="${high}" step="${step}" aria-describedby="${mark}-why" ${QUIET}/><output for="${mark}-${key}" data-value="${key}"></output>`);
  const check = (key, text) => named(key, text, `<input id="${mark}-${key}" data-key="${key}" type="checkbox" aria-describedby="${mark}-why" ${QUIET}/>`);
  const button = (name, value, text) => `<button type="button" data-${name}="${value}" ${QUIET}>${text}</button>`;
  const cell = (i, j) => `<td role="gridcell" data-row="${i}" data-column="${j}" tabindex="${i || j ? -1 : 0}" ${QUIET}></td>`;
  const turning = size > 1 ? "" : `<div class="field turning"><label for="${mark}-turn">Turn d₁⁻ away from d₁⁺</label><input id="${mark}-turn" data-turn="0" type="range" min="0" max="360" step="1" ${QUIET}/><output for="${mark}-turn"></output></div>`;
  return `
<div class="lessons" role="group" aria-label="Things to try">${state.lessons.map(({ key, title }) => button("lesson", key, text(title))).join("")}${button("random", "1", "Random start")}</div>
<p class="see" role="status"></p>
${turning}
<div class="panels">${panels(state).map(each => panel(each.target, size, each.target === state.target)).join("")}</div>
<p class="key"><span><i class="margin"></i> margin</span><span><i class="target"></i> target</span><span><i class="gap narrow"></i> too narrow</span><span><i class="gap wide"></i> too wide</span></p>
<div class="steering">${button("steps", "1", "1 step")}${button("steps", "50", "50 steps")}${button("steps", "0", "Start again")}
  <div class="field walked"><label for="${mark}-steps">Steps</label><input id="${mark}-steps" data-key="steps" type="range" min="0" max="${MOST_STEPS}" step="1" ${QUIET}/><output for="${mark}-steps" data-value="steps"></output></div>
  <div class="field seeded"><label for="${mark}-seed">Seed of the random start</label><input id="${mark}-seed" data-key="seed" type="number" min="0" max="4294967295" step="1" ${QUIET}/></div></div>
<div class="charts"></div>
<p class="footer"></p>
<ul class="texts"></ul>
<details class="every"><summary>Every difference</summary><div class="numbers">
  <table class="triples"><caption>Triples</caption><thead><tr><th scope="col">i</th><th scope="col">margin</th><th scope="col">target</th><th scope="col">mean l</th></tr></thead>
    <tbody>${indices.map(k => `<tr data-triple="${k}"><th scope="row">${k + 1}</th><td></td><td></td><td></td></tr>`).join("")}</tbody></table>
  <table class="matrix" role="grid" aria-label="Differences l of row i and column j"><caption>l<sub>ij</sub>: positive i by row, negative j by column</caption>
    <thead><tr role="row"><td></td>${indices.map(j => `<th scope="col" role="columnheader">${label("negatives", j)}</th>`).join("")}</tr></thead>
    <tbody>${indices.map(i => `<tr role="row"><th scope="row" role="rowheader">${label("positives", i)}</th>${indices.map(j => cell(i, j)).join("")}</tr>`).join("")}</tbody></table>
  <p class="signs"><span class="narrow">▼ margin too narrow</span> <span class="wide">▲ margin too wide</span></p>
</div></details>
<details class="settings"><summary>All settings</summary><div class="controls" role="group" aria-label="Which loss">
  ${check("compare", "Three targets side by side")}${select("target", "Target", same(TARGETS))}${range("value", "Value ε", 0, 1, 0.05)}${range("penalty", "Variance penalty", 0, 2, 0.05)}
  ${select("error", "Error", same(Object.keys(ERRORS)))}${select("reading", "Reading", Object.entries(READINGS))}
  ${check("in_batch", "In batch")}${check("stop_gradient", "Targets as constants")}
  ${select("chosen", "Triple", indices.map(k => [k, k + 1]))}
</div><p class="why" id="${mark}-why"></p>
<p class="hint">Drag a point, or reach it with Tab and turn it with the arrow keys (Shift: finer, Page keys: coarser, Home and End: 0° and 359°). A point that is moved starts all panels from where it was moved.</p></details>
<p class="summary" role="status" aria-live="polite"></p>`;
}

// ---- The page ----

let explorers = 0;

function render({ model, el }) {
  const root = document.createElement("div"), mark = `armlib-explorer-${++explorers}`;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let layout = "", hovered = null, waiting = 0, frame = 0, walked = {}, shown = [];
  root.className = "armlib-explorer";
  el.append(root);
  const get = () => Object.fromEntries(KEYS.map(key => [key, model.get(key)]));
  const one = selector => root.querySelector(selector), all = selector => [...root.querySelectorAll(selector)];
  // Writes only what differs: a browser takes new text under a resting mouse for a movement of it, and would trace that cell.
  const put = (field, text) => { if (field.textContent !== text) field.textContent = text; };
  const fill = (field, markup) => { if (field.dataset.markup !== markup) { field.innerHTML = markup; field.dataset.markup = markup; } };
  let changing = false;
  const change = changes => {
    changing = true;  // several at once are one drawing
    for (const [key, value] of Object.entries(changes)) model.set(key, value);
    changing = false;
    model.save_changes();
    draw();
  };
  const lessonOf = state => state.lessons.find(({ key }) => key === state.lesson);
  const looked = state => shown.find(each => each.state.target === state.target) ?? shown[0];
  const shownBy = node => shown.find(each => each.state.target === node.closest("[data-panel]")?.dataset.panel) ?? looked(get());
  const move = (start, role, k, degrees) => {
    const turned = Math.round(turn(degrees) * 100) / 100;
    change({ chosen: k, steps: 0, angles: { ...start, [role]: start[role].map((old, index) => index === k ? turned : old) } });
  };

  // The way of a panel as far as it was asked for; computed once for a start and a loss.
  function way(state, panelState) {
    const { chosen, steps, colours, seed, lesson, lessons, compare, ...loss } = panelState, key = JSON.stringify(loss);
    if (!walked[key] || walked[key].length <= state.steps) {
      const kept = walked[key] ?? [state.angles];
      walked[key] = [...kept, ...path(kept[kept.length - 1], panelState, state.steps - kept.length + 1).slice(1)];
    }
    return walked[key].slice(0, state.steps + 1);
  }

  function draw() {
    if (changing) return;
    const state = get(), kinds = panels(state), size = state.angles.queries.length;
    const current = JSON.stringify([size, kinds.map(({ target }) => target), state.lessons.map(({ key }) => key)]);
    if (layout !== current) {
      const open = all("details").map(details => details.open), focused = root.contains(document.activeElement) ? focusKey(document.activeElement) : "";
      layout = current;
      hovered = null;
      root.innerHTML = skeleton(state, mark);
      all("details").forEach((details, k) => { details.open = open[k] ?? false; });
      if (focused) one(focused)?.focus();
    }
    if (Object.keys(walked).length > 12) walked = {};
    shown = kinds.map(each => {
      const whole = way(state, each), angles = whole[whole.length - 1];
      return { state: each, whole, angles, measured: measure(angles, each) };
    });
    root.classList.toggle("compare", kinds.length > 1);
    root.style.setProperty("--variant", colourOf(looked(state).state));
    for (const each of shown) drawPanel(state, each, kinds.length > 1 ? 1.3 : 1);
    drawControls(state);
    drawCharts(state);
    drawNumbers(state);
    put(one(".see"), lessonOf(state)?.see ?? (state.lesson === "random" ? `Random start ${state.seed}: ${size} triples drawn from the circle.` : ""));
    for (const button of all("[data-lesson], [data-random]")) button.setAttribute("aria-pressed", String((button.dataset.lesson ?? "random") === state.lesson));
    const texts = lessonOf(state)?.texts ?? {};
    fill(one(".texts"), (texts.queries ?? []).flatMap((_, k) => ROLES.map(role => `<li><b>${label(role, k)}</b> ${text(texts[role][k])}</li>`)).join(""));
    tell(state, one(".summary").textContent ? 500 : 0);
  }
  const colourOf = state => model.get("colours")[variant(state)] ?? "currentColor";
  const focusKey = node => ["key", "lesson", "random", "look", "steps"].filter(name => name in node.dataset).map(name => `[data-${name}="${node.dataset[name]}"]`)[0] ?? "";

  function drawPanel(state, { state: own, whole, angles, measured }, size) {
    const node = one(`[data-panel=${own.target}]`), standing = radii(angles, size), inside = selector => node.querySelector(selector);
    node.style.setProperty("--variant", colourOf(own));
    node.classList.toggle("looked", own.target === state.target);
    put(inside("[data-look]"), own.target === "static" ? `static(${written(own.value)})${own.in_batch ? ", in-batch" : ""}` : variant(own));
    inside("[data-look]").setAttribute("aria-pressed", String(own.target === state.target));
    put(inside(".loss"), `loss ${measured.loss.toFixed(3)}`);
    fill(inside(".lengths"), lengths(angles, own, measured));
    fill(inside(".trails"), trails(whole));
    fill(inside(".marks"), marks(angles, own, measured, size));
    fill(inside(".bars"), bars(angles, own, measured));
    const places = ROLES.flatMap(role => angles[role].map((degrees, k) => ({ role, k, degrees })));
    const moved = spread(places.map(({ degrees }) => degrees), 10.5 * size), leaders = [...node.querySelectorAll(".leader")], names = [...node.querySelectorAll(".name")];
    places.forEach(({ role, k, degrees }, index) => {
      const point = inside(`.point[data-role=${role}][data-index="${k}"]`), radius = standing[role][k], far = RADIUS + 12 + 16 * size;
      point.setAttribute("transform", `translate(${place(at(degrees, radius))}) scale(${size})`);
      point.setAttribute("tabindex", own.target === state.target ? 0 : -1);
      point.setAttribute("aria-valuenow", turn(degrees).toFixed(1));
      point.setAttribute("aria-valuetext", `${turn(degrees).toFixed(1)} degrees, pulled ${pull(-measured.gradient[role][k])}`);
      point.classList.toggle("chosen", k === Math.min(state.chosen, angles.queries.length - 1));
      const [x, y] = at(moved[index], far);
      names[index].setAttribute("x", x.toFixed(1));
      names[index].setAttribute("y", (y + 5 * size).toFixed(1));
      names[index].classList.toggle("chosen", k === state.chosen);
      leaders[index].setAttribute("d", Math.abs((turn(moved[index] - degrees) + 180) % 360 - 180) < 3 && radius === RADIUS ? ""
        : `M${place(at(degrees, radius + 9 * size))}L${place(at(degrees, RADIUS + 9))}L${place(at(moved[index], far - 11 * size))}`);
    });
  }

  function drawControls(state) {
    const why = reasons(state);
    for (const control of all("[data-key]")) {
      const { key } = control.dataset;
      if (control.type === "checkbox") control.checked = state[key];
      else if (control.value !== String(state[key])) control.value = state[key];
      if (key === "reading") control.querySelector("[value=released-code]").disabled = Boolean(why.reading);
      else control.disabled = Boolean(why[key]) && !(key === "value" && panels(state).length > 1);
      control.closest(".field").classList.toggle("off", control.disabled);
    }
    for (const output of all("[data-value]")) put(output, output.dataset.value === "steps" ? String(state.steps) : written(state[output.dataset.value]));
    const turning = one("[data-turn]");
    if (turning) {
      const { angles } = looked(state), away = turn(angles.negatives[0] - angles.positives[0]);
      if (Math.abs(turning.value - away) > 0.5) turning.value = away;
      put(turning.nextElementSibling, `${Math.round(turning.value)}°`);
    }
    one(".seeded").hidden = state.angles.queries.length === 1;
    one(".walked").hidden = state.angles.queries.length === 1 && !state.steps && document.activeElement?.dataset.key !== "steps";
    put(one(".why"), [...new Set(Object.values(why))].join(" "));
  }

  function drawCharts(state) {
    const several = shown.length > 1, steps = Math.max(60, state.steps);
    if (!state.steps && !several) return fill(one(".charts"), "");
    const series = values => shown.map(each => ({ name: each.state.target, kind: each.state.target, values: values(each) }));
    const losses = series(({ state: own, whole }) => whole.map(angles => measure(angles, own).loss));
    const smallest = series(({ whole }) => whole.map(angles => Math.min(...margins(angles))));
    const highest = list => Math.max(...list.flatMap(({ values }) => values)), lowest = Math.min(0, ...smallest.flatMap(({ values }) => values));
    const up = value => Math.ceil(value * 10 - 1e-9) / 10;
    fill(one(".charts"), chart("Loss", losses, steps, 0, Math.max(0.1, up(highest(losses))))
      + chart("Smallest margin", smallest, steps, -up(-lowest), Math.max(0.5, up(highest(smallest)))));
    for (const { state: own } of shown) for (const curve of all(`.${own.target}:is(.curve, .end)`)) curve.style.setProperty("--variant", colourOf(own));
  }

  function drawNumbers(state) {
    const { angles, measured } = looked(state), own = margins(angles), size = own.length, chosen = Math.min(state.chosen, size - 1);
    for (const row of all("[data-triple]")) {
      const k = +row.dataset.triple, targets = numbers(measured.targets[k]), [low, high] = [Math.min(...targets), Math.max(...targets)];
      const texts = [written(own[k]), written(low) === written(high) ? written(low) : `${written(low)} to ${written(high)}`, written(mean(numbers(measured.differences[k])))];
      row.querySelectorAll("td").forEach((field, index) => put(field, texts[index]));
      row.classList.toggle("chosen", k === chosen);
    }
    for (const field of all("[data-row]")) {
      const l = measured.differences[field.dataset.row][field.dataset.column];
      put(field, l === null ? "·" : written(l));
      field.style.setProperty("--share", `${l === null ? 0 : Math.round(Math.min(1, Math.abs(l)) * 40)}%`);
      for (const kind of Object.keys(SIGNS)) field.classList.toggle(kind, l !== null && state.target !== "variance" && sign(l) === kind);
      field.setAttribute("aria-label", l === null ? "none" : `${written(l)}${sign(l) && state.target !== "variance" ? `, ${SIGNS[sign(l)]}` : ""}`);
    }
    const cell = hovered?.cell, inside = cell ? members(state, size, ...cell).map(([role, k]) => `${role} ${k}`) : [];
    for (const node of all(".panel")) {
      const tracing = Boolean(cell) && node.classList.contains("looked");
      node.classList.toggle("tracing", tracing);
      for (const point of node.querySelectorAll(".point")) point.classList.toggle("inside", tracing && inside.includes(`${point.dataset.role} ${point.dataset.index}`));
      fill(node.querySelector(".chords"), tracing ? chords(angles, state, ...cell) : "");
    }
    put(one(".footer"), said(state));
  }

  // What is under the mouse or has the focus, in words; where nothing is, the chosen triple.
  function said(state) {
    const texts = lessonOf(state)?.texts;
    if (hovered?.cell) {
      const { angles, measured } = looked(state);
      return explain(angles, state, measured, ...hovered.cell);
    }
    const { state: own, angles, measured } = shown.find(each => each.state.target === hovered?.panel) ?? looked(state);
    if (hovered?.role) return describe(angles, own, measured, hovered.role, hovered.index, texts?.[hovered.role]?.[hovered.index]);
    return compare(angles, own, measured, Math.min(hovered?.bar ?? state.chosen, angles.queries.length - 1));
  }

  // The paragraph for those who do not see the drawing: they hear the end of a movement, not each of its steps.
  function tell(state, delay) {
    clearTimeout(waiting);
    waiting = setTimeout(() => put(one(".summary"), summary(shown, get())), delay);
  }

  function walk(steps) {
    cancelAnimationFrame(frame);
    const start = get().steps, goal = Math.min(MOST_STEPS, start + steps), began = performance.now();
    if (goal === start) return;
    if (steps === 1 || still.matches) return change({ steps: goal });
    const next = now => {
      const reached = Math.min(goal, start + Math.max(1, Math.floor((now - began) / 25)));
      if (reached !== model.get("steps")) change({ steps: reached });
      if (reached < goal) frame = requestAnimationFrame(next);
    };
    frame = requestAnimationFrame(next);
  }

  function begin(state, steps, detail = false) {
    cancelAnimationFrame(frame);
    change(state);
    if (detail) one(".every").open = true;
    walk(steps);
  }

  const PLAIN = { penalty: 0, in_batch: false, reading: "paper", stop_gradient: false };
  const random = seed => begin({ ...PLAIN, target: COMPARED.includes(model.get("target")) ? model.get("target") : "adaptive", compare: true, chosen: 0,
    steps: 0, lesson: "random", seed, angles: randomStart(seed) }, 60);

  const find = target => {
    const cell = target?.closest?.("[data-row]"), point = target?.closest?.(".point, [data-name]"), bar = target?.closest?.("[data-bar]");
    const panel = target?.closest?.("[data-panel]")?.dataset.panel;
    if (cell) return { cell: [+cell.dataset.row, +cell.dataset.column] };
    if (point) {
      const [role, index] = point.dataset.name?.split(" ") ?? [point.dataset.role, point.dataset.index];
      return { role, index: +index, panel };
    }
    return bar ? { bar: +bar.dataset.bar, panel } : null;
  };
  const trace = target => {
    const next = find(target);
    if (JSON.stringify(next) === JSON.stringify(hovered)) return;
    hovered = next;
    drawNumbers(get());
  };
  const listeners = {
    input({ target }) {
      const { key } = target.dataset;
      if ("turn" in target.dataset) {
        cancelAnimationFrame(frame);
        const { angles } = looked(get());
        return move(angles, "negatives", 0, angles.positives[0] + +target.value);
      }
      if (!key) return;
      if (key === "seed") return;  // once it is whole, see change
      cancelAnimationFrame(frame);
      if (key === "target") change({ ...chooseTarget(get(), target.value), ...(COMPARED.includes(target.value) ? {} : { compare: false }) });
      else if (key === "compare") change({ compare: target.checked, ...(target.checked && !COMPARED.includes(get().target) ? chooseTarget(get(), "adaptive") : {}) });
      else if (target.type === "checkbox") change({ [key]: target.checked });
      else change({ [key]: key === "error" || key === "reading" ? target.value : +target.value });
    },
    change({ target }) {
      if (target.dataset.key !== "seed") return;
      if (target.value !== "" && target.validity.valid) random(+target.value);
      else target.value = model.get("seed");
    },
    click({ target }) {
      const button = target.closest("button"), field = target.closest("[data-row]"), bar = target.closest("[data-bar]");
      if (field) change({ chosen: +field.dataset.row });
      if (bar) change({ chosen: +bar.dataset.bar });
      if (!button) return;
      const { lesson, steps, look } = button.dataset;
      if (lesson) {
        const { state, steps, detail } = get().lessons.find(({ key }) => key === lesson);
        begin(state, steps, detail);
      }
      if ("random" in button.dataset) random((model.get("seed") + 1) % 2 ** 32);
      if (look && look !== model.get("target")) change(chooseTarget(get(), look));
      if (steps === "0") begin({ steps: 0 }, 0);
      else if (steps) walk(+steps);
    },
    keydown(event) {
      const point = event.target.closest(".point"), field = event.target.closest("[data-row]"), by = {
        ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-6, 0], PageDown: [6, 0], Home: [0, -Infinity], End: [0, Infinity],
      }[event.key];
      if (!by || !(point || field) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      cancelAnimationFrame(frame);
      if (point) {
        const { role, index } = point.dataset, { angles } = shownBy(point), end = { Home: 0, End: 359 }[event.key];
        return move(angles, role, +index, end ?? angles[role][index] + (by[1] - by[0]) * (event.shiftKey ? 0.5 : 5));
      }
      const inside = value => Math.max(0, Math.min(get().angles.queries.length - 1, value));
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
      const box = point.ownerSVGElement.getBoundingClientRect();
      const x = event.clientX - box.left - box.width / 2, y = box.top + box.height / 2 - event.clientY;
      move(shownBy(point).angles, point.dataset.role, +point.dataset.index, Math.atan2(y, x) / RADIAN);
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
