---One run of bench/chaos.lua: sets all up, lets things happen, and looks what is left.
local check = require "bench.chaos.check"
local core = require "lunats.core"
local faults = require "bench.chaos.faults"
local fleet = require "bench.chaos.fleet"
local load = require "bench.chaos.load"
local plan = require "bench.chaos.plan"
local process = require "spec.support.process"
local rest = require "bench.chaos.rest"
local script = require "bench.chaos.script"
local server = require "bench.chaos.server"

---Calls again until the server has done it.
local function insist(fn, ...)
  local til = core.hrtime() + 60
  while true do
    local result, err = fn(...)
    if result then return result end
    if core.hrtime() > til then error(err, 2) end
    app.sleep(0.2)
  end
end

local function make_streams(self)
  local js, replicas = self.nats.js, self.server.replicas
  insist(js.add_stream, { name = "CHAOS", subjects = { "chaos.work.>", "chaos.push.>" },
    duplicate_window = 120, num_replicas = replicas })
  insist(js.add_stream, { name = "DEAD", subjects = { "dead.>" }, num_replicas = replicas })
  insist(js.create_key_value, { bucket = "CHAOS", replicas = replicas })
end

local function say(text, ...)
  print(text:format(...))
  io.stdout:flush()
end

local function set_up(opts)
  local self = { faults = {}, opts = opts }
  function self.fault(text)
    self.faults[#self.faults + 1] = text
    say("FAULT: %s", text)
  end
  self.server = server.start(opts.cluster)
  local urls = {}
  for i, node in ipairs(self.server.nodes) do urls[i] = node.url end
  self.nats = assert(app.connect { server = urls, retry = true, ping_interval = 1,
    name = "chaos" })
  make_streams(self)
  self.script = script.new()
  self.link = fleet.link(self.server.nodes[1].port)
  local direct = self.server:node(1).url
  self.a = fleet.member("a", { scripts = { self.script.path }, on_fault = self.fault,
    url = (urls[1]:gsub("127%.0%.0%.1:%d+", self.link.url)) })
  self.b = fleet.member("b", { scripts = { self.script.path }, on_fault = self.fault,
    url = direct, clock = true })
  self.members = { self.a, self.b }
  self.load = load.start(self.nats)
  fleet.supervise(self)
  return self
end

---A taste of it, so that what a process needs for good is there; then what it has at rest.
local function warm_up(self)
  if not check.ready(self) then
    error("the services do not start:\n" .. self.a:output() .. self.b:output(), 0)
  end
  self.load:run()
  self.load:flood(2500)
  app.sleep(1)
  self.script:write()
  app.sleep(1)
  check.newest(self)
  self.load:pause(30)
  for _, one in ipairs(self.members) do one.before = rest.settled(one, 20) end
end

---@param opts table  seconds, seed, logs
---@return boolean whether nothing was lost
return function(opts)
  say("chaos: seed %d, %g s", opts.seed, opts.seconds)
  local self = set_up(opts)
  local began = core.hrtime()
  warm_up(self)
  self.load:run()
  local counts = faults.run(self, plan.make(opts.seed, opts.seconds), function(_, event)
    if opts.logs then
      say("%7.1f s  %s %s %.1f s", core.hrtime() - began, event.kind, event.on or "",
        event.lasts)
    end
  end)
  self.load:pause(30)
  make_streams(self)
  check.all(self, counts, say)
  self.over, self.load.over = true, true
  fleet.save_logs(self.opts.logs, self.members, self.server.nodes)
  self.nats.close()
  fleet.stop(self.members, self.fault)
  self.server:stop()
  local ok, report = pcall(process.close_all)
  if not ok then self.fault(tostring(report)) end
  say("%s", #self.faults == 0 and "nothing was lost" or #self.faults .. " faults")
  return #self.faults == 0
end
