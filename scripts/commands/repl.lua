---`lunats lua -i`: reads Lua line by line, runs it and prints its results.
local core = require "lunats.core"
local line = require "lunats.commands.line"
local shown = require "lunats.shown"

local M = {}

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
---@param prompt string
---@param further string  prompt of its further lines
---@return string|nil text, string|nil err  why it cannot be run; both nil at the end
function M.read(prompt, further)
  local text, given_up
  repeat text, given_up = line.read(prompt) until not given_up
  if not text then return nil end
  text = text:gsub("^=", "return ")
  local fn, err, incomplete = compile(text)
  while incomplete do
    local more
    more, given_up = line.read(further)
    if given_up then return M.read(prompt, further) end
    if not more then break end
    text = text .. "\n" .. more
    fn, err, incomplete = compile(text)
  end
  return text, not fn and err or nil
end

local function show_error(text) io.stderr:write("lunats: ", text, "\n") end

local function show_results(ok, ...)
  if core.cancelled() then error((...), 0) end
  if not ok then
    show_error((core.caught((...))))
  elseif select("#", ...) > 0 then
    local known, text = pcall(shown, ...)
    if not known then text = "error calling 'tostring' (" .. tostring(text) .. ")" end
    (known and print or show_error)(text)
  end
end

function M.run()
  line.remember ".lunats_history"
  if line.terminal then
    print(("lunats %s, %s, %s. Ctrl-D ends."):format(core.version, _VERSION,
      app.nats.connected_url and "connected to " .. app.nats.connected_url
      or "without a server (-s URL connects)"))
  end
  while true do
    local text, err = M.read(_PROMPT or "> ", _PROMPT2 or ">> ") -- luacheck: ignore 113
    if err then
      show_error(err)
    elseif text then
      show_results(core.protect(compile(text)))
    else
      break
    end
  end
end

return M
