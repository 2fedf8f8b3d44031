---A consumer of which nothing is heard though the server knows it: it counts as silent until
---something comes. One silence that an answer of the server ends is none: a process that was
---stopped for a while has not heard anything either.
local core = require "lunats.core"

local M = {}

local LOOK = 0.5 -- seconds

local function wait(self, number)
  while self.silences == number and not self.box:stopped() do
    if self.box:heard() then
      self.heard, self.quiet = true, nil
      return self.reader:set "ok"
    end
    core.sleep(LOOK)
  end
end

---After a silence: the server knows it. self.quiet is true from a second one on, with nothing
---between them, until something comes.
---@param self table with box (of core.js_consume) and reader
function M.known(self)
  local heard = self.box:heard() or self.heard
  self.heard = nil
  self.silences = (self.silences or 0) + 1
  self.quiet = not heard or nil
  if heard then return self.reader:set "ok" end
  self.reader:set("silent",
    "nothing comes from it, neither messages nor heartbeats, though the server knows it")
  core.background(wait, self, self.silences)
end

return M
