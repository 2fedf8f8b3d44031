// SPDX-License-Identifier: Apache-2.0
// A service of another language that speaks MessagePack:
//   node msgpack.cjs FOLDER URL SUBJECT NEXT
// What comes by SUBJECT is passed on to NEXT, whose answer is answered, with the kinds of the
// values that came. Packages are looked for in FOLDER. Prints "ready"; ends with SIGTERM.
const { createRequire } = require("node:module");

const [folder, url, subject, next] = process.argv.slice(2);
const load = createRequire(folder + "/index.js");
const { connect } = load("@nats-io/transport-node");
const { decode, encode } = load("@msgpack/msgpack");

const EXACT = { useBigInt64: true };

function kindOf(value) {
  if (value instanceof Uint8Array) return "bytes";
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}

async function relay(nc, msg) {
  const value = decode(msg.data, EXACT);
  const kinds = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, kindOf(v)]));
  const reply = await nc.request(next, encode(value, EXACT), { timeout: 10000 });
  msg.respond(encode({ kinds, answer: decode(reply.data, EXACT) }, EXACT));
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
