-- A list of five strings and some more, far behind, whose length is what is asked for: where
-- there are holes Lua takes any of them for the end.

---@param length integer above 8
---@return string[]
return function(length)
  local places, low = { 5 }, 4
  while low * 2 <= length do
    low = low * 2
    places[#places + 1] = low
  end
  local high = low * 2
  while high - low > 1 do -- as Lua looks for it
    local middle = (low + high) // 2
    if middle <= length then
      low, places[#places + 1] = middle, middle
    else
      high = middle
    end
  end
  local fields = {}
  for i, place in ipairs(places) do fields[i] = ("[%d] = 'x'"):format(place) end
  -- In a constructor, as its size decides what is in the array.
  local list = load("return { 'x', 'x', 'x', 'x', " .. table.concat(fields, ", ") .. " }")()
  assert(#list == length)
  return list
end
