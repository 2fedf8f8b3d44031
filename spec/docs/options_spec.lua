---The options in the declarations (*.d.lua) are exactly those that the code takes.
local core = require "lunats.core"
local declarations = require "spec.support.declarations"
local read = require "spec.support.read"

---The functions that check their options in C, by the name that they give themselves there.
local IN_C = { ["app.publish"] = "app.publish", ["app.request"] = "app.request",
  ["app.request_many"] = "app.request_many", ["msg.respond"] = "msg:respond",
  ["testing.broker"] = "testing.broker", ["service.request"] = "app.request",
  ["service.publish"] = "app.publish",
  ["app.cache"] = "app.cache", ["cache.set"] = "cache:set", ["cache.add"] = "cache:add",
  ["cache.incr"] = "cache:incr", ["tcp.connect"] = "app.tcp.connect",
  ["socket.starttls"] = "socket:starttls" }
---What Lua takes before C sees it.
local BEFORE = { ["testing.broker"] = "tls" }
---Takes a message apart, and an option that is an enumeration.
local ELSEWHERE = { ["testing.fake_js_msg"] = true, ["json.decode"] = true }

---The options of the functions in C: the table in front of check_options().
---@return table<string, table<string, true>>
local function options_in_c()
  local found = {}
  local list = assert(io.popen "ls bindings/*.c bindings/*/*.c")
  for path in list:lines() do
    local source, tables, at = read(path), {}, 1
    while at do
      local first, last, name, body = source:find("struct option ([%l_]+)%[%] = (%b{})", at)
      local call, done, what, used = source:find(
        'check_options[%l_]*%(L, %d, "([^"]+)", ([%l_]+)[,)]', at)
      if first and first < (call or #source) then
        tables[name], at = {}, last
        for option in body:gmatch '{"([%l_]+)"' do tables[name][option] = true end
      else
        at = done
        if call then found[what] = assert(tables[used], what) end
      end
    end
  end
  list:close()
  return found
end

---A configuration of the server, which is passed on as it is.
local function is_open(param) return declarations.options(param.type)["[string]"] end

---A value with which a function gets as far as its options.
local function example(param)
  if param.name == "query" then return { seq = 1 } end
  if declarations.is_options(param) then
    if not is_open(param) then return {} end
    return param.type:find "stream_config" and { name = "DOCS" }
      or { stream = "DOCS", durable_name = "docs" }
  elseif param.type:find "^fun%(" or param.name == "fn" then
    return function() end
  elseif param.type:find "^integer" or param.type:find "^number" then
    return 1
  end
  return param.name == "filter" and ">" or "docs"
end

---Calls a function as far as the last check of its options in Lua.
---@param fn declared_function
---@return table<string, true>|nil known, any err
local function options_in_lua(fn, object)
  local args, tables, known = {}, 0, nil
  for i, param in ipairs(fn.params) do
    args[i] = example(param)
    if declarations.is_options(param) and not is_open(param) then tables = tables + 1 end
  end
  if fn.method then table.insert(args, 1, object) end
  local check = core.check
  core.check = function(_, opts, options) -- luacheck: ignore
    known, tables = known or {}, tables - 1
    for name in pairs(options) do known[name] = true end
    if tables == 0 then error("far enough", 0) end
    return opts
  end
  local _, err = pcall(object[fn.name], table.unpack(args))
  core.check = check -- luacheck: ignore
  return known, err
end

---Adds to `list` what is in `set` and not in `other`.
local function add_missing(list, set, other, text)
  for name in pairs(set) do
    if not other[name] then list[#list + 1] = text:format(name) end
  end
end

describe("the declared options", function()
  local objects

  setup(function()
    assert(app.js.add_stream { name = "DOCS", subjects = { "docs" }, storage = "memory" })
    local testing, pg = require "lunats.testing", require "lunats.pg"
    objects = {
      app = app, js = app.js, testing = testing, service = testing.start "local x = 1\n",
      kv = assert(app.js.create_key_value { bucket = "docs", storage = "memory" }),
      store = assert(app.js.create_object_store { bucket = "docs", storage = "memory" }),
      psub = app.js.pull_subscribe("docs", { stream = "DOCS" }),
      batch = app.js.batch(), counter = app.js.counter "docs",
      dead_letters = assert(app.js.dead_letters "DOCS"),
      group = app.group "docs", ["app.metrics"] = app.metrics, ["app.http"] = app.http,
      request = app.http.get and debug.getregistry()["lunats.http.request"].methods,
      redis_module = require "lunats.redis",
      pg = pg, db = pg.pool(), -- which connects when it is needed
      tx = setmetatable({ pool = {} }, { __index = require "lunats.pg.transaction".methods }),
    }
  end)
  teardown(function()
    objects.service:stop()
    objects.psub:stop()
    assert(app.js.delete_stream "DOCS")
    assert(app.js.delete_key_value "docs")
    assert(app.js.delete_object_store "docs")
  end)

  it("are those that the code takes", function()
    local in_c, wrong = options_in_c(), {}
    for _, fn in ipairs(declarations.functions()) do
      local name, declared = fn.owner .. "." .. fn.name, {}
      for _, param in ipairs(fn.params) do
        if declarations.is_options(param) and not is_open(param) then
          for option in pairs(declarations.options(param.type)) do declared[option] = true end
        end
      end
      if next(declared) and not ELSEWHERE[name] then
        local known, err = in_c[IN_C[name]]
        if not known then known, err = options_in_lua(fn, assert(objects[fn.owner], name)) end
        if BEFORE[name] then known[BEFORE[name]] = true end
        assert(known, ("%s checks no options: %s"):format(name, err))
        add_missing(wrong, declared, known, name .. ": %s is declared only")
        add_missing(wrong, known, declared, name .. ": %s is not declared")
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)
end)
