// SPDX-License-Identifier: Apache-2.0
// A service of another language that takes part in traces:
//   node trace.cjs FOLDER URL COLLECTOR SUBJECT NEXT
// Each request to SUBJECT becomes one to NEXT, and a span that it sends to the collector itself.
// Packages are looked for in FOLDER. Prints "ready"; ends with SIGTERM.
const { randomBytes } = require("node:crypto");
const { createRequire } = require("node:module");

const [folder, url, collector, subject, next] = process.argv.slice(2);
const { connect, headers } = createRequire(folder + "/index.js")("@nats-io/transport-node");

const nanoseconds = () => `${Date.now()}000000`;

async function record(span) {
  const resource = { attributes: [{ key: "service.name", value: { stringValue: "node" } }] };
  const body = { resourceSpans: [{ resource, scopeSpans: [{ scope: {}, spans: [span] }] }] };
  await fetch(collector + "/v1/traces", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function relay(nc, msg) {
  const [, traceId, parentSpanId, flags] = msg.headers.get("traceparent").split("-");
  const spanId = randomBytes(8).toString("hex");
  const startTimeUnixNano = nanoseconds();
  const out = headers();
  out.set("traceparent", `00-${traceId}-${spanId}-${flags}`);
  const reply = await nc.request(next, msg.data, { headers: out, timeout: 10000 });
  await record({ traceId, spanId, parentSpanId, name: "node relay", kind: 2, startTimeUnixNano,
    endTimeUnixNano: nanoseconds() });
  msg.respond(reply.data);
}

async function run() {
  const { host, username, password } = new URL(url);
  const nc = await connect({ servers: host, user: username, pass: password });
  process.once("SIGTERM", () => nc.close());
  const requests = nc.subscribe(subject);
  await nc.flush();
  console.log("ready");
  for await (const msg of requests) await relay(nc, msg);
}

run();
