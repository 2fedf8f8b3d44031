---`lunats sub`: prints messages as they come.
local core = require "lunats.core"
local client = require "lunats.commands.client"

---@param text string  raises unless it can be subscribed to
local function check(text)
  local ok, err = pcall(core.check_pattern, text)
  if not ok then client.fail(2, "%s", err) end
end

return function()
  local options = core.options
  for _, subject in ipairs(options.args) do check(subject) end
  client.follow(options.args, options.json and client.json or client.line)
end
