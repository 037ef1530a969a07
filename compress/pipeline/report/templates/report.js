"use strict";
const words = JSON.parse(document.getElementById("words").textContent);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/* Tables of several rows sort by a click on a header; longer ones filter, too. */
const keyOf = (row, column) => {
  const cell = row.cells[column];
  return cell === undefined ? "" : cell.dataset.key ?? cell.firstChild?.textContent.trim() ?? "";
};
function compare(a, b) {
  const empty = text => text === "" || text === "—";
  if (empty(a) || empty(b)) return empty(a) === empty(b) ? 0 : null;
  const x = Number(a.replaceAll(",", "").replace("−", "-")), y = Number(b.replaceAll(",", "").replace("−", "-"));
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
}
function sortBy(table, heads, column) {
  const head = heads[column];
  const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  heads.forEach(each => each.setAttribute("aria-sort", each === head ? direction : "none"));
  const sign = direction === "descending" ? -1 : 1;
  const rows = [...table.tBodies[0].rows].sort((first, second) => {
    const a = keyOf(first, column), order = compare(a, keyOf(second, column));
    return order === null ? (a === "" || a === "—" ? 1 : -1) : sign * order;
  });
  table.tBodies[0].append(...rows);
}
for (const table of document.querySelectorAll(".chapter table")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 3 || !table.tHead) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent || "↕";
    if (!head.textContent) button.setAttribute("aria-label", words.sort);
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, heads, column));
  });
  if (rows.length < 8) continue;
  const bar = document.createElement("div"), input = document.createElement("input"), count = document.createElement("span");
  bar.className = "filter";
  input.type = "search";
  input.placeholder = "…";
  input.setAttribute("aria-label", fill(words.filter, { table: table.parentElement.getAttribute("aria-label") ?? "" }));
  count.setAttribute("role", "status");
  bar.append(input, count);
  table.before(bar);
  input.addEventListener("input", () => {
    const parts = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !parts.every(part => text.includes(part));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = shown === rows.length ? "" : fill(words.shown, { shown, total: rows.length });
  });
}

/* A note beside its number, by pointer and by keyboard; without this script the number leads to the appendix. */
const tip = document.getElementById("tip");
function showTip(link) {
  const note = document.getElementById(link.hash.slice(1));
  if (!note) return;
  tip.textContent = note.textContent;
  tip.hidden = false;
  link.setAttribute("aria-describedby", "tip");
  const place = link.getBoundingClientRect(), left = Math.min(place.left, innerWidth - tip.offsetWidth - 8);
  const above = place.top - tip.offsetHeight - 6;
  tip.style.left = `${Math.max(4, left) + scrollX}px`;
  tip.style.top = `${(above > 0 ? above : place.bottom + 6) + scrollY}px`;
}
function hideTip(link) {
  tip.hidden = true;
  link?.removeAttribute("aria-describedby");
}
for (const link of document.querySelectorAll("sup a")) {
  link.setAttribute("aria-label", `${words.note} ${link.textContent}`);
  link.addEventListener("pointerenter", () => showTip(link));
  link.addEventListener("focus", () => showTip(link));
  link.addEventListener("pointerleave", () => hideTip(link));
  link.addEventListener("blur", () => hideTip(link));
}
document.addEventListener("keydown", event => { if (event.key === "Escape") hideTip(null); });

/* Links and prints open what they need. */
const chapters = [...document.querySelectorAll("details")];
function reveal() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
let closed = [];
addEventListener("beforeprint", () => {
  closed = chapters.filter(each => !each.open);
  closed.forEach(each => { each.open = true; });
});
addEventListener("afterprint", () => closed.forEach(each => { each.open = false; }));
const item = document.createElement("li"), all = document.createElement("button");
all.type = "button";
all.textContent = words.open;
all.addEventListener("click", () => {
  const open = all.textContent === words.open;
  document.querySelectorAll("details.chapter, details.part").forEach(each => { each.open = open; });
  all.textContent = open ? words.close : words.open;
});
item.append(all);
document.querySelector("nav ul").append(item);
reveal();
