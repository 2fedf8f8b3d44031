-- What the exit status of `lunats lua` says.
local process = require "spec.support.process"

after_each(process.close_all)

local function run(source)
  return process.lunats_to_end { "lua", process.write("tool.lua", source) }
end

describe("lunats lua", function()
  for what, source in pairs {
    ["an error of the file"] = "error 'lost?'",
    ["an error in a fiber that it has spawned"] =
      "app.spawn(function() error 'lost?' end) app.sleep(0.01)",
    ["an error in a to-be-closed variable of a fiber"] = [[
      app.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() error "lost?" end })
      end)
      app.sleep(0.01)
    ]],
  } do
    it("fails after " .. what, function()
      local status, output = run(source)
      assert.equal(1, status, output)
      assert.matches("ERROR tool: [^\n]*tool.lua:%d+: lost?", output)
    end)
  end

  it("ends well when somebody has taken the error", function()
    local status = run "assert(not app.spawn(function() error 'no' end):await())"
    assert.equal(0, status)
  end)

  for status, expected in pairs { ["3"] = 3, ["0"] = 0, ["256"] = 255, ["-1"] = 255,
    ["true"] = 0, ["false"] = 1, ["1 << 40"] = 255 } do
    it(("ends with %d after os.exit(%s)"):format(expected, status), function()
      assert.equal(expected, (run(("os.exit(%s)"):format(status))))
    end)
  end

  it("says where os.exit was given no status", function()
    local status, output = run "\nos.exit(1.5)"
    assert.equal(1, status)
    assert.matches("tool.lua:2: bad argument #1 to 'exit'", output)
  end)
end)

describe("a command that a script starts", function()
  it("has the default signals, whatever lunats was started with", function()
    local path = process.write("tool.lua", [[
      local function signals(of)
        for line in of do
          local name, mask = line:match "^Sig(%a+):%s+(%x+)"
          if name == "Ign" or name == "Blk" then print(name, mask) end
        end
      end
      signals(assert(io.popen "cat /proc/self/status"):lines())
      local copy = os.tmpname()
      os.execute("cat /proc/self/status >" .. copy)
      signals(io.lines(copy))
      os.remove(copy)
    ]])
    local child = process.spawn { "/bin/sh", "-c",
      ("trap '' PIPE INT; exec %s lua %s"):format(process.lunats(), path) }
    assert.equal(0, child:wait())
    -- HUP, INT, USR1, PIPE, TERM, CHLD; others may be ignored by whoever runs this spec.
    local ours, lines = 0, {}
    for _, signal in ipairs { 1, 2, 10, 13, 15, 17 } do ours = ours | 1 << (signal - 1) end
    for name, mask in child:output():gmatch "(%a+)\t(%x+)" do
      lines[#lines + 1] = name
      assert.equal(0, tonumber(mask, 16) & ours, child:output())
    end
    assert.same({ "Blk", "Ign", "Blk", "Ign" }, lines)
  end)
end)
