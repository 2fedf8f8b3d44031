-- lint/layers.awk: what it says of small trees of C files.
local process = require "spec.support.process"
local lfs = require "lfs"

local DRAWING = [[
# a comment
floor host/base
floor host/link host/script
floor host/host
floor bindings/json
floor bindings
]]

---Runs the checker on files given as { path = text }.
---@return integer status
---@return string output
local function check(files, exceptions)
  local folder = process.path "tree"
  local command = { "awk", "-f", lfs.currentdir() .. "/lint/layers.awk", "layers.txt" }
  files["layers.txt"] = DRAWING .. (exceptions or "")
  for path, text in pairs(files) do
    os.execute(("mkdir -p '%s/%s'"):format(folder, path:match "^(.*/)" or ""))
    local file = assert(io.open(folder .. "/" .. path, "w"))
    file:write(text)
    file:close()
    if path ~= "layers.txt" then command[#command + 1] = path end
  end
  local child = process.spawn(command, { cwd = folder })
  return child:wait(), child:output()
end

describe("lint/layers.awk", function()
  after_each(process.close_all)

  it("accepts includes that run downwards or stay in their room", function()
    local status, output = check {
      ["host/link/link.c"] = '#include "host/link/internal.h"\n#include <uv.h>\n',
      ["host/link/internal.h"] = '#include "host/base/log.h"\n',
      ["host/host.c"] = '#include "host/link/link.h"\n#include "host/host.h"\n',
      ["bindings/app.c"] = '#include "bindings/json/json.h"\n#include "host/base/log.h"\n',
      ["bindings/json/text.c"] = '#include "bindings/json/text_internal.h"\n',
      ["spec/unit/link_test.c"] = '#include "host/link/internal.h"\n',
    }
    assert.equal("", output)
    assert.equal(0, status)
  end)

  for name, case in pairs {
    ["upwards"] = { "host/base/log.c", '\n  #  include "host/link/link.h"',
      "2: host/base may not include host/link/link.h, which lies above it" },
    ["sideways"] = { "host/link/link.c", '#include "host/script/script.h"',
      "1: host/link may not include host/script/script.h, which lies beside it" },
    ["into a module above its folder"] = { "host/base/log.c", '#include "host/host.h"',
      "1: host/base may not include host/host.h, which lies above it" },
    ["from host/ into bindings/"] = { "host/host.c", '#include "bindings/app.h"',
      "1: host/host may not include bindings/app.h, which lies above it" },
    ["of an internal header"] = { "host/host.c", '#include "host/link/internal.h"',
      "1: host/link/internal.h is internal to host/link/" },
    ["of an internal header with a longer name"] = { "bindings/app.c",
      '#include "bindings/json/x_internal.h"',
      "1: bindings/json/x_internal.h is internal to bindings/json/" },
    ["of an internal header in a test of something else"] = { "spec/unit/log_test.c",
      '#include "host/link/internal.h"', "1: host/link/internal.h is internal to host/link/" },
    ["from a folder without a floor"] = { "host/new/new.c", "\n", "1: host/new/ is not in " },
    ["into a folder without a floor"] = { "host/host.c", '#include "host/new/new.h"',
      "1: host/new/ is not in " },
  } do
    it("refuses an include " .. name, function()
      local status, output = check { [case[1]] = case[2] .. "\n" }
      assert.equal(1, status)
      assert.equal(case[1] .. ":" .. case[3], output:sub(1, #case[1] + 1 + #case[3]))
      assert.equal(1, select(2, output:gsub("\n", "")), output)
    end)
  end

  it("lets an exception pass, and only that one", function()
    local files = { ["host/base/log.c"] = '#include "host/link/link.h"\n' }
    assert.same({ 0, "" }, { check(files, "host/base/log.c host/link/link.h\n") })
    files["host/base/clock.c"] = files["host/base/log.c"]
    local status, output = check(files, "host/base/log.c host/link/link.h\n")
    assert.equal(1, status)
    assert.matches("^host/base/clock%.c:1: ", output)
  end)

  it("refuses an exception that nothing needs any more", function()
    local status, output = check({ ["host/base/log.c"] = "\n" },
      "host/base/log.c host/link/link.h\n")
    assert.equal(1, status)
    assert.equal("layers.txt:7: host/base/log.c does not include host/link/link.h any more: "
      .. "remove this line\n", output)
  end)

  it("refuses more than 25 exceptions", function()
    local files, exceptions = {}, {}
    for i = 1, 26 do
      files[("host/base/f%d.c"):format(i)] = '#include "host/link/link.h"\n'
      exceptions[i] = ("host/base/f%d.c host/link/link.h\n"):format(i)
    end
    local status, output = check(files, table.concat(exceptions))
    assert.equal(1, status)
    assert.equal("layers.txt:32: more than 25 includes run upwards: turn one round\n", output)
  end)
end)
