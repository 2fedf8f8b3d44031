// What changes something: only with the token, which is kept as long as the tab.

const TOKEN = "lunats-token";
let toast_timer = null;

function say(message) {
  setText($("toast"), message);
  show($("toast"), true);
  clearTimeout(toast_timer);
  toast_timer = setTimeout(() => show($("toast"), false), 8000);
}

let finish_asking = null;

// Asks for the token. Resolves with it, or null.
function ask_for_token(why) {
  setText($("ask-error"), why || "");
  $("token").value = "";
  if (!$("ask").open) $("ask").showModal();
  $("token").focus();
  return new Promise((resolve) => { finish_asking = resolve; });
}

function end_asking(token) {
  $("ask").close();
  $("token").value = "";
  if (finish_asking) finish_asking(token);
  finish_asking = null;
}

$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  if (/^[!-~]+$/.test(token)) end_asking(token);
  else setText($("ask-error"), "The token has visible ASCII characters and no blanks.");
});
$("ask-cancel").addEventListener("click", () => end_asking(null));
$("ask").addEventListener("cancel", () => end_asking(null));

// Sends a change; resolves with the answer, or null when nobody gives a token.
async function change(path) {
  let token = sessionStorage.getItem(TOKEN) || await ask_for_token();
  while (token !== null) {
    const answer = await fetch(path, { method: "POST", headers: { Authorization: "Bearer " + token } });
    const body = await answer.json();
    if (answer.status !== 401) {
      sessionStorage.setItem(TOKEN, token);
      if (!answer.ok) throw new Error(body.error || body.failed[0].why);
      return body;
    }
    sessionStorage.removeItem(TOKEN);
    token = await ask_for_token("This is not the token.");
  }
  return null;
}

async function run(button, path, done) {
  button.disabled = true;
  try {
    const answer = await change(path);
    if (answer !== null) say(done(answer));
  } catch (failure) {
    say(failure.message);
  }
  button.disabled = false;
  button.focus();
}

function control_tools(service) {
  const reload = make("button", { type: "button", text: "Reload" });
  reload.addEventListener("click", () =>
    run(reload, "/reload?service=" + encodeURIComponent(service.instance), (answer) => answer.reloaded[0] + " reloaded"));
  const level = make("select", {}, ...["debug", "info", "warn", "error", "off"].map((word) => make("option", { value: word, text: word })));
  level.addEventListener("change", () =>
    run(level, `/log-level?service=${encodeURIComponent(service.instance)}&level=${level.value}`, (answer) => `${answer.service} logs from ${answer.level} on`));
  service.level = level;
  return [make("label", {}, "Log level ", level), reload];
}

look();
