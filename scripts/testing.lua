---Testing services with busted: private servers, services in the same process, time on command.
---Everything that waits waits for the event, never for a while.
local core = require "lunats.core"
local codecs = require "lunats.codec"
local subject = require "lunats.subject"
local came = require "lunats.testing.came"
local connection = require "lunats.testing.connection"
local fake = require "lunats.testing.fake"
local reset = require "lunats.testing.reset"
---Nil outside of busted.
local guard = require("lunats.testing.guard").current()

local M = { fake_js_msg = fake.js_msg, replay = require("lunats.testing.replay").replay }

local DEFAULT_TIMEOUT = require("lunats.testing.guard").timeout
---Milliseconds.
local PATIENCE = 50

-- ---- servers ---------------------------------------------------------------

---Starts a private nats-server with JetStream, gone when the spec is over. `tls = true` makes
---it a server with TLS, `tls = "verify"` one that wants certificates from clients too: those
---of testing.certificates() are good.
function M.broker(opts)
  local tls = type(opts) == "table" and opts.tls
  if tls then
    if tls ~= true and tls ~= "verify" then
      error('testing.broker: tls is true or "verify"', 2)
    end
    if opts.config_file then error("testing.broker: no config_file with tls", 2) end
    local own = {}
    for name, value in pairs(opts) do own[name] = value end
    local config = require("lunats.testing.tls").config(tls == "verify")
    own.tls, own.config = nil, config .. (opts.config or "")
    opts = own
  end
  return assert(core.broker(opts))
end

---URL of the server that the spec is connected to, with user and password where they are in it.
function M.server_url() return core.server_url() end

---Paths of PEM files for connections to servers with TLS: { ca =, cert =, key = }.
function M.certificates() return require("lunats.testing.tls").certificates() end

---A JetStream cluster on loopback; returns a list of brokers with `urls`.
function M.cluster(size, opts)
  opts = core.check("testing.cluster", opts, { config = "string" })
  return require("lunats.testing.cluster").start(size or 3, opts.config or "")
end

-- ---- messages that a service has sent --------------------------------------

local sent = {}

function sent:__index(key)
  if key ~= "data" then return nil end
  local value, code, problem = codecs.read(self.data_type, self.raw)
  if code then error(("%s: the message %s"):format(self.subject, problem), 2) end
  rawset(self, "data", value)
  return value
end

---Whether a service sends there on its own account, to inboxes and to the server: not what a
---spec asks for.
local function is_own_traffic(self, to)
  for _, prefix in ipairs(self.own_prefixes) do
    if to:sub(1, #prefix) == prefix then return true end
  end
  return false
end

---Source text or the path of a file?
local function is_source(text)
  return text:find "\n" ~= nil or not text:find "%.lua$"
end

-- ---- services --------------------------------------------------------------

---@class testing.service
local service = {}
service.__index = service

local sinks = {
  error = function(self, record) self.unexpected[#self.unexpected + 1] = record.text end,
  log = function(self, record)
    self.lines[#self.lines + 1] = { level = record.level, message = record.text,
      fields = record.fields, context = record.context }
  end,
  sent = function(self, record)
    reset.note(self.used, self.js_prefix, record.subject)
    if is_own_traffic(self, record.subject) then return end
    self.sent[#self.sent + 1] = setmetatable(record, sent)
  end,
  fiber = function(self, record) self.tracebacks[#self.tracebacks + 1] = record.text end,
}

---Those of the spec; they go when nobody has them any more.
local services = setmetatable({}, { __mode = "k" })

---Takes what the service has done since the last look.
local function look(self)
  for _, record in ipairs(self.handle:take()) do sinks[record.kind](self, record) end
end

local function tracebacks(self, kind)
  self.tracebacks = {}
  if self.handle:running() then
    self.handle:describe(kind)
    look(self)
  end
  return self.tracebacks
end

---Where the service listens, for a request to a subject that nobody listens to.
local function where_instead(self, to)
  local subjects = {}
  for i, one in ipairs(self.handle:listeners()) do subjects[i] = one.subject end
  if #subjects == 0 then return "the service has no listener" end
  local nearest = core.nearest(to, subjects)
  return ("the service listens to %s%s"):format(table.concat(subjects, ", "),
    nearest and (" (did you mean '%s'?)"):format(nearest) or "")
end

---Lines that tell where to look when a request was not answered.
local function explain(self, to, code)
  local lines = {}
  for _, text in ipairs(self.unexpected) do lines[#lines + 1] = text end
  for _, text in ipairs(tracebacks(self, "handler")) do
    lines[#lines + 1] = "a handler is still running: " .. text
  end
  if #lines == 0 and self.handle:running() then
    if code == "no_responders" then return where_instead(self, to) end
    for _, one in ipairs(self.handle:listeners()) do
      if subject.matches(one.subject, to) and one.received > 0 then
        lines[#lines + 1] = ("the handler of %s (%s) has not answered"):format(one.subject,
          one.where)
      end
    end
  end
  return table.concat(lines, "\n")
end

---@return table|nil msg
---@return table|nil err  whose message ends with the errors of the service
function service:request(to, message, opts)
  opts = opts or {}
  opts.timeout = opts.timeout or DEFAULT_TIMEOUT
  self.asked[to] = true
  local reply, err = self.client.request(to, message, opts)
  if reply then return reply end
  look(self)
  -- A service that answers with an error has answered; the errors it raised are worth knowing.
  local why = err.code == "service_error" and table.concat(self.unexpected, "\n")
    or explain(self, to, err.code)
  if why ~= "" then err.message = err.message .. "\n" .. why end
  return nil, err
end

---Sends a message; returns when the server has it.
function service:publish(to, message, opts)
  self.asked[to] = true
  assert(self.client.publish(to, message, opts))
  assert(self.client.flush(DEFAULT_TIMEOUT))
end

---Asks one of its routes of app.http; no port is open for that.
---@return table|nil res { status =, headers =, cookies =, body =, data = }
function service:http(method, path, opts)
  return require "lunats.testing.http"(self.handle, method, path, opts, DEFAULT_TIMEOUT)
end

---A message of the service as it is given to a spec.
local function shown(msg, data_type)
  if data_type and data_type ~= msg.data_type then
    msg.data_type, msg.data = data_type, nil
  end
  return msg
end

---Waits for a message of the service that no call of expect() has returned before. The error
---says what the service has sent instead.
function service:expect(pattern, opts)
  opts = core.check("svc:expect", opts, { timeout = "number", where = "function",
    data_type = "string|table" })
  codecs.of(opts.data_type, "svc:expect")
  if type(pattern) ~= "string" or not pcall(core.check_pattern, pattern) then
    error(("svc:expect: '%s' is no subject"):format(tostring(pattern)), 2)
  end
  local timeout = opts.timeout or DEFAULT_TIMEOUT
  local deadline = core.hrtime() + timeout
  while true do
    look(self)
    for i, msg in ipairs(self.sent) do
      if not self.expected[msg] and subject.matches(pattern, msg.subject)
        and (not opts.where or opts.where(shown(msg, opts.data_type))) then
        self.expected[msg] = i
        return shown(msg, opts.data_type)
      end
    end
    local left = deadline - core.hrtime()
    if left <= 0 or not self.handle:wait(left) and deadline <= core.hrtime() then
      error(("no message on %s came within %g s:\n%s"):format(pattern, timeout,
        came.instead(self, pattern, explain(self, pattern))), 2)
    end
    if not self.handle:running() then
      error(("no message on %s came: the service has ended\n%s"):format(pattern,
        came.instead(self, pattern, explain(self, pattern))), 2)
    end
  end
end

---Everything that the service has sent to a subject (wildcards allowed).
function service:calls(pattern, opts)
  opts = core.check("svc:calls", opts, { data_type = "string|table" })
  codecs.of(opts.data_type, "svc:calls")
  look(self)
  local found = {}
  for _, msg in ipairs(self.sent) do
    if subject.matches(pattern, msg.subject) then
      found[#found + 1] = shown(msg, opts.data_type)
    end
  end
  return found
end

---Its log lines: { level =, message =, fields =, context = }; with a Lua pattern those whose
---message matches.
function service:logs(pattern)
  look(self)
  local found = {}
  for _, line in ipairs(self.lines) do
    if not pattern or line.message:find(pattern) then found[#found + 1] = line end
  end
  return found
end

---Lua errors that it did not handle, with tracebacks. Asking for them makes them expected.
function service:errors()
  look(self)
  for _, text in ipairs(self.unexpected) do self.known[#self.known + 1] = text end
  self.unexpected = {}
  return self.known
end

---Tracebacks of the handlers (or, with "background", tasks and timers) that live now.
function service:fibers(kind)
  return tracebacks(self, kind or "handler")
end

-- ---- time ------------------------------------------------------------------

---Lets everything happen that is under way: until two round trips to the server change nothing.
---@param timeout number  of each of them
---@param patience integer  how many ms a request is waited for that nobody answers
local function settle(self, timeout, patience)
  local quiet = 0
  while quiet < 2 do
    local received, out, calls, handlers = self.handle:activity()
    assert(self.client.flush(timeout))
    local received2, out2, calls2, handlers2 = self.handle:activity()
    if received ~= received2 or out ~= out2 or handlers ~= handlers2 then
      quiet = 0
    elseif calls2 > 0 and patience > 0 then
      patience = patience - 1
      core.sleep(0.001)
    else
      quiet = quiet + 1
    end
    if calls ~= calls2 then quiet = 0 end
  end
end

---At the end of a test, where the server may be gone, the service, too, or another fiber may
---wait for it: then there is nothing to wait for.
local function settle_if_possible(self, timeout)
  if not self.handle:running() then return end
  -- The server has a queue for each connection: what the service answers has come behind all
  -- that the spec has sent before. Without discovery the answer is that nobody is there.
  pcall(self.client.request, "$SRV.PING." .. self.name, "", { timeout = timeout })
  pcall(settle, self, timeout, 0)
end

---Moves the manual clock: timers, deadlines and back-offs fire in order.
function service:advance(seconds)
  local deadline = self.handle:deadline(seconds)
  settle(self, DEFAULT_TIMEOUT, PATIENCE)
  while not self.handle:advance(deadline) do settle(self, DEFAULT_TIMEOUT, PATIENCE) end
  settle(self, DEFAULT_TIMEOUT, PATIENCE)
  look(self)
end

-- ---- reload ---------------------------------------------------------------

---Reloads the service: from its file, or from a source. Returns when the new version has taken
---over, or nil and the reason why the old one goes on.
function service:reload(source)
  if source and not is_source(source) then
    local file = assert(io.open(source, "rb"))
    source = file:read "a"
    file:close()
  end
  local ok, err = self.handle:reload(source)
  look(self)
  if not ok then self:errors() end -- the caller has been told
  return ok, err
end

-- ---- faults and end --------------------------------------------------------

---The service loses its connection for that many seconds.
function service:partition(seconds) self.handle:partition(seconds) end

---Stops in order; returns the exit status that a process would have had.
function service:stop()
  local status = self.handle:stop()
  look(self)
  self.client.handle:close()
  return status
end

---@return string[]  errors nobody has asked for, which become known
function service:take_unexpected()
  look(self)
  local texts = self.unexpected
  if #texts > 0 then self:errors() end
  return texts
end

-- ---- starting --------------------------------------------------------------

local START_OPTIONS = {
  server = "string|table", name = "string", clock = "string", stubs = "table",
  libs = "string", log = "boolean", drain_timeout = "number",
}

for name, kind in pairs(connection.OPTIONS) do START_OPTIONS[name] = kind end

---A double of another service: a function, or a table with one and its data_type.
local function check_stub(to, fn)
  local what, opts = ("testing.start: the stub of '%s'"):format(to), {}
  if type(fn) == "table" then
    for name, value in pairs(fn) do opts[name] = value end
    fn, opts[1] = opts[1], nil
  end
  core.check(what, opts, { data_type = "string|table" })
  if type(fn) ~= "function" then
    error(what .. " is a function, or a table with one and its data_type", 3)
  end
  return { fn = fn, opts = opts }
end

---They answer on the spec's connection.
local function listen(self, to, stub)
  self.client.listen(to, stub.opts, function(msg)
    local results = table.pack(xpcall(stub.fn, core.traceback, msg))
    if results[1] then return table.unpack(results, 2, results.n) end
    self.unexpected[#self.unexpected + 1] = ("stub of %s: %s"):format(to, results[2])
    return nil, { code = 500, message = results[2] }
  end)
end

---Starts a service in this process, on the same loop, with its own Lua state and connection.
---@param script string  path of a file, or the source itself
function M.start(script, opts)
  opts = core.check("testing.start", opts, START_OPTIONS)
  if opts.clock and opts.clock ~= "manual" and opts.clock ~= "real" then
    error('testing.start: clock must be "manual" or "real"', 2)
  end
  if opts.libs and opts.libs ~= "all" and opts.libs ~= "safe" then
    error('testing.start: libs must be "all" or "safe"', 2)
  end
  local stubs = {}
  for to, fn in pairs(opts.stubs or {}) do stubs[to] = check_stub(to, fn) end
  local connect = connection.of("testing.start", opts, M.server_url())
  local self = setmetatable({ unexpected = {}, known = {}, lines = {}, sent = {},
    expected = {}, tracebacks = {}, asked = {}, manual = opts.clock == "manual",
    used = {}, servers = connect.servers, js_prefix = connect.js_prefix or "$JS.API" }, service)
  self.own_prefixes = { (connect.inbox_prefix or "_INBOX") .. ".", "$JS.", "lunats.events.",
    connect.js_prefix and connect.js_prefix .. "." }
  self.client = assert(core.connect(connect))
  for to, stub in pairs(stubs) do listen(self, to, stub) end
  assert(self.client.flush(DEFAULT_TIMEOUT))
  local source = is_source(script) and script or nil
  local path = source and "service.lua" or script
  local handle, running = core.start_service(connect, path, source, {
    name = opts.name, manual_clock = opts.clock == "manual", log = opts.log,
    safe_libs = opts.libs == "safe",
    coverage = package.loaded["luacov.runner"] ~= nil,
    -- Handlers that wait for a clock which stands still will not end by themselves.
    drain_timeout = opts.drain_timeout or opts.clock == "manual" and 0.1 or 1,
  })
  self.handle = handle
  look(self)
  if not running then
    self.client.handle:close()
    error("the service did not start:\n" .. table.concat(self.unexpected, "\n"), 2)
  end
  self.name, self.instance_id = handle:name()
  local caller = debug.getinfo(2, "Sl")
  self.where = ("%s:%d"):format(caller.short_src, caller.currentline)
  services[self] = function()
    look(self)
    return handle:running()
  end
  if guard then
    guard:add(self, self.where,
      function(timeout) settle_if_possible(self, timeout) end)
  end
  return self
end

-- ---- between tests ---------------------------------------------------------

local RESET_OPTIONS = { purge = "boolean" }
for name, kind in pairs(connection.OPTIONS) do RESET_OPTIONS[name] = kind end

---Deletes all streams, and with them consumers and buckets, of an account. Raises when a
---service is running that uses one of them.
---@param target testing.broker|testing.cluster|string|nil
---@param opts table|nil
---@return integer count of streams
function M.reset(target, opts)
  local own = {}
  for name, value in pairs(core.check("testing.reset", opts, RESET_OPTIONS)) do
    own[name] = value
  end
  if type(target) == "table" then target = target.urls end
  own.server = type(target) == "userdata" and target.url or target
  local connect = connection.of("testing.reset", own, M.server_url())
  local client = assert(core.connect(connect))
  local ok, result = pcall(reset.reset, { client = client,
    prefix = connect.js_prefix or "$JS.API" }, connect.servers, services, own.purge)
  client.handle:close()
  if not ok then error(result, 2) end
  return result
end

---Errors of the spec's own fibers that were not handled. Asking for them makes them expected.
function M.errors() return guard and guard:take_own() or {} end


return M
