---The first warning or error that a log has, or nil. That the loop was held is not one: with
---the sanitizers a handler may take as long as is told.
---@param output string
---@return string|nil line
return function(output)
  for line in output:gmatch "[^\n]+" do
    local told = line:find(" WARN ", 1, true) or line:find(" ERROR ", 1, true)
    if told and not line:find("has held the loop", 1, true) then return line end
  end
end
