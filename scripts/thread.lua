---app.thread: what blocks, in threads with Lua states of their own.
local core = require "lunats.core"
local check = require "lunats.check"

local M = {}

---How many calls of app.thread() run at once.
local THREADS = 4

---@type any  made when first used
local workers

local function check_name(what, kind, value)
  if type(value) ~= "string" or value == "" or value:find "%z" then
    core.blame(("%s: %s must be the name of a %s"):format(what, kind, kind))
  end
end

local function refuse_safe(what)
  if core.unreadable then core.blame(what .. " is not available with --libs safe") end
end

---@class thread  a state that is kept, with a thread of its own
local thread = {}

---@param name string  of a function of its module
function thread:call(name, ...)
  check_name("t:call", "function", name)
  return self.workers:call("t:call", self.module, name, ...)
end

---Waits for the calls before it, and for the end of the state.
function thread:close() return self.workers:close() end

function thread.__close(self) self.workers:close() end

check.class("t", thread)

---@param module string
---@return thread
function M.open(module)
  refuse_safe "app.thread.open"
  check_name("app.thread.open", "module", module)
  return setmetatable({ module = module, workers = core.threads(1) }, thread)
end

return setmetatable(M, {
  __call = function(_, module, name, ...)
    refuse_safe "app.thread"
    check_name("app.thread", "module", module)
    check_name("app.thread", "function", name)
    workers = workers or core.threads(THREADS)
    return workers:call("app.thread", module, name, ...)
  end,
})
