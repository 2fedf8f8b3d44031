// The page: asks for /status.json every second while somebody looks, and shows what it says.
// Text of scripts and messages gets into the page as text only.

const EVERY = 1000, PATIENCE = 5000; // milliseconds
const ERRORS_MAX = 100, LINES_MAX = 500;
const PERCENTILES = [0.5, 0.95, 0.99];

const $ = (id) => document.getElementById(id);

function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// Makes the children of a container those of `items`, in their order; those that stay are moved
// only when they have to.
class Rows {
  constructor(container, create) {
    this.container = container;
    this.create = create;
    this.all = new Map();
  }

  update(items, key, ...rest) {
    const wanted = new Map();
    for (const item of items) {
      let id = key(item), again = 1;
      while (wanted.has(id)) id = key(item) + "\n" + ++again;
      wanted.set(id, item);
    }
    for (const [id, row] of this.all) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.all.delete(id);
    }
    let at = this.container.firstElementChild;
    for (const [id, item] of wanted) {
      let row = this.all.get(id);
      if (!row) this.all.set(id, row = this.create(item));
      if (row.element === at) at = at.nextElementSibling;
      else this.container.insertBefore(row.element, at);
      row.update(item, ...rest);
    }
  }
}

// ---- what was seen ----

// Counters at the times of the last two minutes, and what follows from two of them.
class History {
  constructor() { this.samples = []; }

  add(time, sample) {
    const before = this.samples[this.samples.length - 1];
    if (before && time - before.time < 0.3) return; // too short for a rate
    if (before && sample.requests < before.requests) this.samples = [];
    this.samples.push({ time, ...sample });
    while (this.samples[0].time < time - WINDOW_MAX - 5) this.samples.shift();
  }

  // A rate for each time, of the field.
  rates(field) {
    return this.samples.map((sample, i) => {
      const before = this.samples[i - 1];
      return [sample.time, before ? Math.max(0, sample[field] - before[field]) / (sample.time - before.time) : null];
    });
  }

  // The counts of a histogram in the seconds before the sample at `index`.
  counts(field, index, seconds) {
    const sample = this.samples[index];
    let from = index;
    while (from > 0 && this.samples[from].time > sample.time - seconds) from--;
    return from === index ? null : difference(sample[field], this.samples[from][field]);
  }

  quantiles(field, bounds, part, seconds) {
    return this.samples.map((sample, i) => {
      const counts = this.counts(field, i, seconds);
      return [sample.time, counts && quantile(bounds, counts, part)];
    });
  }

  // That of the last minute, or of all time when there was nothing in it.
  quantile(field, bounds, part) {
    const last = this.samples.length - 1, counts = this.counts(field, last, 60);
    const recent = counts && quantile(bounds, counts, part);
    return recent === null ? quantile(bounds, this.samples[last][field], part) : recent;
  }

  last(field) {
    const rates = this.rates(field);
    return rates.length > 0 ? rates[rates.length - 1][1] : null;
  }

  values(field) { return this.samples.map((sample) => [sample.time, sample[field]]); }
}

// ---- tables ----

// columns: [{ label, fill(cell, item, context), value(item, context) | nil, className }]; those
// with a value can be sorted by.
class Table {
  constructor(caption, columns, row_state) {
    this.columns = columns;
    this.sort = null;
    this.heads = columns.map((column, i) => this.head(column, i));
    this.body = make("tbody", { role: "rowgroup" });
    this.rows = new Rows(this.body, (item) => this.row(item, row_state));
    this.element = make("div", { class: "scroll" }, make("table", { role: "table", "aria-label": caption },
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...this.heads)), this.body));
  }

  head(column, index) {
    const head = make("th", { scope: "col", role: "columnheader" });
    if (!column.value) head.textContent = column.label;
    else head.append(make("button", { type: "button", text: column.label, onclick: () => this.sort_by(index) }));
    return head;
  }

  // Downwards, upwards, and then as they were declared.
  sort_by(index) {
    const order = this.sort && this.sort.index === index ? this.sort.order : null;
    this.sort = order === "ascending" ? null : { index, order: order ? "ascending" : "descending" };
    this.heads.forEach((head, i) => {
      if (this.sort && i === this.sort.index) head.setAttribute("aria-sort", this.sort.order);
      else head.removeAttribute("aria-sort");
    });
    if (this.again) this.again();
  }

  row(item, row_state) {
    const cells = this.columns.map((column) => make("td", { role: "cell", "data-label": column.label, class: column.className || "" }));
    const state = row_state ? row_state(item) : {};
    return {
      state,
      element: make("tr", { role: "row" }, ...cells),
      update: (now, context) => this.columns.forEach((column, i) => column.fill(cells[i], now, context, state)),
    };
  }

  update(items, key, context) {
    this.again = () => this.update(items, key, context);
    if (this.sort) {
      const { index, order } = this.sort, sign = order === "descending" ? -1 : 1;
      const value = (item) => this.columns[index].value(item, context) ?? -1;
      items = [...items].sort((a, b) => {
        const x = value(a), y = value(b);
        return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
      });
    }
    this.rows.update(items, key, context);
  }
}

function text(label, read, write) {
  return { label, value: read, fill: (cell, item, context) => setText(cell, write ? write(read(item, context)) : read(item, context)) };
}

// A number that should be 0.
function alarming(label, read, className) {
  return {
    label,
    value: read,
    fill(cell, item, context) {
      const value = read(item, context);
      setText(cell, formatCount(value));
      cell.className = value > 0 ? className : "";
    },
  };
}

// What a thing is called, with what else there is to say of it below.
function title(label, read, below) {
  return {
    label,
    value: read,
    fill(cell, item) {
      const say = below(item);
      let small = cell.querySelector("small");
      if (!cell.firstChild) cell.append(make("span", {}));
      setText(cell.firstChild, read(item));
      if (say && !small) cell.append(small = make("small", {}));
      if (small) setText(small, say || "");
    },
  };
}

// ---- a service ----

// What listeners and routes have: how much they do, how long it takes.
const load_columns = [
  {
    label: "Per second",
    className: "rate",
    value: (one, of) => of.get(one.id).last("requests"),
    fill(cell, one, of, state) {
      if (!state.spark) {
        state.spark = new Spark("s0");
        state.rate = make("span", {});
        cell.append(make("div", {}, state.spark.element, state.rate));
      }
      const rates = of.get(one.id).rates("requests");
      state.spark.show(rates, of.now, 1);
      setText(state.rate, formatRate(rates[rates.length - 1][1]));
    },
  },
  ...PERCENTILES.map((part) => text("p" + part * 100, (one, of) => one.buckets ? of.get(one.id).quantile("buckets", of.bounds, part) : null, formatSeconds)),
  text("Requests", (one) => one.requests, formatCount),
  alarming("Errors", (one) => one.errors, "hot"),
];

const listener_columns = [
  title("Listener", (one) => one.name, (one) =>
    [one.subject !== one.name && one.subject, one.queue && !one.queue.endsWith(":" + one.subject) && "queue " + one.queue, one.last_error && "last error " + one.last_error].filter(Boolean).join(" · ")),
  ...load_columns,
  { label: "Running", value: (one) => one.running, fill(cell, one) {
    setText(cell, one.running);
    cell.className = one.running >= one.concurrency ? "warm" : "";
    cell.title = "of " + one.concurrency;
  } },
  alarming("Waiting", (one) => one.queued, "warm"),
  alarming("Dropped", (one) => one.dropped, "hot"),
];

const route_columns = [
  title("Route", (one) => one.id, () => ""),
  ...load_columns,
  text("Running", (one) => one.running, formatCount),
];

const consumer_columns = [
  title("Consumer", (one) => one.consumer, (one) => ["stream " + one.stream, one.why].filter(Boolean).join(" · ")),
  { label: "State", value: (one) => one.state, fill(cell, one) {
    setText(cell, one.state);
    cell.className = one.state === "ok" ? "" : "hot";
  } },
  text("Acknowledged", (one) => one.acked || 0, formatCount),
  text("Returned", (one) => one.naked || 0, formatCount),
  text("Given up", (one) => one.termed || 0, formatCount),
  text("Pending", (one) => one.pending ?? null, (value) => value === null ? "–" : formatCount(value)),
  text("Unsettled", (one) => one.ack_pending ?? null, (value) => value === null ? "–" : formatCount(value)),
  text("Last message", (one) => one.age ?? null, (value) => value === null ? "never" : formatAge(value) + " ago"),
];

const connection_columns = [
  title("Connection", (one) => one.name, (one) => [one.server !== one.name && one.server, one.why].filter(Boolean).join(" · ")),
  { label: "State", value: (one) => one.connected, fill(cell, one) {
    setText(cell, one.connected ? "connected" : "disconnected");
    cell.className = one.connected ? "" : "hot";
  } },
  text("Received", (one) => one.in_msgs, formatCount),
  text("Sent", (one) => one.out_msgs, formatCount),
  text("Reconnects", (one) => one.reconnects, formatCount),
  { label: "Unsent", value: (one) => one.buffered, fill(cell, one) {
    setText(cell, formatBytes(one.buffered));
    cell.className = one.buffered > 0 ? "warm" : "";
  } },
];

function interval(one) {
  if (one.stopped) return "stopped";
  if (!one.interval) return one.kind === "task" ? "runs" : "once";
  return "every " + formatSeconds(one.interval);
}

const task_columns = [
  title("Timer or task", (one) => one.label, interval),
  text("Next in", (one) => one.due ?? null, (value) => value === null ? "–" : formatAge(value)),
  text("Calls", (one) => one.ticks, formatCount),
  alarming("Skipped", (one) => one.skipped, "warm"),
  alarming("Errors", (one) => one.errors, "hot"),
];

// A table with a heading that is there only while it has rows.
class Part {
  constructor(heading, columns, row_state) {
    this.table = new Table(heading, columns, row_state);
    this.more = make("p", { class: "note" });
    this.element = make("div", { hidden: "" }, make("h3", { text: heading }), this.table.element, this.more);
  }

  update(items, count, key, context) {
    show(this.element, items.length > 0);
    show(this.more, count > items.length);
    setText(this.more, `and ${formatCount(count - items.length)} more`);
    this.table.update(items, key, context);
  }
}

// The histories of the listeners, or routes, of a service.
class Histories extends Map {
  take(listeners, time, bounds) {
    const ids = new Set(listeners.map((one) => one.id));
    for (const id of this.keys()) if (!ids.has(id)) this.delete(id);
    for (const one of listeners) {
      if (!this.has(one.id)) this.set(one.id, new History());
      this.get(one.id).add(time, { requests: one.requests, buckets: one.buckets || bounds.concat(0).map(() => 0) });
    }
    this.now = time;
    this.bounds = bounds;
  }
}

const STATE_CLASS = { running: "good", starting: "warn", draining: "warn", stopping: "warn" };

class Service {
  constructor() {
    this.history = new History();
    this.listeners = new Histories();
    this.routes = new Histories();
    this.name = make("h2", {});
    this.state = make("span", { class: "pill" });
    this.link = make("span", { class: "pill" });
    this.meta = make("div", { class: "meta" });
    this.facts = new Rows(this.meta, () => {
      const element = make("span", {});
      return { element, update: (fact) => {
        setText(element, fact.text);
        element.className = fact.bad ? "bad" : "";
      } };
    });
    this.tools = make("div", { class: "tools", hidden: "" }, ...control_tools(this));
    this.rate = new Chart("Per second", [{ label: "requests", className: "s0", filled: true }, { label: "errors", className: "sbad" }], formatRate, 1);
    this.latency = new Chart("Latency", PERCENTILES.map((part, i) => ({ label: "p" + part * 100, className: "s" + i })), formatSeconds, 0.001);
    this.charts = make("div", { class: "charts" }, this.rate.element, this.latency.element);
    this.parts = [
      this.on = new Part("Listeners", listener_columns, () => ({})),
      this.served = new Part("Routes", route_columns, () => ({})),
      this.connections = new Part("Further connections", connection_columns),
      this.consumers = new Part("Consumers", consumer_columns),
      this.tasks = new Part("Timers and tasks", task_columns),
    ];
    this.element = make("section", { class: "panel" },
      make("header", {}, this.name, this.state, this.link, this.tools), this.meta, this.charts, ...this.parts.map((part) => part.element));
  }

  update(one, status, bounds) {
    this.instance = one.instance;
    const listeners = one.listeners || [];
    setText(this.name, one.name);
    this.element.setAttribute("aria-label", "Service " + one.name);
    pill(this.state, one.state, STATE_CLASS[one.state] || "");
    pill(this.link, one.lame_duck ? "server leaves" : one.connected ? "connected" : "disconnected", one.connected && !one.lame_duck ? "good" : "bad");
    show(this.link, one.state === "running" ? !one.connected || one.lame_duck : false);
    show(this.tools, status.control && one.state === "running");
    if (document.activeElement !== this.level) this.level.value = one.level;
    this.facts.update(facts(one, status), (fact) => fact.key);
    if (one.buckets) this.history.add(status.now, one);
    this.listeners.take(listeners, status.now, bounds);
    show(this.charts, listeners.length > 0);
    this.rate.show([this.history.rates("requests"), this.history.rates("errors")], status.now);
    this.latency.show(PERCENTILES.map((part) => this.history.quantiles("buckets", bounds, part, 10)), status.now);
    this.on.update(listeners, one.listener_count || 0, (row) => row.id, this.listeners);
    const routes = (one.routes || []).map((route) => ({ ...route, id: route.method + " " + route.route }));
    this.routes.take(routes, status.now, bounds);
    this.served.update(routes, one.route_count || 0, (row) => row.id, this.routes);
    this.connections.update(one.connections, one.connection_count, (row) => row.name);
    this.consumers.update(one.consumers, one.consumer_count, (row) => row.stream + "\n" + row.consumer);
    const tasks = one.tasks ? one.tasks.timers : [];
    this.tasks.update(tasks, one.tasks ? one.tasks.count : 0, (row) => row.label);
  }
}

// What else there is to say of a service: [key, text, whether it is bad].
function facts(one, status) {
  const all = [
    ["description", one.description],
    ["version", one.version && "version " + one.version],
    ["instance", "instance " + one.instance],
    ["up", one.started_at > 0 && "up " + formatAge(status.now - one.started_at)],
    ["server", one.connected && one.server],
    ["reconnects", one.reconnects > 0 && "reconnects " + formatCount(one.reconnects)],
    ["reloads", one.reloads > 0 && "reloads " + formatCount(one.reloads)],
    ["failed", one.failed_reloads > 0 && "failed reloads " + formatCount(one.failed_reloads), true],
    ["lua", one.lua_bytes && "Lua " + formatBytes(one.lua_bytes)],
    ["fibers", one.fibers !== undefined && "fibers " + formatCount(one.fibers)],
    ["unsent", one.buffered > 0 && "unsent " + formatBytes(one.buffered)],
  ];
  for (const check of one.checks)
    all.push(["check " + check.name, `check ${check.name}: ${check.status}` + (check.why ? ", " + check.why : ""), check.status === "failed"]);
  return all.filter((fact) => fact[1]).map(([key, text, bad]) => ({ key, text, bad }));
}

function pill(element, word, className) {
  setText(element, word);
  if (element.className !== "pill " + className) element.className = "pill " + className;
}

// ---- the process ----

class Tile {
  constructor(label, className) {
    this.value = make("dd", { class: "value" });
    this.sub = make("dd", { class: "sub" });
    this.spark = className && new Spark(className);
    $("tiles").append(make("div", { class: "tile" }, make("dt", { text: label }), this.value, this.sub, ...(this.spark ? [make("dd", {}, this.spark.element)] : [])));
  }

  show(value, sub, points, now, least) {
    setText(this.value, value);
    setText(this.sub, sub);
    if (points) this.spark.show(points, now, least);
  }
}

const tiles = {
  rate: new Tile("Requests per second", "s0"),
  errors: new Tile("Errors per second", "sbad"),
  lag: new Tile("Loop lag, p99", "s1"),
  cpu: new Tile("Processor", "s0"),
  memory: new Tile("Memory", "s0"),
  up: new Tile("Up"),
};

let process = new History();

function sum(services, field) {
  return services.reduce((all, one) => all + (one[field] || 0), 0);
}

// Of which worker of a parent this is, and the way to the others.
function show_workers(status) {
  const nav = $("workers"), count = status.workers || 0;
  show(nav, count > 1);
  if (nav.children.length !== count) {
    nav.replaceChildren("worker");
    for (let number = 1; number <= count; number++) {
      const link = document.createElement("a");
      link.href = "/?worker=" + number;
      setText(link, String(number));
      nav.append(link);
    }
  }
  for (const link of nav.children) {
    if (link.textContent === String(status.worker)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function show_process(status) {
  const all = status.services, now = status.now;
  const requests = sum(all, "requests"), errors = sum(all, "errors");
  process.add(now, { requests, errors, cpu: status.cpu_seconds, memory: status.resident_bytes, turns: status.loop_turns });
  shown = Math.min(WINDOW_MAX, Math.max(WINDOW_MIN, Math.round(now - process.samples[0].time)));
  const lag = process.quantiles("turns", status.loop_bounds, 0.99, 10);
  const cpu = process.rates("cpu");
  tiles.rate.show(formatRate(process.last("requests")), formatCount(requests) + " in all", process.rates("requests"), now, 1);
  tiles.errors.show(formatRate(process.last("errors")), formatCount(errors) + " in all", process.rates("errors"), now, 1);
  tiles.lag.show(formatSeconds(process.quantile("turns", status.loop_bounds, 0.99)), "in the last minute", lag, now, 0.001);
  tiles.cpu.show(cpu[cpu.length - 1][1] === null ? "–" : Math.round(cpu[cpu.length - 1][1] * 100) + " %", formatSeconds(status.cpu_seconds) + " in all", cpu, now, 0.1);
  tiles.memory.show(formatBytes(status.resident_bytes), status.heap_bytes > 0 ? "heap " + formatBytes(status.heap_bytes) : "", process.values("memory"), now, 1);
  tiles.up.show(formatAge(now - status.started_at), "pid " + status.pid + ", " + status.open_fds + " files");
  setText($("where"), status.host);
  show_workers(status);
  setText($("build"), "lunats " + status.lunats);
  pill($("ready"), status.ready ? "ready" : "not ready", status.ready ? "good" : "warn");
  document.title = (status.ready ? "" : "not ready: ") + (all.length === 1 ? all[0].name : all.length + " services") + " on " + status.host + " – lunats";
}

const reasons = new Rows($("reasons"), () => {
  const element = make("li", {});
  return { element, update: (one) => setText(element, [one.service, one.stream && one.stream + "/" + one.consumer, one.check, one.detail].filter(Boolean).join(": ")) };
});

// ---- errors ----

const errors = new Map();

const error_rows = new Rows($("errors"), () => {
  const times = make("span", { class: "times" }), who = make("span", { class: "who" }), what = make("span", { class: "what" });
  const when = make("time", { class: "when" }), pre = make("pre", { tabindex: "0" });
  const element = make("details", {}, make("summary", {}, make("span", {}, who, " ", times), what, when), pre);
  return {
    element,
    update(one, now) {
      const first = one.text.indexOf("\n");
      setText(who, one.service);
      setText(times, "× " + formatCount(one.count));
      show(times, one.count > 1);
      setText(what, first < 0 ? one.text : one.text.slice(0, first));
      setText(when, formatAge(now - one.last_at) + " ago");
      when.title = new Date(one.last_at * 1000).toString();
      setText(pre, one.text);
    },
  };
});

function show_errors(list, now) {
  for (const one of list) {
    errors.set(one.instance + " " + one.kind, one);
  }
  const latest = [...errors.entries()].sort((a, b) => b[1].last_at - a[1].last_at);
  for (const [key] of latest.splice(ERRORS_MAX)) errors.delete(key);
  // New kinds come first, and stay where they are: nobody likes to click on what moves.
  const kinds = [...errors.values()].sort((a, b) => b.kind - a.kind);
  error_rows.update(kinds, (one) => one.instance + " " + one.kind, now);
  setText($("error-count"), latest.length > 0 ? latest.length === 1 ? "1 kind" : latest.length + " kinds" : "");
  show($("no-errors"), latest.length === 0);
}

// ---- log ----

const LEVELS = ["debug", "info", "warn", "error"];
let lines = [];

function matches(line) {
  const wanted = $("log-text").value.toLowerCase();
  return LEVELS.indexOf(line.level) >= Number($("log-level").value) &&
    (wanted === "" || ((line.service || "") + " " + line.text).toLowerCase().includes(wanted));
}

// What has several lines shows the first one until somebody wants to see all.
function line_element(line) {
  const end = line.text.indexOf("\n"), said = make("span", { class: "text" });
  if (line.service) said.append(make("b", { text: line.service + " " }));
  if (end < 0) said.append(line.text);
  else said.append(make("details", {}, make("summary", { text: line.text.slice(0, end) }), line.text.slice(end + 1)));
  return make("div", { class: line.level }, make("time", { text: formatClock(line.time), title: new Date(line.time * 1000).toString() }),
    make("span", { class: "level", text: line.level }), said);
}

// Goes along with new lines while its end is in sight.
function show_lines(fresh, anew) {
  const box = $("log"), follows = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  lines = lines.concat(fresh).slice(-LINES_MAX);
  if (anew) box.replaceChildren();
  box.append(...(anew ? lines : fresh).filter(matches).map(line_element));
  while (box.childElementCount > LINES_MAX) box.firstElementChild.remove();
  if (follows || anew) box.scrollTop = box.scrollHeight;
  setText($("no-log"), lines.length > 0 ? "No line is like this." : "No lines yet.");
  show($("no-log"), box.childElementCount === 0);
  show(box, box.childElementCount > 0);
}

$("log-level").addEventListener("change", () => show_lines([], true));
$("log-text").addEventListener("input", () => show_lines([], true));

// ---- asking ----

const services = new Rows($("services"), () => new Service());
const seen = { errors: 0, log: 0, process: "", version: "", at: 0 };

// Another process answers: what was seen of the one before is over.
function begin_anew() {
  process = new History();
  seen.errors = seen.log = 0;
  errors.clear();
  lines = [];
  show_lines([], true);
}

function accept(status) {
  const who = status.pid + " " + status.started_at;
  if (seen.process !== who) {
    const before = seen.process;
    seen.process = who;
    if (before !== "" && seen.version !== status.lunats) location.reload(); // it has another page
    seen.version = status.lunats;
    if (before !== "") {
      begin_anew();
      return false; // it has told of the last errors and lines only
    }
  }
  const bounds = status.bounds_ns.map((bound) => bound / 1e9);
  show_process(status);
  reasons.update(status.reasons.slice(0, 20), (one) => [one.service, one.reason, one.check, one.consumer].join("\n"));
  show($("reasons"), !status.ready);
  services.update(status.services, (one) => one.instance, status, bounds);
  show($("more-services"), status.service_count > status.services.length);
  setText($("more-services"), `and ${status.service_count - status.services.length} more services`);
  seen.errors = status.errors.last;
  seen.log = status.log.last;
  show_errors(status.errors.list, status.now);
  show_lines(status.log.lines, false);
  seen.at = Date.now();
  return true;
}

function show_live(lives) {
  pill($("live"), lives ? "live" : "lost", lives ? "good" : "bad");
  document.documentElement.classList.toggle("stale", !lives && seen.at > 0);
  const since = seen.at > 0 ? ` for ${formatAge((Date.now() - seen.at) / 1000)}` : "";
  if (!lives) setText($("lost"), `No answer from the process${since}. Trying again every second.`);
  show($("lost"), !lives);
  show($("ready"), lives);
}

const worker = new URLSearchParams(location.search).get("worker");

async function ask() {
  const which = worker ? "&worker=" + encodeURIComponent(worker) : "";
  const answer = await fetch(`/status.json?errors=${seen.errors}&log=${seen.log}${which}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error("status " + answer.status);
  return answer.json();
}

let timer = null, asking = false;

async function look() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  let wait = EVERY;
  try {
    if (!accept(await ask())) wait = 0;
    show_live(true);
  } catch (failure) {
    console.debug(failure);
    show_live(false);
  }
  asking = false;
  timer = setTimeout(look, wait);
}

document.addEventListener("visibilitychange", look);
