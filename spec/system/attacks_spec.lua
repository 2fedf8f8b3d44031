-- Scripts that attack their process, one by one: each is bounded and named, the process goes on,
-- and so does the other service in it.
local attacks = require "spec.support.attacks"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local unique = require "spec.support.unique"

---For one reply of the neighbour, with a sanitizer, on a busy machine; and until the log tells.
local BOUND, PATIENCE = 15, 60

local child, prefix

---The process of several rows; a new one if the last row has ended it.
local function shared(rows)
  if child and not child:status() then return end
  local together = {}
  for _, row in ipairs(rows) do
    if not row.own then together[#together + 1] = row end
  end
  prefix = unique "attacks"
  child = attacks.start(together, prefix, { "--slice", "0.2", "--memory", "32M" })
end

local function ask(name, timeout) return app.request(prefix .. name, nil, { timeout = timeout }) end

---The neighbour answers, at least 20 times, until `done`.
local function neighbour_answers(done)
  local deadline, count = app.now() + PATIENCE, 0
  while count < 20 or not done() do
    assert.equal("hello", assert(ask(".hello", BOUND)).raw)
    count = count + 1
    assert(app.now() < deadline, child:output())
  end
end

local function attack(row)
  local asked = row.body and app.spawn(ask, "." .. row.id, PATIENCE)
  local told = row.told and "attack: [^\n]*" .. row.told:gsub("ID", row.id)
  local function happened() return not told or child:output():match(told) end
  if row.status then
    assert.equal(row.status, child:wait(PATIENCE))
    assert.truthy(happened(), child:output())
    asked:cancel()
    return
  end
  neighbour_answers(happened)
  assert.is_nil(child:status())
  if asked then asked:cancel() end
  if row.silent then return end
  eventually("an answer of the service itself", function() return ask(".alive", BOUND) end)
end

for _, kind in ipairs { "time" } do
  local rows = require("spec.support.attacks." .. kind)
  describe("a service survives, named, bounded, and with it the process: " .. kind, function()
    lazy_teardown(function()
      child = nil
      process.close_all()
    end)

    for _, row in ipairs(rows) do
      it(row.name, function()
        if not row.own then
          shared(rows)
          return attack(row)
        end
        process.close_all()
        prefix = unique "attacks"
        child = attacks.start({ row }, prefix, { "--slice", "0.2", "--memory", "32M" })
        attack(row)
        process.close_all()
        child = nil
      end)
    end
  end)
end
