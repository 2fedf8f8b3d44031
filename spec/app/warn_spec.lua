-- warn() and errors in finalizers: in the log, wherever the collector runs.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function start(source)
  local svc = testing.start(source)
  finally(function() svc:stop() end)
  return svc
end

---Waits for a line that matches, and returns all warnings so far.
local function warnings(svc, pattern)
  local all
  eventually("a warning like " .. pattern, function()
    local found
    all = {}
    for _, line in ipairs(svc:logs()) do
      if line.level == "warn" then
        all[#all + 1] = line.message
        found = found or line.message:find(pattern)
      end
    end
    return found
  end)
  return all
end

describe("warn()", function()
  it("is a line of the log, made of its parts", function()
    local svc = start [[warn("one", " and ", "two") warn "three"]]
    assert.same({ "one and two", "three" }, warnings(svc, "three"))
  end)

  it("is turned off and on by its control messages, which are not shown", function()
    local svc = start [[
      warn "@off" warn "hidden" warn("hid", "den") warn "@on" warn "@unknown"
      warn("@on", " is text here") warn "end"
    ]]
    assert.same({ "@on is text here", "end" }, warnings(svc, "^end"))
  end)

  it("is cut when it is long", function()
    local svc = start [[
      warn(("x"):rep(100000))
      for i = 1, 1000 do warn("number " .. i) end
    ]]
    local all = warnings(svc, "more warnings were lost")
    assert.matches("^x+$", all[1])
    assert.matches("^1000 more warnings were lost$", all[#all])
  end)

  it("is counted when there is no room, and finds room in the next turn", function()
    local svc = start [[app.task(function()
      for i = 1, 1000 do warn("number " .. i) end
      app.sleep(0.01)
      warn "the end"
    end)]]
    local all = warnings(svc, "the end")
    local lost = all[#all - 1]:match "^(%d+) more warnings were lost$"
    assert.equal(1000, tonumber(lost) + #all - 2)
    assert.equal("number 1", all[1])
  end)

  it("has the name of the service", function()
    local child = process.run [[app.config { name = "warner" } warn "careful"]]
    child:expect "WARN  warner: careful\n"
  end)
end)

describe("an error in a finalizer", function()
  local BROKEN = [[
    setmetatable({}, { __gc = function() error "cannot let go" end })
  ]]

  it("is logged, whoever makes the collector run", function()
    local svc = start("app.task(function()" .. BROKEN .. "collectgarbage() end)")
    assert.matches("error in __gc.*service.lua:%d+: cannot let go",
      table.concat(warnings(svc, "cannot let go")))
  end)

  it("is logged at the end of the service, too", function()
    local child = process.run("KEPT = " .. BROKEN .. "app.task(function() os.exit(0) end)")
    assert.equal(0, child:wait())
    child:expect "WARN  svc: error in __gc[^\n]*cannot let go"
  end)

  it("is seen with lunats lua", function()
    local path = process.write("t.lua", BROKEN .. "warn 'and a word'")
    local status, output = process.lunats_to_end { "lua", path }
    assert.equal(0, status)
    assert.matches("WARN  t: error in __gc[^\n]*cannot let go", output)
    assert.matches("WARN  t: and a word", output)
  end)

  it("is seen with lunats test", function()
    local path = process.write("a_spec.lua", ("it('works', function() %s end)"):format(BROKEN))
    local status, output = process.lunats_to_end { "test", path }
    assert.equal(0, status, output)
    assert.matches("error in __gc[^\n]*cannot let go", output)
  end)
end)
