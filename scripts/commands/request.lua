---`lunats request`: sends a request and prints what comes back.
local core = require "lunats.core"
local client = require "lunats.commands.client"
local json = require "lunats.json"

local TIMEOUT = 5 -- seconds

---How services are asked what they listen to: the last one has answered when it is quiet.
local SURVEY = { data_type = "string", timeout = 1, stall = 0.2, max = 1000 }

---The code and text of an error reply.
local function error_of(reply)
  local text = reply:header "Nats-Service-Error"
  if text then return reply:header "Nats-Service-Error-Code" or "500", text end
end

---An error reply goes to the standard error, with its body if there is one.
local function show_error(subject, reply, code, text)
  if core.options.json then
    client.complain(client.json(reply, subject))
  elseif reply.raw ~= "" then
    client.complain(reply.raw .. "\n")
  end
  client.complain(("lunats request: %s answered with error %s: %s\n"):format(subject, code,
    text))
end

---Prints a reply; false for an error reply.
local function show(subject, reply, alone)
  local code, text = error_of(reply)
  if code then
    show_error(subject, reply, code, text)
    return false
  elseif core.options.json then
    client.write(client.json(reply, subject))
  else
    client.write_body(reply.raw, alone)
  end
  return true
end

---The subject of a service that is nearly the one that nobody listens to.
---@return string|nil
local function nearest(subject)
  local subjects = {}
  for _, reply in ipairs(app.request_many("$SRV.INFO", "", SURVEY) or {}) do
    local info = json.decode(reply.raw)
    local endpoints = type(info) == "table" and info.endpoints
    for _, one in ipairs(type(endpoints) == "table" and endpoints or {}) do
      if type(one) == "table" and type(one.subject) == "string" then
        subjects[#subjects + 1] = one.subject
      end
    end
  end
  return core.nearest(subject, subjects)
end

local function fail(err, subject, body)
  local meant = err.code == "no_responders" and nearest(subject)
  client.fail(1, "%s%s", client.explain(err, subject, body),
    meant and (" (did you mean '%s'?)"):format(meant) or "")
end

---One request with its replies; false after an error reply.
local function request(subject, body, opts, alone)
  local replies, err = app.request_many(subject, body, opts)
  if not replies then fail(err, subject, body) end
  if #replies == 0 then
    client.fail(1, "no reply from %s within %g s: what listens to it is slow (--timeout gives "
      .. "it longer), or sends no reply: a handler that returns nothing sends none "
      .. "(`lunats pub` wants none)", subject, opts.timeout)
  end
  local good = true
  for _, reply in ipairs(replies) do good = show(subject, reply, alone) and good end
  return good
end

return function()
  local options = core.options
  local subject, body = options.args[1], client.body()
  local count, replies = math.max(options.count, 1), math.max(options.replies, 1)
  local opts = { data_type = "string", headers = client.headers(), max = replies,
    timeout = options.timeout > 0 and options.timeout or TIMEOUT }
  for _ = 1, count do
    if not request(subject, body, opts, count * replies == 1) then os.exit(1) end
  end
end
