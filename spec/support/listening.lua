---Listeners and services of a test, under subjects that nobody else has.
local testing = require "lunats.testing"

local M = {}

local count = 0
local handles = {} -- of listeners and services: what is stopped after the test

---@param name string|nil  a token of it
function M.subject(name)
  count = count + 1
  return ("spec.listen.%s.%s.%d"):format(name or "x", app.instance_id, count)
end

---Keeps something with a method `stop` until stop_all().
function M.keep(handle)
  handles[#handles + 1] = handle
  return handle
end

---app.listen until stop_all().
function M.listen(...) return M.keep(app.listen(...)) end

---For after_each.
function M.stop_all()
  for _, handle in ipairs(handles) do handle:stop() end
  handles = {}
end

---Asks a service whose handler of `msg` has this body. Returns also what the handler has
---published on "seen", and the errors in the log.
function M.ask(body, message, opts)
  local s = M.subject()
  local svc = testing.start(([[
    local function raise() error "no text" end
    local shy = setmetatable({}, { __tostring = raise })
    local odd = setmetatable({}, { __tostring = function() return 42 end })
    local function overflow() return 1 + overflow() end
    app.listen(%q, function(msg) %s end)
    app.listen("unused", function() return shy, odd, overflow end)
  ]]):format(s, body))
  local reply, err = app.request(s, message, opts or { timeout = 20 }) -- see eventually()
  local seen = svc:calls "seen"
  local errors = svc:errors() -- those that are sent as replies are expected here
  svc:stop()
  return reply, err, seen[1], errors
end

return M
