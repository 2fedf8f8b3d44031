// SPDX-License-Identifier: Apache-2.0
// When schedules are due, as croner and cron-parser see it:
//   node cron.cjs FOLDER FILE
// FILE has a line of JSON for each: { expression, zone, from, count, both }, times in Unix
// seconds. Prints one for each: { croner, parser }, lists of times; null where it refuses the
// expression, or, for cron-parser, unless both are wanted. Packages are looked for in FOLDER.
const { createRequire } = require("node:module");
const fs = require("node:fs");

const [folder, file] = process.argv.slice(2);
const require_ = createRequire(folder + "/index.js");
const { Cron } = require_("croner");
const { CronExpressionParser } = require_("cron-parser");

function attempt(fn) {
  try {
    return fn();
  } catch (_) {
    return null;
  }
}

const seconds = (date) => date.getTime() / 1000;

for (const line of fs.readFileSync(file, "utf8").trim().split("\n")) {
  const { expression, zone, from, count, both } = JSON.parse(line);
  const begin = new Date(from * 1000);
  const croner = attempt(() =>
    new Cron(expression, { timezone: zone }).nextRuns(count, begin).map(seconds));
  const parser = both ? attempt(() => {
    const iterator = CronExpressionParser.parse(expression, { tz: zone, currentDate: begin });
    return Array.from({ length: count }, () => seconds(iterator.next().toDate()));
  }) : null;
  console.log(JSON.stringify({ croner, parser }));
}
