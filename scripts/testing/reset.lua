---Takes the streams of an account away between two tests, unless a service that runs would miss
---them.
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

---Seconds for one request; requests at once.
local TIMEOUT, AT_ONCE = 5, 16

---@return table|nil reply, string|nil why
local function ask(api, op, body)
  local msg, err = api.client.request(api.prefix .. "." .. op, body, { timeout = TIMEOUT })
  if not msg then
    return nil, err.code == "no_responders" and "JetStream is not enabled there" or err.message
  end
  local reply = json.decode(msg.raw)
  if type(reply) ~= "table" then return nil, "the answer is not JSON" end
  if type(reply.error) == "table" then return nil, reply.error.description, reply.error.code end
  return reply
end

---The names of one page.
local function names_of(api)
  local reply, why = ask(api, "STREAM.NAMES")
  if not reply then error("testing.reset: " .. why, 0) end
  return type(reply.streams) == "table" and reply.streams or {}
end

-- ---- who would miss them ------------------------------------------------------

local STREAM_REQUESTS = { "^STREAM%.[A-Z.]-%.([^.]+)$", "^CONSUMER%.[A-Z.]-%.([^.]+)" }

---Notes what a service asks JetStream for: by that it is known which streams it uses.
---@param used table<string, true> names of streams
---@param prefix string of the JetStream API
---@param to string subject of a request
function M.note(used, prefix, to)
  if to:sub(1, #prefix + 1) ~= prefix .. "." then return end
  local op = to:sub(#prefix + 2)
  for _, pattern in ipairs(STREAM_REQUESTS) do
    local name = op:match(pattern)
    if name then used[name] = true end
  end
end

---Host and port: users of one server may differ.
local function places(servers)
  local found = {}
  for _, url in ipairs(servers) do found[url:match "[^/@]*$"] = true end
  return found
end

local function shares_server(a, b)
  for place in pairs(places(a)) do
    if places(b)[place] then return true end
  end
  return false
end

---@param services table<testing.service, fun(): boolean> whether it runs
local function check_unused(services, servers, names)
  local there = {}
  for _, name in ipairs(names) do there[name] = true end
  for svc, runs in pairs(services) do
    local list = {}
    if runs() and shares_server(svc.servers, servers) then
      for name in pairs(svc.used) do
        if there[name] then list[#list + 1] = name end
      end
    end
    if list[1] then
      table.sort(list)
      error(("testing.reset: the service %q of %s is running and uses %s: call svc:stop() "
        .. "before, or give { purge = true }, which takes the messages only"):format(svc.name,
        svc.where, table.concat(list, ", ")), 0)
    end
  end
end

-- ---- the account ----------------------------------------------------------------

---Does `op` for all names, some at a time.
local function for_all(api, op, names)
  local failed, next_one, running = nil, 1, 0
  local done = core.alarm()
  local function work()
    while names[next_one] and not failed do
      local name = names[next_one]
      next_one = next_one + 1
      local _, why, code = ask(api, op .. name)
      if why and code ~= 404 then failed = ("the stream '%s': %s"):format(name, why) end
    end
    running = running - 1
    done:ring()
  end
  for _ = 1, math.min(AT_ONCE, #names) do
    running = running + 1
    core.spawn(work)
  end
  while running > 0 do done:sleep(TIMEOUT) end
  if failed then error("testing.reset: " .. failed, 0) end
end

---@param api { client: table, prefix: string }
---@param servers string[]
---@param services table<testing.service, fun(): boolean> those of the spec, whether they run
---@param purge boolean|nil only the messages
---@return integer count of streams
function M.reset(api, servers, services, purge)
  local count, names = 0, names_of(api)
  if purge then
    -- All pages: nothing goes meanwhile.
    local reply = assert(ask(api, "STREAM.NAMES", { offset = #names }))
    while type(reply.streams) == "table" and reply.streams[1] do
      table.move(reply.streams, 1, #reply.streams, #names + 1, names)
      reply = assert(ask(api, "STREAM.NAMES", { offset = #names }))
    end
    for_all(api, "STREAM.PURGE.", names)
    return #names
  end
  while names[1] do
    check_unused(services, servers, names)
    for_all(api, "STREAM.DELETE.", names)
    count, names = count + #names, names_of(api)
  end
  return count
end

return M
