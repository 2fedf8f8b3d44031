---db:pipeline: several statements that go to the server together, so that they take one way
---there and back.
local check = require "lunats.check"
local core = require "lunats.core"

---@class pg_pipeline
local pipeline = {}

local M = { methods = pipeline }

local OPTIONS = { timeout = "number" }

---The statement comes when the function that has made the pipeline returns.
---@return integer index of its result
function pipeline:query(sql, ...)
  if self.done then core.blame "the pipeline has been sent" end
  check.string("p:query", "the statement", sql)
  self[#self + 1] = table.pack(sql, ...)
  return #self
end

check.class("p", pipeline)

---@return table list of { sql, ..., n = }
---@return number timeout
function M.collect(what, timeout, opts, fn)
  check.fn(what, fn)
  opts = core.check(what, opts, OPTIONS)
  check.seconds(what, "timeout", opts.timeout)
  local self = setmetatable({}, pipeline)
  fn(self)
  self.done = true
  return self, opts.timeout or timeout
end

return M
