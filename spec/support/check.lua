---`lunats check`, without the word that there is no luacheck: that is on the other stream,
---and so may come anywhere in between.
local process = require "spec.support.process"

---@return integer status
---@return string output
return function(...)
  local status, output = process.lunats_to_end { "check", ... }
  return status, (output:gsub("lunats check: luacheck is not installed[^\n]*\n", ""))
end
