-- The units of systemd: what systemd itself says of them, without running it.
local core = require "lunats.core"
local lfs = require "lfs"
local process = require "spec.support.process"
local read = require "spec.support.read"

local folder

before_each(function()
  folder = process.path "units"
  assert(lfs.mkdir(folder))
end)
after_each(process.close_all)

---Copies a unit, with the program that runs this spec as the one that it starts.
local function copy(name)
  local text = read("packaging/systemd/" .. name .. "@.service")
  local path = ("%s/%s@orders.service"):format(folder, name)
  local file = assert(io.open(path, "w"))
  file:write((text:gsub("ExecStart=lunats", "ExecStart=" .. process.lunats())))
  file:close()
  return path
end

---@return integer|nil status  nil: it is not there
---@return string output
local function analyze(...)
  local child = core.process({ "/bin/sh", "-c", "command -v systemd-analyze" }, true)
  if child:wait() ~= 0 then return nil, "" end
  child = process.spawn({ "systemd-analyze", ... }, { env = { LC_ALL = "C" } })
  return child:wait(), child:output()
end

for _, name in ipairs { "lunats", "lunats-worker" } do
  describe("the unit " .. name .. "@", function()
    it("is one that systemd understands", function()
      local status, output = analyze("verify", "--man=no", copy(name))
      if not status then return pending "needs systemd-analyze" end
      -- Other units of the machine are none of our business.
      for line in output:gmatch "[^\n]+" do
        assert.is_nil(line:find("lunats", 1, true), output)
      end
    end)

    it("leaves a service little that it could do harm with", function()
      local status, output = analyze("security", "--offline=yes", "--threshold=15",
        "--no-pager", copy(name))
      if not status then return pending "needs systemd-analyze" end
      assert.equal(0, status, output)
    end)

    it("stops later than lunats itself by default", function()
      local text = read("packaging/systemd/" .. name .. "@.service")
      assert.is_true(tonumber(text:match "\nTimeoutStopSec=(%d+)s\n") > 30)
    end)
  end)
end
