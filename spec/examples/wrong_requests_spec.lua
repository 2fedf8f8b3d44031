---Every service that is shown to somebody answers a wrong request with a sentence of its own:
---examples, documents, and what `lunats new` writes.
local blocks = require "spec.support.blocks"
local eventually = require "spec.support.eventually"
local read = require "spec.support.read"
local testing = require "lunats.testing"

local WRONG = { "", "no JSON", "null", "true", "5", '"text"', "[]", "{}", '{"name":[]}',
  '{"name":null,"sku":{},"amount":"2","key":7,"id":1,"cents":"many","receipt":[],"rows":-1}' }

---Path or source of each service by what it is called.
local services = {}
for _, name in ipairs { "hello", "orders", "kv_config", "object_store",
  "jetstream/work_queue", "patterns/cache", "patterns/cqrs", "patterns/events",
  "patterns/fan_out", "patterns/leader", "patterns/rate_limiter", "patterns/saga",
  "patterns/scheduler" } do
  services["examples/" .. name .. ".lua"] = read("examples/" .. name .. ".lua")
end
for _, document in ipairs { "README.md", "docs/services.md", "docs/data.md", "docs/testing.md",
  "docs/reload.md",
  "docs/jetstream.md", "docs/key_value.md", "docs/object_store.md", "docs/tutorial.md" } do
  for _, block in ipairs(blocks.of(document, "lua")) do
    local name = blocks.file_name(block)
    if name and not name:find "_spec%.lua$" then
      services[document .. ": " .. name] = block.text
    end
  end
end
for _, template in ipairs { "service", "http" } do
  local main = require("lunats.commands.new." .. template)[1]
  services["lunats new --template " .. template] = main.text:gsub("@NAME@", "fresh")
end

services["docs/services.md: alarm.lua"] = nil -- fails on purpose, whatever it is asked

---The subjects that a script listens to, wildcards filled in.
local function subjects(source)
  local found = {}
  for subject in source:gmatch 'app%.listen%("([^"]+)"' do
    found[#found + 1] = subject:gsub("[*>]", "some")
  end
  return found
end

---Sends all of them at once; returns what came back, by subject and body.
local function ask(svc, source)
  local answers, open = {}, 0
  for _, subject in ipairs(subjects(source)) do
    for _, body in ipairs(WRONG) do
      open = open + 1
      app.spawn(function()
        local _, err = svc:request(subject, body, { timeout = 1 })
        answers[#answers + 1] = { subject = subject, body = body, err = err }
        open = open - 1
      end)
    end
  end
  eventually("the answers", function() return open == 0 end)
  return answers
end

for name, source in pairs(services) do
  if #subjects(source) > 0 then
    it(name .. " answers wrong requests with a sentence", function()
      local streams = assert(app.js.stream_names())
      local behind = name:find "gateway" and { greet = function() return "hello" end }
      local svc = testing.start(source, { stubs = behind or nil })
      finally(function()
        svc:stop()
        local before = {}
        for _, stream in ipairs(streams) do before[stream] = true end
        for _, stream in ipairs(assert(app.js.stream_names())) do
          if not before[stream] then app.js.delete_stream(stream) end
        end
      end)
      for _, answer in ipairs(ask(svc, source)) do
        local err = answer.err
        if err and err.code ~= "timeout" then -- an event wants no answer
          local text = ("%s <- %s: %s"):format(answer.subject, answer.body, err)
          assert.equal("service_error", err.code, text)
          assert.is_true(err.status >= 400 and err.status < 500, text)
        end
      end
      assert.same({}, svc:errors())
    end)
  end
end
