-- Cron jobs of three processes, whose server is killed again and again: each tick runs once.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

---LN_SOAK: a hundred jobs for a hundred seconds.
local SOAK = os.getenv "LN_SOAK" ~= nil
local JOBS, SECONDS, INSTANCES = SOAK and 100 or 10, SOAK and 100 or 4, 3
local KILL_EVERY = SOAK and 15 or 2

local SOURCE = [[
  app.config { name = "fleet" }
  local runs = 0
  app.on_start(function()
    assert(app.js.ensure_stream { name = "RAN", subjects = { "ran.>" } })
  end)
  for i = 1, JOBS do
    app.cron("* * * * * *", { name = "job-" .. i, catch_up = 60 }, function(tick)
      -- Each run is one message, whatever happens to its acknowledgement.
      runs = runs + 1
      local id = app.instance_id .. runs
      while not app.js.publish("ran." .. i, tick.time, { msg_id = id }) do app.sleep(0.1) end
    end)
  end
]]

describe("Cron jobs", function()
  after_each(function()
    own.close()
    process.close_all()
  end)

  it("run each tick once while servers are killed", function()
    local broker = own.keep(testing.broker())
    local children = {}
    for i = 1, INSTANCES do
      children[i] = process.run(SOURCE:gsub("JOBS", JOBS), {}, { servers = { broker.url } })
      children[i]:expect "started, connected to"
    end
    local connection = assert(app.connect { server = broker.url })
    finally(function() connection.close() end)
    local js = connection.js
    local began, killed, kills = app.now(), app.now(), 0
    while app.now() - began < SECONDS do
      app.sleep(0.1)
      if app.now() - killed > KILL_EVERY then
        broker:kill()
        broker:restart()
        killed, kills = app.now(), kills + 1
      end
    end
    local last = math.floor(app.now())
    -- All that was due until now has run: the last tick of each job says so.
    for i = 1, JOBS do
      eventually("the last run of job " .. i, function()
        local msg = js.get_msg("RAN", { last_by_subject = "ran." .. i })
        return msg and msg.data >= last
      end, 90)
    end
    local counts, total, twice, missing, first = {}, 0, 0, 0, {}
    local psub = js.pull_subscribe("ran.>", { stream = "RAN" })
    while true do
      local list = assert(psub:fetch(500, { no_wait = true }))
      for _, msg in ipairs(list) do
        local job, time = msg.subject, msg.data
        counts[job] = counts[job] or {}
        counts[job][time] = (counts[job][time] or 0) + 1
        first[job] = math.min(first[job] or time, time)
        if time <= last then total = total + 1 end
        msg:ack()
      end
      if #list == 0 then break end
    end
    psub:stop()
    for job, times in pairs(counts) do
      for time = first[job], last do
        local count = times[time] or 0
        if count > 1 then twice = twice + 1 end
        if count == 0 then missing = missing + 1 end
      end
    end
    if SOAK then
      io.stderr:write(("%d jobs, %d s, %d kills: %d runs, %d twice, %d missing\n"):format(JOBS,
        SECONDS, kills, total, twice, missing))
    end
    assert.same({ 0, 0 }, { twice, missing })
    assert.is_true(kills > 0 and total >= JOBS * (SECONDS - 3))
    for _, child in ipairs(children) do assert.equal(0, child:stop(30)) end
  end)
end)
