---`lunats record`: writes messages and the replies to them to a file, one JSON object a line.
---testing.replay() reads it.
local client = require "lunats.commands.client"
local core = require "lunats.core"

---How long a request may wait for its reply before it is written without one.
local REPLY_WAIT = 10

---@class record.entry
---@field time number  Unix time in seconds
---@field subject string
---@field reply string|nil  the inbox where the reply was awaited
---@field headers table|nil
---@field data string|nil  the bytes, if they are UTF-8
---@field base64 string|nil  otherwise
---@field response record.entry|nil  the reply that was seen

---Entries in the order of arrival; the first ones leave as soon as nothing misses from them.
local queue, first, last = {}, 1, 0
local waiting = {} -- entries by inbox
---Replies by inbox whose request has not been looked at yet: the order of messages holds
---within a subscription only. Most are replies to what is not recorded.
local early = {}
local totals = { messages = 0, replies = 0 }
local out

local function entry_of(msg)
  local entry = { time = app.now(), subject = msg.subject, reply = msg.reply_to }
  if next(msg.headers or {}) then entry.headers = msg.headers end
  if utf8.len(msg.raw) then
    entry.data = msg.raw
  else
    entry.base64 = core.base64(msg.raw)
  end
  return entry
end

---Writes what is complete, or everything.
local function write(everything)
  while first <= last do
    local entry = queue[first]
    local awaited = entry.reply and waiting[entry.reply] == entry
    if awaited and not everything and app.now() - entry.time < REPLY_WAIT then break end
    if awaited then waiting[entry.reply] = nil end
    out:write(core.sorted_json(entry), "\n")
    queue[first] = nil
    first = first + 1
  end
  out:flush()
end

local inboxes = (core.options.inbox_prefix or "_INBOX") .. "."

local function is_inbox(subject) return subject:sub(1, #inboxes) == inboxes end

local function answer(entry, response)
  waiting[entry.reply] = nil -- the first reply counts
  early[entry.reply] = nil
  entry.response = response
  totals.replies = totals.replies + 1
end

local function on_reply(msg)
  local entry = waiting[msg.subject]
  if not entry then
    early[msg.subject] = early[msg.subject] or entry_of(msg)
    return
  end
  answer(entry, entry_of(msg))
  write()
end

---Nobody has asked for these.
local function forget_early()
  for inbox, response in pairs(early) do
    if app.now() - response.time > 1 then early[inbox] = nil end
  end
end

---@param done userdata  rung when enough has come
local function on_message(msg, done)
  local options = core.options
  if is_inbox(msg.subject) then return end -- seen by the other listener
  if options.count > 0 and totals.messages >= options.count then return end
  local entry = entry_of(msg)
  last = last + 1
  queue[last] = entry
  totals.messages = totals.messages + 1
  if entry.reply and is_inbox(entry.reply) then
    waiting[entry.reply] = entry
    if early[entry.reply] then answer(entry, early[entry.reply]) end
  end
  write()
  if totals.messages == options.count then done:ring() end
end

local function open(path)
  if path == "-" then return io.stdout end
  core.private_file(path) -- what people have sent is nobody else's business
  local file, err = io.open(path, "w")
  if file then return file end
  io.stderr:write("lunats record: cannot write ", err, "\n")
  os.exit(1)
end

local function finish()
  write(true)
  io.stderr:write(("recorded %d messages, %d of them with a reply%s\n"):format(totals.messages,
    totals.replies, core.options.output ~= "-" and ", in " .. core.options.output or ""))
  if out ~= io.stdout then assert(out:close()) end
end

---Once enough messages are there, the replies to the last ones get a moment.
local function wait_for_replies()
  local deadline = core.hrtime() + REPLY_WAIT
  while next(waiting) and core.hrtime() < deadline do core.sleep(0.01) end
end

return function()
  local options = core.options
  out = open(options.output)
  app.on_stop(finish)
  local done = core.alarm()
  app.listen(inboxes .. ">", { queue = false, data_type = "string", concurrency = 1 }, on_reply)
  client.listen(options.args, function(msg) on_message(msg, done) end)
  assert(app.flush())
  app.timer(1, function()
    forget_early()
    write()
  end)
  io.stderr:write(("recording %s (Ctrl-C ends)\n"):format(table.concat(options.args, ", ")))
  if options.count == 0 or totals.messages < options.count then
    done:sleep(options.seconds > 0 and options.seconds or 1e9)
  end
  if options.count > 0 and totals.messages >= options.count then wait_for_replies() end
end
