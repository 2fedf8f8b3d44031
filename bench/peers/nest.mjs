// SPDX-License-Identifier: Apache-2.0
// The benchmark service as a NestJS microservice, the decorators applied by hand. NestJS is made
// of ES modules, which look for packages from where they lie: this file runs as a copy in
// build/bench/node.
import "reflect-metadata";
import { Controller, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { MessagePattern, Transport } from "@nestjs/microservices";

class Orders {
  echo(data) {
    return data;
  }
  json(order) {
    order.sum = order.values.reduce((sum, value) => sum + value, 0);
    return order;
  }
}
for (const name of ["echo", "json"]) {
  const method = Object.getOwnPropertyDescriptor(Orders.prototype, name);
  MessagePattern(`bench.${name}`)(Orders.prototype, name, method);
}
Controller()(Orders);

class App {}
Module({ controllers: [Orders] })(App);

const app = await NestFactory.createMicroservice(App, {
  logger: ["error"],
  transport: Transport.NATS,
  options: { servers: [process.env.NATS_URL] },
});
await app.listen();
