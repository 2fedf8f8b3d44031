---What happens when, from a seed alone: the same on every machine.

---`weight`: how often beside the others; `on`: whom it may meet; `most`: seconds that it lasts.
local KINDS = {
  { name = "server killed", weight = 3, most = 1 },
  { name = "server paused", weight = 2, most = 4 },
  { name = "server without descriptors", weight = 1, most = 2 },
  { name = "disk full", weight = 1, most = 2 },
  { name = "process killed", weight = 3, on = { "b" }, most = 1 },
  { name = "process stopped", weight = 2, on = { "b" }, most = 0.5 },
  { name = "process paused", weight = 3, on = { "a", "b" }, most = 4 },
  { name = "process without descriptors", weight = 2, on = { "a", "b" }, most = 2 },
  { name = "clock set", weight = 2, on = { "b" }, most = 2 },
  { name = "link cut", weight = 2, on = { "a" }, most = 0.5 },
  { name = "link slow", weight = 2, on = { "a" }, most = 3 },
  { name = "link mute", weight = 2, on = { "a" }, most = 4 },
  { name = "reload", weight = 4, on = { "a", "b" } },
  { name = "broken reload", weight = 3, on = { "a", "b" } },
  { name = "flood", weight = 3 },
  { name = "runaway", weight = 1 },
  { name = "garbage message", weight = 4 },
  { name = "garbage headers", weight = 2 },
  { name = "garbage in the stream", weight = 3 },
  { name = "garbage at the server", weight = 2 },
  { name = "garbage at the admin port", weight = 3, on = { "a", "b" } },
}

local total = 0
for _, kind in ipairs(KINDS) do total = total + kind.weight end

local function pick()
  local at = math.random(total)
  for _, kind in ipairs(KINDS) do
    at = at - kind.weight
    if at <= 0 then return kind end
  end
end

local M = { kinds = {} }
for i, kind in ipairs(KINDS) do M.kinds[i] = kind.name end

---@param seed integer
---@param seconds number
---@return table[] events  in their order: `at` and `lasts` in seconds, `kind`, `on`, and
---a number `detail` from which the event takes whatever else it chooses
function M.make(seed, seconds)
  math.randomseed(seed)
  local events, at = {}, 0
  while true do
    at = at + 0.1 + math.random() * 1.4
    if at >= seconds then return events end
    local kind = pick()
    local on, lasts = math.random(), math.random()
    events[#events + 1] = { at = at, kind = kind.name, detail = math.random(0, 0xffffff),
      on = kind.on and kind.on[1 + on * #kind.on // 1 | 0],
      lasts = (0.2 + 0.8 * lasts) * (kind.most or 0) }
  end
end

return M
