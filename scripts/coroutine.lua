---Waiting inside coroutines of the script's own: a wait passes through coroutine.resume and
---coroutine.wrap up to the fiber and its result comes back down, so app.request works in an
---iterator made with coroutine.wrap as it does everywhere.
---
---While such a coroutine waits, only the fiber that it belongs to may resume it: for everybody
---else it is as if it were running.
local core = require "lunats.core"

local resume, yield, create, close = coroutine.resume, coroutine.yield, coroutine.create,
  coroutine.close
local status, isyieldable = coroutine.status, coroutine.isyieldable
local WAIT = core.wait_token

---Coroutines in which something waits.
local waiting = setmetatable({}, { __mode = "k" })

local pass

---@return boolean ok
local function continue(co, ...)
  waiting[co] = nil
  return pass(co, resume(co, ...))
end

function pass(co, ok, first, ...)
  if ok and first == WAIT then
    if not isyieldable() then -- inside table.sort, say: the error belongs where it waits
      core.refuse_wait()
      return continue(co)
    end
    waiting[co] = true
    return continue(co, yield(WAIT))
  end
  return ok, first, ...
end

local function start(co, ...)
  if waiting[co] then return false, "cannot resume a coroutine that waits" end
  return pass(co, resume(co, ...))
end

coroutine.resume = start -- luacheck: ignore 122

function coroutine.close(co) -- luacheck: ignore 122
  if waiting[co] then error("cannot close a coroutine that waits", 2) end
  return close(co)
end

function coroutine.status(co) -- luacheck: ignore 122
  return waiting[co] and "normal" or status(co)
end

local function unwrap(co, ok, ...)
  if ok then return ... end
  if status(co) == "dead" then close(co) end
  error((...), 0)
end

function coroutine.wrap(fn) -- luacheck: ignore 122
  local co = create(fn)
  return function(...) return unwrap(co, start(co, ...)) end
end

return true
