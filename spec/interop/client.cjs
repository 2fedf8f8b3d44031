// SPDX-License-Identifier: Apache-2.0
// The same as client.go with the packages @nats-io/kv and @nats-io/obj, which are looked for in
// the folder of the first argument.
const fs = require("node:fs");
const { createRequire } = require("node:module");
const { Readable } = require("node:stream");

const [folder, url, op, ...args] = process.argv.slice(2);
const load = createRequire(folder + "/index.js");
const { connect, headers } = load("@nats-io/transport-node");
const { jetstream } = load("@nats-io/jetstream");
const { Kvm } = load("@nats-io/kv");
const { Objm } = load("@nats-io/obj");

function toEntry(e) {
  return { key: e.key, value: e.string(), revision: e.revision, operation: e.operation };
}

async function collect(iterator, convert) {
  const list = [];
  for await (const one of iterator) list.push(convert(one));
  return list;
}

const keyValue = {
  put: (kv, key, value) => kv.put(key, value),
  new: (kv, key, value) => kv.create(key, value),
  delete: async (kv, key) => (await kv.delete(key), true),
  purge: async (kv, key) => (await kv.purge(key), true),
  keys: async (kv) => collect(await kv.keys(), (key) => key),
  get: async (kv, key) => {
    const e = await kv.get(key);
    if (!e || e.operation !== "PUT") throw new Error("key not found");
    return toEntry(e);
  },
  history: async (kv, key) => collect(await kv.history({ key }), toEntry),
};

const objects = {
  put: (store, name, path, description) => {
    const h = headers();
    h.append("X", "1");
    h.append("X", "2");
    const stream = Readable.toWeb(fs.createReadStream(path));
    return store.put({ name, description, headers: h }, stream);
  },
  get: async (store, name, path) => {
    fs.writeFileSync(path, await store.getBlob(name));
    return true;
  },
  info: async (store, name) => (await store.info(name)).info,
  delete: async (store, name) => (await store.delete(name)).success,
  link: async (store, name, target) => store.link(name, await store.info(target)),
  list: async (store) => (await store.list()).map((info) => info.name),
};

const messages = {
  // A request with headers; what came back.
  request: async (nc, subject, data) => {
    const h = headers();
    h.append("X", "1");
    h.append("X", "2");
    const msg = await nc.request(subject, data, { headers: h, timeout: 5000 });
    const found = {};
    for (const key of msg.headers ? msg.headers.keys() : []) found[key] = msg.headers.values(key);
    return { data: msg.string(), headers: found };
  },
  // Answers one request with a service error.
  refuse: async (nc, subject, code, text) => {
    for await (const msg of nc.subscribe(subject, { max: 1 })) {
      const h = headers();
      h.set("Nats-Service-Error", text);
      h.set("Nats-Service-Error-Code", code);
      msg.respond("", { headers: h });
    }
    await nc.flush();
    return true;
  },
  // Publishes with headers into a stream, and acknowledges the next message of a consumer.
  store: async (nc, subject, data) => {
    const h = headers();
    h.set("X", "stored");
    return (await jetstream(nc).publish(subject, data, { headers: h })).seq;
  },
  ack: async (nc, stream, consumer) => {
    const msg = await (await jetstream(nc).consumers.get(stream, consumer)).next();
    await msg.ackAck();
    return msg.headers.get("X");
  },
};

async function run() {
  const { host, username, password } = new URL(url);
  const login = password ? { user: username, pass: password } : {};
  const nc = await connect({ servers: host, ...login });
  try {
    const [kind, verb] = op.split("_");
    if (kind === "msg") return await messages[verb](nc, ...args.slice(1));
    const manager = kind === "kv" ? new Kvm(nc) : new Objm(nc);
    if (verb === "create") {
      await manager.create(args[0], kind === "kv" ? { history: 5 } : {});
      return true;
    }
    const bucket = await manager.open(args[0]);
    return await (kind === "kv" ? keyValue : objects)[verb](bucket, ...args.slice(1));
  } finally {
    await nc.close();
  }
}

run().catch((err) => ({ error: err.message })).then((result) => {
  console.log(JSON.stringify({ result }));
});
