---`lunats lua -i`: reads Lua line by line, runs it and prints its results, as lua(1) does.
local core = require "lunats.core"
local input = require "lunats.commands.input"

local OURS = "\n\t%[C%]: in function 'xpcall'\n\tlunats/commands/repl%.lua:.*$"

local terminal = core.is_terminal(0)

local function read_line(prompt)
  io.stdout:flush()
  if terminal then
    io.stdout:write(prompt)
    io.stdout:flush()
  end
  return input.line()
end

---As an expression or as statements.
---@return function|nil chunk, string|nil err, boolean|nil incomplete
local function compile(text)
  local fn, expression = load("return " .. text, "=stdin", "t")
  if fn then return fn end
  local statements
  fn, statements = load(text, "=stdin", "t")
  if fn then return fn end
  return nil, statements, expression:find "<eof>$" ~= nil or statements:find "<eof>$" ~= nil
end

---A chunk that may go over several lines.
---@return function|nil chunk, string|nil err  both nil at the end
local function read_chunk()
  local text = read_line(_PROMPT or "> ") -- luacheck: ignore 113
  if not text then return nil end
  text = text:gsub("^=", "return ")
  local fn, err, incomplete = compile(text)
  while incomplete do
    local line = read_line(_PROMPT2 or ">> ") -- luacheck: ignore 113
    if not line then break end
    text = text .. "\n" .. line
    fn, err, incomplete = compile(text)
  end
  return fn, err
end

local function show_error(text) io.stderr:write("lunats: ", text, "\n") end

local function show_results(ok, ...)
  if core.cancelled() then error((...), 0) end
  if not ok then
    show_error((core.caught((...)):gsub(OURS, "\n\t[C]: in ?")))
  elseif select("#", ...) > 0 then
    local printed, err = pcall(print, ...)
    if not printed then show_error("error calling 'print' (" .. tostring(err) .. ")") end
  end
end

return function()
  if terminal then
    print(("lunats %s, %s, %s. Ctrl-D ends."):format(core.version, _VERSION,
      app.nats.connected_url and "connected to " .. app.nats.connected_url
      or "without a server (-s URL connects)"))
  end
  while true do
    local fn, err = read_chunk()
    if fn then
      show_results(xpcall(fn, core.raised))
    elseif err then
      show_error(err)
    else
      break
    end
  end
  if terminal then print() end
end
