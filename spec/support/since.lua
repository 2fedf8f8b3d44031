---Whether the server of the specs is at least so new: for what older ones do not have.
---@param version string  "2.10.4"
---@return boolean
return function(version)
  local has = app.nats.server_info().version:gmatch "%d+"
  for wanted in version:gmatch "%d+" do
    local number = tonumber(has()) or 0
    if number ~= tonumber(wanted) then return number > tonumber(wanted) end
  end
  return true
end
