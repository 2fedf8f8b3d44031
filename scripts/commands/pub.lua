---`lunats pub`: publishes a message and waits until the server has it.
local core = require "lunats.core"
local client = require "lunats.commands.client"
local json = require "lunats.json"

local TIMEOUT = 5 -- seconds

local function tell(subject, count, bytes)
  if core.options.json then
    client.write(('{"subject":%s,"count":%d,"bytes":%d}\n'):format(json.encode(subject), count,
      bytes))
  else
    io.stderr:write(("published %s of %s to %s\n"):format(client.plural(count, "message"),
      client.plural(bytes, "byte"), subject))
  end
end

return function()
  local options = core.options
  local subject, body = options.args[1], client.body()
  local opts = { headers = client.headers() }
  local count, refused = math.max(options.count, 1), core.nats_error()
  for _ = 1, count do
    local ok, err = app.publish(subject, body, opts)
    if not ok then client.fail(1, "%s", client.explain(err, subject, body)) end
  end
  local ok, err = app.flush(options.timeout > 0 and options.timeout or TIMEOUT)
  if not ok then
    client.fail(1, "it is not known whether the server has got it: %s", err)
  elseif core.nats_error() ~= refused then
    os.exit(1) -- the log says what it did not permit
  end
  tell(subject, count, #body)
end
