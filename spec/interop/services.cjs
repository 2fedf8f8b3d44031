// SPDX-License-Identifier: Apache-2.0
// The service API as @nats-io/services sees it:
//   node services.cjs FOLDER URL look NAME       what it finds, and what ajv says of each answer
//   node services.cjs FOLDER URL serve NAME SUBJECT   a service of its own, until SIGTERM
// Packages are looked for in FOLDER. Prints one line of JSON; `serve` one when it is ready and
// one at its end, with the number of requests.
const { createRequire } = require("node:module");
const path = require("node:path");

const [folder, url, op, ...args] = process.argv.slice(2);
const load = createRequire(folder + "/index.js");
const { connect } = load("@nats-io/transport-node");
const { Svcm } = load("@nats-io/services");

const say = (value) => console.log(JSON.stringify(value));

async function collect(iterator) {
  const list = [];
  for await (const one of iterator) list.push(one);
  return list;
}

function validator() {
  const Ajv = load("ajv");
  const ajv = new Ajv({ allErrors: true });
  load("ajv-formats")(ajv);
  ajv.addSchema(require(path.join(__dirname, "schema", "micro.json")));
  return (kind, body) => {
    const valid = ajv.validate({ $ref: `micro#/definitions/${kind}` }, body);
    return valid ? null : ajv.errorsText();
  };
}

// Every answer as it came, and what is wrong with it.
async function answers(nc, kind, name) {
  const validate = validator();
  const subjects = [`$SRV.${kind.toUpperCase()}`, `$SRV.${kind.toUpperCase()}.${name}`];
  const found = [];
  for (const subject of subjects) {
    const replies = await nc.requestMany(subject, "{}", { strategy: "stall", maxWait: 2000 });
    for await (const msg of replies) found.push(validate(kind, msg.json()));
  }
  return found;
}

async function look(nc, name) {
  const client = new Svcm(nc).client({ strategy: "stall", maxWait: 2000 });
  return {
    ping: await collect(await client.ping(name)),
    info: await collect(await client.info(name)),
    stats: await collect(await client.stats(name)),
    faults: {
      ping: await answers(nc, "ping", name),
      info: await answers(nc, "info", name),
      stats: await answers(nc, "stats", name),
    },
  };
}

async function serve(nc, name, subject) {
  let requests = 0;
  const service = await new Svcm(nc).add({ name, version: "1.0.0" });
  service.addEndpoint("share", { subject, handler: (err, msg) => {
    requests++;
    msg.respond("node");
  } });
  await nc.flush();
  say({ ready: true });
  await new Promise((resolve) => process.once("SIGTERM", resolve));
  return { requests };
}

async function run() {
  const { host, username, password } = new URL(url);
  const login = password ? { user: username, pass: password } : {};
  const nc = await connect({ servers: host, ...login });
  try {
    say(await { look, serve }[op](nc, ...args));
  } finally {
    await nc.close();
  }
}

run().catch((err) => say({ error: err.message }));
