---A headless Chromium, where there is one, and node, which drives it.
local lfs = require "lfs"
local process = require "spec.support.process"

local M = {
  ---Where pictures are left for people to look at.
  pictures = lfs.currentdir() .. "/build/pictures",
}

local function find(...)
  for _, name in ipairs { ... } do
    for folder in os.getenv("PATH"):gmatch "[^:]+" do
      local path = folder .. "/" .. name
      if lfs.attributes(path, "mode") == "file" then return path end
    end
  end
end

local chromium = find("chromium", "chromium-browser", "google-chrome")
local node = find "node"

---What is missing, or nil.
M.missing = not chromium and "chromium" or not node and "node" or nil

---The path of a picture, of which the one before is removed.
function M.picture(name)
  lfs.mkdir "build"
  lfs.mkdir(M.pictures)
  local path = ("%s/%s.png"):format(M.pictures, name)
  os.remove(path)
  return path
end

local browser = {}
browser.__index = browser

---Begins with the steps of browser.cjs. To be called in a test; process.close_all() ends it.
---@param steps table[]  { name, argument... }
function M.start(steps)
  local script = process.write("steps.json", app.json.encode(steps))
  local run = process.spawn { node, "spec/support/browser.cjs", chromium,
    process.path "profile", script }
  return setmetatable({ run = run, steps = steps }, browser)
end

---Waits for the end of a step; returns its result.
function browser:step(number)
  self.run:expect("%f[^\n%z]" .. number .. " [^\n]*\n", 60)
  local line = ("\n" .. self.run:output()):match("\n" .. number .. " ([^\n]*)\n")
  return app.json.decode(line)
end

---Waits for the end of all; returns the result of the last step.
function browser:finish()
  assert(self.run:wait(120) == 0, self.run:output())
  return self:step(#self.steps)
end

return M
