---How many partitions each reader of a consumer group has, and which: numbers only.
local M = {}

---What one reader does next, so that each gets to have as many as the others, give or take one,
---and few move. Each decides by what it sees; that may differ at the same moment.
---@param mine integer  that it reads
---@param free integer  that nobody reads
---@param coming integer  that it is about to give away
---@param others integer[]  how many each other one reads
---@return integer give, integer take
function M.decide(mine, free, coming, others)
  local count, readers = mine + free + coming, #others + 1
  for _, has in ipairs(others) do count = count + has end
  local least, most = count // readers, (count + readers - 1) // readers
  local need = 0
  for _, has in ipairs(others) do need = need + math.max(0, least - has) end
  if mine > least then
    local wanted = math.min(mine - least, math.max(0, need - free - coming))
    local give = math.max(mine - most, wanted)
    if give > 0 then return give, 0 end
  end
  local take = math.min(free, math.max(0, least - mine))
  -- One more, of those that nobody needs to have his share.
  if mine + take < most and free - take > need then take = take + 1 end
  return 0, take
end

---Which named member reads which partition, where a list of members is all that is known:
---blocks of equal size in the order of their names, and what is left over one by one.
---@param members string[]
---@param count integer
---@return table<integer, string> owners  by partition, from 0 on
function M.blocks(members, count)
  local names, seen = {}, {}
  for _, name in ipairs(members) do
    if not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  table.sort(names)
  local readers, owners = math.min(#names, count), {}
  local size = readers > 0 and count // readers or 0
  for number = 0, readers > 0 and count - 1 or -1 do
    local block = number // size
    owners[number] = names[(block < readers and block or number - readers * size) + 1]
  end
  return owners
end

return M
