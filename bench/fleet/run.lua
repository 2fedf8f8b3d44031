---The run of bench/fleet.lua: starts all, restarts all, looks what is lost. What it needs of
---processes, load and checks is that of bench/chaos.lua.
local check = require "bench.chaos.check"
local core = require "lunats.core"
local fleet = require "bench.chaos.fleet"
local load = require "bench.chaos.load"
local process = require "spec.support.process"
local script = require "bench.chaos.script"
local steps = require "bench.fleet.steps"
local testing = require "lunats.testing"

local NAMES = { "a", "b", "c", "d" }

local function say(text, ...)
  print(text:format(...))
  io.stdout:flush()
end

local function make_streams(self)
  local js = self.nats.js
  local function insist(fn, ...)
    local til = core.hrtime() + 60
    while true do
      local result, err = fn(...)
      if result then return end
      if core.hrtime() > til then error(err.message, 2) end
      app.sleep(0.2)
    end
  end
  insist(js.add_stream, { name = "CHAOS", subjects = { "chaos.work.>", "chaos.push.>" },
    duplicate_window = 120, num_replicas = 3 })
  insist(js.add_stream, { name = "DEAD", subjects = { "dead.>" }, num_replicas = 3 })
  insist(js.create_key_value, { bucket = "CHAOS", replicas = 3 })
  insist(js.create_key_value, { bucket = "STOCK", replicas = 3 })
end

local function set_up(opts)
  local self = { faults = {}, opts = opts, members = {}, reserved = {} }
  function self.fault(text)
    self.faults[#self.faults + 1] = text
    say("FAULT: %s", text)
  end
  self.cluster = testing.cluster(3, {
    config = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n',
  })
  self.nats = assert(app.connect { server = self.cluster.urls, retry = true, ping_interval = 1,
    name = "fleet" })
  make_streams(self)
  self.script = script.new()
  for i, name in ipairs(NAMES) do
    self.members[i] = fleet.member(name, { on_fault = self.fault,
      url = table.concat(self.cluster.urls, ","),
      scripts = { self.script.path, "bench/fleet/stock.lua" } })
  end
  self.load = load.start(self.nats)
  fleet.supervise(self)
  return self
end

local function run_load(self)
  self.load:run()
  self.load:repeat_it(2, function()
    local n = self.load:number()
    if self.load:ask("fleet.reserve", { n = n }, 3, n) then self.reserved[n] = true end
  end)
end

---What was answered stands in the bucket.
local function check_stock(self)
  local stock = assert(self.nats.js.key_value "STOCK")
  local there, lost, count = {}, {}, 0
  for _, key in ipairs(assert(stock:keys())) do there[key] = true end
  for n in pairs(self.reserved) do
    count = count + 1
    if not there["r" .. n] then lost[#lost + 1] = n end
  end
  say("reservations answered: %d, kept %d", count, count - #lost)
  if #lost > 0 then
    self.fault(("%d reservations are lost: %s"):format(#lost, table.concat(lost, " ", 1, 20)))
  end
end

local function tear_down(self)
  self.over, self.load.over = true, true
  fleet.save_logs(self.opts.logs, self.members, self.cluster)
  self.nats.close()
  fleet.stop(self.members, self.fault)
  self.cluster:stop()
  local ok, report = pcall(process.close_all)
  if not ok then self.fault(tostring(report)) end
end

---@param opts table  rounds, seconds, logs
---@return boolean whether nothing was lost
return function(opts)
  say("fleet: 3 servers, %d processes, %d rounds", #NAMES, opts.rounds)
  local self = set_up(opts)
  if not check.ready(self) then error("the services do not start", 0) end
  run_load(self)
  local began = core.hrtime()
  local counts = steps.run(self, opts.rounds, opts.seconds, say)
  self.load:pause(30)
  for _, entry in ipairs(counts) do say("%-28s %5d", entry.name, entry.times) end
  say("seconds: %.0f", core.hrtime() - began)
  check.all(self, {}, say)
  check_stock(self)
  tear_down(self)
  say("%s", #self.faults == 0 and "nothing was lost" or #self.faults .. " faults")
  return #self.faults == 0
end
