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
  document.querySelectorAll(".table-on-page.sortable").forEach(makeSortable);
  reachable();
  window.addEventListener("resize", reachable);
});
