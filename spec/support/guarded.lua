---A service with a clock that the spec moves, and the backend that it asks: for the options
---retry, breaker, rate and bulkhead of app.request.
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local M = {}

local CLIENT = [[
  app.config { name = "client" }
  app.listen("client.%s", { concurrency = 50 }, function(msg)
    local began, opts = app.now(), %s
    opts.headers = { Number = msg.data.n }
    local reply, err = app.request(msg.data.subject, "x", opts)
    local seconds = math.floor((app.now() - began) * 1000 + 0.5) / 1000
    if reply then return { ok = true, raw = reply.raw, seconds = seconds } end
    return { code = err.code, status = err.status, message = err.message, seconds = seconds,
      attempts = err.attempts, retry_after = err.retry_after }
  end)
]]

---@class guarded
---@field calls integer of the backend
---@field answer fun(msg): any, any
local guarded = {}
guarded.__index = guarded

---@param opts string of app.request, as Lua
---@param answer fun(msg, n: integer): any, any of the backend
function M.start(opts, answer)
  local self = setmetatable({ calls = 0, answer = answer, name = unique "guard" }, guarded)
  self.subject = "backend." .. self.name
  self.source = function(text) return CLIENT:format(self.name, text) end
  self.svc = testing.start(self.source(opts), { clock = "manual" })
  self.backend = app.listen(self.subject, function(msg)
    self.calls = self.calls + 1
    return self.answer(msg, self.calls)
  end)
  assert(app.flush())
  return self
end

---Asks; `fiber:await()` gives the result.
function guarded:begin(subject)
  return app.spawn(function()
    return assert(self.svc:request("client." .. self.name,
      { subject = subject or self.subject, n = self.calls }, { timeout = 15 })).data
  end)
end

---The result of a request that needs the clock to go on: by steps of so many seconds, small
---ones as the clock goes on while the backend works, too.
function guarded:ask(step, subject)
  local fiber = self:begin(subject)
  while true do
    local result, err = fiber:await(step and 0.003 or 15)
    if result then return result end
    assert(step and err.code == "timeout", tostring(err))
    self.svc:advance(step)
  end
end

function guarded:stop()
  self.backend:stop()
  self.svc:stop()
end

return M
