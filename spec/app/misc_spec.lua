-- The rest of app: identity, config, log, nats, json, state.
local core = require "lunats.core"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

describe("identity", function()
  it("of a service is its file's name, 0.0.0 and an id of its own", function()
    local child = process.run [[
      app.on_start(function()
        app.log.info(("[%s %s %s]"):format(app.name, app.version, app.instance_id))
      end)
    ]]
    local name, version, id = child:expect("%[%S+ %S+ %S+%]"):match "%[(%S+) (%S+) (%S+)%]"
    assert.equal("svc", name)
    assert.equal("0.0.0", version)
    assert.equal(22, #id)
    assert.not_equal(app.instance_id, id)
  end)

  it("can be set by app.config, which shows in queue groups and events", function()
    local child = process.run [[
      app.config { name = "orders-2_x", version = "1.2.3-rc.1" }
      app.on_start(function() app.log.info(app.name .. "@" .. app.version) end)
    ]]
    child:expect "orders%-2_x: orders%-2_x@1%.2%.3%-rc%.1"
  end)

  it("can be read but app.name cannot be unset by accident", function()
    assert.is_string(app.name)
    assert.is_string(app.version)
    assert.is_string(app.instance_id)
  end)
end)

describe("app.config", function()
  for _, case in ipairs {
    { "an unknown option", [[app.config { nmae = "x" }]], "did you mean 'name'" },
    { "a name with a dot", [[app.config { name = "a.b" }]], "may hold letters" },
    { "a name with a blank", [[app.config { name = "a b" }]], "may hold letters" },
    { "an empty name", [[app.config { name = "" }]], "may hold letters" },
    { "a long name", [[app.config { name = ("x"):rep(65) }]], "may hold letters" },
    { "a name that is no string", [[app.config { name = 5 }]], "must be a string" },
    { "a version that breaks JSON", [[app.config { version = 'a"b' }]], "version" },
    { "a version with a line break", [[app.config { version = "a\nb" }]], "version" },
    { "an unknown limit", [[app.config { limits = { slize = 1 } }]],
      "did you mean 'slice'" },
    { "a slice of nothing", [[app.config { limits = { slice = 0 } }]],
      "limits.slice is a number of seconds, from 0.001 to 1000000" },
    { "NaN as a slice", [[app.config { limits = { slice = 0 / 0 } }]], "limits.slice is" },
    { "a slice that is a string", [[app.config { limits = { slice = "1" } }]], "a number" },
    { "half a byte", [[app.config { limits = { memory = 0.5 } }]],
      "limits.memory is a whole number of bytes, from 1048576 to 9007199254740992" },
    { "bytes in a unit that nobody knows", [[app.config { limits = { memory = "64 MB" } }]],
      'limits.memory is a number of bytes like 67108864 or "64M", not "64 MB"' },
    { "no fiber", [[app.config { limits = { fibers = 0 } }]], "limits.fibers is a whole" },
    { "limits that are no table", [[app.config { limits = 1 }]], "'limits' must be a table" },
    { "no table", [[app.config "x"]], "must be a table" },
    { "nothing", [[app.config()]], "must be a table" },
    { "a call after the start", [[app.on_start(function() app.config { name = "x" } end)]],
      "top level" },
  } do
    it("refuses " .. case[1], function()
      local child = process.run(case[2])
      assert.equal(1, child:wait())
      assert.matches(case[3], child:output())
      assert.matches("svc.lua:1:", child:output())
    end)
  end
end)

describe("app.log", function()
  local LINES = [[
    app.task(function()
      app.log.debug "a debug line"
      app.log.info "an info line"
      app.log.warn("a warning", { text = "x y", n = 5, float = 0.5, yes = true, t = { 1, 2 } })
      app.log.error("an error", { })
      app.log.info { a = 1 }
      app.log.info(42)
      app.log.info(nil)
      app.log.info("two\nlines \27[31m red")
      app.log.info("odd", { f = print, [1] = "no name", t = { f = print } })
      app.log.info(setmetatable({}, { __tostring = function() return "as text" end }))
      app.log.info "the end"
    end)
  ]]

  it("writes the level, the service and the fields", function()
    local child = process.run(LINES)
    child:expect "the end"
    local output = child:output()
    assert.equal(0, child:count "a debug line")
    assert.matches("%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z INFO +svc: an info line", output)
    assert.matches("WARN +svc: a warning.-text=\"x y\"", output)
    for _, part in ipairs { "n=5", "float=0.5", "yes=true", "t=[1,2]", 'svc: {"a":1}',
      "svc: 42", "svc: nil", "svc: as text",
      "cannot encode a function" } do
      assert.truthy(output:find(part, 1, true), part)
    end
    assert.matches("ERROR +svc: an error", output)
    assert.is_nil(output:find("\27[31m", 1, true))
  end)

  it("writes fields in the order of their names, those of tables in fields, too", function()
    local child = process.run [[
      local function table_of(...)
        local t = {}
        for _, name in ipairs { ... } do
          t[name] = { z = 1, a = {}, m = { 2, { y = 1, b = 2 } } }
        end
        return t
      end
      app.log.info("fields", { zoo = 1, apple = 2, ["a\0b"] = 3, list = app.json.array {},
        nested = table_of("zz", "a", "aa", "ab", "Z"), mixed = { 1, x = 2 } })
      app.log.info { b = 1, a = 2 }
      app.log.info "the end"
    ]]
    child:expect "the end"
    local inner = '{"a":{},"m":[2,{"b":2,"y":1}],"z":1}'
    local output = child:output()
    local at = 1
    for _, part in ipairs { "apple=2 ", "list=[] ", "mixed=",
      ('nested={"Z":%s,"a":%s,"aa":%s,"ab":%s,"zz":%s} '):gsub("%%s", inner), "zoo=1\n",
      'svc: {"a":2,"b":1}\n' } do
      at = assert.truthy(output:find(part, at, true), part .. " in " .. output)
    end
    assert.matches("mixed=[^\n]*both list items and named fields", output)
  end)

  it("writes debug lines when asked for", function()
    local child = process.run(LINES, { "--log-level", "debug" })
    child:expect "a debug line"
  end)

  it("writes nothing below the level", function()
    local child = process.run(LINES .. "\napp.timer(0.01, function() os.exit(0) end)",
      { "--log-level", "error" })
    assert.equal(0, child:wait())
    assert.equal(0, child:count "a warning")
    assert.equal(1, child:count "an error")
  end)

  it("writes JSON, one object a line", function()
    local child = process.run(LINES, { "--log-format", "json" })
    child:expect "the end"
    local warning
    for line in child:output():gmatch "[^\n]+" do
      local entry = app.json.decode(line)
      assert.is_string(entry.level)
      if line:find("a warning", 1, true) then warning = entry end
    end
    assert.equal("warn", warning.level)
    assert.equal(5, warning.n)
    assert.same({ 1, 2 }, warning.t)
  end)

  it("refuses fields that are no table", function()
    assert.has_error(function() app.log.error("x", "y") end)
  end)
end)

describe("app.nats", function()
  it("tells about the connection", function()
    assert.matches("^nats://127%.0%.0%.1:%d+$", app.nats.connected_url)
    assert.equal("integer", math.type(app.nats.client_id))
    assert.equal(1024 * 1024, app.nats.max_payload)
    assert.equal("connected", app.nats.status())
    assert.is_nil(app.nats.unknown)
  end)

  it("tells about the server", function()
    local info = app.nats.server_info()
    assert.equal(app.nats.connected_url, info.url)
    assert.equal(56, #info.server_id)
    assert.equal(app.nats.client_id, info.client_id)
  end)

  it("measures the round trip", function()
    local rtt = assert(app.nats.rtt())
    assert.is_true(rtt > 0 and rtt < 5)
  end)

  it("counts", function()
    local before = app.nats.stats()
    assert(app.publish("spec.misc.count", "12345"))
    assert(app.flush())
    local after = app.nats.stats()
    assert.is_true(after.out_msgs > before.out_msgs)
    assert.is_true(after.out_bytes >= before.out_bytes + 5)
    assert.equal(0, after.reconnects)
  end)
end)

describe("app", function()
  it("is what require returns", function()
    assert.equal(app, require "app")
  end)

  it("has a table for state", function()
    assert.is_table(app.state)
  end)

  it("has nil under unknown names, so that features can be looked for", function()
    assert.is_nil(app.lisen)
    local ok, err = pcall(function() app.lisen("x", print) end)
    assert.is_false(ok)
    assert.matches("lisen", err)
    local text = core.explained(err)
    assert.matches("%(field 'lisen'%): app has no 'lisen' %(did you mean 'listen'%?%)$", text)
    assert.equal(text, core.explained(text)) -- once is enough
    assert.equal("(field 'lisen')", core.explained "(field 'lisen')")
    assert.is_nil(app.js.nothing_like_it)
    assert.equal(err, core.explained(err)) -- the last one that was looked up is another one
  end)

  it("is meant by globals that have the names of its functions", function()
    local _, err = pcall(load "listen('x', print)")
    assert.matches("%(global 'listen'%): did you mean 'app%.listen'%?$", core.explained(err))
    _, err = pcall(load "lisn('x', print)")
    assert.equal(err, core.explained(err))
    local text = "attempt to call a nil value (global 'describe')"
    assert.equal(text .. ": this is a spec, which `lunats test` runs", core.explained(text))
  end)

  it("has messages whose misspelt members are told", function()
    local seen
    local listener = app.listen("spec.members", function(msg)
      assert(msg.dta == nil)
      seen = {}
      for i, code in ipairs { "return (...).dta.drink", "(...):respnd 'x'",
        "return (...).sbject .. '.x'" } do
        seen[i] = core.explained(select(2, pcall(load(code), msg)))
      end
      return true
    end)
    assert(app.request("spec.members"))
    listener:stop()
    for i, names in ipairs { { "field", "dta", "data" }, { "method", "respnd", "respond" },
      { "field", "sbject", "subject" } } do
      assert.matches(("(%s '%s'): a message has no '%s' (did you mean '%s'?)"):format(names[1],
        names[2], names[2], names[3]), seen[i], 1, true)
    end
  end)

  it("has on_start for the top level only", function()
    local ok, err = pcall(app.on_start, function() end)
    assert.is_false(ok)
    assert.matches("started already", err)
    assert.has_error(function() app.on_start "x" end)
    assert.has_error(function() app.on_stop(nil) end)
  end)
end)

describe("app.json", function()
  it("shares null with cjson", function()
    assert.equal(require "cjson".null, app.json.null)
    assert.equal('{"a":null}', require "cjson".encode { a = app.json.null })
    assert.equal(app.json.null, app.json.decode "[null]"[1])
  end)

  it("keeps integers, floats and empty lists", function()
    local text = '{"float":0.1,"int":1700000000123456789,"list":[],"object":{}}'
    local value = app.json.decode(text)
    assert.equal("integer", math.type(value.int))
    assert.equal(text:len(), app.json.encode(value):len())
    assert.matches('"list":%[%]', app.json.encode(value))
  end)
end)

describe("modules", function()
  it("beside the script are found whatever the working directory is", function()
    local path = process.write("main.lua", 'app.on_start(function() require "beside" end)')
    local file = assert(io.open(path:gsub("main.lua", "beside.lua"), "w"))
    file:write 'app.log.info "found"'
    file:close()
    local child = process.spawn({ process.lunats(), "run", "-s", testing.server_url(), path },
      { cwd = "/" })
    child:expect "found"
  end)

  it("of the distribution can be used", function()
    local missing = {}
    for _, name in ipairs { "cjson", "lfs", "lpeg" } do
      local ok, err = pcall(require, name)
      if not ok then missing[#missing + 1] = err end
    end
    assert.is_nil(missing[1] and not missing[1]:find("not found", 1, true) or nil)
  end)
end)
