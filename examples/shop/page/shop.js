"use strict";

const $ = (id) => document.getElementById(id);
const form = $("order");

function rows(body, values) {
  body.replaceChildren(...values.map(([name, value]) => {
    const row = document.createElement("tr");
    for (const text of [name, value]) row.insertCell().textContent = text;
    return row;
  }));
}

function say(text) {
  $("said").value = text;
}

// What the shop says, or that nobody says anything.
async function ask(path, options) {
  try {
    const answer = await fetch(path, options);
    return { ok: answer.ok, said: await answer.json() };
  } catch {
    return { ok: false, said: { message: "nobody is there" } };
  }
}

async function show() {
  const { ok, said } = await ask("api/shop");
  if (!ok) return say("The shop does not answer: " + said.message);
  const { stock, summary } = said;
  const articles = Object.entries(stock).sort();
  rows($("stock"), articles);
  if (!$("sku").options.length) $("sku").append(...articles.map(([sku]) => new Option(sku)));
  const { cents, seq, ...states } = summary;
  rows($("summary"), [...Object.entries(states).sort(), ["turnover", (cents / 100).toFixed(2)]]);
}

// An order has an id from here on: sent twice, it is one order.
async function order(event) {
  event.preventDefault();
  const id = (form.poor.checked ? "poor-" : "") + crypto.randomUUID();
  const body = JSON.stringify({ id, sku: form.sku.value, count: Number(form.count.value) });
  const { ok, said } = await ask("api/orders", { method: "POST", body });
  say(ok ? "Ordered." : "Not ordered: " + said.message);
}

const STATES = { paid: "is paid", refused: "is refused", failed: "has failed", sold_out: "is sold out" };
let waiting;

function happened({ state, sku, count }) {
  const item = document.createElement("li");
  item.textContent = `${count} ${sku} ${STATES[state]}`;
  $("events").prepend(item);
  while ($("events").children.length > 20) $("events").lastChild.remove();
  waiting ??= setTimeout(() => { waiting = undefined; show(); }, 200);
}

// A browser comes again by itself when a connection is lost, but not after an error, as 503 of
// a gateway that starts. A new EventSource has to be told what the one before has seen last.
let events, last = "";
function listen() {
  events = new EventSource("api/events?after=" + last);
  const seen = (event) => { last = event.lastEventId; };
  // Connected is not yet ready: what happens in between, nobody would tell.
  events.addEventListener("ready", (event) => {
    seen(event);
    $("events").ariaBusy = "false";
    show();
  });
  events.onmessage = (event) => { seen(event); happened(JSON.parse(event.data)); };
  events.onerror = () => {
    $("events").ariaBusy = "true";
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  };
}

form.addEventListener("submit", order);
listen();
show();
