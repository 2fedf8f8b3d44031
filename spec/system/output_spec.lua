-- What a service logs and prints, and who reads it.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"
local tsan = require "spec.support.tsan"
local unique = require "spec.support.unique"

after_each(process.close_all)

---Each request is answered after a line of a kilobyte.
local SCRIPT = [[
  local line = (" "):rep(1000)
  app.listen(%q, { data_type = "string" }, function(msg)
    local what, number = msg.data:match "(%%a+) (%%d+)"
    if what == "log" then app.log.info("logged", { number = tonumber(number), line = line })
    elseif what == "print" then print("printed", number, line)
    elseif what == "write" then io.write("written ", number, line, "\n") end
    return number
  end)
]]

---Runs it with output and errors in a pipe that is read only after read_all().
local function start()
  local subject = unique "output"
  local pipe = process.path "pipe"
  local path = process.write("svc.lua", SCRIPT:format(subject))
  local child = process.spawn { "sh", "-c", [[mkfifo "$0"
    { while [ -p "$0" ] && [ ! -e "$0.go" ]; do sleep 0.01; done
      [ ! -p "$0" ] || exec cat >"$0.out"; } <"$0" &
    exec "$@" >"$0" 2>&1]], pipe, process.lunats(), "run", "-s", testing.server_url(), path }
  local self = { child = child }
  function self.ask(what)
    return assert(app.request(subject, what, { timeout = 10 })).raw
  end
  function self.read_all()
    os.execute(("touch '%s.go'"):format(pipe))
    eventually("the reader", function() return io.open(pipe .. ".out") end)
  end
  function self.output() return read(pipe .. ".out") end
  eventually("an answer", function() return (app.request(subject, "here 0")) end)
  return self
end

local function count(text, pattern)
  local _, n = text:gsub(pattern, "")
  return n
end

describe("a service whose output nobody reads", function()
  for what, word in pairs { log = "logged", print = "printed" } do
    it("goes on, and all comes when it is read: " .. what, function()
      local svc = start()
      for i = 1, 300 do assert.equal(tostring(i), svc.ask(what .. " " .. i)) end
      svc.read_all()
      assert.equal(0, svc.child:stop())
      eventually("the last line", function() return svc.output():find "stopped" end)
      assert.equal(300, count(svc.output(), word))
    end)

    it("loses what is more than a megabyte, and says how much: " .. what, function()
      local svc = start()
      for i = 1, 1500 do assert.equal(tostring(i), svc.ask(what .. " " .. i)) end
      svc.read_all()
      local lost = eventually("the number", function()
        return tonumber(svc.output():match "lost lines=(%d+)")
      end)
      svc.child:stop()
      eventually("the last line", function() return svc.output():find "stopped" end)
      assert.equal(1500, count(svc.output(), word) + lost)
      assert.is_true(lost > 300 and lost < 700)
    end)

    it("ends all the same: " .. what, function()
      local svc = start()
      for i = 1, 300 do svc.ask(what .. " " .. i) end
      assert.equal(0, svc.child:stop())
    end)
  end

  it("ends also with something left by io.write", function()
    if tsan then return pending "ThreadSanitizer writes what is left, and waits" end
    local svc = start()
    for i = 1, 100 do svc.ask("log " .. i) end
    svc.ask "write 1"
    assert.equal(0, svc.child:stop())
  end)
end)

describe("print of a service", function()
  it("comes at once, in order with io.write", function()
    local path = process.write("svc.lua", [[
      app.task(function()
        io.write "one "
        print(2, nil, "three")
        io.write "four\n"
        print(setmetatable({}, { __tostring = function() return "five" end }))
      end)]])
    local child = process.spawn { process.lunats(), "run", "-s", testing.server_url(), path }
    child:expect "one 2\tnil\tthree\nfour\nfive\n"
    child:signal "KILL"
    child:wait()
  end)
end)
