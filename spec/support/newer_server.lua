---While it runs, the server passes for one that is newer than all whose fields are known.
local core = require "lunats.core"

---@param fn function
return function(fn, ...)
  local nats_info = core.nats_info
  core.nats_info = function() -- luacheck: ignore 122
    local info = nats_info()
    info.version = "2.99.0"
    return info
  end
  local results = table.pack(pcall(fn, ...))
  core.nats_info = nats_info -- luacheck: ignore 122
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end
