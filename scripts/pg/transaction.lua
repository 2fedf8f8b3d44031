---db:transaction: commits when its function returns, rolls back when that fails in any way.
local check = require "lunats.check"
local core = require "lunats.core"
local pipeline = require "lunats.pg.pipeline"

---@class pg_tx
local tx = {}

local M = { methods = tx }

local OPTIONS = { isolation = "string", read_only = "boolean", retries = "number" }
local LEVELS = { ["read committed"] = true, ["repeatable read"] = true, serializable = true }

-- ---- one -----------------------------------------------------------------------

---The connection, for the innermost transaction only; none when it has ended.
local function conn_of(self)
  if not self.conn then core.blame "the transaction has ended" end
  if self.inner then core.blame "a transaction inside of this one has not ended" end
  return self.conn
end

---Whether a statement has ended the transaction. After "commit and chain" there is another one.
local function is_over(conn, rows, info)
  if conn:idle() then return true end
  if not rows then return false end
  if info.command == "COMMIT" then return true end
  for _, one in ipairs(info) do -- of a pipeline
    if one.command == "COMMIT" then return true end
  end
  return false
end

---Only the end of its function ends it: what came after would be kept whatever becomes of that.
local function noted(self, rows, info)
  if not rows then self.failed = info end
  if not is_over(self.conn, rows, info) then return rows, info end
  local err = not rows and info or core.error("2D000", "a statement has ended the transaction: "
    .. "its function returns to commit, or nil and an error to roll back")
  repeat
    self.conn, self.failed, self = nil, err, self.outer
  until not self
  return nil, err
end

function tx:query(sql, ...)
  check.string("tx:query", "the statement", sql)
  local conn = conn_of(self)
  return noted(self, conn:query(self.pool.timeout, self.pool.wants, sql, ...))
end

function tx:execute(script, opts)
  check.string("tx:execute", "the script", script)
  opts = core.check("tx:execute", opts, { timeout = "number" })
  local ok, err = noted(self, conn_of(self):query(self.pool.timeout, nil, script, opts))
  if not ok then return nil, err end
  return true
end

function tx:pipeline(opts, fn)
  if fn == nil then opts, fn = nil, opts end
  local list, timeout = pipeline.collect("tx:pipeline", self.pool.timeout, opts, fn)
  local conn = conn_of(self)
  return noted(self, conn:pipeline(timeout, self.pool.wants, list))
end

local function control(self, sql) return self.conn:query(self.pool.timeout, 0, sql) end

---The end of one that was not committed. A fiber that cannot wait any more, as it was
---cancelled, leaves it to the server, which ends it with the connection.
function tx.__close(self)
  if self.outer then self.outer.inner = nil end
  local conn = self.conn
  if not conn then return end
  if core.can_wait() and not core.cancelled() and conn:alive() then
    control(self, self.rollback)
  elseif self.outer then
    conn:close()
  end
  self.conn = nil
end

---What the function says is the result, unless it says that it has failed.
local function failed(results) return results[1] == nil and results[2] ~= nil end

local function give(results, err)
  if not results then return nil, err end
  return table.unpack(results, 1, results.n)
end

---@return table|nil results, table|nil err
local function run(self, fn)
  local begun, err = control(self, self.begin)
  if not begun then
    self.conn = nil
    return nil, err
  end
  local _ <close> = self
  local results = table.pack(fn(self))
  if failed(results) then return results end
  if not self.conn then return nil, self.failed end
  if self.inner then core.blame "a transaction inside of this one has not ended" end
  local done, info = control(self, self.commit)
  if not done then
    if not self.outer then self.conn = nil end -- what cannot be committed has ended
    if info.code == "disconnected" or info.code == "timeout" then
      info.in_doubt = not self.outer or nil
      info.message = info.message .. "; whether the transaction was committed is not known"
    end
    return nil, info
  end
  self.conn = nil
  if info.command == "ROLLBACK" then
    return nil, self.failed or core.error("25P02", "the transaction has failed")
  end
  return results
end

---A part that may fail alone.
function tx:transaction(fn)
  check.fn("tx:transaction", fn)
  local conn = conn_of(self)
  local name = "lunats_" .. self.depth
  local inner = setmetatable({ pool = self.pool, conn = conn, outer = self,
    depth = self.depth + 1, begin = "savepoint " .. name, commit = "release " .. name,
    rollback = "rollback to " .. name }, tx)
  self.inner = inner
  local results, err = run(inner, fn)
  self.inner = nil
  return give(results, err)
end

check.class("tx", tx)

-- ---- the outer one -------------------------------------------------------------

local function begin_of(opts)
  local begin = "begin"
  if opts.isolation then
    if not LEVELS[opts.isolation] then
      core.blame('db:transaction: isolation must be "read committed", "repeatable read" or '
        .. '"serializable"')
    end
    begin = begin .. " isolation level " .. opts.isolation
  end
  if opts.read_only then begin = begin .. " read only" end
  return begin
end

local function once(take, pool, begin, fn)
  local conn, err = take(pool)
  if not conn then return nil, err end
  local _ <close> = conn
  return run(setmetatable({ pool = pool, conn = conn, depth = 1, begin = begin,
    commit = "commit", rollback = "rollback" }, tx), fn)
end

---Others were faster: the same again may succeed.
local function may_repeat(err)
  return type(err) == "table" and (err.sqlstate == "40001" or err.sqlstate == "40P01")
end

---@param take function gives the running fiber a connection of the pool
---@param fn function
function M.run(take, pool, opts, fn)
  check.fn("db:transaction", fn)
  opts = core.check("db:transaction", opts, OPTIONS)
  check.whole("db:transaction", "retries", opts.retries, 0)
  local begin, retries = begin_of(opts), opts.retries or 0
  for attempt = 1, retries do
    local ok, results, err = pcall(once, take, pool, begin, fn)
    if not ok and (core.cancelled() or not may_repeat(results)) then error(results, 0) end
    local why = err
    if ok and results and failed(results) then why = results[2] end
    if ok and not may_repeat(why) then return give(results, err) end
    core.sleep(math.random() * math.min(0.01 * 2 ^ attempt, 1))
  end
  return give(once(take, pool, begin, fn))
end

return M
