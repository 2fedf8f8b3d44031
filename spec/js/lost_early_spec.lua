-- A consumer that is lost before it has delivered anything: what comes meanwhile is read all
-- the same, also where a new consumer, made as it was declared, would skip it.
local eventually = require "spec.support.eventually"
local ordered = require "lunats.js.ordered"
local own = require "spec.support.own"

local READERS = {
  consume = function(subject, opts, fn)
    return app.js.pull_subscribe(subject, opts):consume({ heartbeat = 0.2 }, fn)
  end,
  push = function(subject, opts, fn)
    opts.heartbeat = 0.2
    return app.js.subscribe(subject, opts, fn)
  end,
  ["ordered push"] = function(subject, opts, fn)
    opts.ordered = true
    return app.js.subscribe(subject, opts, fn)
  end,
}

describe("a consumer that is lost early", function()
  local heartbeat = ordered.heartbeat

  before_each(function() ordered.heartbeat = 0.2 end)
  after_each(function()
    ordered.heartbeat = heartbeat
    own.close()
  end)

  local function check(read, policy, before)
    local stream = own.stream "early"
    if before then assert(app.js.publish(before:format(stream), 0)) end
    local seen = {}
    own.keep(assert(read(stream .. ".a", { stream = stream,
      config = { deliver_policy = policy } }, function(msg) seen[#seen + 1] = msg.data end)))
    for _, name in ipairs(assert(app.js.consumer_names(stream))) do
      assert(app.js.delete_consumer(stream, name))
    end
    for i = 1, 3 do assert(app.js.publish(stream .. ".a", i)) end
    eventually("all", function() return #seen >= 3 end)
    assert.same({ 1, 2, 3 }, seen)
  end

  for how, read in pairs(READERS) do
    for _, policy in ipairs { "new", "last", "last_per_subject" } do
      it(("is made again where it began: %s of %s"):format(how, policy), function()
        check(read, policy)
        check(read, policy, "%s.other") -- which it does not deliver
        if policy == "new" then check(read, policy, "%s.a") end
      end)
    end
  end
end)
