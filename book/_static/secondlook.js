/* Draws the figures of a page from the JSON that stands beside each of them.
   Nothing is requested from anywhere: Plotly, the templates and this script are files of the site, and pictures are
   tiles of one image, a sprite. Pages work when they are opened from a disk. */
(() => {
  "use strict";

  const folder = new URL(".", document.currentScript.src);
  const NARROW = 560; // pixels; below, the legend goes under the plot and the margins close up
  const ABOVE = 17; // pixels from a row to its label, where that stands above it
  const LEAST = 220; // pixels of height a plot keeps on a narrow page
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const figures = new Map(); // id -> {element, plot, layout, extras, promise, narrow}

  const theme = () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light");
  const template = () => window.secondlookTemplates[theme()];
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  };

  /* ---- drawing ---- */

  function draw(figure) {
    figure.promise ??= drawNow(figure).then(
      () => (figure.element.dataset.state = "drawn"),
      (error) => {
        figure.element.dataset.state = "failed";
        figure.plot.textContent = "This figure could not be drawn.";
        console.error(`figure ${figure.plot.id} was not drawn:`, error);
      },
    );
    return figure.promise;
  }

  async function drawNow(figure) {
    const { data, layout, frames } = JSON.parse(figure.element.querySelector("script").textContent);
    if (!data.length) throw new Error("it has no traces");
    Object.assign(figure, { layout: structuredClone(layout), extras: layout.meta?.secondlook ?? {} });
    figure.narrow = figure.plot.clientWidth < NARROW;
    for (const [key, value] of Object.entries(shape(figure))) set(layout, key, value);
    delete layout.width;
    await Plotly.newPlot(figure.plot, { data, layout: { ...layout, template: template(), autosize: true }, frames, config: CONFIG });
    figure.plot.style.minHeight = "";
    figure.plot.on("plotly_afterplot", () => moveTitle(figure));
    figure.plot.addEventListener("keydown", (event) => onKey(figure, event));
    if (figure.extras.hover_sprite) hoverTiles(figure, figure.extras.hover_sprite);
    if (figure.extras.click_sprite) clickTiles(figure, figure.extras.click_sprite);
    await fit(figure);
    new ResizeObserver(() => reshape(figure)).observe(figure.plot);
  }

  /* On a telephone a long legend takes its room from the plot: gives it back. A picture gets smaller there, its
     proportions kept: the room below it goes. */
  async function fit({ plot, layout, narrow }) {
    if (!narrow) return;
    const { _size, yaxis } = plot._fullLayout;
    const picture = layout.images?.length && yaxis?.scaleanchor && !layout.yaxis2 && !layout.sliders?.length;
    const change = picture ? -yaxis.domain[0] * _size.h : Math.max(LEAST - _size.h, 0);
    if (change) await Plotly.relayout(plot, "height", (layout.height ?? 450) + change);
  }

  /* A control may set a title; it belongs in the caption, where it wraps. */
  function moveTitle(figure) {
    const text = figure.plot.layout.title?.text;
    if (!text) return;
    const caption = figure.element.querySelector("figcaption");
    const old = [...caption.childNodes].filter((node) => !node.classList?.contains("sl-subtitle"));
    caption.prepend(text.replace(/<[^>]*>/g, " "));
    old.forEach((node) => node.remove());
    Plotly.relayout(figure.plot, "title.text", "");
  }

  /* ---- light and dark, narrow and wide ---- */

  /* The part of a layout that depends on the width, as {"margin.l": …}; wide is what the figure's author set. */
  function shape({ layout, narrow }) {
    const margin = layout.margin ?? {};
    const legend = layout.legend ?? {};
    // A slider stands where a legend below would be; a menu or ticks on top leave no room above.
    const above = layout.sliders?.length > 0 && !layout.updatemenus?.length && layout.xaxis?.side !== "top";
    const place = (key, top, bottom) => (narrow ? (above ? top : bottom) : legend[key] ?? (above ? top : null));
    const changes = {
      "margin.l": narrow && margin.l > 44 ? 44 : margin.l ?? null,
      "margin.r": narrow && margin.r > 12 ? 12 : margin.r ?? null,
      "legend.orientation": narrow || above ? "h" : legend.orientation ?? null,
      "legend.x": narrow ? 0 : legend.x ?? null,
      "legend.xanchor": narrow ? "left" : legend.xanchor ?? null,
      "legend.y": place("y", 1.02, -0.2),
      "legend.yanchor": place("yanchor", "bottom", "top"),
      height: layout.height ?? null,
    };
    if (layout.meta?.secondlook?.rows) {
      const texts = layout.yaxis.ticktext;
      changes["yaxis.ticktext"] = narrow ? texts.map((text) => text.replaceAll("<br>", " ")) : texts;
      changes["yaxis.ticklabelposition"] = narrow ? "inside" : null;
      changes["yaxis.ticklabelshift"] = narrow ? ABOVE : null;
      changes["yaxis.ticklabeloverflow"] = narrow ? "allow" : null;
    }
    (layout.sliders ?? []).forEach((slider, i) => {
      if (slider.x || slider.len) {
        changes[`sliders[${i}].x`] = narrow ? 0.04 : slider.x ?? null; // room for the labels of its ends
        changes[`sliders[${i}].len`] = narrow ? 0.92 : slider.len ?? null;
      }
    });
    if (layout.updatemenus?.length === 1) {
      const [menu] = layout.updatemenus; // from the right edge it reaches over the labels of the axis, not off the page
      changes["updatemenus[0].x"] = narrow ? 1 : menu.x ?? null;
      changes["updatemenus[0].xanchor"] = narrow ? "right" : menu.xanchor ?? null;
      changes["updatemenus[0].font.size"] = narrow ? 11 : menu.font?.size ?? null;
    }
    return changes;
  }

  function reshape(figure) {
    const narrow = figure.plot.clientWidth < NARROW;
    if (narrow === figure.narrow || !figure.plot.clientWidth) return;
    figure.narrow = narrow;
    Plotly.relayout(figure.plot, shape(figure)).then(() => fit(figure));
  }

  function set(object, path, value) {
    if (value === null) return;
    const keys = path.match(/[^.[\]]+/g);
    const last = keys.pop();
    keys.reduce((inner, key) => (inner[key] ??= {}), object)[last] = value;
  }

  function recolour() {
    const drawn = [...figures.values()].filter((figure) => figure.element.dataset.state === "drawn");
    return Promise.all(drawn.map((figure) => Plotly.relayout(figure.plot, { template: template() })));
  }

  /* ---- sliders and menus from the keyboard ---- */

  const options = (kind, control) => (kind === "sliders" ? control.steps : control.buttons);

  /* Chooses a step of a slider or a button of a menu, as a click would. */
  async function choose(id, kind, index, step) {
    const { plot, element } = figures.get(id);
    const control = plot.layout[kind][index];
    const option = options(kind, control)[step];
    await Plotly.relayout(plot, `${kind}[${index}].active`, step);
    if (option.method && option.method !== "skip") await Plotly[option.method](plot, ...structuredClone(option.args));
    element.querySelector("[aria-live]").textContent = option.label ?? "";
  }

  /* Arrows move the first slider and the first menu, or the second, third … after its number was typed. */
  function onKey(figure, event) {
    if (event.target !== figure.plot || event.ctrlKey || event.altKey || event.metaKey) return;
    const [kind, by] = {
      ArrowLeft: ["sliders", -1],
      ArrowRight: ["sliders", 1],
      ArrowUp: ["updatemenus", -1],
      ArrowDown: ["updatemenus", 1],
    }[event.key] ?? [];
    if (/^[1-9]$/.test(event.key)) return turnTo(figure, Number(event.key) - 1);
    const controls = figure.plot.layout[kind] ?? [];
    if (!controls.length) return;
    event.preventDefault();
    const index = Math.min(figure.turn ?? 0, controls.length - 1);
    const steps = options(kind, controls[index]);
    choose(figure.plot.id, kind, index, Math.min(Math.max((controls[index].active ?? 0) + by, 0), steps.length - 1));
  }

  function turnTo(figure, index) {
    const { layout } = figure.plot;
    const found = ["updatemenus", "sliders"].filter((kind) => layout[kind]?.length > Math.max(index, 1));
    if (!found.length) return;
    figure.turn = index;
    const told = found.map((kind) => options(kind, layout[kind][index])[layout[kind][index].active ?? 0]?.label ?? "");
    figure.element.querySelector("[aria-live]").textContent = `control ${index + 1}: ${told.join(", ")}`;
  }

  /* ---- pictures: a tile at the cursor, and the tiles behind a cell ---- */

  function tile(sprite, index) {
    const scale = sprite.scale ?? Math.max(1, Math.round(64 / sprite.tile));
    const element = make("span", "sl-tile");
    const size = sprite.tile * scale;
    const [column, row] = [index % sprite.columns, Math.floor(index / sprite.columns)];
    element.style.cssText = `width:${size}px;height:${size}px`;
    const image = make("img");
    image.alt = "";
    image.src = new URL(sprite.src, folder).href;
    image.style.cssText = `width:${sprite.columns * size}px;transform:translate(${-column * size}px,${-row * size}px)`;
    element.append(image);
    return element;
  }

  const isTile = (index) => Number.isInteger(index) && index >= 0;

  function hoverTiles(figure, sprite) {
    if (!sprite.src) return;
    const box = make("div", "sl-hover");
    box.setAttribute("aria-hidden", "true");
    box.hidden = true;
    document.body.append(box);
    figure.plot.on("plotly_hover", ({ points, event }) => {
      const data = [points[0].customdata].flat(Infinity)[0];
      box.hidden = !isTile(data);
      if (box.hidden) return;
      box.replaceChildren(tile(sprite, data));
      const { clientX: x, clientY: y } = event;
      box.style.left = `${Math.max(4, x + 20 + box.offsetWidth < innerWidth ? x + 20 : x - 20 - box.offsetWidth)}px`;
      box.style.top = `${Math.max(4, y - 12 - box.offsetHeight)}px`;
    });
    figure.plot.on("plotly_unhover", () => (box.hidden = true));
    addEventListener("scroll", () => (box.hidden = true), { passive: true });
  }

  function clickTiles(figure, sprite) {
    const panel = make("div", "sl-panel");
    panel.setAttribute("role", "region");
    panel.setAttribute("aria-live", "polite");
    panel.hidden = true;
    const select = make("select");
    const label = make("label", "sl-cells", "The images of a cell ");
    label.append(select);
    fillCells(figure, select, sprite);
    const close = () => {
      panel.hidden = true;
      select.value = "";
    };
    const open = (cell) => {
      if (!sprite.cells[cell]) return;
      select.value = cell;
      fillPanel(panel, nameOf(figure, cell), sprite, sprite.cells[cell], close);
    };
    figure.plot.on("plotly_click", ({ points }) => open([points[0].pointIndex ?? points[0].pointNumber].flat().join(",")));
    select.addEventListener("change", () => (select.value ? open(select.value) : close()));
    figure.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || panel.hidden) return;
      if (panel.contains(document.activeElement)) select.focus();
      close();
    });
    figure.plot.after(label, panel);
  }

  function fillCells(figure, select, sprite) {
    select.append(new Option("choose one", ""));
    for (const [cell, indexes] of Object.entries(sprite.cells)) {
      if (indexes.length) select.append(new Option(`${nameOf(figure, cell)} (${indexes.length} shown)`, cell));
    }
  }

  function nameOf(figure, cell) {
    const [row, column] = cell.split(",").map(Number);
    const trace = figure.plot.data.find((candidate) => candidate.type === "heatmap") ?? {};
    const name = trace.y?.[row] ?? row;
    return row === column ? `${name}, recognised` : `${name} taken for ${trace.x?.[column] ?? column}`;
  }

  function fillPanel(panel, name, sprite, indexes, close) {
    const button = make("button", "sl-close", "×");
    button.setAttribute("aria-label", "Close");
    button.addEventListener("click", close);
    const tiles = make("div", "sl-tiles");
    if (sprite.src) tiles.append(...indexes.map((index) => tile(sprite, index)));
    else tiles.append("The images are shown where the data set is present when the book is built: make data, then make book.");
    panel.setAttribute("aria-label", name);
    panel.replaceChildren(make("strong", "", name), button, tiles);
    panel.hidden = false;
  }

  /* ---- the page ---- */

  /* A table wider than the page scrolls in its box; the keyboard must reach it. */
  function scrollable() {
    for (const table of document.querySelectorAll(".bd-article table")) {
      const box = table.closest(".text_html, .output, .pst-scrollable-table-container");
      if (box) reachable(box, table.caption?.textContent || "a wide table");
    }
  }

  function reachable(box, label) {
    if (box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight) return;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", label);
  }

  /* A heading of the table of claims sorts the rows of each report, up and down in turn. */
  function sort({ target }) {
    const head = target.closest(".sl-board thead th:has(button)");
    if (!head) return;
    const way = head.ariaSort === "ascending" ? "descending" : "ascending";
    head.parentElement.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", way);
    const key = (row) => row.cells[head.cellIndex].dataset.sort ?? row.cells[head.cellIndex].textContent;
    const order = (a, b) => (way === "ascending" ? 1 : -1) * key(a).localeCompare(key(b), "en", { numeric: true });
    for (const body of head.closest("table").tBodies) body.append(...[...body.rows].slice(1).sort(order));
  }

  function start() {
    scrollable();
    addEventListener("click", sort);
    for (const element of document.querySelectorAll("figure.sl-figure")) {
      const plot = element.querySelector(".sl-plot");
      figures.set(plot.id, { element, plot });
    }
    const near = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter((seen) => seen.isIntersecting)) {
          near.unobserve(entry.target);
          draw(figures.get(entry.target.id));
        }
      },
      { rootMargin: "600px 0px" },
    );
    for (const { plot } of figures.values()) near.observe(plot);
    new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    addEventListener("beforeprint", drawAll);
  }

  const drawAll = () => Promise.all([...figures.values()].map(draw));

  window.secondlook = { drawAll, choose };
  start();
})();
