---What fails while a block of a spec runs fails that block, wherever it is raised: in a service
---under test, in another fiber of the spec, by os.exit(). A service that nobody stops is ended
---and named.
---
---busted runs every block - file, describe, setup, before_each, it, finally, ... - through
---`safe(descriptor, run, element)` of its core, which is replaced by one that looks around when
---`run` is over. What is seen too late for one block is found by the next: nothing gets lost.
local core = require "lunats.core"

local M = {}

---Blocks at whose end the services are gone that were started inside; the first call for an
---element encloses the others: its set-up, its tests, its tear-down.
local SCOPES = { it = true, describe = true, file = true }

---These only tell others what happens, or run no code that takes time.
local UNSETTLED = { file = true, describe = true, suite = true, test = true }

---What `lunats test --timeout` says: how long specs wait unless they say so, in seconds.
local given = core.options and core.options.timeout or 0
M.timeout = given > 0 and given or 2

---How long a server may take that is asked whether anything is under way. At the end of a test
---it may be gone.
local SETTLE_TIMEOUT = M.timeout / 4

---@class testing.guard
---@field scopes table[]  the innermost last: { element, services, failed }
---@field found string|nil  with which the last block has failed
local guard = {}
guard.__index = guard

-- ---- what has failed --------------------------------------------------------

---Errors of the spec's own fibers that nobody has asked for.
function guard:take_own()
  local texts = {}
  for _, record in ipairs(self.failures:take()) do texts[#texts + 1] = record.text end
  for _, text in ipairs(self.exits) do
    -- Raised in another fiber it is an error of that fiber, too.
    if not table.concat(texts, "\n"):find(text, 1, true) then texts[#texts + 1] = text end
  end
  self.exits = {}
  return texts
end

---@param known string|nil  a text that may say some of it already
---@return string|nil  everything since the last look
function guard:take(known)
  local lines = {}
  for _, scope in ipairs(self.scopes) do
    for _, service in ipairs(scope.services) do
      local texts = {}
      for _, text in ipairs(service.svc:take_unexpected()) do
        if not (known and known:find(text, 1, true)) then texts[#texts + 1] = text end
      end
      if #texts > 0 then
        lines[#lines + 1] = "a service failed: " .. table.concat(texts, "\n")
      end
    end
  end
  local own = self:take_own()
  if #own > 0 then
    lines[#lines + 1] = "another fiber of the spec failed: " .. table.concat(own, "\n")
  end
  return lines[1] and table.concat(lines, "\n")
end

---Lets what is under way happen: messages that were sent reach their handlers.
function guard:settle()
  for _, scope in ipairs(self.scopes) do
    for _, service in ipairs(scope.services) do service.settle(SETTLE_TIMEOUT) end
  end
  if core.server_url() then
    core.flush(SETTLE_TIMEOUT)
  else
    core.sleep(0) -- other fibers run at least
  end
end

-- ---- services -----------------------------------------------------------------

---@param svc testing.service
---@param where string  the place that has started it
---@param settle fun(timeout: number)
function guard:add(svc, where, settle)
  local scope = self.scopes[#self.scopes]
  if scope then
    table.insert(scope.services, { svc = svc, where = where, settle = settle })
  end
end

---Stops what the block has left running, so that it does not answer the next one.
local function stop_forgotten(scope)
  local names = {}
  for _, service in ipairs(scope.services) do
    if service.svc.handle:running() then
      names[#names + 1] = ("the service %q of %s"):format(service.svc.name, service.where)
      pcall(service.svc.stop, service.svc) -- another fiber may wait for it
    end
  end
  -- A test that has failed did not get as far as its svc:stop().
  if #names == 0 or scope.failed then return end
  error(("nobody has stopped %s: call svc:stop() in finally(), after_each() or teardown()")
    :format(table.concat(names, ", ")), 0)
end

local function is_running(scope)
  for _, service in ipairs(scope.services) do
    if service.svc.handle:running() then return true end
  end
  return false
end

---The end of a scope is one more block, of the kind that belongs there.
function guard:close_scope(scope)
  if not is_running(scope) then return end
  local last = { descriptor = scope.element.descriptor == "it" and "after_each" or "teardown",
    attributes = {}, trace = scope.element.trace }
  self.busted.context.attach(last)
  self.busted.safe(last.descriptor, function() stop_forgotten(scope) end, last)
end

-- ---- blocks -------------------------------------------------------------------

function guard:find(element)
  for _, scope in ipairs(self.scopes) do
    if scope.element == element then return scope end
  end
end

---Runs a block that encloses others.
function guard:run_scope(run, element, ...)
  local scope = { element = element, services = {}, failed = false }
  table.insert(self.scopes, scope)
  run(...)
  self:close_scope(scope)
end

---Runs a block, then looks around.
function guard:run_block(descriptor, run, ...)
  local results = table.pack(run(...))
  if not UNSETTLED[descriptor] then self:settle() end
  self.found = self:take()
  if self.found then error(self.found, 0) end
  return table.unpack(results, 1, results.n)
end

function guard:wrap_safe()
  local busted = self.busted
  local safe = busted.safe
  function busted.safe(descriptor, run, element)
    local depth = #self.scopes
    local encloses = SCOPES[descriptor] and not self:find(element)
    local results = table.pack(safe(descriptor, function(...)
      if encloses then return self:run_scope(run, element, ...) end
      return self:run_block(descriptor, run, ...)
    end, element))
    for i = #self.scopes, depth + 1, -1 do self.scopes[i] = nil end
    local scope, status = self.scopes[depth], results[1]
    if scope and not status:success() and not status:pending() then scope.failed = true end
    return table.unpack(results, 1, results.n)
  end
end

---What a service says explains why an assertion has failed.
function guard:wrap_messages()
  local busted = self.busted
  local rewrite = busted.rewriteMessage
  function busted.rewriteMessage(element, message, ...)
    -- What was found names its place, if it has one.
    local text = message == self.found and message or rewrite(element, message, ...)
    text = type(text) == "string" and core.explained(text) or text
    if (debug.getmetatable(message) or {}).__type == "pending" then return text end
    for i = #self.exits, 1, -1 do
      if text:find(self.exits[i], 1, true) then table.remove(self.exits, i) end
    end
    local more = self:take(text)
    return more and ("%s\n%s"):format(text, more) or text
  end
end

---The first line of Lua from a level of the stack on: os.exit may be called by pcall.
local function place(level)
  local info = debug.getinfo(level, "Sl")
  while info and info.currentline < 0 do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
end

---Ending the process would skip the tests that are left, with an exit status that says nothing
---of them.
function guard:wrap_exit()
  local exit = os.exit
  function os.exit(status) -- luacheck: ignore 122
    if #self.scopes == 0 then return exit(status) end
    local text = ("%s: os.exit(%s) was called, which would skip the tests left"):format(
      place(3), status == nil and "" or tostring(status))
    table.insert(self.exits, text) -- the error may be caught
    error(text, 0)
  end
end

---@param busted table  busted's core: what `require "busted.core" ()` returns
---@return testing.guard  its guard, made at the first call
function M.of(busted)
  if busted.lunats_guard then return busted.lunats_guard end
  local self = setmetatable({ busted = busted, scopes = {}, exits = {},
    failures = core.failures() }, guard)
  busted.lunats_guard = self
  self:wrap_safe()
  self:wrap_messages()
  self:wrap_exit()
  return self
end

---The guard of the run that is under way, or nil: the caller is no spec. busted shows its core
---to nobody, but its own table looks things up there.
---@return testing.guard|nil
function M.current()
  local ok, busted = pcall(require, "busted")
  if not ok or type(busted) ~= "table" or not busted.subscribe then return nil end
  local name, value
  local i = 0
  repeat
    i = i + 1
    name, value = debug.getupvalue(getmetatable(busted).__index, i)
  until not name or name == "busted"
  return M.of(assert(value, "lunats.testing: busted 2 is needed"))
end

return M
