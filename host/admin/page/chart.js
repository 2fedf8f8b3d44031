"use strict";
// Numbers as text, and charts: SVG made of elements, never of markup.

// Seconds that charts show: fewer while less was seen.
const WINDOW_MIN = 30, WINDOW_MAX = 120;
let shown = WINDOW_MIN;

// ---- text ----

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function formatCount(value) {
  if (value < 100000) return number.format(value);
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (value >= size) return (value / size).toFixed(value < 10 * size ? 2 : 1) + " " + unit;
}

function formatRate(value) {
  if (value === null) return "–";
  if (value === 0) return "0";
  if (value < 0.1) return "<0.1";
  return value < 10 ? value.toFixed(1) : formatCount(Math.round(value));
}

function formatSeconds(value) {
  if (value === null) return "–";
  if (value === 0) return "0";
  if (value < 0.0009995) return Math.round(value * 1e6) + " µs";
  if (value < 0.00995) return Number((value * 1e3).toFixed(1)) + " ms";
  if (value < 0.9995) return Math.round(value * 1e3) + " ms";
  return value < 10 ? Number(value.toPrecision(3)) + " s" : formatAge(value);
}

function formatAge(value) {
  const seconds = Math.max(0, Math.round(value));
  if (seconds < 60) return seconds + " s";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes + " min" + (minutes < 10 ? " " + seconds % 60 + " s" : "");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return hours + " h " + minutes % 60 + " min";
  return Math.floor(hours / 24) + " d " + hours % 24 + " h";
}

function formatBytes(value) {
  if (value < 1024) return value + " B";
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
    if (value >= size) return (value / size).toFixed(value < 10 * size ? 1 : 0) + " " + unit;
}

function formatClock(unix) {
  const at = new Date(unix * 1000);
  return at.toTimeString().slice(0, 8) + "." + String(at.getMilliseconds()).padStart(3, "0");
}

// ---- histograms ----

// The value that this part of the observations stays below, or null without any. Inside a
// bucket they are taken as spread evenly; the last one has no upper bound.
function quantile(bounds, counts, part) {
  let total = 0;
  for (const count of counts) total += count;
  if (total === 0) return null;
  let wanted = part * total;
  for (let i = 0; i < bounds.length; i++) {
    if (counts[i] > 0 && wanted <= counts[i]) {
      const low = i > 0 ? bounds[i - 1] : 0;
      return low + (bounds[i] - low) * wanted / counts[i];
    }
    wanted -= counts[i];
  }
  return bounds[bounds.length - 1];
}

function difference(now, before) {
  return now.map((value, i) => Math.max(0, value - before[i]));
}

// ---- elements ----

const SVG = "http://www.w3.org/2000/svg";

function setText(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const key in attributes) {
    if (key === "text") element.textContent = attributes[key];
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), attributes[key]);
    else element.setAttribute(key, attributes[key]);
  }
  element.append(...children);
  return element;
}

function draw(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
}

// ---- curves ----

// points: [[time, value | null], ...]. A gap where there is no value, or nobody has looked.
function curve(points, now, width, height, top) {
  let line = "", area = "", start = null, last = null, from = 0;
  const x = (time) => (width * (1 - (now - time) / shown)).toFixed(1);
  const y = (value) => (height - (height - 2) * Math.min(1, value / top)).toFixed(1);
  const end = () => {
    if (start !== null) area += `${line.slice(from)}L${x(last)} ${height}L${x(start)} ${height}Z`;
    start = null;
  };
  for (const [time, value] of points) {
    if (value === null || (last !== null && time - last > 5)) end();
    last = time;
    if (value === null) continue;
    if (start === null) {
      start = time;
      from = line.length;
      line += `M${x(time)} ${y(value)}`;
    } else {
      line += `L${x(time)} ${y(value)}`;
    }
  }
  end();
  return { line, area };
}

// The next round number that has room for the value.
function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 3, 4, 5, 6, 8, 10]) if (value <= step * power) return step * power;
}

function highest(points) {
  let most = 0;
  for (const [, value] of points) if (value > most) most = value;
  return most;
}

// A small curve without axes; what it shows is told by the number beside it.
class Spark {
  constructor(className) {
    this.line = draw("path", { class: "line" });
    this.area = draw("path", { class: "area" });
    this.element = draw("svg", { class: "spark " + className, viewBox: "0 0 100 24",
      preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line);
  }

  show(points, now, least) {
    const { line, area } = curve(points, now, 100, 24, Math.max(highest(points) * 1.1, least));
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
  }
}

const HEIGHT = 150, FLOOR = 128;

// A chart with axes. series: [{ label, className, filled }]; format writes a value; the axis goes
// up to `least` at least.
class Chart {
  constructor(title, series, format, least) {
    this.least = least;
    this.series = series;
    this.format = format;
    this.title = title;
    this.points = series.map(() => []);
    this.keys = series.map((one) => {
      const value = make("span", {});
      return { element: make("span", { class: "key " + one.className }, one.label + " ", value), value };
    });
    this.paths = series.map((one) => ({
      line: draw("path", { class: "line " + one.className }),
      area: draw("path", { class: "area " + one.className }),
    }));
    this.ticks = [0, 1, 2].map(() => ({ line: draw("line", { class: "grid" }), text: draw("text", {}) }));
    this.ends = [draw("text", {}), draw("text", { "text-anchor": "end" })];
    this.cursor = draw("line", { class: "cursor", y1: 2, y2: FLOOR });
    this.cursor.style.display = "none";
    this.svg = draw("svg", { role: "img", height: HEIGHT });
    for (const tick of this.ticks) this.svg.append(tick.line, tick.text);
    series.forEach((one, i) => this.svg.append(...(one.filled ? [this.paths[i].area] : []), this.paths[i].line));
    this.svg.append(...this.ends, this.cursor);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.element = make("figure", { class: "chart" },
      make("figcaption", {}, make("b", { text: title }), ...this.keys.map((key) => key.element)), this.svg);
  }

  // all: one list of points for each series.
  show(all, now) {
    this.points = all;
    this.now = now;
    const width = this.svg.clientWidth;
    if (width === 0) return;
    const top = niceTop(Math.max(this.least, ...all.map(highest)));
    if (width !== this.width) {
      this.width = width;
      this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    }
    this.ticks.forEach((tick, i) => this.place(tick, i / 2, top));
    all.forEach((points, i) => {
      const { line, area } = curve(points, now, width, FLOOR, top);
      this.paths[i].line.setAttribute("d", line);
      this.paths[i].area.setAttribute("d", area);
    });
    this.place_ends();
    this.tell();
  }

  place(tick, part, top) {
    const y = Math.round(FLOOR - (FLOOR - 2) * part) + 0.5;
    for (const [name, value] of [["x1", 0], ["x2", this.width], ["y1", y], ["y2", y]]) tick.line.setAttribute(name, value);
    tick.text.setAttribute("x", 0);
    tick.text.setAttribute("y", part === 1 ? y + 12 : y - 4);
    setText(tick.text, part === 0 ? "" : this.format(top * part));
  }

  place_ends() {
    this.ends.forEach((text, i) => {
      text.setAttribute("x", i === 0 ? 0 : this.width);
      text.setAttribute("y", HEIGHT - 6);
      setText(text, i === 0 ? formatAge(shown) + " ago" : "now");
    });
  }

  // Where the pointer is: the keys show the values of that time.
  point(event) {
    this.at = event && this.width ? event.offsetX / this.width : null;
    this.cursor.style.display = this.at === null ? "none" : "";
    if (this.at !== null) {
      this.cursor.setAttribute("x1", event.offsetX);
      this.cursor.setAttribute("x2", event.offsetX);
    }
    this.tell();
  }

  value(points) {
    if (points.length === 0) return null;
    if (this.at === null || this.at === undefined) return points[points.length - 1][1];
    const time = this.now - shown * (1 - this.at);
    let best = null;
    for (const point of points)
      if (best === null || Math.abs(point[0] - time) < Math.abs(best[0] - time)) best = point;
    return Math.abs(best[0] - time) < 3 ? best[1] : null;
  }

  tell() {
    const words = this.series.map((one, i) => {
      const value = this.value(this.points[i]), text = value === null ? "–" : this.format(value);
      setText(this.keys[i].value, text);
      return one.label + " " + text;
    });
    this.svg.setAttribute("aria-label", this.title + ": " + words.join(", "));
  }
}
