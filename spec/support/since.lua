local busted = require "busted"

---Whether the server of the specs is at least so new: for what older ones do not have.
---@param version string  "2.10.4"
---@return boolean
local function since(version)
  local has = app.nats.server_info().version:gmatch "%d+"
  for wanted in version:gmatch "%d+" do
    local number = tonumber(has()) or 0
    if number ~= tonumber(wanted) then return number > tonumber(wanted) end
  end
  return true
end

---A test for servers from a version on; pending with others.
local function since_it(version, name, fn)
  if since(version) then return busted.it(name, fn) end
  busted.pending(("%s (needs nats-server %s)"):format(name, version))
end

return setmetatable({ it = since_it },
  { __call = function(_, version) return since(version) end })
