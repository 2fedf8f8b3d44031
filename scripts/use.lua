---app.use: functions of the script around what its service handles and sends. A chain is put
---together when a handler is declared; a message passes as many calls as there are functions.
local core = require "lunats.core"
local around = require "lunats.around"
local check = require "lunats.check"

---@type table<string, function[]>  in the order of app.use()
local lists = { listen = {}, request = {}, publish = {}, js = {}, http = {} }

---The functions that send, of `app` (and connections) and of app.js.
local SENDERS = {
  app = { publish = "publish", request = "request", request_many = "request" },
  ["app.js"] = { publish = "publish", publish_async = "publish" },
}

---What has to stand before app.use() so that it is around it.
local DECLARED_BY = { listen = "app.listen", js = "app.js.subscribe or psub:consume",
  http = "app.http routes" }

---@param kind string
---@param last fun(ctx: table): any
local function chain(kind, last)
  local list, inner = lists[kind], last
  for i = #list, 1, -1 do
    local fn, behind = list[i], inner
    local function next_one(ctx)
      if type(ctx) ~= "table" or ctx.kind ~= kind then
        core.blame("app.use: pass the context on: next(ctx)")
      end
      return behind(ctx)
    end
    inner = function(ctx) return fn(ctx, next_one) end
  end
  return inner
end

-- ---- handlers ---------------------------------------------------------------

---What a handler of this kind is given, by its name in the context.
local SUBJECT_OF = { listen = "msg", js = "msg", http = "req" }

local function handler(kind, fn)
  if #lists[kind] == 0 then
    around.declared[kind] = true
    return fn
  end
  local given = SUBJECT_OF[kind]
  local call = chain(kind, function(ctx) return fn(ctx[given], ctx) end)
  if given == "req" then
    return function(req) return call { kind = kind, req = req } end
  end
  return function(msg) return call { kind = kind, msg = msg, subject = msg.subject } end
end

-- ---- senders ----------------------------------------------------------------

---Middleware may change the options: not those of the caller, who may use them again.
local function copy(opts)
  if type(opts) ~= "table" then return opts end
  local own = {}
  for name, value in next, opts do own[name] = value end
  if type(own.headers) == "table" then own.headers = copy(own.headers) end
  return own
end

---@type table<table, table<string, function>>  those without middleware
local originals = setmetatable({}, { __mode = "k" })

---The options retry, breaker, rate and bulkhead of app.request are around the middleware.
---@param one function
---@param plain function whose requests share what belongs to a name
---@param many boolean it is app.request_many
local function guarded(one, plain, many)
  return function(subject, data, opts)
    if type(opts) == "table" and (opts.retry ~= nil or opts.breaker ~= nil or opts.rate ~= nil
        or opts.bulkhead ~= nil) then
      return require("lunats.resilience").request(one, plain, subject, data, opts, many)
    end
    return one(subject, data, opts)
  end
end

local function sender(t, name)
  local plain = originals[t] or {}
  originals[t] = plain
  for method, kind in pairs(SENDERS[name]) do
    plain[method] = plain[method] or t[method]
    if #lists[kind] > 0 then
      local send, called = plain[method], name .. "." .. method
      local call = chain(kind, function(ctx) return send(ctx.subject, ctx.data, ctx.opts) end)
      local function one(subject, data, opts)
        return call { kind = kind, name = called, subject = subject, data = data,
          opts = copy(opts) }
      end
      t[method] = kind == "request"
        and guarded(one, plain.request or t.request, method == "request_many") or one
    end
  end
  return t
end

around.handler, around.sender = handler, sender

---@param kind "listen"|"request"|"publish"|"js"|"http"
---@param fn fun(ctx: table, next: fun(ctx: table): any): any
return function(kind, fn)
  if type(kind) ~= "string" or not lists[kind] then
    core.blame(("app.use: %s: must be \"listen\", \"request\", \"publish\", \"js\" or \"http\"")
      :format(type(kind) == "string" and ("%q"):format(kind) or type(kind)))
  end
  check.fn("app.use", fn)
  if not core.loading() then
    core.blame "app.use: the service has started already; call it at the top level"
  elseif around.declared[kind] then
    core.blame(("app.use(%q): comes after %s, which it would not be around: call it first")
      :format(kind, DECLARED_BY[kind]))
  end
  table.insert(lists[kind], fn)
  sender(require "lunats.app", "app")
  local js = package.loaded["lunats.js"]
  if js then sender(js, "app.js") end
end
