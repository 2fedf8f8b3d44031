---`lunats describe`: what a service listens to, as a document of AsyncAPI 3.
---
---Source: asyncapi.com/docs/reference/specification/v3.0.0, bindings of NATS 0.1.0.
local core = require "lunats.core"
local json = require "lunats.json"

local PREFIX = "#/components/schemas/"

local function fail(text, ...)
  io.stderr:write("lunats describe: ", text:format(...), "\n")
  os.exit(1)
end

---A name that is not taken, of the characters that names of the document may have.
---@param taken table<string, any>
local function free_name(taken, subject)
  local name = subject:gsub("%*", "any"):gsub(">", "all"):gsub("[^%w_.-]", "_")
  local unique, n = name, 1
  while taken[unique] do
    n = n + 1
    unique = name .. "_" .. n
  end
  return unique
end

-- ---- schemas ------------------------------------------------------------------

---Where the anchors of a schema are: pointers into it.
local function anchors_of(schema, at, found)
  if type(schema) ~= "table" then return found end
  if type(schema["$anchor"]) == "string" then found[schema["$anchor"]] = at end
  for name, part in pairs(schema) do
    local key = type(name) == "number" and name - 1
      or name:gsub("~", "~0"):gsub("/", "~1")
    anchors_of(part, at .. "/" .. key, found)
  end
  return found
end

---A copy whose references are those of the document that it becomes a part of.
local function moved(schema, base, anchors)
  if type(schema) ~= "table" or schema == json.null then return schema end
  local copy = {}
  for name, part in pairs(schema) do copy[name] = moved(part, base, anchors) end
  local ref = schema["$ref"]
  if type(ref) == "string" then
    local path = ref:match "^#(/.*)$" or ref == "#" and "" or anchors[ref:sub(2)]
    copy["$ref"] = path and base .. path
  end
  return setmetatable(copy, getmetatable(schema))
end

---AsyncAPI wants a table here: one that says the same as true or false.
local function as_table(schema)
  if type(schema) == "table" then return schema end
  return schema and json.object {} or { ["not"] = json.object {} }
end

---@return table  a reference to it
local function add_schema(document, name, schema)
  local schemas = document.components.schemas
  name = free_name(schemas, name)
  schemas[name] = as_table(moved(schema, PREFIX .. name, anchors_of(schema, "", {})))
  return { ["$ref"] = PREFIX .. name }
end

-- ---- channels -------------------------------------------------------------------

---Wildcards become parameters.
---@return table channel
local function channel_of(subject)
  local channel, parameters, n = { messages = {} }, {}, 0
  channel.address = subject:gsub("%f[^%z.]([*>])%f[%z.]", function(wildcard)
    n = n + 1
    local name = wildcard == ">" and "rest" or "token" .. n
    parameters[name] = { description = wildcard == ">" and "one or more tokens" or "one token" }
    return "{" .. name .. "}"
  end)
  if n > 0 then
    channel.parameters = parameters
    channel["x-nats-subject"] = subject
  end
  return channel
end

local function message_of(name, content_type, payload)
  return { name = name, payload = payload, contentType = content_type or "application/json" }
end

---@return string id
local function add_channel(document, name, channel)
  local id = free_name(document.channels, name)
  document.channels[id] = channel
  return id
end

local function ref(id, message)
  return { ["$ref"] = "#/channels/" .. id .. (message and "/messages/" .. message or "") }
end

local function add_listener(document, one)
  local schemas = type(one.schema) == "table" and one.schema or {}
  local channel = channel_of(one.subject)
  local id = add_channel(document, one.name or one.subject, channel)
  local request = schemas.request ~= nil
    and add_schema(document, id .. ".request", schemas.request) or nil
  channel.messages.request = message_of(id .. ".request", one.content_type, request)
  local operation = { action = "receive", channel = ref(id), description = one.description,
    messages = json.array { ref(id, "request") } }
  if one.queue then
    operation.bindings = { nats = { queue = one.queue, bindingVersion = "0.1.0" } }
  end
  if schemas.response ~= nil then
    local response = add_schema(document, id .. ".response", schemas.response)
    local kind = one.content_type ~= "text/plain" and one.content_type or nil
    local back = add_channel(document, id .. ".reply", { address = json.null, messages = {
      response = message_of(id .. ".response", kind, response) } })
    operation.reply = { channel = ref(back), messages = json.array { ref(back, "response") } }
  end
  document.operations[id] = operation
end

local function add_subscription(document, one)
  local name = one.subject or one.stream or one.kind
  local channel = one.subject and channel_of(one.subject)
    or { address = json.null, messages = {} }
  local id = add_channel(document, name, channel)
  channel.messages.message = message_of(id .. ".message", one.content_type)
  document.operations[id] = { action = "receive", channel = ref(id),
    messages = json.array { ref(id, "message") },
    ["x-nats-jetstream"] = { consumer = one.kind, stream = one.stream, durable = one.durable } }
end

---@param declared table  what lunats.commands.declared lists
---@return table document
local function document_of(declared)
  local document = {
    asyncapi = "3.0.0",
    info = { title = declared.name, version = declared.version,
      description = declared.description },
    defaultContentType = "application/json",
    channels = {}, operations = {}, components = { schemas = {} },
  }
  for _, one in ipairs(declared.listeners) do
    if not one.hidden then add_listener(document, one) end
  end
  for _, one in ipairs(declared.subscriptions) do add_subscription(document, one) end
  local schemas = document.components.schemas
  for _, part in ipairs { document.channels, document.operations, schemas } do
    if next(part) == nil then json.object(part) end
  end
  return document
end

return function()
  local paths = core.options.scripts
  if #paths > 1 then
    fail("a document is about one service: name one of %s", table.concat(paths, ", "))
  end
  local declared, err = core.load_service(paths[1], core.options.safe_libs)
  if not declared then
    fail("%s (`lunats check %s` says more)", err:match "^[^\n]*", paths[1])
  end
  declared = json.decode(declared)
  if not declared.service then
    fail("%s declares no listener, timer, task or hook: a module, and no service", paths[1])
  end
  io.stdout:write(core.sorted_json(document_of(declared)), "\n")
end
