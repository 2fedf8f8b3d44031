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

async function show() {
  const answer = await fetch("api/shop");
  if (!answer.ok) return say("The shop does not answer: " + (await answer.json()).message);
  const { stock, summary } = await answer.json();
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
  const answer = await fetch("api/orders", { method: "POST", body });
  const said = await answer.json();
  say(answer.ok ? "Ordered." : said.message);
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

form.addEventListener("submit", order);
const events = new EventSource("api/events");
// Connected is not yet ready: what happens in between, nobody would tell.
events.addEventListener("ready", () => { $("events").ariaBusy = "false"; show(); });
events.onerror = () => { $("events").ariaBusy = "true"; };
events.onmessage = (event) => happened(JSON.parse(event.data));
show();
