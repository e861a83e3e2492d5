/* The numbers of a figure as tables, for readers who cannot see it or would rather read: what is visible now, under the
   titles of its axes. Curves over the same places share a table. */
window.secondlookNumbers = (() => {
  "use strict";

  const ROWS = 60; // of a table; of a longer one so many, evenly spaced
  const CELLS = 900; // of a heat map; a larger one is read by pointing at it
  const MARKS = ["scatter", "bar", "waterfall"];

  const plain = (text) => String(text).replace(/<br\s*\/?>/g, " ").replace(/<[^>]*>/g, "").trim();
  const axisOf = (plot, id) => plot._fullLayout[`${id[0]}axis${id.slice(1)}`];
  /* The title of an axis, or of one that it moves with. */
  function titleOf(plot, id) {
    const name = (other) => `${other[0]}axis${other.slice(1)}`;
    const own = (other) => plain(plot.layout[name(other)]?.title?.text ?? "");
    const kin = plot._fullLayout._subplots[`${id[0]}axis`].filter((other) => other === axisOf(plot, id).matches || axisOf(plot, other).matches === id);
    return own(id) || kin.map(own).find(Boolean) || "";
  }

  /* What the menus of a figure say of its present view. */
  const view = (plot) => (plot.layout.updatemenus ?? []).map((menu) => plain(menu.buttons[menu.active ?? 0]?.label ?? ""));
  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  const shown = (plot) => plot._fullData.filter((trace) => trace.visible === true && told(plot, trace));

  /* Whether a trace says anything in numbers: no picture, no helper for the eye, no map whose axes have no meaning. */
  function told(plot, trace) {
    if (trace.hoverinfo === "skip" || trace.mode === "text") return false;
    const [x, y] = [axisOf(plot, trace.xaxis), axisOf(plot, trace.yaxis)];
    const titled = titleOf(plot, trace.xaxis) || titleOf(plot, trace.yaxis);
    const named = [x, y].some((axis) => axis.ticktext?.length || axis.type === "category");
    if (!x.visible || !y.visible || !(titled || named)) return false;
    if (trace.type === "heatmap") return trace.z?.length > 0 && trace.z.length * trace.z[0].length <= CELLS;
    return MARKS.includes(trace.type) && trace.x?.length > 0;
  }

  const tables = (plot) => [...maps(plot), ...lines(plot), ...series(plot)];

  /* Whether the text of a trace says more than its values: not where it only names them. */
  const telling = (trace) => !/%\{[xyz]/.test(trace.hovertemplate);

  /* ---- values in words ---- */

  function number(value, percent, precision = 4) {
    if (missing(value)) return "";
    if (typeof value !== "number") return plain(value);
    if (Number.isInteger(value) && !percent) return value.toLocaleString("en");
    const digits = Number((percent ? 100 * value : value).toPrecision(precision));
    const text = Math.abs(digits) >= 1e-3 || digits === 0 ? digits.toLocaleString("en", { maximumFractionDigits: 6 }) : String(digits);
    return percent ? `${text} %` : text;
  }

  const onAxis = (axis, value, precision) => number(value, axis.tickformat?.includes("%"), precision);

  const ticksOf = (axis) => (axis.ticktext?.length ? Array.from(axis.tickvals) : []);

  /* The tick whose text a place bears: its own, or on a linear axis the nearest, since dots and bars stand beside it. */
  function tickAt(axis, value) {
    const ticks = ticksOf(axis);
    if (axis.type !== "linear" || ticks.includes(value)) return ticks.indexOf(value);
    const far = ticks.map((tick) => Math.abs(tick - value));
    const gap = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : 1;
    const nearest = far.indexOf(Math.min(...far));
    return far[nearest] <= gap / 2 || (value > Math.min(...ticks) && value < Math.max(...ticks)) ? nearest : -1;
  }

  function place(axis, value) {
    const tick = tickAt(axis, value);
    return tick < 0 ? onAxis(axis, value) : plain(axis.ticktext[tick]);
  }

  const nameOf = (trace) => (/^trace \d+$/.test(trace.name ?? "trace 0") ? "" : plain(trace.name));

  /* ---- heat maps ---- */

  function maps(plot) {
    return shown(plot)
      .filter((trace) => trace.type === "heatmap")
      .map((trace) => {
        const [x, y] = [axisOf(plot, trace.xaxis), axisOf(plot, trace.yaxis)];
        const [percent, signed] = [/%\{z[^}]*%\}/, /%\{z:\+/].map((form) => form.test(trace.hovertemplate ?? ""));
        const value = (z) => (signed && z > 0 ? "+" : "") + number(z, percent);
        const [columns, rows] = [trace.z[0].length, trace.z.length];
        const names = (axis, values, count) => Array.from({ length: count }, (_, i) => place(axis, values?.[i] ?? i));
        const left = names(y, trace.y, rows);
        return {
          caption: nameOf(trace),
          head: [[titleOf(plot, trace.yaxis), titleOf(plot, trace.xaxis)].filter(Boolean).join(" \\ "), ...names(x, trace.x, columns)],
          rows: left.map((name, i) => [name, ...Array.from(trace.z[i], value)]),
        };
      });
  }

  /* ---- lines at a value ---- */

  const isLine = (trace) => trace.mode === "lines" && trace.x.length === 2 && (trace.x[0] === trace.x[1] || trace.y[0] === trace.y[1]);

  function lines(plot) {
    const found = shown(plot).filter((trace) => MARKS.includes(trace.type) && isLine(trace) && trace.name);
    if (!found.length) return [];
    const row = (trace) => {
      const upright = trace.x[0] === trace.x[1];
      return [plain(trace.name), onAxis(axisOf(plot, upright ? trace.xaxis : trace.yaxis), upright ? trace.x[0] : trace.y[0])];
    };
    return [{ caption: "Lines", head: ["line", "at"], rows: unique(found.map(row)) }];
  }

  const unique = (rows) => [...new Map(rows.map((row) => [row.join("\t"), row])).values()];

  /* ---- curves, dots and bars ---- */

  function series(plot) {
    const groups = [];
    for (const trace of shown(plot).filter((candidate) => MARKS.includes(candidate.type) && !isLine(candidate))) {
      const own = column(plot, trace);
      const group = groups.find((other) => other.id === own.id && together(other, own));
      if (group) group.columns.push(own);
      else groups.push({ ...own, columns: [own] });
    }
    return groups.map(asTable);
  }

  /* One trace: the places it names, and what stands there. */
  function column(plot, trace) {
    const [x, y] = [axisOf(plot, trace.xaxis), axisOf(plot, trace.yaxis)];
    const across = trace.orientation === "h" || (y.ticktext?.length > 0 && !x.ticktext?.length) || y.type === "category";
    const [at, values, axis, error] = across ? [trace.y, trace.x, x, trace.error_x] : [trace.x, trace.y, y, trace.error_y];
    const own = trace.hoverinfo === "text" ? trace.hovertext : /%\{text\}/.test(trace.hovertemplate ?? "") && telling(trace) ? trace.text : null;
    const cell = (i, key) => {
      const half = error?.array?.[i] > 0 ? ` ± ${onAxis(axis, error.array[i], 2)}` : "";
      return Array.isArray(own) ? without(key, plain(own[i])) : onAxis(axis, values[i]) + half;
    };
    const there = Array.from(at, (_, i) => i).filter((i) => !missing(values[i]) && !missing(at[i]));
    const keys = there.map((i) => place(across ? y : x, at[i]));
    const [side, top] = across ? [trace.yaxis, trace.xaxis] : [trace.xaxis, trace.yaxis];
    return {
      id: `${trace.xaxis} ${trace.yaxis} ${across}`, name: nameOf(trace), keys, cells: there.map((i, k) => cell(i, keys[k])),
      spots: new Map(there.map((i, k) => [keys[k], at[i]])), upward: across && y.range[0] < y.range[1],
      named: there.every((i) => tickAt(across ? y : x, at[i]) >= 0), single: new Set(keys).size === keys.length,
      side: titleOf(plot, side), top: titleOf(plot, top),
    };
  }

  /* A text that begins with the name of its row, without it. */
  const without = (key, text) => (key && text.startsWith(key) ? text.slice(key.length).replace(/^[:,]?\s*/, "") || text : text);

  /* All names of places in the order in which they stand, from the left or from the top. */
  function inOrder(columns, upward) {
    const spots = new Map(columns.flatMap((own) => [...own.spots]));
    const keys = [...spots.keys()];
    if (![...spots.values()].every((spot) => typeof spot === "number")) return keys;
    return keys.sort((a, b) => (upward ? spots.get(b) - spots.get(a) : spots.get(a) - spots.get(b)));
  }

  /* Traces share a table where each has one value a place, and their places are the same or have names. */
  const together = (a, b) => a.single && b.single && ((a.named && b.named) || a.keys.join("\t") === b.keys.join("\t"));

  function asTable({ side, top, upward, columns }) {
    const keys = columns.length === 1 ? columns[0].keys : inOrder(columns, upward);
    const names = columns.map((own) => own.name);
    const cells = columns.map((own) => new Map(own.keys.map((key, i) => [key, own.cells[i]])));
    return {
      caption: top,
      head: [side || "row", ...names.map((name) => name || top)],
      rows: keys.map((key, i) => [key, ...(columns.length === 1 ? [columns[0].cells[i]] : cells.map((own) => own.get(key) ?? ""))]),
    };
  }

  /* ---- on the page ---- */

  /* The first and the last row, and what lies evenly between them. */
  function evenly(rows) {
    if (rows.length <= ROWS) return rows;
    return Array.from({ length: ROWS }, (_, i) => rows[Math.round((i * (rows.length - 1)) / (ROWS - 1))]);
  }

  function element({ caption, head, rows }) {
    const table = document.createElement("table");
    const chosen = evenly(rows);
    const fewer = chosen.length < rows.length ? `${ROWS} of ${rows.length.toLocaleString("en")} rows, evenly spaced` : "";
    const about = [caption, fewer].filter(Boolean).join(": ");
    if (about) table.createCaption().textContent = about;
    const top = table.createTHead().insertRow();
    head.forEach((text) => top.append(cell("th", text, "col")));
    const body = table.createTBody();
    for (const [name, ...values] of chosen) {
      body.insertRow().append(cell("th", name, "row"), ...values.map((text) => cell("td", text)));
    }
    return table;
  }

  function cell(tag, text, scope) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  }

  return { tables, has: (plot) => plot._fullData.some((trace) => told(plot, trace)), elements: (plot) => tables(plot).map(element), view };
})();
