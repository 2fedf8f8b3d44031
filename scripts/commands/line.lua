---Lines that are typed in: edited, with a history. Without a terminal they are just read.
local core = require "lunats.core"
local input = require "lunats.commands.input"

local M = {}

local HISTORY = 1000 -- lines that are kept

local terminal = core.is_terminal(0) and core.is_terminal(1) and os.getenv "TERM" ~= "dumb"
local history, path = {}, nil
local pending = "" -- typed ahead, or pasted

-- ---- history -------------------------------------------------------------------

---Reads the lines of earlier sessions, and adds to them.
---@param name string  of a file in the home folder
function M.remember(name)
  local home = os.getenv "HOME"
  if not terminal or not home then return end
  path = home .. "/" .. name
  local file = io.open(path, "r")
  if not file then return end
  for line in file:lines() do history[#history + 1] = line end
  file:close()
  history = table.move(history, math.max(1, #history - HISTORY + 1), #history, 1, {})
end

---A history that cannot be written is none.
local function add_to_history(line)
  if line:find "^%s*$" or line == history[#history] then return end
  history[#history + 1] = line
  if not path then return end
  core.private_file(path)
  local file = io.open(path, #history > HISTORY and "w" or "a")
  if not file then return end
  if #history > HISTORY then
    table.remove(history, 1)
    file:write(table.concat(history, "\n"), "\n")
  else
    file:write(line, "\n")
  end
  file:close()
end

-- ---- editing -------------------------------------------------------------------

---@class line.editor
---@field before string[]  characters left of the cursor
---@field after string[]  right of it, the nearest first
---@field at integer  place in the history
local editor = {}
editor.__index = editor

local function characters(text)
  local list = {}
  for one in text:gmatch(utf8.len(text) and utf8.charpattern or ".") do
    list[#list + 1] = one
  end
  return list
end

function editor:text() return table.concat(self.before) .. table.concat(self.after) end

function editor:set(text) self.before, self.after = characters(text), {} end

local function move(from, to, one_end)
  if #from == 0 then return false end
  if one_end then
    table.insert(to, 1, table.remove(from))
  else
    to[#to + 1] = table.remove(from, 1)
  end
  return true
end

function editor:left() return move(self.before, self.after, true) end
function editor:right() return move(self.after, self.before, false) end
function editor:home() while self:left() do end end -- luacheck: ignore
function editor:last() while self:right() do end end -- luacheck: ignore
function editor:delete() table.remove(self.after, 1) end
function editor:backspace() self.before[#self.before] = nil end
function editor:kill() self.after = {} end
function editor:clear() self.before = {} end

---To the beginning of the word left of the cursor; step is left() or backspace().
function editor:word(step)
  local list = self.before
  while #list > 0 and not list[#list]:find "[%w_\x80-\xff]" do step(self) end
  while #list > 0 and list[#list]:find "[%w_\x80-\xff]" do step(self) end
end

function editor:next_word()
  local list = self.after
  while #list > 0 and not list[1]:find "[%w_\x80-\xff]" do self:right() end
  while #list > 0 and list[1]:find "[%w_\x80-\xff]" do self:right() end
end

function editor:recall(step)
  local at = self.at + step
  if at < 1 or at > #history + 1 then return end
  if self.at == #history + 1 then self.own = self:text() end
  self.at = at
  self:set(history[at] or self.own)
end

local KEYS = {
  ["\1"] = editor.home, ["\5"] = editor.last, ["\2"] = editor.left, ["\6"] = editor.right,
  ["\8"] = editor.backspace, ["\127"] = editor.backspace, ["\11"] = editor.kill,
  ["\21"] = editor.clear, ["\23"] = function(self) self:word(self.backspace) end,
  ["\16"] = function(self) self:recall(-1) end, ["\14"] = function(self) self:recall(1) end,
  ["\12"] = function() io.stdout:write "\27[H\27[J" end,
  ["\9"] = function(self) self:insert "  " end,
}
---What terminals send behind ESC.
local SEQUENCES = {
  ["[A"] = KEYS["\16"], ["[B"] = KEYS["\14"], ["[C"] = editor.right, ["[D"] = editor.left,
  ["[H"] = editor.home, ["[F"] = editor.last, ["OH"] = editor.home, ["OF"] = editor.last,
  ["[1~"] = editor.home, ["[4~"] = editor.last, ["[7~"] = editor.home, ["[8~"] = editor.last,
  ["[3~"] = editor.delete, ["[1;5C"] = editor.next_word, f = editor.next_word,
  ["[1;5D"] = function(self) self:word(self.left) end,
  b = function(self) self:word(self.left) end,
  ["OA"] = KEYS["\16"], ["OB"] = KEYS["\14"], ["OC"] = editor.right, ["OD"] = editor.left,
}

function editor:insert(text)
  for _, one in ipairs(characters(text)) do self.before[#self.before + 1] = one end
end

---Where the key ends with which `pending` begins; nil: more of it is to come.
local function key_end()
  local first = pending:byte()
  if first == 27 then
    if #pending == 1 then return nil end
    if not pending:find "^\27[%[O]" then return 2 end
    return (select(2, pending:find "^\27[%[O][%d;]*[%a~]"))
  end
  local size = first < 0xc0 and 1 or first < 0xe0 and 2 or first < 0xf0 and 3 or 4
  return #pending >= size and size or nil
end

---The next key; nil at the end of the input.
local function next_key()
  while pending == "" or not key_end() do
    local bytes = input.some()
    if not bytes then return nil end
    pending = pending .. bytes
  end
  local last = key_end()
  local key = pending:sub(1, last)
  pending = pending:sub(last + 1)
  -- A Ctrl-D typed ahead, while a command ran and the terminal had its own line discipline, is
  -- kept by Linux as the end of a line, and read as a zero byte.
  return key == "\0" and "\4" or key
end

---The part of the line around the cursor that fits.
function editor:draw(prompt)
  local width = (core.terminal_size() or 80) - #prompt - 1
  local from = math.max(1, #self.before - width + 1)
  local left = table.concat(self.before, "", from)
  local room = width - (#self.before - from + 1)
  local right = table.concat(self.after, "", 1, math.max(0, math.min(#self.after, room)))
  local column = #prompt + #self.before - from + 1
  io.stdout:write("\r", prompt, left, right, "\27[K\r",
    column > 0 and ("\27[%dC"):format(column) or "")
  io.stdout:flush()
end

---True when the line is done, false when it is given up, nil to go on.
function editor:press(key)
  if key == "\r" or key == "\n" then return true end
  if key == "\3" then return false end
  if key == "\4" and #self.before + #self.after > 0 then return self:delete() end
  local action = KEYS[key] or key:byte() == 27 and SEQUENCES[key:sub(2)]
  if action then
    action(self)
  elseif key:byte() >= 32 and key ~= "\127" then
    self:insert(key)
  end
end

---@return string|nil line, boolean|nil given_up
local function edit(prompt)
  local self = setmetatable({ before = {}, after = {}, at = #history + 1, own = "" }, editor)
  local done
  repeat
    if pending == "" or not key_end() then self:draw(prompt) end
    local key = next_key()
    if not key or key == "\4" and self:text() == "" then
      self:draw(prompt) -- which typing ahead has left out
      return nil
    end
    done = self:press(key)
  until done ~= nil
  self:last()
  self:draw(prompt)
  return done and self:text() or "", not done
end

-- ---- lines ---------------------------------------------------------------------

---The next line; nil at the end (Ctrl-D). Ctrl-C gives up what was typed.
---@param prompt string  shown on a terminal
---@return string|nil line, boolean|nil given_up
function M.read(prompt)
  io.stdout:flush()
  if not terminal then return input.line() end
  local taken = core.terminal "line"
  if not taken then return input.line() end
  local line, given_up = edit(prompt)
  io.stdout:write(given_up and "^C\n" or "\n")
  io.stdout:flush()
  taken:close()
  if line and not given_up then add_to_history(line) end
  return line, given_up
end

M.terminal = terminal

return M
