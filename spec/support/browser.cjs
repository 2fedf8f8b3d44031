// SPDX-License-Identifier: Apache-2.0
// A headless Chromium for browser.lua, by the DevTools protocol over pipes; needs node only.
//
//     node browser.cjs CHROMIUM PROFILE SCRIPT
//
// SCRIPT is a list of steps as JSON: [name, argument...]. Each prints one line: its number, and
// its result as JSON. The first that fails ends it with status 1.
const { spawn } = require("node:child_process");
const fs = require("node:fs");

const PATIENCE = 30000;
const [, , chromium, profile, script] = process.argv;

const child = spawn(chromium, [
  "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
  "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--mute-audio",
  "--force-device-scale-factor=1", "--lang=en", `--user-data-dir=${profile}`, "about:blank",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });

// ---- the protocol ----

const calls = new Map(), listeners = [];
let next = 1, session, rest = "";

child.stdio[4].setEncoding("utf8");
child.stdio[4].on("data", (text) => {
  const parts = (rest + text).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part), call = calls.get(message.id);
    calls.delete(message.id);
    if (call && message.error) call.reject(new Error(message.error.message));
    else if (call) call.resolve(message.result);
    else for (const listener of listeners) listener(message);
  }
});

function send(method, params = {}) {
  const id = next++;
  return new Promise((resolve, reject) => {
    calls.set(id, { resolve, reject });
    child.stdio[3].write(JSON.stringify({ id, method, params, sessionId: session }) + "\0");
  });
}

function once(method) {
  return new Promise((resolve) => listeners.push(function listener(message) {
    if (message.method !== method) return;
    listeners.splice(listeners.indexOf(listener), 1);
    resolve(message.params);
  }));
}

// ---- steps ----

const complaints = []; // of the page, and of the browser about it

async function evaluate(expression) {
  const { result, exceptionDetails: failure } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (failure) throw new Error(failure.exception?.description || failure.text);
  return result.value;
}

const steps = {
  async screen(width, height, scheme) {
    await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: width < 600 ? 2 : 1, mobile: width < 600 });
    await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  },
  async open(url) {
    const loaded = once("Page.loadEventFired");
    const { errorText } = await send("Page.navigate", { url });
    if (errorText) throw new Error(errorText);
    await loaded;
  },
  evaluate,
  // Until the expression is something; the result is that.
  async wait(expression) {
    const until = Date.now() + PATIENCE;
    for (;;) {
      const value = await evaluate(expression);
      if (value) return value;
      if (Date.now() > until) throw new Error("it has not come true: " + expression);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
  async key(key, text) {
    await send("Input.dispatchKeyEvent", { type: text ? "keyDown" : "rawKeyDown", key, code: key, text, windowsVirtualKeyCode: { Tab: 9, Enter: 13, Escape: 27 }[key] });
    await send("Input.dispatchKeyEvent", { type: "keyUp", key, code: key });
  },
  async type(text) { await send("Input.insertText", { text }); },
  // Of the whole page, or of what is on the screen.
  async picture(path, screen) {
    const { data } = await send("Page.captureScreenshot", { format: "png", captureBeyondViewport: !screen });
    fs.writeFileSync(path, Buffer.from(data, "base64"));
    return path;
  },
  async complaints() { return complaints.splice(0); },
};

async function main() {
  const { targetInfos } = await send("Target.getTargets");
  const target = targetInfos.find((one) => one.type === "page");
  session = (await send("Target.attachToTarget", { targetId: target.targetId, flatten: true })).sessionId;
  listeners.push(({ method, params }) => {
    if (method === "Runtime.exceptionThrown") complaints.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
    if (method === "Log.entryAdded") complaints.push(`${params.entry.source}: ${params.entry.text} ${params.entry.url || ""}`);
    if (method === "Runtime.consoleAPICalled") complaints.push("console: " + JSON.stringify(params.args.map((one) => one.value)));
  });
  for (const domain of ["Page", "Runtime", "Log"]) await send(domain + ".enable");
  let number = 0;
  for (const [name, ...rest] of JSON.parse(fs.readFileSync(script, "utf8"))) {
    const result = await steps[name](...rest);
    console.log(`${++number} ${JSON.stringify(result ?? null)}`);
  }
}

function end(status) {
  child.once("exit", () => process.exit(status));
  child.kill("SIGKILL");
}

child.on("error", (failure) => { console.log("failed " + failure.message); process.exit(1); });
setTimeout(() => { console.log("failed it takes too long"); end(1); }, 4 * PATIENCE).unref();
main().then(() => end(0), (failure) => { console.log("failed " + failure.message); end(1); });
