---One run of bench/order.lua.
local core = require "lunats.core"
local process = require "spec.support.process"
local testing = require "lunats.testing"

---Seconds without any progress after which it is given up.
local PATIENCE = 120

local function say(text, ...)
  print(text:format(...))
  io.stdout:flush()
end

---Messages 1, 2, 3, ... of each key, all keys mixed.
local function publish(nats, opts)
  local next_of = {}
  for _ = 1, opts.messages do
    local key = math.random(opts.keys)
    local i = (next_of[key] or 0) + 1
    next_of[key] = i
    local subject = opts.elastic == 1 and "work." .. key
      or ("%d.work.%d"):format(key % opts.partitions, key)
    assert(nats.js.publish_async(subject, tostring(i), { timeout = 60 }))
  end
  assert(nats.js.flush(120))
  return next_of
end

---A process for some of the partitions.
local function start(self, worker)
  worker.process = process.spawn({ process.lunats(), "run", "-s", self.url,
    self.group and "bench/order/member.lua" or "bench/order/worker.lua" },
    { env = { PARTITIONS = table.concat(worker.partitions, ","), MEMBER = worker.name } })
end

local function start_all(self, opts)
  self.workers = {}
  for number = 1, opts.workers do
    self.workers[number] = { partitions = {}, name = "m" .. number }
  end
  for partition = 0, opts.partitions - 1 do
    table.insert(self.workers[partition % opts.workers + 1].partitions, partition)
  end
  for _, worker in ipairs(self.workers) do start(self, worker) end
  for _, worker in ipairs(self.workers) do worker.process:expect "started, connected" end
end

local function kill_some(self, opts)
  while not self.over do
    app.sleep(opts.every * (0.5 + math.random()))
    if self.over then return end
    local worker = self.workers[math.random(#self.workers)]
    worker.process:signal "KILL"
    worker.process:wait()
    self.kills = self.kills + 1
    start(self, worker)
  end
end

---One member leaves the list, and another one comes back.
local function change_some(self, opts)
  while not self.over do
    app.sleep(opts.every * (0.5 + math.random()))
    if self.over then return end
    local names, out = {}, math.random(opts.workers + 1) -- it may be none
    for number, worker in ipairs(self.workers) do
      if number ~= out then names[#names + 1] = worker.name end
    end
    if self.group:set_members(names) then self.changes = self.changes + 1 end
  end
end

local function make_streams(self, opts)
  local js, subjects = self.nats.js, { "work.*" }
  if opts.elastic ~= 1 then
    for i = 0, opts.partitions - 1 do subjects[i + 1] = ("%d.work.*"):format(i) end
  end
  assert(js.add_stream { name = "WORK", subjects = subjects, storage = "memory" })
  assert(js.add_stream { name = "DONE", subjects = { "done.*" }, storage = "memory",
    duplicate_window = 120 })
  if opts.elastic ~= 1 then return end
  local names = {}
  for number = 1, opts.workers do names[number] = "m" .. number end
  self.group = assert(js.create_elastic_group("WORK", "order", { partitions = opts.partitions,
    filters = { "work.*" }, members = names }))
  self.nats.listen("again", { queue = false }, function() self.again = self.again + 1 end)
end

local function wait_for_all(self, opts)
  local before, since = -1, core.hrtime()
  local began, next_line = since, opts.messages / 10
  while true do
    local info = self.nats.js.stream_info "DONE" -- or it was too busy to answer in time
    local done = info and info.state.messages or before
    if done >= next_line then
      next_line = next_line + opts.messages / 10
      say("  %d messages after %.0f s, %d workers were killed", done, core.hrtime() - began,
        self.kills)
    end
    if done >= opts.messages then return true end
    if done > before then
      before, since = done, core.hrtime()
    elseif core.hrtime() > since + PATIENCE then
      say("FAULT: %d of %d messages are handled, and no more for %d s", done, opts.messages,
        PATIENCE)
      for _, worker in ipairs(self.workers) do print(worker.process:output():sub(-1000)) end
      return false
    end
    app.sleep(0.1)
  end
end

---Whether all has been done, and in order: what is stored twice the server has left out.
local function check(self, opts, sent)
  local last, faults, seen = {}, 0, 0
  local sub = assert(self.nats.js.subscribe("done.*", { stream = "DONE", ordered = true,
    data_type = "string" }, function(msg)
      local key, i = tonumber(msg.subject:match "%d+$"), tonumber(msg.data)
      seen = seen + 1
      if i ~= (last[key] or 0) + 1 then
        faults = faults + 1
        if faults <= 10 then
          say("FAULT: key %d: %d behind %d", key, i, last[key] or 0)
        end
      end
      last[key] = math.max(i, last[key] or 0)
    end))
  while seen < opts.messages do app.sleep(0.05) end
  sub:stop()
  for key, count in pairs(sent) do
    if last[key] ~= count then
      faults = faults + 1
      say("FAULT: key %d: %s of %d", key, tostring(last[key]), count)
    end
  end
  return faults
end

---@param opts table
---@return boolean well
return function(opts)
  math.randomseed(opts.seed)
  local broker = testing.broker()
  local self = { url = broker.url, kills = 0, changes = 0, again = 0 }
  self.nats = assert(app.connect { server = broker.url, name = "order" })
  make_streams(self, opts)
  say("%d messages of %d keys in %d partitions, %d workers, seed %d", opts.messages, opts.keys,
    opts.partitions, opts.workers, opts.seed)
  start_all(self, opts) -- first: a server takes long to make a consumer of a million messages
  local began = core.hrtime()
  local publisher = app.spawn(publish, self.nats, opts)
  local killer = app.spawn(kill_some, self, opts)
  local changer = self.group and app.spawn(change_some, self, opts)
  local complete = wait_for_all(self, opts)
  self.over = true
  killer:await()
  if changer then changer:await() end
  local sent = publisher:await()
  local took = core.hrtime() - began
  for _, worker in ipairs(self.workers) do worker.process:stop() end
  local faults = complete and check(self, opts, sent) or 1
  if self.group then
    local left = self.group:info()
    say("the members were changed %d times; %d messages were handled again, %s are left",
      self.changes, self.again, left and left.pending)
  end
  say("%d workers were killed; %.1f s, %.0f messages per second; %d faults", self.kills, took,
    opts.messages / took, faults)
  self.nats.close()
  broker:stop()
  process.close_all()
  return faults == 0
end
