"use strict";
const drawn = [];
const ink = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const number = value => value === null || value === undefined ? "-" : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
const seconds = value => value === null || value === undefined ? "-" : Math.abs(value) < 0.9995 ? number(value * 1000) + " ms" : number(value) + " s";
const dollars = value => value === null || value === undefined ? "-" : "$" + number(value);
const joules = value => value === null || value === undefined ? "-" : number(value) + " J";
const percent = value => value === null || value === undefined ? "-" : (value * 100).toFixed(1) + "%";
const short = (label, most = 30) => label.length > most ? label.slice(0, Math.ceil((most - 1) / 2)) + "…" + label.slice(-Math.floor((most - 1) / 2)) : label;
const COLORS = { raw: "raw", list: "raw", denoised: "denoised", contention: "denoised", model: "idealized", retries: "retries", admission: "admission" };
const IDEALIZED = ["idealized", "second", "third", "admission", "retries"];

function figure(caption, control) {
  const box = document.createElement("figure"), text = document.createElement("figcaption");
  const holder = document.createElement("div"), canvas = document.createElement("canvas");
  text.append(caption);
  if (control) text.append(control);
  holder.className = "canvas";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  holder.append(canvas);
  box.append(text, holder);
  return { box, holder, canvas };
}
function show(caption, config, options = {}) {
  const made = figure(caption, options.control);
  if (options.wide) made.box.className = "wide";
  if (options.rows) made.holder.style.height = Math.max(150, 70 + options.rows * (options.each || 46)) + "px";
  (options.into || document.getElementById("charts")).append(made.box);
  drawn.push(new Chart(made.canvas, config));
}
function datasets(series) {
  let ideal = 0;
  return Object.entries(series).map(([label, data]) => {
    const color = ink(COLORS[label] || IDEALIZED[ideal++ % IDEALIZED.length]);
    return { label, data, backgroundColor: color, borderColor: color, borderRadius: 3, maxBarThickness: 26 };
  });
}
function across(chart, text, stacked) {
  return { type: "bar", data: { labels: chart.labels, datasets: datasets(chart.series) }, options: { indexAxis: "y",
    scales: { x: { stacked, beginAtZero: true, ticks: { callback: text, maxTicksLimit: 7, maxRotation: 0 } }, y: { stacked, grid: { display: false }, ticks: { callback(value) { return short(this.getLabelForValue(value), this.chart.width < 480 ? 16 : 30); } } } },
    plugins: { legend: { labels: { boxWidth: 12 } }, tooltip: { callbacks: { label: item => item.dataset.label + ": " + text(item.raw) } } } } };
}
function byHour(chart) {
  const line = { type: "line", label: "calls", data: chart.calls, borderColor: ink("raw"), backgroundColor: ink("raw"), pointRadius: 2, tension: .3, yAxisID: "n" };
  const bars = { label: "contention", data: chart.contention, backgroundColor: ink("denoised"), borderRadius: 3, yAxisID: "y" };
  return { type: "bar", data: { labels: chart.labels, datasets: [bars, line] }, options: { interaction: { mode: "index", intersect: false },
    scales: { x: { grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 12 } }, y: { ticks: { callback: value => Math.round(value * 100) + "%" } }, n: { position: "right", beginAtZero: true, grid: { display: false } } },
    plugins: { legend: { labels: { boxWidth: 12 } }, tooltip: { callbacks: { label: item => item.dataset.label + ": " + (item.dataset.label === "calls" ? number(item.raw) : percent(item.raw)) } } } } };
}
const named = { id: "named", afterDatasetsDraw(chart) {
  const pen = chart.ctx, x = chart.scales.x, taken = [];
  pen.save();
  pen.font = "11px system-ui, sans-serif";
  chart.data.datasets.forEach((set, index) => chart.getDatasetMeta(index).data.forEach((point, i) => {
    const raw = set.data[i];
    if (raw.low !== null && raw.high !== null) { pen.strokeStyle = ink("dim"); pen.beginPath(); pen.moveTo(x.getPixelForValue(raw.low), point.y); pen.lineTo(x.getPixelForValue(raw.high), point.y); pen.stroke(); }
    const label = short(raw.name), wide = pen.measureText(label).width, left = Math.max(chart.chartArea.left, Math.min(point.x - wide / 2, chart.chartArea.right - wide));
    let top = point.y - 12;
    while (taken.some(other => Math.abs(other.top - top) < 12 && left < other.right && left + wide > other.left)) top -= 12;
    taken.push({ top, left, right: left + wide });
    pen.fillStyle = ink("ink");
    pen.fillText(label, left, top);
  }));
  pen.restore();
} };
function pareto(chart, measure) {
  const text = { idealized_runtime_s: seconds, idealized_cost_usd: dollars, idealized_energy_j: joules }[measure];
  const points = chart.rows.filter(row => row[measure] !== null).map(row => ({ x: row[measure], y: row.score, name: row.model, provenance: row.provenance, best: row.frontier.includes(measure), low: measure === "idealized_runtime_s" ? row.idealized_runtime_low_s : null, high: measure === "idealized_runtime_s" ? row.idealized_runtime_high_s : null }));
  const guess = point => point.raw && (point.raw.provenance === "assumed" || point.raw.provenance === "analytic");
  const hollow = color => ({ backgroundColor: context => guess(context) ? ink("card") : color, borderColor: color, pointBorderWidth: 2 });
  const best = points.filter(point => point.best).sort((a, b) => a.x - b.x);
  return { type: "scatter", data: { datasets: [
    { label: "models", data: points.filter(point => !point.best), ...hollow(ink("raw")), pointRadius: 6, pointHoverRadius: 8 },
    { label: "frontier", data: best, ...hollow(ink("idealized")), showLine: true, stepped: "before", pointRadius: 7, pointHoverRadius: 9 } ] },
    options: { layout: { padding: { top: 18 } }, scales: { x: { type: "logarithmic", title: { display: true, text: "per call, at this traffic's token counts" }, ticks: { callback: text, maxTicksLimit: 7 } }, y: { title: { display: true, text: chart.score } } },
      plugins: { legend: { labels: { boxWidth: 12 } }, tooltip: { callbacks: { label: item => item.raw.name + " (" + item.raw.provenance + "): " + chart.score + " " + number(item.raw.y) + ", " + text(item.raw.x) } } } }, plugins: [named] };
}
let measure = "idealized_runtime_s";
function chooser() {
  const select = document.createElement("select");
  select.setAttribute("aria-label", "measure");
  for (const [value, text] of [["idealized_runtime_s", "idealized runtime"], ["idealized_cost_usd", "idealized cost"], ["idealized_energy_j", "idealized energy"]]) select.append(new Option(text, value, false, value === measure));
  select.addEventListener("change", () => { measure = select.value; draw(); });
  return select;
}
const of = chart => chart.of > chart.labels.length ? ", the first " + chart.labels.length + " of " + chart.of : "";
function draw() {
  drawn.splice(0).forEach(chart => chart.destroy());
  const into = document.getElementById("pareto");
  document.getElementById("charts").replaceChildren();
  if (into) into.replaceChildren();
  Object.assign(Chart.defaults, { color: ink("dim"), borderColor: ink("line"), animation: false, maintainAspectRatio: false });
  if (data.runtimes) show("Median runtime by model" + of(data.runtimes), across(data.runtimes, seconds), { rows: data.runtimes.labels.length, each: 22 * Object.keys(data.runtimes.series).length });
  if (data.split) show("Us or the provider: mean seconds a call" + of(data.split), across(data.split, seconds, true), { rows: data.split.labels.length });
  if (data.hours) show("Contention by hour, share of the last attempts", byHour(data.hours), { wide: true });
  if (data.costs) show("List cost beside idealized cost, same calls" + of(data.costs), across(data.costs, dollars), { rows: data.costs.labels.length, each: 22 * Object.keys(data.costs.series).length });
  const halves = [...document.getElementById("charts").children].filter(box => box.className !== "wide");
  if (halves.length % 2) halves.at(-1).className = "alone";
  if (data.capability && into) show(data.capability.score + " against efficiency", pareto(data.capability, measure), { into, control: chooser() });
}
function sort(head) {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const down = head.getAttribute("aria-sort") !== "descending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => { const value = row.cells[column].dataset.v ?? row.cells[column].textContent; return value === "" ? null : value !== value.trim() || Number.isNaN(Number(value)) ? value : Number(value); };
  [...body.rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (x === null || y === null) return (x === null) - (y === null);
    return (typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? -1 : 1) * (down ? -1 : 1);
  }).forEach(row => body.append(row));
  table.fold?.();
}
const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
const theme = name => { root.dataset.theme = name; draw(); };
theme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
let before = root.dataset.theme;
addEventListener("beforeprint", () => { before = root.dataset.theme; theme("light"); });
addEventListener("afterprint", () => theme(before));
document.querySelectorAll("table.sortable th").forEach(head => {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(head));
  head.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(head); } });
});
const FOLDED = 50;
document.querySelectorAll("table.groups").forEach(table => {
  const rows = () => [...table.tBodies[0].rows];
  if (rows().length <= 10) return;
  const tools = document.createElement("div"), search = document.createElement("input"), all = document.createElement("button"), said = document.createElement("span");
  let open = false;
  search.type = "search";
  search.placeholder = "filter by name";
  search.setAttribute("aria-label", "filter by name");
  said.className = "dim";
  all.type = "button";
  tools.className = "tools";
  tools.append(search, said, all);
  table.closest(".scroll").before(tools);
  table.fold = () => {
    const wanted = search.value.trim().toLowerCase();
    let found = 0, shown = 0;
    for (const row of rows()) {
      const fits = row.cells[0].dataset.v.toLowerCase().includes(wanted);
      found += fits;
      const seen = fits && (open || shown < FOLDED);
      shown += seen;
      row.classList.toggle("folded", !seen);
    }
    said.textContent = shown === found ? found.toLocaleString("en") + " shown" : shown + " of " + found.toLocaleString("en") + " shown";
    all.hidden = found <= FOLDED;
    all.textContent = open ? "show the first " + FOLDED : "show all " + found.toLocaleString("en");
  };
  search.addEventListener("input", table.fold);
  all.addEventListener("click", () => { open = !open; table.fold(); });
  table.fold();
});
