---`lunats doctor`: whether everything is there that services need, and what to do where it is
---not. It connects as `lunats run` with the same options would.
local core = require "lunats.core"
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local columns = require "lunats.commands.columns"

---Seconds: for each question to the server; that clocks may differ; and below which descriptors
---are few.
local PATIENCE, CLOCK, FILES = 5, 2, 1024

---@class doctor.finding
---@field state "ok"|"note"|"bad"  a note is no mistake: it is about what may be needed
---@field about string
---@field text string
local findings

local function say(state, about, text, ...)
  findings[#findings + 1] = { state = state, about = about, text = text:format(...) }
end

-- ---- this machine ------------------------------------------------------------

local function look_at_program()
  say("ok", "lunats", "%s", core.versions())
  for _, name in ipairs { "http", "curl", "pg" } do
    local problem = core.module_problem(name)
    say(problem and "note" or "ok", "module " .. name, "%s", problem or "is there")
  end
end

---@return string|nil  the first line that a program prints
local function first_line(...)
  local child = core.process({ ... }, true)
  if not child then return nil end
  local status, output = child:wait()
  return status == 0 and output:match "[^\n]+" or nil
end

---Where `lunats dev` looks, too.
local SERVERS = { "nats-server", "/usr/local/bin/nats-server", "/usr/sbin/nats-server" }

local function look_at_tools()
  local server
  local named = os.getenv "NATS_SERVER"
  for _, program in ipairs(named and { named } or SERVERS) do
    server = server or first_line(program, "--version")
  end
  say(server and "ok" or "note", "nats-server", "%s", server or "is missing: `lunats dev` and "
    .. "`lunats test` need it (Debian: apt-get install nats-server; or NATS_SERVER names it)")
  local busted = pcall(require, "busted.runner")
  say(busted and "ok" or "note", "busted", "%s", busted and "is there" or
    "is missing: `lunats test` needs it (Debian: apt-get install lua-busted, or luarocks "
      .. "install busted)")
end

---@return string|nil
local function read_line(path, pattern)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text:match(pattern)
end

local function look_at_limits()
  local files = tonumber(read_line("/proc/self/limits", "Max open files%s+(%d+)"))
  if files then
    say(files < FILES and "note" or "ok", "open files", "%d%s", files, files < FILES
      and ": each connection to --http is one; raise it with `ulimit -n` or LimitNOFILE=" or "")
  end
  local memory = read_line("/sys/fs/cgroup/memory.max", "^%d+")
  if memory then
    say("ok", "memory", "%s for all processes of this group: give services less with --memory",
      columns.bytes(tonumber(memory)))
  end
end

-- ---- the server ----------------------------------------------------------------

---What to do about a server that does not let us in, by the code of the error. Others say it
---themselves.
local ADVICE = {
  permission = "--user, --token, --creds, --nkey or the whole URL say who we are",
  disconnected = "start one with `nats-server -js`, or name yours with --server URL, --context "
    .. "or NATS_URL; `lunats dev` starts one of its own",
}

---@return connection|nil
local function connect()
  local options = core.options.connection
  local names = {}
  for i, url in ipairs(options.server) do names[i] = core.url_shown(url) end
  local shown = table.concat(names, ", ")
  options.timeout = PATIENCE
  local other, err = app.connect(options)
  if other then return other end
  local text = err.message:find(names[1], 1, true) and err.message
    or ("%s: %s"):format(shown, err.message)
  local advice = ADVICE[err.code]
  say("bad", "server", "%s%s", text, advice and (" (%s)"):format(advice) or "")
end

local function look_at_server(other)
  local info = other.nats.server_info()
  local rtt, err = other.nats.rtt(PATIENCE)
  if not rtt then return say("bad", "server", "%s: %s", info.url, err.message) end
  say("ok", "server", "nats-server %s at %s answers in %.1f ms and takes messages of %s",
    info.version, core.url_shown(info.url), rtt * 1000, columns.bytes(info.max_payload))
end

---What a service needs to answer anybody: replies come to inboxes, and $SRV finds it.
local function look_at_permissions(other)
  local refused = {}
  local subject = "$SRV.PING.lunats-doctor-" .. app.crypto.uuid()
  local heard = false
  local listener = other.listen(subject, { queue = false, endpoint = false }, function()
    heard = true
    return ""
  end)
  local _, err = other.request(subject, "", { timeout = PATIENCE })
  if err or not heard then
    refused[#refused + 1] = ("$SRV: %s"):format(err and err.message or "nothing came")
  end
  listener:stop()
  if #refused == 0 then
    return say("ok", "permissions", "requests are answered, and services can be discovered")
  end
  say("bad", "permissions", "%s (`lunats check --permissions SCRIPT` prints what a service "
    .. "needs)", table.concat(refused, "; "))
end

---The time of the server is in what it tells of a stream, from nats-server 2.10 on.
local function look_at_clock(other, prefix)
  local before = app.now()
  local reply = other.request(prefix .. ".STREAM.LIST", "", { timeout = PATIENCE })
  local after = app.now()
  local first = reply and type(reply.data) == "table" and (reply.data.streams or {})[1]
  local stamp = first and cluster.unix_time(first.ts)
  if not stamp then
    return say("note", "clock",
      "cannot be compared: that takes nats-server 2.10 with a stream")
  end
  local off = stamp < before and before - stamp or stamp > after and stamp - after or 0
  if off <= CLOCK then
    return say("ok", "clock", "as that of the server, within %.1f s", off + after - before)
  end
  say("bad", "clock", "differs from that of the server by %.1f s: ages, schedules and leases "
    .. "go wrong (is chrony or systemd-timesyncd running here and there?)", off)
end

local function look_at_jetstream(other)
  local info, err = other.js.account_info()
  if not info then
    local off = err.code == "no_responders" or err.err_code == 10076
    return say("note", "JetStream", "%s", off and "is not enabled: services without streams "
      .. "and buckets do not need it (nats-server -js; or the account has none)" or err.message)
  end
  local most = info.limits and info.limits.max_storage or -1
  say("ok", "JetStream", "%d streams, %d consumers, %s on disk%s", info.streams, info.consumers,
    columns.bytes(info.storage), most >= 0 and " of " .. columns.bytes(most) or "")
  look_at_clock(other, core.options.js_prefix or "$JS.API")
end

-- ---- all of it -------------------------------------------------------------------

local MARKS = { ok = "ok  ", note = "note", bad = "BAD " }

local function print_all()
  local width = 0
  for _, one in ipairs(findings) do width = math.max(width, #one.about) end
  for _, one in ipairs(findings) do
    client.write(("%s  %-" .. width .. "s  %s\n"):format(MARKS[one.state], one.about,
      columns.clean(one.text)))
  end
end

return function()
  findings = {}
  look_at_program()
  look_at_tools()
  look_at_limits()
  local other <close> = connect()
  if other then
    look_at_server(other)
    look_at_permissions(other)
    look_at_jetstream(other)
  end
  local bad = 0
  for _, one in ipairs(findings) do bad = bad + (one.state == "bad" and 1 or 0) end
  if core.options.json then
    client.write(core.sorted_json(findings) .. "\n")
  else
    print_all()
  end
  os.exit(bad == 0 and 0 or 1)
end
