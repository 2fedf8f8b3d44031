---What a program has printed as JSON, among words for people on its standard error.
---@param output string  both together
---@return any value
return function(output)
  local line = ("\n" .. output):match "\n([%[{][^\n]*)"
  assert(line, "no JSON in: " .. output)
  return assert(app.json.decode(line))
end
