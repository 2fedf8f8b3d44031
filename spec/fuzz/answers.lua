---The Lua half of answers_fuzz.c. An input has lines: the name of one of the calls below, then
---the answers that it gets, one each, as JSON. "!Name: value|Name: value|data" is an answer
---with headers, "?code" is none. Whatever the answers are, a call returns what it has got, or
---nil and an err; it raises nothing.
local core = require "lunats.core"
local json = require "lunats.json"

-- ---- a server -------------------------------------------------------------------

local answers = {}

local function error_of(code) return core.error(code, "no answer") end

local function message(line)
  local msg = { headers = {}, raw = line, subject = "$JS.ACK" }
  if line:sub(1, 1) ~= "!" then return msg end
  msg.raw = ""
  for part in line:sub(2):gmatch "[^|]+" do
    local name, value = part:match "^([%w-]+): (.*)$"
    if name then
      local old = msg.headers[name]
      msg.headers[name] = old and { old, value } or value
    else
      msg.raw = part
    end
  end
  return msg
end

function core.request()
  local line = table.remove(answers, 1)
  if not line then return nil, error_of "timeout" end
  if line:sub(1, 1) == "?" then return nil, error_of(line:sub(2)) end
  return message(line)
end
core.request_stored, core.request_literal = core.request, core.request

function core.js_publish()
  local msg, err = core.request()
  return nil, msg and error_of "no_responders" or err
end

function core.js_prefix() return "$JS.API" end
function core.nats_info() return { version = "2.10.0" } end
function core.publish() return true end
function core.sleep() return true end
function core.now() return 1700000000 end
function core.clock() return 0 end
function core.fail(err) return nil, err end
for _, name in ipairs { "missed", "log", "report", "background", "gate", "set_phase",
  "js_publisher" } do
  core[name] = function() return {} end
end

local js = require "lunats.js"

-- ---- calls ----------------------------------------------------------------------

local STREAM = { name = "S", subjects = { "s.>" }, max_age = 60, metadata = { a = "b" },
  placement = { cluster = "c", tags = { "t" } } }
local CONSUMER = { stream = "S", durable_name = "C", ack_wait = 3, backoff = { 1, 2 },
  filter_subjects = { "s.a", "s.b" }, metadata = { a = "b" } }

local function store(call)
  return function()
    local opened, err = js.object_store "B"
    if not opened then return nil, err end
    return call(opened)
  end
end

local function bucket(call)
  return function()
    local opened, err = js.key_value "B"
    if not opened then return nil, err end
    return call(opened)
  end
end

local calls = {
  add_stream = function() return js.add_stream(STREAM) end,
  update_stream = function() return js.update_stream(STREAM) end,
  ensure_stream = function() return js.ensure_stream(STREAM) end,
  stream_info = function() return js.stream_info("S", { deleted_details = true }) end,
  delete_stream = function() return js.delete_stream "S" end,
  purge_stream = function() return js.purge_stream "S" end,
  streams = function() return js.streams() end,
  stream_names = function() return js.stream_names() end,
  find_stream = function() return js.find_stream "s.a" end,
  account_info = function() return js.account_info() end,
  get_msg = function() return js.get_msg("S", { seq = 1 }) end,
  last_msg = function() return js.get_msg("S", { last_by_subject = "s.a" }) end,
  delete_msg = function() return js.delete_msg("S", 1) end,
  add_consumer = function() return js.add_consumer(CONSUMER) end,
  update_consumer = function() return js.update_consumer(CONSUMER) end,
  ensure_consumer = function() return js.ensure_consumer(CONSUMER) end,
  consumer_info = function() return js.consumer_info("S", "C") end,
  delete_consumer = function() return js.delete_consumer("S", "C") end,
  consumers = function() return js.consumers "S" end,
  consumer_names = function() return js.consumer_names "S" end,
  pause_consumer = function() return js.pause_consumer("S", "C", 5) end,
  resume_consumer = function() return js.resume_consumer("S", "C") end,
  unpin_consumer = function() return js.unpin_consumer("S", "C", "g") end,
  reset_consumer = function() return js.reset_consumer("S", "C", 5) end,
  publish = function() return js.publish("s.a", "x", { msg_id = "1" }) end,
  publish_ttl = function() return js.publish("s.a", "x", { ttl = 5 }) end,
  create_key_value = function()
    return js.create_key_value { bucket = "B", history = 3, ttl = 60 }
  end,
  key_value_names = function() return js.key_value_names() end,
  delete_key_value = function() return js.delete_key_value "B" end,
  kv_get = bucket(function(kv) return kv:get "a" end),
  kv_put = bucket(function(kv) return kv:put("a", "x") end),
  kv_create = bucket(function(kv) return kv:create("a", "x") end),
  kv_update = bucket(function(kv) return kv:update("a", "x", 3) end),
  kv_delete = bucket(function(kv) return kv:delete "a" end),
  kv_status = bucket(function(kv) return kv:status() end),
  create_object_store = function() return js.create_object_store { bucket = "B" } end,
  object_store_names = function() return js.object_store_names() end,
  object_info = store(function(objects) return objects:info "o" end),
  object_delete = store(function(objects) return objects:delete "o" end),
  object_meta = store(function(objects)
    return objects:update_meta("o", { description = "d", name = "p" })
  end),
  object_link = store(function(objects)
    return objects:add_link("l", { bucket = "B", name = "o" })
  end),
  object_seal = store(function(objects) return objects:seal() end),
  object_status = store(function(objects) return objects:status() end),
  counter = function()
    local counter, err = js.counter("S")
    if not counter then return nil, err end
    return counter:get "s.a"
  end,
}

local names = {}
for name in pairs(calls) do names[#names + 1] = name end
table.sort(names)

-- ---- what must hold ---------------------------------------------------------------

local function check_err(name, err)
  local kind = type(err)
  if kind ~= "table" then error(("%s: nil, and a %s for an err"):format(name, kind)) end
  if type(err.code) ~= "string" then error(name .. ": an err without a code") end
  if type(err.message) ~= "string" then error(name .. ": an err without a message") end
end

local function run(name)
  local result, err = calls[name]()
  if result == nil then check_err(name, err) end
end

local M = {}

function M.run(input)
  answers = {}
  for line in input:gmatch "[^\n]+" do answers[#answers + 1] = line end
  local name = table.remove(answers, 1)
  if not calls[name] then return end
  local ok, err = xpcall(run, debug.traceback, name)
  if not ok then error(("%s: %s"):format(name, err), 0) end
end

-- ---- changing inputs --------------------------------------------------------------

---What may stand in the place of any value.
local STRANGE = { json.null, true, false, 0, -1, 1.5, 2^64, math.mininteger, "", "x", "$JS.A.b",
  json.array {}, json.array { 1 }, json.array { "x" }, json.array { json.array {} },
  json.object {}, json.object { name = 1 }, json.array { json.object {} } }

---All places in a value: { table, key }.
local function places_in(value, found)
  for key, one in pairs(value) do
    found[#found + 1] = { value, key }
    if type(one) == "table" then places_in(one, found) end
  end
  return found
end

local function change_value(line)
  local value = json.decode(line)
  if type(value) ~= "table" then return json.encode(STRANGE[math.random(#STRANGE)]) end
  local places = places_in(value, {})
  if #places == 0 then return "{}" end
  local place, what = places[math.random(#places)], math.random(4)
  if what == 1 then
    place[1][place[2]] = nil
  elseif what == 2 then
    local other = places[math.random(#places)]
    place[1][place[2]] = json.decode(json.encode(other[1][other[2]]))
  else
    place[1][place[2]] = STRANGE[math.random(#STRANGE)]
  end
  local ok, text = pcall(json.encode, value)
  return ok and text or "{}"
end

local function change_bytes(line)
  local at = math.random(#line + 1)
  return line:sub(1, at - 1) .. string.char(math.random(32, 126))
    .. line:sub(at + math.random(0, 2))
end

---An input that is like this one: byte by byte most of them would be no JSON.
---@param input string
---@param seed integer
---@return string
function M.mutate(input, seed)
  math.randomseed(seed)
  local lines = {}
  for line in input:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local at, what = math.random(2, #lines + 1), math.random(12)
  if what == 1 or not lines[at] then
    table.insert(lines, math.min(at, #lines + 1), lines[math.random(#lines + 1)] or "{}")
  elseif what == 2 then
    table.remove(lines, at)
  elseif what == 3 then
    lines[1] = names[math.random(#names)]
  elseif what == 4 or lines[at]:find "^[!?]" then
    lines[at] = change_bytes(lines[at])
  else
    lines[at] = change_value(lines[at])
  end
  return table.concat(lines, "\n")
end

return M
