// SPDX-License-Identifier: Apache-2.0
// The benchmark service as one writes it with nats.js. Packages: build/bench/node.
import { createRequire } from "node:module";

const load = createRequire(process.env.BENCH_NODE + "/");
const { connect } = load("@nats-io/transport-node");
const { jetstream } = load("@nats-io/jetstream");
const { NATS_URL: servers, NATS_CA: caFile } = process.env;
const nc = await connect({ servers, tls: caFile ? { caFile } : undefined });
const js = jetstream(nc);

const listen = (subject, handle) =>
  nc.subscribe(subject, {
    callback: (err, msg) => {
      if (err) throw err;
      handle(msg);
    },
  });

const work = (subject, perform) =>
  listen(subject, async (msg) => {
    const job = msg.json();
    await perform(job);
    msg.respond(JSON.stringify({ n: job.count }));
  });

listen("bench.echo", (msg) => msg.respond(msg.data));

listen("bench.json", (msg) => {
  const order = msg.json();
  order.sum = order.values.reduce((sum, value) => sum + value, 0);
  msg.respond(JSON.stringify(order));
});

let count = 0;
listen("bench.count", () => {
  if (++count % 4096 === 0) nc.publish("bench.count.report", "4096");
});

work("bench.pull", async ({ stream, durable, count, batch, consume }) => {
  const consumer = await js.consumers.get(stream, durable);
  let done = 0;
  while (done < count) {
    const messages = consume
      ? await consumer.consume({ max_messages: batch })
      : await consumer.fetch({ max_messages: batch, expires: 5000 });
    for await (const msg of messages) {
      msg.ack();
      if (++done === count) break;
    }
  }
  await nc.flush();
});

work("bench.publish", async ({ subject, count, size, window }) => {
  const body = new Uint8Array(size).fill(120);
  let sent = 0;
  const publisher = async () => {
    while (sent < count) {
      sent++;
      await js.publish(subject, body);
    }
  };
  await Promise.all(Array.from({ length: window }, publisher));
});
