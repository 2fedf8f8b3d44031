-- Events: who creates a user tells that it has happened, and does not know who wants to hear
-- it. A reader with a durable consumer misses nothing, however long it was away.
--
--     lunats dev examples/patterns/events.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats request users.create '{"name": "Ada"}'    # {"id": "..."}
--     lunats request users.letter '{"id": "..."}'      # {"text": "Welcome, Ada!"}
--
-- What goes wrong: no stream stores the event (503: nobody believes in a user whom no reader
-- will hear of); the reader is down (its consumer keeps the place); its work fails (the event
-- comes again, later and later, and after five times goes to users.dead); the same event comes
-- twice (the letter has the id of the user, and is written once).
app.config { name = "events", version = "1.0.0" }

local letters

app.on_start(function()
  assert(app.js.ensure_stream { name = "USERS", subjects = { "users.created", "users.dead" },
    max_age = 7 * 86400 })
  letters = assert(app.js.create_key_value { bucket = "letters", ttl = 7 * 86400 })
end)

-- The field of a message, or nil and what is wrong with it.
local function text_in(msg, field)
  local value = type(msg.data) == "table" and msg.data[field]
  if type(value) == "string" and value:find "^[%w-]+$" and #value <= 64 then return value end
  return nil, { code = 400, message = field .. " must be a word of letters and digits" }
end

app.listen("users.create", function(msg)
  local name, wrong = text_in(msg, "name")
  if not name then return nil, wrong end
  local id = app.crypto.uuid()
  local ack, err = app.js.publish("users.created", { id = id, name = name }, { msg_id = id })
  if not ack then return nil, { code = 503, message = "try again later: " .. err.message } end
  return { id = id }
end)

-- Once in the fleet: all instances share the durable consumer.
app.js.pull_subscribe("users.created", { durable = "letters", stream = "USERS" }):consume({
  concurrency = 4, backoff = { 1, 5, 30 }, max_deliver = 5, dead_letter = "users.dead",
}, function(msg)
  local user = msg.data
  local written, err = letters:create(user.id, { text = ("Welcome, %s!"):format(user.name) })
  if not written and err.code ~= "wrong_last_sequence" then return nil, err end
end)

-- In every instance, and only while it is there: enough for what is shown or cached.
app.js.subscribe("users.created", { ordered = true, stream = "USERS", data_type = "string",
  config = { deliver_policy = "new" } },
  function(msg) app.log.info("a new user", { user = msg.data }) end)

app.listen("users.letter", function(msg)
  local id, wrong = text_in(msg, "id")
  if not id then return nil, wrong end
  local letter, err = letters:get(id)
  if letter then return letter.data end
  if err.code ~= "not_found" then return nil, err end
  return nil, { code = 404, message = "no letter yet" }
end)
