---Sends recorded requests to a service under test and compares the replies: testing.replay().
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

---So many requests are shown when replies differ; the rest is counted.
local SHOWN = 5

-- ---- comparing ---------------------------------------------------------------

local function show(value)
  if value == nil then return "nothing" end
  if value == json.null then return "null" end
  if type(value) == "string" and #value > 200 then
    return ("%q..."):format(value:sub(1, 200))
  end
  local ok, text = pcall(json.encode, value)
  return ok and text or tostring(value)
end

local function member(path, key)
  if math.type(key) == "integer" then return ("%s[%d]"):format(path, key) end
  return path == "" and key or path .. "." .. key
end

---Fields of both tables in order.
local function keys_of(a, b)
  local list, seen = {}, {}
  for _, t in ipairs { a, b } do
    for key in pairs(t) do
      if not seen[key] then list[#list + 1] = key end
      seen[key] = true
    end
  end
  table.sort(list, function(x, y)
    if type(x) == type(y) then return x < y end
    return tostring(x) < tostring(y)
  end)
  return list
end

---Adds a line for each place where two values differ.
local function compare(path, want, got, ignore, lines)
  if type(want) == "table" and type(got) == "table" and want ~= json.null
    and got ~= json.null then
    for _, key in ipairs(keys_of(want, got)) do
      local below = member(path, key)
      -- "items[3].id" may be ignored as "id", as "items.id" or as itself.
      if not (ignore[key] or ignore[below] or ignore[(below:gsub("%[%d+%]", ""))]) then
        compare(below, want[key], got[key], ignore, lines)
      end
    end
  elseif want ~= got then
    lines[#lines + 1] = ("at %s: expected %s, got %s"):format(path == "" and "the top" or path,
      show(want), show(got))
  end
end

---JSON if both are, otherwise bytes.
local function compare_bodies(want, got, ignore, lines)
  local want_value, want_err = json.decode(want)
  local got_value, got_err = json.decode(got)
  if want == got then return end
  if want ~= "" and got ~= "" and not want_err and not got_err then
    compare("", want_value, got_value, ignore, lines)
  else
    lines[#lines + 1] = ("expected %s, got %s"):format(show(want), show(got))
  end
end

-- ---- the file ----------------------------------------------------------------

local function bytes_of(entry)
  if entry.base64 then return assert(core.base64_decode(entry.base64), "damaged base64") end
  return entry.data or ""
end

---The status and text of an error reply, or nil.
local function service_error(response)
  local code, text
  for name, value in pairs(response.headers or {}) do
    value = type(value) == "table" and value[1] or value
    if name:lower() == "nats-service-error-code" then code = tonumber(value) end
    if name:lower() == "nats-service-error" then text = value end
  end
  return code, text
end

local function read(path)
  local entries = {}
  local file, err = io.open(path, "rb")
  if not file then error("testing.replay: " .. err, 3) end
  for line in file:lines() do
    if #entries == 0 then line = line:gsub("^\u{FEFF}", "") end -- of an editor
    local entry, problem = json.decode(line)
    if problem or type(entry) ~= "table" or type(entry.subject) ~= "string" then
      file:close()
      error(("testing.replay: %s:%d is no recorded message"):format(path, #entries + 1), 3)
    end
    entries[#entries + 1] = entry
  end
  file:close()
  return entries
end

-- ---- replaying ---------------------------------------------------------------

local function compare_reply(entry, reply, err, ignore, lines)
  local code, text = service_error(entry.response)
  if code and not err then
    lines[1] = ("expected the error %d (%s), got %s"):format(code, text or "", show(reply.raw))
  elseif code and err.status ~= code then
    lines[1] = ("expected the error %d (%s), got %s"):format(code, text or "", err.message)
  elseif not code and err then
    lines[1] = ("expected %s, got the error: %s"):format(show(bytes_of(entry.response)),
      err.message)
  elseif not code then
    compare_bodies(bytes_of(entry.response), reply.raw, ignore, lines)
  end
end

---@return string[]  how the reply differs
local function replay_one(svc, entry, opts, ignore)
  local lines = {}
  local options = { headers = entry.headers, timeout = opts.timeout }
  if not entry.response then
    svc:publish(entry.subject, bytes_of(entry), { headers = entry.headers })
    return lines
  end
  local reply, err = svc:request(entry.subject, bytes_of(entry), options)
  compare_reply(entry, reply, err, ignore, lines)
  return lines
end

---@param svc table  a service that testing.start() has started
---@param path string  what `lunats record` has written
---@param opts table|nil  ignore: names of fields that may differ; timeout: of each request
---@return integer  how many replies were compared
function M.replay(svc, path, opts)
  opts = core.check("testing.replay", opts, { ignore = "table", timeout = "number" })
  local ignore = {}
  for _, name in ipairs(opts.ignore or {}) do ignore[name] = true end
  local compared, wrong = 0, 0
  local report = {}
  for number, entry in ipairs(read(path)) do
    local lines = replay_one(svc, entry, opts, ignore)
    if entry.response then compared = compared + 1 end
    if #lines > 0 then
      wrong = wrong + 1
      if wrong <= SHOWN then
        report[#report + 1] = ("%s:%d: the reply of %s differs\n  %s"):format(path, number,
          entry.subject, table.concat(lines, "\n  "))
      end
    end
  end
  if wrong > 0 then
    report = table.concat(report, "\n")
    error(("%d of %d replies differ\n%s"):format(wrong, compared, report), 2)
  end
  return compared
end

return M
