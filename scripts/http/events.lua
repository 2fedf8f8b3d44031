---app.http.events: server-sent events, as EventSource of browsers reads them.
local core = require "lunats.core"
local check = require "lunats.check"
local json = require "lunats.json"
local routes = require "lunats.http.routes"

local OPTIONS = { heartbeat = "number", cors = "boolean|string|table" }
local EVENT = { event = "string", id = "string|number", retry = "number" }

---Seconds between signs of life: proxies end what is silent for a minute.
local HEARTBEAT = 15

local function one_line(name, value)
  value = tostring(value)
  if value:find "[\r\n%z]" then core.blame(("send: %s is one line"):format(name)) end
  return ("%s: %s\n"):format(name, value)
end

---@return string the event as it is sent
local function encode(data, opts)
  opts = core.check("send", opts, EVENT)
  local lines = {}
  if opts.event then lines[#lines + 1] = one_line("event", opts.event) end
  if opts.id then lines[#lines + 1] = one_line("id", opts.id) end
  if opts.retry then lines[#lines + 1] = ("retry: %d\n"):format(opts.retry * 1000 // 1) end
  local text = type(data) == "string" and data or json.encode(data)
  for line in (text:gsub("\r\n?", "\n") .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = "data: " .. line .. "\n"
  end
  lines[#lines + 1] = "\n"
  return table.concat(lines)
end

---Says that it is alive until its stream ends.
local function beat(write, alarm, interval, stream)
  while true do
    alarm:sleep(interval)
    if stream.ended or not write ":\n\n" then return end
  end
end

---@param fn function(send, req)
local function run(fn, req, interval)
  return function(write)
    local stream = { ended = false }
    local alarm = core.alarm()
    local _ <close> = setmetatable({}, { __close = function()
      stream.ended = true
      alarm:ring()
    end })
    write ":\n\n" -- the page is told that it is connected
    core.background(beat, write, alarm, interval, stream)
    fn(function(data, opts) return write(encode(data, opts)) end, req)
  end
end

---@param fn function(send, req)
return function(path, opts, fn)
  local what = "app.http.events"
  if fn == nil then opts, fn = nil, opts end
  check.fn(what, fn)
  opts = core.check(what, opts, OPTIONS)
  local interval = opts.heartbeat or HEARTBEAT
  if not (interval >= 0.1 and interval < math.huge) then
    core.blame(what .. ": heartbeat must be a number of seconds, 0.1 or more")
  end
  local route = routes.declare(what, "GET", path, { cors = opts.cors }, function(req)
    return routes.response { headers = { ["Content-Type"] = "text/event-stream",
      ["Cache-Control"] = "no-cache", ["X-Accel-Buffering"] = "no" },
      stream = run(fn, req, interval) }
  end, true)
  return route
end
