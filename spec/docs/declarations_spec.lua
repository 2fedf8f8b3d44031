---The declarations for editors (*.d.lua) name exactly what exists.
local declarations = require "spec.support.declarations"
local read = require "spec.support.read"

local meta_of = debug.getmetatable

---All declared functions, by table.
local function declared_functions()
  local found = {}
  for _, fn in ipairs(declarations.functions()) do
    found[fn.owner] = found[fn.owner] or {}
    found[fn.owner][fn.name] = true
  end
  return found
end

local declared_fields = declarations.fields

---Functions in modules that are loaded when somebody asks for them: this asks.
local function load_all(t)
  local index = (meta_of(t) or {}).__index
  for i = 1, type(index) == "function" and debug.getinfo(index, "u").nups or 0 do
    local name, value = debug.getupvalue(index, i)
    for key in pairs(name == "LAZY" and value or {}) do
      pcall(function() return t[key] end)
    end
  end
end

local function functions_of(t)
  load_all(t)
  local found = {}
  for name, value in pairs(t) do
    if type(name) == "string" and type(value) == "function" and name:sub(1, 2) ~= "__" then
      found[name] = true
    end
  end
  return found
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

---The table of fields and methods behind the __index of messages.
local function msg_members()
  local _, members = debug.getupvalue(debug.getregistry()["lunats.msg"].__index, 1)
  local methods, fields = {}, {}
  for name, value in pairs(members) do
    (type(value) == "function" and methods or fields)[name] = true
  end
  return methods, fields
end

describe("the declarations", function()
  local declared = declared_functions()

  local tables = {
    ["app"] = function()
      -- Loaded when they are first used.
      assert(app.health and app.cache and app.http and app.tcp)
      return app
    end,
    ["app.log"] = function() return app.log end,
    ["app.nats"] = function() return app.nats end,
    ["app.metrics"] = function() return app.metrics end,
    ["metric_counter"] = function()
      return meta_of(app.metrics.counter { name = "docs_total", help = "x" }).__index
    end,
    ["metric_gauge"] = function()
      return meta_of(app.metrics.gauge { name = "docs_g", help = "x" }).__index
    end,
    ["metric_histogram"] = function()
      return meta_of(app.metrics.histogram { name = "docs_h", help = "x" }).__index
    end,
    ["app.http"] = function() return app.http end,
    ["app.crypto"] = function() return app.crypto end,
    ["json"] = function() return app.json end,
    ["js"] = function() return app.js end,
    ["psub"] = function()
      return meta_of(app.js.pull_subscribe("docs.x", { stream = "DOCS" })).__index
    end,
    ["consume"] = function()
      return meta_of(require "lunats.js.consume".new {}).__index
    end,
    ["future"] = function() return require "lunats.js.publish_async".future end,
    ["fiber"] = function() return meta_of(app.spawn(tostring, 1)).__index end,
    ["pg"] = function() return require "lunats.pg" end,
    ["db"] = function() return meta_of(require "lunats.pg".pool()).__index end,
    ["tx"] = function() return require "lunats.pg.transaction".methods end,
    ["p"] = function() return require "lunats.pg.pipeline".methods end,
    ["listening"] = function() return require "lunats.pg.listen".methods end,
    ["cache"] = function() return meta_of(app.cache "docs").__index end,
    ["msgpack"] = function() return require "lunats.msgpack" end,
    ["app.thread"] = function() return app.thread end,
    ["thread"] = function() return meta_of(app.thread.open "docs").__index end,
    ["tcp"] = function() return app.tcp end,
    ["socket"] = function() return debug.getregistry()["lunats.tcp"].__index end,
    ["redis_module"] = function() return require "lunats.redis" end,
    ["redis"] = function() return meta_of(require("lunats.redis").pool()) end,
    ["redis_batch"] = function()
      local batch
      require("lunats.redis").pool():pipeline(function(p) batch = meta_of(p).__index end)
      return batch
    end,
    ["redis_subscription"] = function()
      return require "lunats.redis.subscription".methods
    end,
    ["route"] = function() return meta_of(app.http.get("/docs", print)).__index end,
    ["request"] = function()
      return app.http.get and debug.getregistry()["lunats.http.request"].methods
    end,
    ["mutex"] = function() return meta_of(app.mutex()).__index end,
    ["batch"] = function() return meta_of(app.js.batch()).__index end,
    ["counter"] = function() return meta_of(app.js.counter "docs.x").__index end,
    ["dead_letters"] = function() return require "lunats.js.dead_letters".methods end,
    ["consumer_group"] = function() return require "lunats.js.consumer_group".methods end,
    ["elastic_group"] = function() return require "lunats.js.elastic_group".methods end,
    ["stored_msg"] = function() return require "lunats.js.streams".stored end,
    ["periodic"] = function() return meta_of(app.timer(1000, function() end)).__index end,
    ["leader"] = function() return require "lunats.leader".methods end,
    ["cron_job"] = function() return require "lunats.cron".methods end,
    ["listener"] = function() return meta_of(app.listen("docs.x", print)).__index end,
  }
  for _, name in ipairs(sorted(tables)) do
    it("name the functions of " .. name, function()
      assert.same(sorted(functions_of(tables[name]())), sorted(declared[name] or {}))
    end)
  end

  it("name the functions of lunats.testing, of services, brokers and clusters", function()
    local testing = require "lunats.testing"
    local svc = testing.start("local x = 1\n")
    local server = testing.broker()
    local methods = select(2, debug.getupvalue(meta_of(server).__index, 1))
    local objects = { testing = testing, service = meta_of(svc).__index, broker = methods,
      cluster = require("lunats.testing.cluster").methods }
    for name, object in pairs(objects) do
      local found = functions_of(object)
      assert.same(sorted(found), sorted(declared[name]), name)
    end
    for field in pairs(declared_fields "testing.broker") do
      assert.not_nil(server[field], field)
    end
    server:stop()
    svc:stop()
  end)

  for class, fn in pairs { start_opts = "start", broker_opts = "broker" } do
    it("name the options of testing." .. fn, function()
      local testing = require "lunats.testing"
      for field in pairs(declared_fields("testing." .. class)) do
        local _, err = pcall(testing[fn], fn == "start" and "x = 1\n" or { [field] = print },
          { [field] = print })
        local known = tostring(err):find("'" .. field .. "' must be", 1, true)
          or tostring(err):find(field .. " is", 1, true)
        assert.truthy(known, tostring(err))
      end
    end)
  end

  it("name the methods of a push subscription", function()
    assert(app.js.add_stream { name = "DOCS", subjects = { "docs.>" }, storage = "memory" })
    for _, opts in ipairs { { name = "x" }, { ordered = true } } do
      local subscription = assert(app.js.subscribe("docs.y", opts, print))
      local methods = functions_of(meta_of(subscription).__index)
      subscription:stop()
      assert.same(sorted(methods), sorted(declared.subscription))
    end
    assert(app.js.delete_stream "DOCS")
  end)

  it("name the methods of buckets, object stores and watches", function()
    local kv = assert(app.js.create_key_value { bucket = "docs", storage = "memory" })
    local store = assert(app.js.create_object_store { bucket = "docs", storage = "memory" })
    local watch = assert(kv:watch(print))
    for name, object in pairs { kv = kv, store = store, watch = watch } do
      assert.same(sorted(functions_of(meta_of(object).__index)), sorted(declared[name]))
    end
    for class, status in pairs { kv = kv:status(), object_store = store:status() } do
      local fields = declared_fields(class .. ".status")
      for field in pairs(status) do assert.is_true(fields[field] or false, field) end
    end
    watch:stop()
    assert(app.js.delete_key_value "docs")
    assert(app.js.delete_object_store "docs")
  end)

  it("name the methods of a group of listeners", function()
    local methods = functions_of(meta_of(app.group "docs").__index)
    assert.same(sorted(methods), sorted(declared.group))
  end)

  it("name the methods and fields of a message", function()
    local methods, fields = msg_members()
    assert.same(sorted(methods), sorted(declared.msg))
    assert.same(sorted(fields), sorted(declared_fields "msg"))
  end)

  it("name the fields of app and app.nats", function()
    for _, class in ipairs { "app", "nats" } do
      local t = class == "app" and app or app.nats
      for _, field in ipairs(sorted(declared_fields(class))) do
        assert.not_nil(t[field], class .. "." .. field)
      end
    end
    for name, value in pairs(app) do
      if type(value) ~= "function" then
        assert.is_true(declared_fields("app")[name] or false, name)
      end
    end
  end)

  it("name the fields of app.nats.stats and app.nats.server_info", function()
    assert.same(sorted(app.nats.stats()), sorted(declared_fields "nats.stats"))
    assert.same(sorted(app.nats.server_info()), sorted(declared_fields "nats.info"))
  end)

  it("belong to no table that does not exist", function()
    local known = { testing = true, service = true, broker = true, cluster = true, msg = true,
      subscription = true, kv = true, store = true, watch = true, group = true }
    for name in pairs(tables) do known[name] = true end
    for owner in pairs(declared) do
      assert.is_true(known[owner] or false, owner .. " is new: compare it in this spec, too")
    end
  end)
end)

describe("the declarations", function()
  it("say what every function does", function()
    local missing = {}
    for _, fn in ipairs(declarations.functions()) do
      if not fn.described then missing[#missing + 1] = fn.owner .. "." .. fn.name end
    end
    assert.same({}, missing)
  end)

  ---What the host, the bindings and the scripts give to `code`.
  local function codes_in_sources()
    local codes, patterns = {}, { 'failure%("([%l_]+)"', 'core%.error%("([%l_]+)"',
      'push_error%(L, "([%l_]+)"', 'code = "([%l_]+)"' }
    for code in read("host/base/status.c"):gmatch '{LN_%u+, "([%l_]+)"' do
      codes[code] = true
    end
    local list = assert(io.popen "find scripts bindings -name '*.lua' -o -name '*.c'")
    for path in list:lines() do
      local source = path:find "%.d%.lua$" and "" or read(path)
      for _, pattern in ipairs(patterns) do
        for code in source:gmatch("%f[%w_]" .. pattern) do codes[code] = true end
      end
    end
    list:close()
    -- Of the host only, and a type in a schema.
    codes.ok, codes.script, codes.on_stop, codes.whole = nil, nil, nil, nil
    return codes
  end

  it("name every code of an error, and what it means", function()
    local missing, declared = {}, declarations.values "err.code"
    for _, code in ipairs(sorted(codes_in_sources())) do
      if declared[code] == nil then missing[#missing + 1] = code .. " is not declared" end
    end
    for code, described in pairs(declared) do
      if not described then missing[#missing + 1] = code .. " is not described" end
    end
    assert.same({}, missing)
  end)

  it("name no code that no error has", function()
    local list = assert(io.popen("cat host/*/*.c bindings/*.c bindings/*/*.c "
      .. "bindings/modules/*/*.c $(find scripts -name '*.lua' -not -name '*.d.lua')"))
    local source, wrong = list:read "a", {}
    list:close()
    for _, code in ipairs(sorted(declarations.values "err.code")) do
      if not source:find('"' .. code .. '"', 1, true) then wrong[#wrong + 1] = code end
    end
    assert.same({}, wrong)
  end)
end)

describe("the options in the declarations", function()
  for class, source in pairs {
    listen_opts = 'app.listen("x", { %s = %s }, print)',
    timer_opts = "app.timer(1, { %s = %s }, print)",
    task_opts = "app.task({ %s = %s }, print)",
  } do
    it("of " .. class .. " are known to the function", function()
      local values = {
        name = '"n"', data_type = '"string"', restart = '"never"', queue = '"q"',
        endpoint = "false", singleton = "false", description = '"d"', metadata = "{}",
        schema = "{}", retry = "true", breaker = "true", bulkhead = "1", key = '"subject"' }
      for field in pairs(declared_fields(class)) do
        local chunk = assert(load("return " .. source:format(field, values[field] or "1000")))
        chunk():stop()
      end
    end)
  end
end)
