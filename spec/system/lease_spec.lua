-- A lease among processes, whose holder freezes for longer than it lasts.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local own = require "spec.support.own"
local testing = require "lunats.testing"

---LN_SOAK: how often the holder freezes.
local ROUNDS = tonumber(os.getenv "LN_SOAK") or 1
local INSTANCES, TTL = 5, 1.5

local SOURCE = ([[
  app.config { name = "fleet" }
  app.leader("only", { ttl = %g }, function(token)
    while true do
      app.request("effect", { token = token, instance = app.instance_id }, { timeout = 1 })
      app.sleep(0.005)
    end
  end)
  app.on_start(function() print("instance " .. app.instance_id .. ".") end)
]]):format(TTL)

---Takes effects as a store does that knows of tokens: one that is smaller than one before it is
---refused.
local RECEIVER = [[
  local last, effects = { token = 0 }, { accepted = 0, stale = 0, changed = 0, split = 0 }
  app.listen("effect", { concurrency = 1 }, function(msg)
    local token, instance = msg.data.token, msg.data.instance
    if token < last.token then
      effects.stale = effects.stale + 1
      return nil, { code = 409, message = "stale" }
    end
    effects.accepted = effects.accepted + 1
    if token > last.token then effects.changed = effects.changed + 1 end
    if token == last.token and instance ~= last.instance then
      effects.split = effects.split + 1
    end
    last = msg.data
    return true
  end)
  app.listen("effects", function()
    effects.instance, effects.token = last.instance, last.token
    return effects
  end)
]]

---Stops the process whose effects come; on a busy machine another one may lead by then.
local function freeze(children, effects)
  return table.unpack(eventually("a holder", function()
    if not effects().instance then return nil end
    local holder = children[effects().instance]
    holder:signal "STOP"
    app.sleep(0.1)
    local before = effects()
    app.sleep(0.2)
    if effects().accepted == before.accepted then return { holder, before } end
    holder:signal "CONT"
  end))
end

describe("A lease", function()
  after_each(function()
    own.close()
    process.close_all()
  end)

  it("has one holder at a time, while holders freeze and come back", function()
    local broker = own.keep(testing.broker())
    local receiver = own.start(RECEIVER, { server = broker.url })
    local children = {}
    for _ = 1, INSTANCES do
      local child = process.run(SOURCE, {}, { servers = { broker.url } })
      children[child:expect "instance (%w+)%."] = child
    end
    local function effects() return assert(receiver:request("effects", "")).data end
    for round = 1, ROUNDS do
      local holder, before = freeze(children, effects)
      local frozen = app.now()
      eventually("another holder", function() return effects().token > before.token end)
      local taken = app.now() - frozen
      while app.now() - frozen < 3 * TTL do app.sleep(0.05) end
      holder:signal "CONT"
      eventually("its end", function()
        return select(2, holder:output():gsub("does not lead any more", "")) > 0
      end)
      local after = effects()
      assert.equal(0, after.split)
      if ROUNDS > 1 then
        io.stderr:write(("round %d: taken over after %.2f s; %d effects, %d stale, %d leads\n")
          :format(round, taken, after.accepted, after.stale, after.changed))
      end
    end
    local all = effects()
    -- The line that ran when the process froze may send: that is what the token is for.
    assert.is_true(all.stale <= ROUNDS, all.stale .. " effects with a token of the past")
    assert.is_true(all.changed >= ROUNDS + 1)
    for _, child in pairs(children) do assert.equal(0, child:stop()) end
  end)
end)
