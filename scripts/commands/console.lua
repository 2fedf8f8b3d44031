---`lunats console`: runs Lua in a service that was started with --console.
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local columns = require "lunats.commands.columns"
local core = require "lunats.core"
local json = require "lunats.json"
local line = require "lunats.commands.line"
local repl = require "lunats.commands.repl"

local SECONDS = 10 -- for one command
local GRACE = 3    -- further seconds for its answer

-- ---- which one -----------------------------------------------------------------

---The instances that have a console.
local function with_console(name)
  local subject = "lunats.console." .. name
  local replies, err = cluster.ask(subject)
  if not replies then client.fail(1, "%s", client.explain(err, subject, "")) end
  local list = {}
  for _, reply in ipairs(replies) do
    local one = json.decode(reply.raw)
    if type(one) == "table" and cluster.is_token(one.id) then
      list[#list + 1] = { name = name, id = one.id, place = "" }
    end
  end
  return list
end

---Why there is none.
local function complain(which)
  local services = cluster.list("PING", which) or {}
  if #services == 0 then client.fail(1, "%s", cluster.others(which)) end
  client.fail(1, "%s runs, but without a console: start it with `lunats run --console`", which)
end

---Adds where they run.
local function add_places(list, name)
  local places = {}
  for _, one in ipairs(cluster.list("PING", name) or {}) do places[one.id] = one.place end
  for _, one in ipairs(list) do one.place = places[one.id] or "" end
  table.sort(list, function(a, b)
    if a.place ~= b.place then return a.place < b.place end
    return a.id < b.id
  end)
end

local function choose(list, name)
  add_places(list, name)
  local file = line.terminal and io.stdout or io.stderr
  for i, one in ipairs(list) do
    file:write(("%3d  %s/%s  %s\n"):format(i, name, one.id, columns.clean(one.place)))
  end
  if not line.terminal then
    client.fail(1, "%s has %d instances: say which, as %s/INSTANCE", name, #list, name)
  end
  while true do
    local answer = line.read(("which one? 1 to %d: "):format(#list))
    if not answer then os.exit(0) end
    local one = list[math.tointeger(tonumber(answer)) or 0]
    if one then return one end
  end
end

local function find(which)
  local name, id = which:match "^(.-)/(.*)$"
  cluster.scope(which)
  local list = with_console(name or which)
  if id then
    for _, one in ipairs(list) do
      if one.id == id then return one end
    end
    complain(which)
  end
  if #list == 0 then complain(which) end
  return #list == 1 and list[1] or choose(list, which)
end

-- ---- commands ------------------------------------------------------------------

---Who we are, for the log of the service.
local function me()
  local file <close> = io.open "/proc/sys/kernel/hostname"
  local host = file and file:read() or "?"
  return ("%s@%s"):format(os.getenv "USER" or os.getenv "LOGNAME" or "?", host)
end

local function show_error(text) client.complain("lunats: " .. text .. "\n") end

---@return boolean ok, boolean|nil gone
local function run(service, code)
  local seconds = core.options.timeout > 0 and core.options.timeout or SECONDS
  local subject = ("lunats.console.%s.%s"):format(service.name, service.id)
  local body = json.encode { code = code, client = me(), seconds = seconds }
  local reply, err = app.request(subject, body, { timeout = seconds + GRACE,
    data_type = "string" })
  local answer = reply and json.decode(reply.raw)
  if type(answer) ~= "table" then
    show_error(not err and "this is no answer of a console" or err.code == "no_responders"
      and ("%s/%s is gone"):format(service.name, service.id)
      or client.explain(err, subject, body))
    return false
  end
  client.write(answer.output or "")
  if answer.ok ~= true then show_error(tostring(answer.text)) end
  if answer.ok and answer.text then client.write(answer.text .. "\n") end
  return answer.ok == true
end

return function()
  local options = core.options
  local service = find(options.args[1])
  if #options.code > 0 then
    for _, code in ipairs(options.code) do
      if not run(service, code) then os.exit(1) end
    end
    return
  end
  line.remember ".lunats_history"
  if line.terminal then
    print(("%s/%s at %s; commands run in the service and are in its log. Ctrl-D ends."):format(
      service.name, service.id, app.nats.connected_url))
  end
  while true do
    local code, err = repl.read(service.name .. "> ", (" "):rep(#service.name) .. ">> ")
    if not code then break end
    if err then show_error(err) else run(service, code) end
  end
end
