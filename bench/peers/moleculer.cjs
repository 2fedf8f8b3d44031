// SPDX-License-Identifier: Apache-2.0
// The benchmark service on Moleculer. Packages: build/bench/node.
const { createRequire } = require("node:module");
const { ServiceBroker } = createRequire(process.env.BENCH_NODE + "/")("moleculer");

const broker = new ServiceBroker({
  nodeID: "bench",
  logger: false,
  transporter: process.env.NATS_URL,
});
broker.createService({
  name: "bench",
  actions: {
    echo: (ctx) => ctx.params,
    json({ params: order }) {
      order.sum = order.values.reduce((sum, value) => sum + value, 0);
      return order;
    },
  },
});
broker.start();
