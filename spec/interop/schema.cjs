// SPDX-License-Identifier: Apache-2.0
// What ajv says of values:
//   node schema.cjs FOLDER FILE
// FILE has a line of JSON for each schema: { schema, values }. Prints one for each, the list of
// what is valid, or the word "refused". Packages are looked for in FOLDER.
const { createRequire } = require("node:module");
const fs = require("node:fs");

const [folder, file] = process.argv.slice(2);
const Ajv = createRequire(folder + "/index.js")("ajv/dist/2020");

for (const line of fs.readFileSync(file, "utf8").trim().split("\n")) {
  const { schema, values } = JSON.parse(line);
  const ajv = new Ajv({ strict: false, logger: false });
  let check;
  try {
    check = ajv.compile(schema);
  } catch (_) {
    console.log('"refused"');
    continue;
  }
  console.log(JSON.stringify(values.map((value) => check(value))));
}
