---`lunats dlq`: dead letters are listed, shown, and sent back to where their messages were.
local client = require "lunats.commands.client"
local columns = require "lunats.commands.columns"
local core = require "lunats.core"

local MOST = 1000        -- lines of ls, if nothing is said
local PAYLOAD = 64 * 1024 -- bytes of which show makes text
local TELL = 1           -- seconds between two lines of progress; ten where nobody looks

local options = core.options

local function fail(err, where)
  if err.code == "no_responders" or err.code == "permission" or err.code == "timeout" then
    client.fail(1, "%s%s: %s", where or "", app.nats.connected_url or "the server", err.message)
  end
  client.fail(1, "%s%s", where or "", err.message)
end

-- ---- what was asked for ---------------------------------------------------------

local function sequences()
  local list = {}
  for i = 3, #options.args do
    local seq = math.tointeger(tonumber(options.args[i]))
    if not seq or seq < 1 then
      client.fail(2, "'%s' is not the number of a dead letter, as ls shows it", options.args[i])
    end
    list[#list + 1] = seq
  end
  return list
end

---@return js.letter_filter filter, boolean any
local function filter_of()
  local filter = { stream = options.of_stream, consumer = options.of_consumer,
    subject = options.of_subject, reason = options.reason,
    since = options.since > 0 and app.now() - options.since or nil }
  local any = next(filter) ~= nil
  if filter.subject and not pcall(core.check_pattern, filter.subject) then
    client.fail(2, "--subject: '%s' is no subject", filter.subject)
  end
  filter.limit = options.count > 0 and options.count or nil
  return filter, any or filter.limit ~= nil
end

local function refuse(names)
  for _, name in ipairs(names) do
    if options[name:gsub("-", "_")] then
      client.fail(2, "--%s is an option of `lunats dlq redrive`", name)
    end
  end
end

local function open()
  local ok, letters, err = pcall(app.js.dead_letters, options.args[2])
  if not ok then client.fail(2, "'%s' is no stream and no subject", options.args[2]) end
  if not letters then fail(err) end
  return letters
end

-- ---- ls -------------------------------------------------------------------------

local COLUMNS = {
  { title = "SEQ", right = true },
  { title = "AGE", right = true },
  { title = "ORIGIN", shrinks = true },
  { title = "SUBJECT", shrinks = true },
  { title = "CONSUMER", shrinks = true, drop = 2 },
  { title = "TRIES", right = true, drop = 1 },
  { title = "BYTES", right = true, drop = 3 },
  { title = "ERROR", shrinks = true },
}

local function row(letter)
  local origin = letter.origin
  return { tostring(letter.seq), columns.age(app.now() - letter.time),
    ("%s:%d"):format(origin.stream, origin.sequence), origin.subject, origin.consumer or "-",
    tostring(letter.deliveries or "-"), tostring(letter.size),
    letter.error or letter.reason or "-" }
end

---The letter as an object of JSON, which is UTF-8.
local function object(letter)
  local function text(value)
    return value and (utf8.len(value) and value or value:gsub("[\x80-\xff]", "\u{fffd}"))
  end
  local origin = letter.origin
  return { seq = letter.seq, subject = text(letter.subject), time = letter.time,
    size = letter.size, reason = text(letter.reason), error = text(letter.error),
    deliveries = letter.deliveries, redrives = letter.redrives, cut = letter.cut,
    origin = { stream = text(origin.stream), sequence = origin.sequence,
      subject = text(origin.subject), consumer = text(origin.consumer), time = origin.time } }
end

local function ls()
  refuse { "to", "all", "dry-run", "force" }
  if options.args[3] then client.fail(2, "ls takes one STREAM; show takes a SEQ") end
  local filter = filter_of()
  local letters = open()
  local most = filter.limit or not options.json and MOST or nil
  filter.limit = most and most + 1
  local list, err = letters:list(filter)
  if not list then fail(err) end
  local more = most and list[most + 1] and table.remove(list)
  if options.json then
    for _, letter in ipairs(list) do client.write(core.sorted_json(object(letter)) .. "\n") end
    return
  end
  local rows = {}
  for i, letter in ipairs(list) do rows[i] = row(letter) end
  local width = core.terminal_size()
  client.write(table.concat(columns.lines(COLUMNS, rows, width), "\n") .. "\n")
  if more then
    client.complain(("there are more than %d: --count N shows more\n"):format(most))
  end
end

-- ---- show -----------------------------------------------------------------------

local function time_text(time)
  if not time or time == 0 then return "-" end
  return ("%s, %s ago"):format(os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(time)),
    columns.age(app.now() - time))
end

---Bytes for people: 16 a line, with what of them is printable.
local function dump(bytes)
  local lines = {}
  for at = 1, #bytes, 16 do
    local part = bytes:sub(at, at + 15)
    local hex = part:gsub(".", function(c) return ("%02x "):format(c:byte()) end)
    lines[#lines + 1] = ("%08x  %-48s |%s|"):format(at - 1, hex, (part:gsub("[^ -~]", ".")))
  end
  return table.concat(lines, "\n")
end

local function is_text(bytes)
  return utf8.len(bytes) ~= nil and not bytes:find "[%z\1-\8\11-\31\127]"
end

local function payload_text(raw)
  local part = raw:sub(1, PAYLOAD)
  if #part < #raw and utf8.len(raw) then -- not in the middle of a character
    part = raw:sub(1, utf8.offset(raw, 0, PAYLOAD + 1) - 1)
  end
  local text = is_text(part) and part or dump(part)
  if #part < #raw then
    text = ("%s\n... %d more bytes: --json shows all"):format(text, #raw - #part)
  end
  return text
end

local function show_text(letter)
  local origin, lines = letter.origin, {}
  local function add(name, value)
    lines[#lines + 1] = ("%-11s %s"):format(name, columns.clean(tostring(value or "-")))
  end
  add("seq", ("%d of %s, on %s"):format(letter.seq, options.args[2], letter.subject))
  add("given up", time_text(letter.time))
  add("reason", letter.reason)
  add("error", letter.error)
  add("deliveries", letter.deliveries)
  add("message", ("%d of %s, on %s"):format(origin.sequence, origin.stream, origin.subject))
  add("stored", time_text(origin.time))
  add("consumer", origin.consumer)
  add("redrives", letter.redrives)
  local names = {}
  for name in pairs(letter.message.headers) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = letter.message.headers[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      add("header", ("%s: %s"):format(name, one))
    end
  end
  local raw = letter.message.raw
  add("payload", letter.cut and ("%d of %d bytes"):format(#raw, letter.size)
    or client.plural(#raw, "byte"))
  client.write(table.concat(lines, "\n") .. "\n")
  if raw ~= "" then client.write(payload_text(raw) .. "\n") end
end

local function show_json(letter)
  local fields, message = object(letter), letter.message
  local line = client.json { subject = letter.subject, headers = message.headers,
    raw = message.raw }
  local head = core.sorted_json(fields)
  -- The message as `lunats sub --json` has it: without its subject, which stands in front.
  client.write(head:sub(1, -2) .. "," .. line:match '("headers":.*)$')
end

local function show()
  refuse { "to", "all", "dry-run", "force" }
  local seqs = sequences()
  if #seqs == 0 then client.fail(2, "which one? lunats dlq show STREAM SEQ") end
  local letters = open()
  for i, seq in ipairs(seqs) do
    local letter, err = letters:get(seq, { data_type = "string" })
    if not letter then fail(err) end
    if options.json then
      show_json(letter)
    else
      if i > 1 then client.write "\n" end
      show_text(letter)
    end
  end
end

-- ---- redrive --------------------------------------------------------------------

local function told(letter, ack, err)
  if options.json then
    local line = { seq = letter.seq, error = err and err.message, code = err and err.code }
    if ack then
      line.stream, line.subject, line.sequence, line.duplicate = ack.stream, ack.subject,
        ack.seq, ack.duplicate
    end
    client.write(core.sorted_json(line) .. "\n")
  elseif err then
    client.complain(("lunats dlq: %d: %s\n"):format(letter.seq, columns.clean(err.message)))
  end
  return ack ~= nil
end

local function say(letter, ack)
  if options.json then return end
  client.write(options.dry_run
    and ("%d would go to %s, on %s\n"):format(letter.seq, ack.stream, ack.subject)
    or ("%d is %d of %s, on %s%s\n"):format(letter.seq, ack.seq, ack.stream, ack.subject,
      ack.duplicate and ", as it was already" or ""))
end

local function redrive_some(letters, seqs, opts)
  local good = true
  for _, seq in ipairs(seqs) do
    local ack, err = letters:redrive(seq, opts)
    if told({ seq = seq }, ack, err) then say({ seq = seq }, ack) else good = false end
  end
  return good
end

---Where a run is, on one line of a terminal.
local function progress()
  local live, last = core.is_terminal(2), core.hrtime()
  local done, shown = 0, false
  local function clear()
    if shown and live then io.stderr:write "\r\27[K" end
    shown = false
  end
  local function step(letter)
    done = done + 1
    local now = core.hrtime()
    if now - last < (live and TELL or 10 * TELL) then return end
    clear()
    last, shown = now, true
    io.stderr:write(("%d done, at %d%s"):format(done, letter.seq, live and "" or "\n"))
    io.stderr:flush()
  end
  return step, clear
end

local function redrive_all(letters, filter, opts)
  local step, clear = progress()
  function opts.on_progress(letter, ack, err)
    if err and err.code == "not_found" then return end
    if err or options.json then clear() end
    if told(letter, ack, err) and opts.dry_run then say(letter, ack) end
    step(letter)
  end
  local report, err = letters:redrive(filter, opts)
  clear()
  local left = report or err.report or { redriven = 0, failed = {} }
  client.complain(("%s %s%s\n"):format(client.plural(left.redriven, "message"),
    opts.dry_run and "would go back" or left.redriven == 1 and "is back" or "are back",
    left.failed[1] and (", %d cannot go"):format(#left.failed) or ""))
  if not report then
    fail(err, "the run has ended early, and can be run again: ")
  end
  return left.failed[1] == nil
end

local function redrive()
  local seqs = sequences()
  local filter, any = filter_of()
  local opts = { to = options.to, dry_run = options.dry_run or nil,
    force = options.force or nil }
  if seqs[1] and (any or options.all) then
    client.fail(2, "either numbers, or filters, or --all")
  elseif not seqs[1] and not any and not options.all then
    client.fail(2, "which ones? Numbers that ls shows, filters as for ls, or --all")
  end
  local letters = open()
  local good
  if seqs[1] then
    good = redrive_some(letters, seqs, opts)
  else
    good = redrive_all(letters, filter, opts)
  end
  if not good then os.exit(1) end
end

local COMMANDS = { ls = ls, show = show, redrive = redrive }

return function() return COMMANDS[options.args[1]]() end
