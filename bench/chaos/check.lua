---What must hold when all is over, and the table that tells of it.
local core = require "lunats.core"
local plan = require "bench.chaos.plan"
local rest = require "bench.chaos.rest"

local M = {}

---Seconds that all may take to be well again, on a machine that does much else.
local PATIENCE = 60

local function each_until(what, chaos, timeout, fn)
  local til = core.hrtime() + timeout
  local why
  repeat
    why = fn()
    if not why then return true end
    app.sleep(0.2)
  until core.hrtime() > til
  chaos.fault(what .. ": " .. why)
  return false
end

---@return boolean
function M.ready(chaos)
  local all = true
  for _, one in ipairs(chaos.members) do
    local ok, why = one:ready(PATIENCE)
    if not ok then chaos.fault(("process %s is not ready: %s"):format(one.name, why)) end
    all = all and ok
  end
  return all
end

---Both processes serve the newest version, and hear of what is put into a bucket.
function M.newest(chaos)
  local wanted = chaos.load:number()
  for _, one in ipairs(chaos.members) do
    each_until("process " .. one.name, chaos, PATIENCE, function()
      chaos.nats.js.key_value("CHAOS"):put("last", wanted)
      local reply, err = chaos.nats.request("chaos.about." .. one.name, "", { timeout = 2 })
      if not reply then return err.message end
      if reply.data.version ~= chaos.script.version then
        return ("version %d serves, the newest is %d"):format(reply.data.version,
          chaos.script.version)
      end
      if reply.data.seen ~= wanted then return "its watch of the bucket has ended" end
    end)
  end
end

-- ---- messages ----------------------------------------------------------------

---@return table<integer, integer> times by number, integer repeated
local function handled(chaos)
  local times, twice = {}, 0
  for _, one in ipairs(chaos.members) do
    for line in io.lines(one.handled) do
      local number = math.tointeger(tonumber(line))
      if number then
        if times[number] then twice = twice + 1 end
        times[number] = (times[number] or 0) + 1
      end
    end
  end
  return times, twice
end

---Adds the numbers of dead letters, as far as the server tells.
local function find_dead_letters(chaos, found)
  local psub = chaos.nats.js.pull_subscribe("dead.chaos", { stream = "DEAD" })
  while psub do
    local msgs = psub:fetch(500, { no_wait = true, timeout = 10 })
    if not msgs or #msgs == 0 then break end
    for _, msg in ipairs(msgs) do
      msg:ack()
      found[tonumber(msg.raw:match "%d+")] = true
    end
  end
  if psub then psub:stop() end
end

local function missing(wanted, ...)
  local list = {}
  for number in pairs(wanted) do
    local there = false
    for _, found in ipairs { ... } do there = there or found[number] end
    if not there then list[#list + 1] = number end
  end
  table.sort(list)
  return list
end

---Splits those that the server itself does not have from those that it has, and nobody handled.
local function judge(chaos, numbers, subjects)
  local lost, gone = {}, 0
  for _, number in ipairs(numbers) do
    local msg, err = chaos.nats.js.get_msg("CHAOS", { last_by_subject = subjects[number] })
    if msg or err.code ~= "not_found" then
      lost[#lost + 1] = subjects[number]
    else
      gone = gone + 1
    end
  end
  return lost, gone
end

local function count(list)
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  return n
end

---Waits for what is accepted to be handled, as long as it goes on.
local function messages(chaos, say)
  local load = chaos.load
  local least, since = math.huge, core.hrtime()
  local unhandled, unburied, twice
  local dead = {}
  repeat
    app.sleep(0.5)
    local times
    times, twice = handled(chaos)
    find_dead_letters(chaos, dead)
    unhandled = missing(load.accepted, times, dead)
    unburied = missing(load.poison, dead)
    if #unhandled + #unburied < least then
      least, since = #unhandled + #unburied, core.hrtime()
    end
  until least == 0 or core.hrtime() - since > PATIENCE
  local lost, gone = judge(chaos, unhandled, load.accepted)
  local unfinished, gone_too = judge(chaos, unburied, load.poison)
  say("messages accepted: %d, handled %d, of these more than once %d; lost by nats-server: %d",
    count(load.accepted), count(load.accepted) - #unhandled, twice, gone)
  say("poison accepted: %d, became dead letters %d; lost by nats-server: %d",
    count(load.poison), count(load.poison) - #unburied, gone_too)
  if #lost > 0 then
    chaos.fault(("%d accepted messages were not handled: %s"):format(#lost,
      table.concat(lost, " ", 1, math.min(#lost, 20))))
  end
  if #unfinished > 0 then
    chaos.fault(("%d messages that fail have not become dead letters: %s"):format(#unfinished,
      table.concat(unfinished, " ", 1, math.min(#unfinished, 20))))
  end
end

-- ---- requests -----------------------------------------------------------------

local function outcome(failed)
  local names, parts = {}, {}
  for name in pairs(failed) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%s %d"):format(name, failed[name]) end
  return #parts > 0 and table.concat(parts, ", ") or "none"
end

local function requests(chaos, say)
  local load = chaos.load
  say("requests: %d, answered %d; failed: %s", load.asked, load.answered, outcome(load.failed))
  say("floods: %d requests, %d answers, twice %d", load.flooded, load.flood_answers, load.twice)
  if load.fibers > 0 then
    chaos.fault(load.fibers .. " requests neither answered nor failed")
  end
  for _, list in ipairs { load.late, load.wrong } do
    for i, text in ipairs(list) do
      if i <= 10 then chaos.fault(text) end
    end
  end
  if load.twice > 0 then chaos.fault(load.twice .. " requests were answered twice") end
end

---When nothing is wrong any more, each request is answered.
local function well_again(chaos)
  for i = 1, 50 do
    local reply, err = chaos.nats.request("chaos.chain", { n = i }, { timeout = 5 })
    if not reply or reply.data.n ~= i then
      chaos.fault("a request after the last event: " .. (err and err.message or reply.raw))
      return
    end
  end
end

-- ---- the processes ---------------------------------------------------------------

local function at_rest(chaos, say)
  say("%-10s %s", "at rest", table.concat(rest.NAMES, ", "))
  for _, one in ipairs(chaos.members) do
    if one.admin and one.before then
      local after, why = rest.wait(one, one.before, 30)
      local texts = {}
      for i, name in ipairs(rest.NAMES) do
        texts[i] = ("%s -> %s"):format(one.before[name], after[name])
      end
      say("%-10s %s (started %d times)", one.name, table.concat(texts, ", "), one.starts)
      if why then chaos.fault(("process %s is not at rest: %s"):format(one.name, why)) end
      each_until("process " .. one.name, chaos, 10, function()
        if (rest.measure(one).ticks or 0) <= (after.ticks or 0) then
          return "its timer does not tick any more"
        end
      end)
    end
  end
end

local function events(counts, say)
  for _, name in ipairs(plan.kinds) do
    local entry = counts[name]
    if entry then
      say("%-28s %5d%s", name, entry.times, entry.skipped > 0
        and (", skipped %d: %s"):format(entry.skipped, entry.why) or "")
    end
  end
end

function M.all(chaos, counts, say)
  events(counts, say)
  if M.ready(chaos) then
    M.newest(chaos)
    well_again(chaos)
  end
  messages(chaos, say)
  requests(chaos, say)
  at_rest(chaos, say)
end

return M
