---`lunats sub`: prints messages as they come.
local core = require "lunats.core"
local client = require "lunats.commands.client"

---@param text string  raises unless it can be subscribed to
local function check(text)
  local ok, err = pcall(core.check_pattern, text)
  if not ok then client.fail(2, "%s", err) end
end

return function()
  local options = core.options
  local limit, count, done = options.count, 0, core.alarm()
  local text_of = options.json and client.json or client.line
  for _, subject in ipairs(options.args) do check(subject) end
  local function on_message(msg)
    if limit > 0 and count >= limit then return end
    count = count + 1
    client.write(text_of(msg))
    if count == limit then done:ring() end
  end
  client.listen(options.args, on_message)
  assert(app.flush())
  io.stderr:write(("listening to %s (Ctrl-C ends)\n"):format(table.concat(options.args, ", ")))
  if limit == 0 or count < limit then
    done:sleep(options.timeout > 0 and options.timeout or 1e9)
  end
  if count < limit then
    client.fail(1, "%d of %s came within %g s", count, client.plural(limit, "message"),
      options.timeout)
  end
end
