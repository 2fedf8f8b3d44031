---The bytes of a file that is there.
---@param path string
---@return string
return function(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end
