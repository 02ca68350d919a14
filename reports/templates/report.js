"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const byId = (id) => document.getElementById(id);

  // The view lives in the fragment: it can be linked, and needs no storage.
  const view = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const remember = (key, value) => {
    if (value) view.set(key, value); else view.delete(key);
    history.replaceState(null, "", view.size ? "#" + view : location.pathname);
  };

  // Theme: as the system, light, dark.
  const themes = ["auto", "light", "dark"];
  const themeButton = byId("theme");
  const setTheme = (name) => {
    if (name === "auto") delete root.dataset.theme; else root.dataset.theme = name;
    themeButton.textContent = "Theme: " + (name === "auto" ? "system" : name);
  };
  setTheme(themes.includes(view.get("theme")) ? view.get("theme") : "auto");
  themeButton.addEventListener("click", () => {
    const name = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
    setTheme(name);
    remember("theme", name === "auto" ? "" : name);
  });

  // Table of points: sort and filter.
  const table = byId("points-table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const said = byId("said");
    const sortBy = (column, descending) => {
      const keyed = rows.map((row) => [row.cells[column].dataset.v, row]);
      const numeric = keyed.every(([v]) => v === "" || !Number.isNaN(Number(v)));
      const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
      keyed.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        return descending ? compare(b, a) : compare(a, b);
      });
      body.append(...keyed.map(([, row]) => row));
      heads.forEach((head, place) => {
        if (place === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
    };
    heads.forEach((head, column) => {
      const label = head.querySelector(".sortable");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label.textContent;
      label.replaceWith(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        sortBy(column, descending);
        remember("sort", column + (descending ? "d" : "a"));
        said.textContent = "Sorted by " + button.textContent + (descending ? ", descending" : ", ascending");
      });
    });
    const wanted = /^(\d+)([ad])$/.exec(view.get("sort") || "");
    if (wanted && heads[wanted[1]]) sortBy(Number(wanted[1]), wanted[2] === "d");

    const box = byId("filter"), found = byId("found");
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const filter = () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !words.every((word) => texts[place].includes(word));
        if (!row.hidden) shown += 1;
      });
      found.textContent = shown + " of " + rows.length + " " + (found.dataset.noun || "points");
    };
    box.value = view.get("q") || "";
    if (box.value) filter();
    box.addEventListener("input", () => { filter(); remember("q", box.value.trim()); });

    byId("copy-csv").addEventListener("click", (event) => {
      const quote = (text) => (/[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
      const line = (cells) => cells.map(quote).join(",");
      const head = line(heads.map((cell) => cell.dataset.key));
      const lines = [...body.rows].filter((row) => !row.hidden)
        .map((row) => line([...row.cells].map((cell) => cell.dataset.v)));
      copy([head, ...lines].join("\n") + "\n", event.currentTarget);
    });
  }

  const copy = async (text, button) => {
    const before = button.textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { button.textContent = "Copying is not allowed here"; }
    setTimeout(() => { button.textContent = before; }, 2000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button.parentElement.querySelector("code").textContent, button);
  });

  // Points: open in place; those without a section of their own are drawn from the island.
  const make = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "path", "line", "text", "rect", "circle", "title"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  let island;
  const readIsland = async () => {
    const element = byId("island");
    if (!element) return {};
    if (element.dataset.packed !== "gzip") return JSON.parse(element.textContent);
    const bytes = Uint8Array.from(atob(element.textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const time = (seconds) => {
    const [unit, factor] = seconds >= 10 ? ["s", 1] : seconds >= 1e-3 ? ["ms", 1e3] : ["µs", 1e6];
    return Number((seconds * factor).toPrecision(4)).toLocaleString("en") + " " + unit;
  };
  const number = (value) => Number(value.toPrecision(4)).toLocaleString("en");
  const show = (figure, text) => {
    if (!figure) return "—";
    const [value, low, high, reason] = figure;
    if (value === null) return reason || "—";
    return text(value) + (low === null || high === null ? "" : " (" + text(low) + " – " + text(high) + ")");
  };
  const W = 640, H = 200, LEFT = 64, BOTTOM = 28;
  const plot = (title, low, high) => {
    const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title }, make("title", {}, title));
    const span = high - low || high || 1;
    const y = (value) => 10 + (H - BOTTOM - 10) * (1 - (value - low) / span);
    for (const value of [low, (low + high) / 2, high]) {
      svg.append(make("line", { x1: LEFT, x2: W, y1: y(value), y2: y(value), style: "stroke:var(--rule)" }),
        make("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end", style: "fill:var(--muted);font-size:12px" }, time(value)));
    }
    return [svg, y];
  };
  const line = (points) => points.map(([x, y], place) => (place ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1)).join("");
  const seriesPlot = (series) => {
    const every = series.flatMap((one) => one.least.concat(one.largest));
    const [svg, y] = plot("Latency of every iteration in order", Math.min(...every), Math.max(...every));
    const total = series.reduce((sum, one) => sum + one.n, 0);
    let start = 0;
    for (const one of series) {
      const width = (W - LEFT) * one.n / total - 6, from = LEFT + (W - LEFT) * start / total;
      const x = (place) => from + width * (place + 0.5) / one.mean.length;
      const upper = one.largest.map((v, i) => [x(i), y(v)]), lower = one.least.map((v, i) => [x(i), y(v)]);
      svg.append(
        make("rect", { x: from, y: 10, width: width * one.warmup / one.n, height: H - BOTTOM - 10, style: "fill:var(--muted);opacity:.2" }),
        make("path", { d: line(upper.concat(lower.reverse())) + "Z", style: "fill:var(--s1);opacity:.3" }),
        make("path", { d: line(one.mean.map((v, i) => [x(i), y(v)])), style: "fill:none;stroke:var(--s1);stroke-width:1.5" }),
        ...one.severe.map(([at, value]) => make("circle", { cx: from + width * (at + 0.5) / one.n, cy: y(value), r: 4, style: "fill:none;stroke:var(--s2);stroke-width:1.4" })),
        make("text", { x: from, y: H - 8, style: "fill:var(--muted);font-size:12px" }, "process " + one.process + (one.label && series.length <= 5 ? ": " + one.label : "")));
      start += one.n;
    }
    return svg;
  };
  const quantilePlot = ([shares, values]) => {
    const [svg, y] = plot("Latency by percentile", values[0], values[values.length - 1]);
    const x = (p) => LEFT + (W - LEFT - 20) * Math.log(0.8 / (1 - p)) / Math.log(0.8 / 0.01);
    svg.append(make("path", { d: line(shares.map((p, i) => [x(p), y(values[i])])), style: "fill:none;stroke:var(--s1);stroke-width:1.5" }));
    for (const p of [0.5, 0.9, 0.95, 0.99]) {
      svg.append(make("text", { x: x(p), y: H - 8, "text-anchor": "middle", style: "fill:var(--muted);font-size:12px" }, "p" + 100 * p));
    }
    return svg;
  };
  const frame = (svg, text) => make("figure", {}, make("div", { class: "plot" }, svg), make("figcaption", {}, make("p", {}, text)));
  const grid = (caption, header, rows) => {
    const head = make("tr", {}, ...header.map((text, place) => make("th", place ? { scope: "col", class: "n" } : { scope: "col" }, text)));
    const lines = rows.map((row) => make("tr", {}, ...row.map((text, place) => make(place ? "td" : "th", place ? { class: "n" } : { scope: "row" }, text))));
    const made = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...lines));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
  };
  const build = (id, point) => {
    const heading = make("h3", { tabindex: "-1", dir: "auto" }, point.name);
    const close = make("button", { type: "button" }, "Close");
    const section = make("section", { class: "point", id }, heading, close);
    close.addEventListener("click", () => {
      section.remove();
      const link = document.querySelector('#points-table a[href="#' + id + '"]');
      if (link) link.focus();
    });
    const facts = [point.state + (point.reason ? ": " + point.reason : ""), point.grade && "grade " + point.grade, point.effective, point.file];
    section.append(make("p", { class: "muted" }, facts.filter(Boolean).join(" · ")));
    const counts = Object.entries(point.labels).map(([name, count]) => count + " " + name).join(", ");
    if (point.series.length) section.append(frame(seriesPlot(point.series), "Least to largest and mean of each bucket of iterations; shaded: warm-up, kept but not counted; rings: severe outliers. The axis does not start at zero." + (counts && " Labelled, never removed: " + counts + ".")));
    if (point.quantiles.length) section.append(frame(quantilePlot(point.quantiles), "Quantiles of the steady iterations, " + point.first + "; see the table for those with an interval. The axis does not start at zero."));
    if (point.stages.length) {
      section.append(grid("Figures of the whole and of every stage, 95 % intervals in brackets; cl: compat",
        ["stage", "n", "mean", "p50", "p90", "p99", "n of cl", "cl50", "cl90", "cl95", "cl99", "cl100", "valid items/s", "items"],
        point.stages.map(([name, items, ...figures]) => {
          const [n, ofCl] = figures.splice(10).map((one) => one.toLocaleString("en"));
          const texts = figures.map((figure, place) => show(figure, place === 9 ? number : time));
          return [name === "latency" ? "whole" : name, n, ...texts.slice(0, 4), ofCl, ...texts.slice(4), items];
        })));
      section.append(grid("Where the mean " + point.whole + " goes", ["part", "mean"], point.parts.map(([name, value]) => [name, time(value)])));
    }
    if (point.start.length) section.append(make("p", { class: "muted" }, "Before the steady state: " + point.start.map(([key, value]) => key + " " + value).join("; ")));
    section.append(make("p", { class: "muted" }, "Measure it again:"));
    const again = make("button", { type: "button", "data-copy": "" }, "Copy");
    section.append(make("div", { class: "copy" }, make("pre", {}, make("code", {}, point.command)), again));
    if (point.apart.length) section.append(make("p", { class: "muted apart" }, "Not in the command, because it runs something or says where; add it only if you know it: " + point.apart.join(", ")));
    return [section, heading];
  };
  const open = async (id) => {
    if (!/^point-/.test(id)) return;
    const there = byId(id);
    if (there) {
      const details = there.querySelector("details");
      if (details) { details.open = true; details.querySelector("summary").focus({ preventScroll: true }); }
      there.scrollIntoView();
      return;
    }
    island = island || await readIsland();
    if (!island[id]) return;
    const [section, heading] = build(id, island[id]);
    byId("opened").append(section);
    section.scrollIntoView();
    heading.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => open(location.hash.slice(1)));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#point-"]');
    if (link && link.hash === location.hash) open(link.hash.slice(1));
  });
  open(location.hash.slice(1));

  // Paper shows what stands in closed details of small reports.
  addEventListener("beforeprint", () => document.querySelectorAll(".point > details").forEach((one) => { one.open = true; }));
})();
