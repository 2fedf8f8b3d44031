---app.cron: what is due at certain times, each time in one instance of the fleet.
---
---Every instance publishes each tick into a stream, under the same id and expecting the same
---last tick before it, so that the stream takes one of them; the last tick stays there, and
---tells what was missed. A durable consumer gives the ticks of a job to one instance, one at a
---time. Servers that are killed forget what they have delivered, and what was acknowledged; so
---each run is noted in the stream, when it begins and when it is over, and a tick that comes to
---a second instance does not run there while the first one works on it, or has done it.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local expressions = require "lunats.cron.expression"
local fleet = require "lunats.js.fleet"
local json = require "lunats.json"
local publishing = require "lunats.js.publish"
local pull = require "lunats.js.pull"
local schedule = require "lunats.cron.schedule"
local stored = require "lunats.js.stored"
local zones = require "lunats.cron.zone"

local M = {}

local STREAM = "LUNATS_CRON"

---Ticks of a job that the stream keeps, and notes about runs; and how many are made up for.
local KEPT, MOST_MISSED = 1000, 400

---Seconds within which a tick is in time while the next one is not due.
local GRACE = 30

---Attempts unless asked for.
local MAX_DELIVER = 5

---Seconds after which another instance gets a tick of one that has gone; one that works on it
---says so.
local ACK_WAIT = 5

---Seconds for which an instance that has begun a run may be out of reach before it is taken for
---dead: it comes back after an outage of its server.
local DEAD = 5

---Clocks are set: nobody sleeps longer than this without a look.
local LOOK = 60

---Seconds between two attempts to reach a stream.
local RETRY_FIRST, RETRY_LAST = 0.25, 2

local CONFIG = {
  name = STREAM, subjects = { "lunats.cron.>" }, storage = "file", discard = "old",
  max_msgs_per_subject = KEPT, duplicate_window = 120,
  description = "ticks and runs: app.cron of lunats",
}

---Why a stream that is there cannot keep ticks.
local function fault(found)
  if found.retention ~= "limits" then
    return ("retention is '%s', so the last tick does not stay"):format(found.retention)
  end
  if found.max_msgs_per_subject and found.max_msgs_per_subject > 0
    and found.max_msgs_per_subject < 2 then
    return "max_msgs_per_subject is 1"
  end
  if found.storage ~= "file" then
    return ("storage is '%s', so it forgets what has run when a server starts again")
      :format(found.storage)
  end
  if found.sealed then return "it is sealed" end
end

---@class cron.job
---@field name string
---@field label string
---@field text string  the expression as it was given
---@field expression cron.expression
---@field zone cron.zone
---@field catch_up number
---@field sequence integer|nil  of the last tick in the stream
---@field due integer|nil  when the next one is
---@field runs integer
---@field errors integer
---@field missed integer
---@field stopped boolean|nil
local job = {}

local declared = {}

-- ---- telling ---------------------------------------------------------------------

local meter

---@param outcome "ok"|"error"|"missed"
---@param n integer  0: it is shown before there is one, so that a rate sees the first
local function count(self, outcome, n)
  meter = meter or core.meter("counter", "lunats_cron_runs_total",
    "Runs of cron jobs in this instance, by how they ended; missed: too late to run.",
    { "cron", "result" }, {})
  meter:inc(n, { cron = self.name, result = outcome })
end

---Once for each reason.
local function warn(self, text)
  if self.warned ~= text then core.log(2, ("%s: %s"):format(self.label, text)) end
  self.warned = text
end

local function text_of(time) return os.date("!%Y-%m-%dT%H:%M:%SZ", time) end

---Calls attempt() until it returns something; what it fails with is logged, not returned.
local function insist(self, attempt)
  local delay = RETRY_FIRST
  while true do
    local result, err = attempt()
    if result then
      self.warned = nil
      return result
    end
    warn(self, err.message)
    core.sleep(delay)
    delay = math.min(delay * 2, RETRY_LAST)
  end
end

-- ---- what the stream has ---------------------------------------------------------

---The last message of a subject.
---@return table|nil message what it says, and its `sequence`, 0 where there is none
---@return table|nil err
local function last_of(subject)
  local message, err = stored.get({ name = STREAM }, { last_by_subj = subject })
  if not message then
    if err.code == "not_found" then return { sequence = 0, time = -math.huge } end
    return nil, err
  end
  local value = json.decode(message.data)
  local time = type(value) == "table" and math.tointeger(value.time)
  if not time then
    return nil, api.failure("jetstream", "the last message on '%s' is no tick", subject)
  end
  value.sequence, value.time = message.sequence, time
  return value
end

-- ---- ticks -----------------------------------------------------------------------

---Too late to run: another one is due already, or it was due too long ago.
local function is_late(self, time, now)
  if now - time <= self.catch_up then return false end
  if now - time > GRACE then return true end
  local next_one = schedule.next(self.expression, self.zone, time)
  return next_one ~= nil and next_one <= now
end

---@return boolean|nil known  whether the stream has it, from whomever
---@return table|nil err
local function publish(self, time)
  local id = ("%s.%s@%d"):format(app.name, self.name, time)
  local ack, err = publishing.publish(self.subject, { job = self.name, time = time,
    due = text_of(time) }, { msg_id = id, expected_last_subject_seq = self.sequence })
  if ack then
    self.sequence = ack.seq
    return true
  end
  if err.code ~= "wrong_last_sequence" then return nil, err end
  local last
  last, err = last_of(self.subject)
  if not last then return nil, err end
  self.sequence = last.sequence
  return last.time >= time or nil, err
end

local function sleep_until(self, time)
  while not self.stopped do
    local left = time - core.now()
    if left <= 0 then return end
    self.alarm:sleep(math.min(left, LOOK))
  end
end

local function miss(self, time)
  self.missed = self.missed + 1
  count(self, "missed", 1)
  core.log(2, ("%s: the tick of %s is left out: it is too late for it"):format(self.label,
    text_of(time)))
end

---Until the stream has the tick, or it is too late for it.
local function tick(self, time)
  local delay = RETRY_FIRST
  while not self.stopped do
    if is_late(self, time, core.now()) then return miss(self, time) end
    local known, err = publish(self, time)
    if known then
      self.warned = nil
      return
    end
    if err and err.code ~= "wrong_last_sequence" then warn(self, err.message) end
    self.alarm:sleep(delay)
    delay = math.min(delay * 2, RETRY_LAST)
  end
end

---Seconds after which a tick cannot be in time any more.
local function window(self) return math.ceil(math.max(self.catch_up, GRACE)) + 1 end

---The moment after which ticks are of interest.
local function beginning(self, now)
  local last = insist(self, function() return last_of(self.subject) end)
  self.sequence = last.sequence
  if last.sequence == 0 then return now end
  local from = math.max(last.time, now - window(self))
  -- Of more than the stream keeps the first ones would be lost again.
  local time = from
  local found, oldest = 0, {}
  while self.catch_up > 0 do
    time = schedule.next(self.expression, self.zone, time)
    if not time or time > now then break end
    local place = found % MOST_MISSED + 1
    if found >= MOST_MISSED then from = oldest[place] end
    oldest[place], found = time, found + 1
    if found % 1000 == 0 then core.sleep(0) end -- others get their turn
  end
  return from
end

local function publish_ticks(self)
  core.label(self.label)
  local after = beginning(self, math.floor(core.now()))
  while not self.stopped do
    self.due = schedule.next(self.expression, self.zone, after)
    if not self.due then
      self.alarm:sleep(86400)
    else
      sleep_until(self, self.due)
      after = self.due
      if self.stopped then return end
      local now = core.now()
      if now - after > window(self) then -- the process stood still: not one by one
        miss(self, after)
        after = beginning(self, math.floor(now))
      else
        tick(self, after)
      end
    end
  end
end

-- ---- runs ------------------------------------------------------------------------

---Whether an instance answers.
local function is_alive(id)
  return core.request(("$SRV.PING.%s.%s"):format(app.name, id), nil, { timeout = 1 }) ~= nil
end

---@param state "running"|"done"|"failed"
local function note_of(self, run, state)
  return { job = self.name, time = run.time, state = state, instance = app.instance_id,
    run = run.id, seconds = run.began and core.clock() - run.began }
end

---Whether another run of the tick is under way, as far as anybody knows.
---@param run table  silent: since when nobody answers for it
local function is_running(last, run)
  if last.time ~= run.time or last.state ~= "running" then return false end
  if type(last.instance) == "string" and is_alive(last.instance) then
    run.silent = nil
    return true
  end
  run.silent = run.silent or core.clock()
  return core.clock() - run.silent < DEAD
end

---Waits until the run may begin.
---@return boolean begins  false: the tick has run
local function begin(self, run)
  while true do
    local last = insist(self, function() return last_of(self.run_subject) end)
    if last.run == run.id then return true end
    if last.time > run.time or last.time == run.time and last.state == "done" then
      return false
    end
    if is_running(last, run) then
      core.sleep(0.5)
    else
      local ack, err = publishing.publish(self.run_subject, note_of(self, run, "running"),
        { expected_last_subject_seq = last.sequence, msg_id = run.id })
      if ack then return true end
      if err.code ~= "wrong_last_sequence" then
        warn(self, err.message)
        core.sleep(RETRY_FIRST)
      end
    end
  end
end

---Notes how it has ended, before the tick is settled.
local function finish(self, run, state)
  insist(self, function()
    return publishing.publish(self.run_subject, note_of(self, run, state),
      { msg_id = run.id .. state })
  end)
end

---A run that is cut off, when the service stops, cannot wait for an answer.
local unfinished = { __close = function(self)
  if self.over then return end
  core.publish(self.job.run_subject, note_of(self.job, self, "failed"))
end }

---What a function has returned that has failed without raising anything.
local function is_failure(first, second) return first == nil and second ~= nil end

local function call(self, run, attempt)
  local results = table.pack(core.protect(self.fn, { time = run.time, name = self.name,
    attempt = attempt, id = ("%s.%s@%d"):format(app.name, self.name, run.time) }))
  if not results[1] and core.cancelled() then error(results[2], 0) end
  local ok = results[1] and not is_failure(results[2], results[3])
  run.over = true
  self[ok and "runs" or "errors"] = self[ok and "runs" or "errors"] + 1
  count(self, ok and "ok" or "error", 1)
  finish(self, run, ok and "done" or "failed")
  if not results[1] then error(results[2], 0) end
  if not ok then return nil, results[3] end
end

---@param msg msg
local function run_tick(self, msg)
  local time, attempt = msg.data.time, msg.metadata.num_delivered
  if attempt == 1 and is_late(self, time, core.now()) then
    local last = insist(self, function() return last_of(self.run_subject) end)
    if last.time < time then miss(self, time) end
    return
  end
  local run <close> = setmetatable({ job = self, time = time, id = core.new_inbox(),
    over = true }, unfinished)
  if not begin(self, run) then return end
  run.over, run.began = false, core.clock()
  return call(self, run, attempt)
end

local function consume(self)
  self.psub = pull.subscribe(self.subject, { stream = STREAM, durable = self.durable,
    config = { durable_name = self.durable, filter_subject = self.subject,
      ack_policy = "explicit", ack_wait = ACK_WAIT, max_ack_pending = 1 } })
  self.psub.unwatched = true
  insist(self, function()
    if self.stopped then return true end
    return self.psub:consume({ max_messages = 1, max_deliver = self.max_deliver,
      backoff = self.backoff, dead_letter = self.dead_letter },
      function(msg) return run_tick(self, msg) end)
  end)
end

-- ---- declaring -------------------------------------------------------------------

local running = false

local function start(self)
  self.subject = ("lunats.cron.%s.%s"):format(app.name, self.name)
  self.run_subject = self.subject .. ".run"
  self.durable = ("%s=%s"):format(app.name, self.name)
  for _, result in ipairs { "ok", "error", "missed" } do count(self, result, 0) end
  core.background(consume, self)
  core.background(publish_ticks, self)
end

---A name that is the same in all instances: of the expression.
function M.name_of(text)
  return (text:gsub("[*?]", "x"):gsub("[^%w]+", "_"):gsub("^_", ""):gsub("_$", ""))
end

local function check_name(name)
  if not name:find "^[%w_-]+$" or #name > 100 then
    core.blame(("app.cron: the name '%s' may have letters, digits, '_' and '-'"):format(name))
  end
  for _, one in ipairs(declared) do
    if one.name == name then
      core.blame(("app.cron: there is a job '%s' already: give this one a name"):format(name))
    end
  end
end

local OPTIONS = { zone = "string", name = "string", catch_up = "number", max_deliver = "number",
  backoff = "table", dead_letter = "string" }

local function check_options(opts)
  opts = core.check("app.cron", opts, OPTIONS)
  check.seconds("app.cron", "catch_up", opts.catch_up)
  check.whole("app.cron", "max_deliver", opts.max_deliver, 1)
  for i, delay in ipairs(opts.backoff or {}) do
    check.seconds("app.cron", ("backoff[%d]"):format(i), delay)
  end
  if opts.dead_letter and not pcall(core.check_subject, opts.dead_letter) then
    core.blame(("app.cron: dead_letter: invalid subject '%s'"):format(opts.dead_letter))
  end
  return opts
end

---Runs fn when the expression is due, each time in one of all instances.
---@param text string
---@param opts table|nil
---@param fn fun(tick: cron.tick): any, any
---@return cron.job
function M.cron(text, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  check.string("app.cron", "the expression", text)
  check.fn("app.cron", fn)
  opts = check_options(opts)
  local expression, why = expressions.parse(text)
  if not expression then core.blame(("app.cron: '%s': %s"):format(text, why)) end
  local zone
  zone, why = zones.open(opts.zone or "UTC")
  if not zone then core.blame("app.cron: " .. why) end
  local name = opts.name or M.name_of(text)
  check_name(name)
  local self = setmetatable({ name = name, label = "cron " .. name, text = text, fn = fn,
    expression = expression, zone = zone, catch_up = opts.catch_up or 0,
    max_deliver = opts.max_deliver or MAX_DELIVER, backoff = opts.backoff,
    dead_letter = opts.dead_letter, runs = 0, errors = 0, missed = 0,
    alarm = core.alarm() }, job)
  declared[#declared + 1] = self
  core.declare()
  core.defer_start(function()
    if running then return end
    local ok, err = fleet.ensure("app.cron", CONFIG, fault)
    if not ok then error(err.message, 0) end
  end)
  if running then start(self) end
  return self
end

---No further run in this instance; one that runs now goes on to its end. The others go on.
function job:stop()
  self.stopped = true
  for i, one in ipairs(declared) do
    if one == self then table.remove(declared, i) break end
  end
  self.alarm:ring()
  if self.psub then self.psub:stop() end
end

---When it is due next.
---@return integer|nil time  Unix time
function job:next()
  return schedule.next(self.expression, self.zone, math.floor(core.now()))
end

---@return cron.job[]
function M.list() return declared end

core.at_run(function()
  running = true
  for _, self in ipairs { table.unpack(declared) } do start(self) end
end)

check.class("job", job)
M.methods = job

return M
