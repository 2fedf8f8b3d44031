---What `lunats request`, `pub` and `sub` share: their input and what they print.
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

---128 + SIGPIPE, which other programs end with when nobody reads their output any more.
local NO_READER = 141

---A terminal obeys what a sender puts into its message: control characters, and what turns the
---direction of writing round, are shown instead.
---@param fd 1|2  to which the text goes
local function shown(text, fd)
  if not core.is_terminal(fd) then return text end
  local function byte(c) return ("\\x%02x"):format(c:byte()) end
  local function point(c) return ("\\u%04x"):format(utf8.codepoint(c)) end
  text = text:gsub("[%z\1-\8\11-\31\127]", byte)
  if not utf8.len(text) then return (text:gsub("[\x80-\xff]", byte)) end
  text = text:gsub("\xc2[\x80-\x9f]", point):gsub("\xe2\x80[\x8e\x8f\xa8-\xae]", point)
  return (text:gsub("\xe2\x81[\xa6-\xa9]", point))
end

---Writes to the standard error.
function M.complain(text) io.stderr:write(shown(text, 2)) end

---Tells what is wrong and ends.
---@param status integer
function M.fail(status, text, ...)
  M.complain(("lunats %s: %s\n"):format((core.identity()), text:format(...)))
  os.exit(status)
end

---BODY of the command line.
---@return string
function M.body()
  local body = core.options.args[2] or ""
  if body ~= "-" then return body end
  return require("lunats.commands.input").all()
end

---The headers of the command line; one that is given twice has two values.
---@return table<string, string[]>|nil
function M.headers()
  local headers = {}
  for _, one in ipairs(core.options.headers) do
    local name, value = one:match "^([^:]*):%s*(.-)%s*$"
    headers[name] = headers[name] or {}
    table.insert(headers[name], value)
  end
  return next(headers) and headers
end

---What a person is told when a message could not be sent or answered.
function M.explain(err, subject, message)
  local url = app.nats.connected_url or "the server"
  if err.code == "no_responders" then
    return ("nobody listens to %s at %s: start what answers it, or name its server with "
      .. "--server URL"):format(subject, url)
  elseif err.code == "too_large" then
    return ("%d bytes are too large for %s, which takes %s"):format(#message, url,
      app.nats.max_payload or "less")
  elseif err.code == "permission" then
    return ("this user may not publish to %s at %s"):format(subject, url)
  end
  return ("%s: %s"):format(subject, err)
end

---"1 message", "2 messages".
function M.plural(count, word)
  return ("%d %s%s"):format(count, word, count == 1 and "" or "s")
end

---Calls fn for every message of the subjects, one at a time. If the server refuses one of them,
---the command fails.
---@param subjects string[]
function M.listen(subjects, fn)
  for _, subject in ipairs(subjects) do
    core.listen(subject, { data_type = "string", concurrency = 1, needed = true }, fn)
  end
end

-- ---- printing ------------------------------------------------------------------

---Writes at once.
---@param text string
function M.write(text)
  local ok, err, code = io.stdout:write(shown(text, 1))
  if ok then ok, err, code = io.stdout:flush() end
  if ok then return end
  if code == 32 then os.exit(NO_READER) end -- EPIPE
  M.fail(1, "cannot write to the standard output: %s", err)
end

---Ends of lines are for people, and between messages; a single body stays as it is for a file.
function M.write_body(body, alone)
  local line = not alone or core.is_terminal(1) and body:sub(-1) ~= "\n"
  M.write(line and body .. "\n" or body)
end

---Header fields in the order of their names, each with a list of values.
---@return { name: string, values: string[] }[]
local function header_list(msg)
  local list = {}
  for name, value in pairs(msg.headers or {}) do
    list[#list + 1] = { name = name, values = type(value) == "table" and value or { value } }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

---The message on one line for people: subject, headers, body.
function M.line(msg)
  local fields = {}
  for _, field in ipairs(header_list(msg)) do
    for _, value in ipairs(field.values) do
      fields[#fields + 1] = ("%s: %s"):format(field.name, value)
    end
  end
  local headers = #fields > 0 and (" (%s)"):format(table.concat(fields, ", ")) or ""
  return ("%s%s%s%s\n"):format(msg.subject, headers, msg.raw ~= "" and " " or "", msg.raw)
end

---Text for JSON, which is UTF-8: other bytes become U+FFFD.
local function utf8_text(text)
  return utf8.len(text) and text or (text:gsub("[\x80-\xff]", "\u{fffd}"))
end

---The last field. A body that is JSON is part of the line as it came, without its line ends:
---they stand between its tokens, since strings of JSON have none.
local function body_field(raw)
  if raw == "" then
    return '"data":null'
  elseif json.decode(raw) ~= nil then
    return '"data":' .. raw:gsub("[\r\n]", "")
  elseif utf8.len(raw) then
    return '"data":' .. json.encode(raw)
  end
  return '"base64":' .. json.encode(core.base64(raw))
end

---The message as one line of JSON; a reply has the subject of its request, not the inbox.
---@param subject string|nil  of the request
function M.json(msg, subject)
  local inboxes = (core.options.inbox_prefix or "_INBOX") .. "."
  if not subject or msg.subject:sub(1, #inboxes) ~= inboxes then subject = msg.subject end
  local headers = {}
  for _, field in ipairs(header_list(msg)) do
    for i, value in ipairs(field.values) do field.values[i] = utf8_text(value) end
    local several = #field.values > 1
    headers[utf8_text(field.name)] = several and json.array(field.values) or field.values[1]
  end
  local fields = { '"subject":' .. json.encode(utf8_text(subject)) }
  if msg.reply_to then
    fields[2] = '"reply_to":' .. json.encode(utf8_text(msg.reply_to))
  end
  fields[#fields + 1] = '"headers":' .. core.sorted_json(headers)
  fields[#fields + 1] = body_field(msg.raw)
  return "{" .. table.concat(fields, ",") .. "}\n"
end

---Prints messages as they come, as many and as long as --count and --timeout say.
---@param subjects string[]
---@param text_of fun(msg): string
---@param note string|nil  for the line that says what it listens to
function M.follow(subjects, text_of, note)
  local options = core.options
  local limit, count, done = options.count, 0, core.alarm()
  M.listen(subjects, function(msg)
    if limit > 0 and count >= limit then return end
    count = count + 1
    M.write(text_of(msg))
    if count == limit then done:ring() end
  end)
  assert(app.flush())
  io.stderr:write(("listening to %s (Ctrl-C ends%s)\n"):format(table.concat(subjects, ", "),
    note or ""))
  if limit == 0 or count < limit then
    done:sleep(options.timeout > 0 and options.timeout or 1e9)
  end
  if count < limit then
    M.fail(1, "%d of %s came within %g s", count, M.plural(limit, "message"), options.timeout)
  end
end

return M
