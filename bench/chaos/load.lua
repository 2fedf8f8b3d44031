---Requests and messages all the time, and what became of each. This is the checker: it has a
---connection of its own and believes no service.
local core = require "lunats.core"

local M = {}
local load = {}
load.__index = load

---Seconds between two requests of a fiber.
local PACE = 0.03
---Seconds that a request may end after its timeout, besides what this process was late itself.
local MARGIN = 0.5
---Seconds between two looks at the clock.
local TICK = 0.02

---@param nats table  of app.connect
function M.start(nats)
  local self = setmetatable({ nats = nats, running = true, fibers = 0, asked = 0, answered = 0,
    failed = {}, late = {}, wrong = {}, next = 0, accepted = {}, poison = {}, behind = 0,
    slept_at = core.hrtime(), flooded = 0, flood_answers = 0,
    twice = 0, seen = {}, inbox = "chaos.flood" }, load)
  self:watch_the_clock()
  nats.listen(self.inbox .. ".*", { queue = false, data_type = "string" }, function(msg)
    local number = msg.subject:match "%d+$"
    if self.seen[number] then self.twice = self.twice + 1 end
    self.seen[number] = true
    self.flood_answers = self.flood_answers + 1
  end)
  return self
end

function load:watch_the_clock()
  app.spawn(function()
    while not self.over do
      self.slept_at = core.hrtime()
      app.sleep(TICK)
      self.behind = self.behind + core.hrtime() - self.slept_at - TICK
    end
  end)
end

---How late this process is itself, summed up: what a request took beyond its timeout while this
---grew is not the fault of anybody else. What is late may be so as well where this is asked.
function load:own_delay()
  return self.behind + math.max(0, core.hrtime() - self.slept_at - TICK)
end

local function count(list, key) list[key] = (list[key] or 0) + 1 end

function load:number()
  self.next = self.next + 1
  return self.next
end

---Asks, and writes down how it went.
---@return table|nil answer
function load:ask(subject, message, timeout, expected)
  local began, delay = core.hrtime(), self:own_delay()
  self.asked = self.asked + 1
  local reply, err = self.nats.request(subject, message, { timeout = timeout })
  local took, own = core.hrtime() - began, self:own_delay() - delay
  if took > timeout + MARGIN + own then
    self.late[#self.late + 1] = ("%s: %.1f s, with a timeout of %g s; %.1f s of it was our own")
      :format(subject, took, timeout, own)
  end
  if not reply then
    count(self.failed, err.code == "service_error" and ("%s %s"):format(err.code, err.status)
      or err.code)
    return nil
  end
  self.answered = self.answered + 1
  if expected and (type(reply.data) ~= "table" or reply.data.n ~= expected) then
    self.wrong[#self.wrong + 1] = ("%s: %s instead of %d"):format(subject, reply.raw, expected)
    return nil
  end
  return reply
end

---Fibers that do something again and again until the load ends.
function load:repeat_it(times, fn)
  for _ = 1, times do
    self.fibers = self.fibers + 1
    app.spawn(function()
      while self.running do
        fn()
        app.sleep(PACE)
      end
      self.fibers = self.fibers - 1
    end)
  end
end

local LANES = { "chaos.work.", "chaos.push." }

local function lane(number) return LANES[1 + number % #LANES] .. number end

function load:run()
  self.running = true
  local askers = { ["chaos.echo"] = 3, ["chaos.chain"] = 2, ["chaos.slow"] = 1 }
  for subject, fibers in pairs(askers) do
    self:repeat_it(fibers, function()
      local n = self:number()
      self:ask(subject, { n = n }, 3, n)
    end)
  end
  self:repeat_it(2, function()
    local n = self:number()
    if self:ask("chaos.store", { n = n, subject = lane(n) }, 3, n) then
      self.accepted[n] = lane(n)
    end
  end)
  self:repeat_it(2, function() self:publish(self:number()) end)
end

---Publishes into the stream; a body that is no JSON is poison to its handler.
function load:publish(n, body)
  local subject = body and "chaos.work." .. n or lane(n)
  local ack, err = self.nats.js.publish(subject, body or { n = n },
    { msg_id = tostring(n), timeout = 3 })
  if not ack then
    count(self.failed, "publish: " .. err.code)
  elseif body then
    self.poison[n] = subject
  else
    self.accepted[n] = subject
  end
end

---Thousands of requests at once; their answers are counted, each may come once.
function load:flood(many)
  for i = self.flooded + 1, self.flooded + many do
    self.nats.publish("chaos.echo", { n = i }, { reply_to = self.inbox .. "." .. i })
  end
  self.flooded = self.flooded + many
end

---Ends the load, and waits until nothing of it is under way.
---@return boolean whether all has ended
function load:pause(timeout)
  self.running = false
  local til = core.hrtime() + timeout
  while self.fibers > 0 and core.hrtime() < til do app.sleep(0.05) end
  return self.fibers == 0
end

return M
