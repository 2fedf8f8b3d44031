-- Saves of a script while it serves, good ones and broken ones, in every way that editors use.
--
--   build/release/lunats lua --embedded bench/saves.lua [SAVES]
--
-- `lunats run --watch` serves the script. Prints how many requests were not answered (none, one
-- hopes) and how long it took from a good save to the first answer of the new version.
local core = require "lunats.core"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local SAVES = tonumber(arg[1]) or 200
math.randomseed(42)

local GOOD = [[
local rates = require "rates"
app.config { name = "saved", version = "%d.0.0" }
app.listen("bench.saved", function() return rates.base + %d end)
]]

local path = process.write("saved.lua", GOOD:format(0, 0))
local module = path:gsub("saved%.lua$", "rates.lua")

local function put(name, text)
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
end

local function rename(name, text)
  put(name .. ".new", text)
  assert(os.rename(name .. ".new", name))
end

local function recreate(name, text)
  os.remove(name)
  app.sleep(0.01)
  put(name, text)
end

---No piece ends where what is there is a program: this process may stand still for a while.
local function in_pieces(name, text)
  local file, written = assert(io.open(name, "wb")), 0
  for last = 20, #text + 19, 20 do
    if last >= #text or not load(text:sub(1, last), "x", "t") then
      file:write(text:sub(written + 1, last))
      file:flush()
      written = last
      app.sleep(0.002)
    end
  end
  file:close()
end

local WAYS = { put, rename, recreate, in_pieces }

local function damaged(text)
  local kind = math.random(4)
  if kind == 1 then return text:sub(1, math.random(0, #text - 1)) end
  if kind == 2 then return "" end
  if kind == 3 then return text .. "\nerror 'at the end'\n" end
  local at = math.random(#text)
  return text:sub(1, at) .. string.char(math.random(0, 255)) .. text:sub(at + 2)
end

---Something that cannot be a working version: damage that happens to be another valid program,
---a listener of another subject say, is not the host's to judge.
local function broken(text)
  while true do
    local candidate = damaged(text)
    local compiles = load(candidate, "x", "t")
    if not compiles or candidate:find "error 'at the end'" or text == candidate
      or not candidate:find "app.listen" and not candidate:find "return" then
      return candidate
    end
  end
end

put(module, "return { base = 0 }\n")
local child = process.spawn { process.lunats(), "run", "--watch", "--log-level", "off",
  "--server", testing.server_url(), path }
repeat until app.request("bench.saved", "", { timeout = 1 }) or app.sleep(0.01)

local asked, unanswered, running = 0, 0, true
app.spawn(function()
  while running do
    asked = asked + 1
    local reply = app.request("bench.saved", "", { timeout = 2 })
    if not reply then unanswered = unanswered + 1 end
    app.sleep(0.001)
  end
end)

local times = {}
for i = 1, SAVES do
  local way = WAYS[math.random(#WAYS)]
  if math.random(2) == 1 then
    way(module, "return { base = \n")
  else
    way(path, broken(GOOD:format(i, i)))
  end
  app.sleep(math.random() * 0.08)
  put(module, "return { base = 0 }\n")
  local began = core.hrtime()
  WAYS[math.random(#WAYS)](path, GOOD:format(i, i))
  local reply
  repeat
    app.sleep(0.001)
    reply = app.request("bench.saved", "", { timeout = 1 })
  until reply and reply.data == i or core.hrtime() - began > 5
  times[i] = core.hrtime() - began
end
running = false
table.sort(times)
print(("%d broken and %d good saves: %d requests, %d not answered"):format(SAVES, SAVES, asked,
  unanswered))
print(("from a good save to its first answer, ms: p50 %.0f p99 %.0f max %.0f"):format(
  times[SAVES // 2] * 1e3, times[math.ceil(SAVES * 0.99)] * 1e3, times[SAVES] * 1e3))
print("still running: " .. tostring(child:status() == nil))
child:stop()
process.close_all()
os.exit(unanswered == 0)
