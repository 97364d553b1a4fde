"use strict";
// The page is whole without this: it only sorts tables, and shows the confusion matrix as shares.
const value = (cell) => {
  const text = cell.textContent.trim(), number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
};
const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);

for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const text = column === 0;  // labels such as "7" and "10" are names all the same
      const rows = [...body.rows].map((row) => [text ? row.cells[0].textContent : value(row.cells[column]), row]);
      rows.sort(([a], [b]) => sign * (text ? a.localeCompare(b, undefined, { numeric: true }) : order(a, b)));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

for (const table of document.querySelectorAll("table.confusion")) {
  const controls = table.closest("section").querySelector(".controls");
  const [select, shares] = controls.querySelectorAll("select, input");
  const head = table.tHead.rows[0], names = [...head.cells], rows = [...table.tBodies[0].rows];
  const cells = rows.map((row) => [...row.cells].slice(1));
  const counts = cells.map((row) => row.map((cell) => Number(cell.textContent) || 0));
  const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const found = counts.map((row, i) => totals[i] - row[i]);  // its pictures that were taken for others
  const taken = counts.map((_, j) => counts.reduce((sum, row, i) => sum + (i === j ? 0 : row[j]), 0));
  const keys = {
    label: (i) => i,
    recall: (i) => (totals[i] ? counts[i][i] / totals[i] : 2),
    mistakes: (i) => -(found[i] + taken[i]),
  };
  controls.hidden = false;
  select.addEventListener("change", () => {
    const key = keys[select.value];
    const places = rows.map((_, i) => i).sort((a, b) => key(a) - key(b) || a - b);
    head.append(...places.map((i) => names[i + 1]));
    places.forEach((i) => rows[i].append(...places.map((j) => cells[i][j])));
    table.tBodies[0].append(...places.map((i) => rows[i]));
  });
  shares.addEventListener("change", () => {
    cells.forEach((row, i) => row.forEach((cell, j) => {
      const count = counts[i][j];
      cell.textContent = count ? (shares.checked ? `${Math.round((100 * count) / totals[i])} %` : count) : "·";
    }));
  });
  select.value = "label";
  shares.checked = false;  // a browser that goes back keeps what was chosen, but not what it led to
}
