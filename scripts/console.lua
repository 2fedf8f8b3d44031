---A console in a running service: what `lunats console` sends is run here, in a fiber with the
---globals of the script. Only loaded by `lunats run --console`.
local core = require "lunats.core"
local fiber = require "lunats.fiber"
local json = require "lunats.json"
local shown = require "lunats.shown"

local M = {}

local SECONDS, MOST_SECONDS = 10, 300 -- for one command, waiting included
local COMPUTING = 1                   -- seconds without a wait, which hold all others up
local LOOK = 10000                    -- instructions between two looks at the clock
local BEAT = 0.05                     -- seconds
local OUTPUT = 256 * 1024             -- bytes
local SHOWN = 2000                    -- bytes of the code in the log
local AT_ONCE = 4

---Frames of ours in tracebacks: below that of the command, of what stops it, and all others.
local STOPPER = "\n\t%[C%]: in function 'error'\n\tlunats/console%.lua:[^\n]*"
local OTHERS = "\n\tlunats/console%.lua:[^\n]*"

-- ---- output --------------------------------------------------------------------

---JSON is UTF-8: other bytes become U+FFFD.
local function utf8_text(text)
  return utf8.len(text) and text or (text:gsub("[\x80-\xff]", "\u{fffd}"))
end

---What print would write of these values.
local function line_of(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  return table.concat(words, "\t", 1, words.n)
end

local output = {}
output.__index = output

function output:add(text)
  local room = OUTPUT - self.size
  self.cut = self.cut or #text > room
  self.size = self.size + math.min(#text, room)
  self.pieces[#self.pieces + 1] = text:sub(1, room)
end

function output:text()
  return utf8_text(table.concat(self.pieces)) .. (self.cut and "\n... (cut)\n" or "")
end

-- ---- running -------------------------------------------------------------------

---The globals of the script, but for print: what a command prints goes to its console as long
---as it runs.
local function environment(out)
  return setmetatable({}, {
    __index = function(_, name)
      if name ~= "print" or out.over then return core.globals()[name] end
      return function(...)
        if out.over then return core.globals().print(...) end
        out:add(line_of(...) .. "\n")
      end
    end,
    __newindex = core.globals(),
  })
end

---As an expression or as statements.
local function compile(code, env)
  local fn = load("return " .. code, "=console", "t", env)
  if fn then return fn end
  return load(code, "=console", "t", env)
end

---Others get their turn whenever a command waits: this one counts then.
local function beat(heart)
  while not heart.still do
    core.sleep(BEAT)
    heart.beats = heart.beats + 1
  end
end

---Raises in this coroutine once it has computed for too long; then again and again, as pcall
---would go on.
local function bound_computing(heart)
  local since, beats = core.hrtime(), heart.beats
  local function look()
    local now = core.hrtime()
    if heart.beats ~= beats then since, beats = now, heart.beats end
    if now - since > COMPUTING then
      debug.sethook(look, "", 1)
      error(("this has computed for %g s without a wait, while the service could do nothing "
        .. "else"):format(COMPUTING), 0)
    end
  end
  debug.sethook(look, "", LOOK)
end

local function run(fn, heart)
  local caught
  local function on_error(err)
    debug.sethook() -- first: it would stop what is of ours as well
    caught = core.raised(err, caught)
    return err
  end
  bound_computing(heart)
  local results = table.pack(xpcall(fn, on_error))
  debug.sethook()
  if core.cancelled() then error(results[2], 0) end
  if not results[1] then
    local trace = core.caught(caught or results[2])
    return false, (trace:gsub(STOPPER, ""):gsub(OTHERS, ""))
  elseif results.n == 1 then
    return true
  end
  local ok, text = pcall(shown, table.unpack(results, 2, results.n))
  return ok, ok and text or ("error calling 'tostring' (%s)"):format(type(text) == "string"
    and text or type(text))
end

local stop_beating = { __close = function(self) self.still = true end }

---@return boolean ok, string|nil text
local function execute(request, out)
  local fn, err = compile(request.code, environment(out))
  if not fn then return false, err end
  local seconds = tonumber(request.seconds) or SECONDS
  seconds = math.max(0.001, math.min(seconds, MOST_SECONDS))
  local heart <close> = setmetatable({ beats = 0 }, stop_beating)
  core.background(beat, heart)
  local done, ok, text = core.protect(fiber.bounded, seconds, run, fn, heart)
  if not done then -- the code has called os.exit(), or we are cancelled ourselves
    if core.cancelled() then error(ok, 0) end
    return false, "the service is stopping"
  elseif ok == nil then return false, ("this has not ended within %g s"):format(seconds) end
  return ok, text
end

-- ---- requests ------------------------------------------------------------------

local function on_command(msg)
  local request = json.decode(msg.raw)
  if type(request) ~= "table" or type(request.code) ~= "string" then
    return nil, { code = 400, message = 'a console takes {"code":"...","client":"..."}' }
  end
  app.log.warn("console: " .. request.code:sub(1, SHOWN),
    { client = tostring(request.client), inbox = msg.reply_to })
  local out = setmetatable({ pieces = {}, size = 0 }, output)
  local ok, text = execute(request, out)
  out.over = true
  if text and #text > OUTPUT then text = text:sub(1, OUTPUT) .. "... (cut)" end
  return { ok = ok, output = out:text(), text = text and utf8_text(text) }
end

core.defer_start(function()
  local name, _, id = core.identity()
  local subject = "lunats.console." .. name
  local opts = { data_type = "string", hidden = true, concurrency = AT_ONCE }
  core.listen(subject .. "." .. id, opts, on_command)
  core.listen(subject, opts, function() return { name = name, id = id } end)
  app.log.warn(("whoever may publish to %s.> can run code in this service (--console)"):format(
    subject))
end, "quietly")

return M
