---The least permissions with which a service works, as configuration of nats-server: for
---`lunats check --permissions`.
local core = require "lunats.core"
local bytecode = require "lunats.commands.bytecode"
local patterns = require "lunats.subject"
local uses = require "lunats.commands.uses"

local M = {}

-- ---- collecting ----------------------------------------------------------------

---@class permissions
---@field publish table<string, string>  subject -> why
---@field subscribe table<string, string>
---@field notes string[]  what could not be found out
local collected = {}
collected.__index = collected

function collected:may(verb, subject, why)
  self[verb][subject] = self[verb][subject] or why
end

function collected:note(one, ...)
  self.notes[#self.notes + 1] = ("line %d: %s"):format(one.line, string.format(...))
end

---A subject, or a pattern for what is only known when the script runs; nil: nothing is known.
---@param value uses.value|nil
local function subject_of(value)
  if not value or not value.text then return nil end
  if not value.open then return value.text end
  local known = value.text:match "^(.*%.)" or ""
  return known ~= "" and known .. ">" or nil
end

---A name that is a token of a subject; "*" when it is not known.
local function token(value)
  local text = value and value.text
  return text and not value.open and text ~= "" and text or "*"
end

local function field(value, name) return value and value.fields and value.fields[name] end

local API = "$JS.API"

---What JetStream is asked, or a bucket is sent: with a prefix it goes by that. A server that is
---of the domain itself maps its prefix before it looks at permissions, any other one does not.
local function ask(self, subject, why)
  local prefix = core.options.js_prefix or API
  if prefix == API then return self:may("publish", subject, why) end
  local is_api = subject:sub(1, #API) == API
  self:may("publish", prefix .. (is_api and subject:sub(#API + 1) or "." .. subject), why)
  if prefix:find "^%$JS%.[^.]+%.API$" then
    self:may("publish", subject, why .. ", at a server of the domain")
  end
end

---JetStream requests, each with the stream and further tokens behind it.
function collected:api(why, ...)
  for _, op in ipairs { ... } do ask(self, API .. "." .. op, why) end
end

---What it takes to make and find a consumer.
function collected:consumer(stream, name, why)
  local both = stream .. "." .. name
  self:api(why, "STREAM.INFO." .. stream, "CONSUMER.INFO." .. both, "CONSUMER.CREATE." .. both,
    "CONSUMER.CREATE." .. both .. ".>")
end

---To be sent its messages, too, or to pull them.
---@param how "push"|"pull"
function collected:consumes(stream, name, how, why)
  local both = stream .. "." .. name
  self:consumer(stream, name, why)
  if name == "*" then self:api(why, "CONSUMER.DELETE." .. both) end
  self:may("publish", ("$JS.ACK.%s.>"):format(both), "acknowledgements")
  if how == "push" then
    self:may("publish", ("$JS.FC.%s.>"):format(both), "flow control")
  else
    self:api(why, "CONSUMER.MSG.NEXT." .. both)
  end
end

---What the watches of buckets are made of, and readers, which pull.
---@param pulls boolean
function collected:looks(stream, why, pulls)
  self:consumer(stream, "*", why)
  if pulls then self:api(why, "CONSUMER.MSG.NEXT." .. stream .. ".*") end
  self:api(why, "CONSUMER.DELETE." .. stream .. ".*")
  self:may("publish", ("$JS.FC.%s.*.>"):format(stream), "flow control")
end

function collected:reads(stream, why)
  self:api(why, "DIRECT.GET." .. stream, "DIRECT.GET." .. stream .. ".>",
    "STREAM.MSG.GET." .. stream)
end

-- ---- functions -----------------------------------------------------------------

local function publishes(self, one)
  local subject = subject_of(one.args[1])
  if subject then
    self:may("publish", subject, one.path)
  else
    self:note(one, "the subject of %s is only known when it runs", one.path)
  end
end

---Requests about a stream whose name is the first argument, or the field of one.
local function of_stream(name, ...)
  local ops = { ... }
  return function(self, one)
    local stream = token(name and field(one.args[1], name) or one.args[1])
    if stream == "*" then
      self:note(one, "which stream or bucket %s means is only known when it runs", one.path)
    end
    for _, op in ipairs(ops) do self:api(one.path, op:format(stream)) end
  end
end

local function of_consumer(self, one)
  local fields = one.args[1]
  local name = field(fields, "durable_name") or field(fields, "name")
  self:consumer(token(field(fields, "stream")), token(name), one.path)
end

local function named_consumer(op)
  return function(self, one)
    self:api(one.path, ("CONSUMER.%s.%s.%s"):format(op, token(one.args[1]), token(one.args[2])))
  end
end

---@param how "push"|"pull"
local function subscribes(how)
  return function(self, one)
    local opts = one.args[2]
    local durable = field(opts, "durable") or field(field(opts, "config"), "durable_name")
    if not durable then durable = field(opts, "queue") end
    local stream, name = token(field(opts, "stream")), token(durable)
    if not field(opts, "stream") then self:api(one.path, "STREAM.NAMES") end
    self:consumes(stream, name, how, one.path)
  end
end

---What is made and changed of elastic groups.
local elastic = { STREAM = "KV_elastic-consumer-groups" }

---The stream of a group.
function elastic.work_in(stream, name)
  return (stream == "*" or name == "*") and "*" or stream .. "-" .. name
end

---@return string work  the stream of the group
---@return string key  of its entry
local function elastic_of(self, one)
  local stream, name = token(one.args[1]), token(one.args[2])
  self:api(one.path, "STREAM.INFO." .. elastic.STREAM)
  self:reads(elastic.STREAM, one.path)
  return elastic.work_in(stream, name),
    ("$KV.%s.%s.%s"):format(elastic.STREAM:sub(4), stream, name)
end

function elastic.open(self, one)
  local work, key = elastic_of(self, one)
  local methods = self.methods
  if methods.add_members or methods.remove_members or methods.set_members
    or methods.set_mappings then
    ask(self, key, one.path)
  end
  if methods.info then self:api(one.path, "STREAM.INFO." .. work) end
  if methods.active then self:api(one.path, "CONSUMER.LIST." .. work) end
end

function elastic.create(self, one)
  elastic.open(self, one)
  local work, key = elastic_of(self, one)
  self:api(one.path, "INFO", "STREAM.INFO." .. token(one.args[1]), "STREAM.INFO." .. work,
    "STREAM.CREATE." .. work, "STREAM.CREATE." .. elastic.STREAM)
  ask(self, key, one.path)
end

function elastic.delete(self, one)
  local work, key = elastic_of(self, one)
  self:api(one.path, "STREAM.INFO." .. work, "STREAM.DELETE." .. work)
  ask(self, key, one.path)
end

function elastic.list(self, one)
  self:api(one.path, "STREAM.INFO." .. elastic.STREAM)
  self:looks(elastic.STREAM, one.path, true)
end

---The leases of partitions and of members, and the description of the group.
local function reads_group(self, one)
  local stream, name = token(one.args[1]), token(one.args[2])
  local leases, described = "KV_LUNATS_LEASES", "KV_static-consumer-groups"
  local is_elastic = field(one.args[3], "elastic") ~= nil
  self:api(one.path, "STREAM.INFO." .. leases, "STREAM.CREATE." .. leases,
    "STREAM.MSG.GET." .. leases)
  self:looks(leases, one.path)
  ask(self, ("$KV.LUNATS_LEASES.=%s.%s.%s.>"):format(is_elastic and "elastic" or "group",
    stream, name), one.path)
  if is_elastic then
    local work = elastic.work_in(stream, name)
    described = elastic.STREAM
    self:consumes(work, "*", "pull", one.path)
    self:api(one.path, "INFO", "CONSUMER.LIST." .. work, "CONSUMER.UNPIN." .. work .. ".*")
  else
    self:consumes(stream, "*", "pull", one.path)
  end
  if not field(one.args[3], "partitions") then
    self:api(one.path, "STREAM.MSG.GET." .. described)
    self:looks(described, one.path)
  end
end

local FUNCTIONS = {
  ["app.js.consumer_group"] = reads_group,
  ["app.js.create_elastic_group"] = elastic.create, ["app.js.elastic_group"] = elastic.open,
  ["app.js.delete_elastic_group"] = elastic.delete,
  ["app.js.elastic_group_names"] = elastic.list,
  ["app.publish"] = publishes, ["app.request"] = publishes, ["app.request_many"] = publishes,
  ["app.js.publish"] = publishes, ["app.js.publish_async"] = publishes,
  ["app.js.add_stream"] = of_stream("name", "STREAM.CREATE.%s", "STREAM.INFO.%s"),
  ["app.js.ensure_stream"] = of_stream("name", "STREAM.INFO.%s", "STREAM.CREATE.%s",
    "STREAM.UPDATE.%s"),
  ["app.js.update_stream"] = of_stream("name", "STREAM.INFO.%s", "STREAM.UPDATE.%s"),
  ["app.js.delete_stream"] = of_stream(nil, "STREAM.DELETE.%s"),
  ["app.js.purge_stream"] = of_stream(nil, "STREAM.PURGE.%s"),
  ["app.js.stream_info"] = of_stream(nil, "STREAM.INFO.%s"),
  ["app.js.get_msg"] = of_stream(nil, "STREAM.INFO.%s", "STREAM.MSG.GET.%s", "DIRECT.GET.%s",
    "DIRECT.GET.%s.>"),
  ["app.js.delete_msg"] = of_stream(nil, "STREAM.MSG.DELETE.%s"),
  ["app.js.consumers"] = of_stream(nil, "CONSUMER.LIST.%s"),
  ["app.js.consumer_names"] = of_stream(nil, "CONSUMER.NAMES.%s"),
  ["app.js.consumer_info"] = named_consumer "INFO",
  ["app.js.delete_consumer"] = named_consumer "DELETE",
  ["app.js.pause_consumer"] = named_consumer "PAUSE",
  ["app.js.resume_consumer"] = named_consumer "PAUSE",
  ["app.js.unpin_consumer"] = named_consumer "UNPIN",
  ["app.js.reset_consumer"] = named_consumer "RESET",
  ["app.js.add_consumer"] = of_consumer, ["app.js.update_consumer"] = of_consumer,
  ["app.js.ensure_consumer"] = of_consumer,
  ["app.js.subscribe"] = subscribes "push", ["app.js.pull_subscribe"] = subscribes "pull",
  ["app.js.streams"] = function(self, one) self:api(one.path, "STREAM.LIST") end,
  ["app.js.stream_names"] = function(self, one) self:api(one.path, "STREAM.NAMES") end,
  ["app.js.find_stream"] = function(self, one) self:api(one.path, "STREAM.NAMES") end,
  ["app.js.account_info"] = function(self, one) self:api(one.path, "INFO") end,
  ["app.js.create_key_value"] = of_stream("bucket", "STREAM.CREATE.KV_%s",
    "STREAM.INFO.KV_%s"),
  ["app.js.key_value"] = of_stream(nil, "STREAM.INFO.KV_%s"),
  ["app.js.delete_key_value"] = of_stream(nil, "STREAM.DELETE.KV_%s"),
  ["app.js.create_object_store"] = of_stream("bucket", "STREAM.CREATE.OBJ_%s",
    "STREAM.INFO.OBJ_%s"),
  ["app.js.object_store"] = of_stream(nil, "STREAM.INFO.OBJ_%s"),
  ["app.js.delete_object_store"] = of_stream(nil, "STREAM.DELETE.OBJ_%s"),
  ["app.connect"] = function(self, one)
    self:note(one, "what app.connect opens has a user, and permissions, of its own")
  end,
}

---Functions of app.js about which nothing is known here.
local SILENT = { schedule = true, batch = true, counter = true, context = true }

-- ---- buckets -------------------------------------------------------------------

local WRITES = { put = true, create = true, update = true, delete = true, purge = true,
  purge_deletes = true }
local READS = { keys = true, history = true, list = true, purge_deletes = true }

local function uses_any(methods, wanted)
  for name in pairs(wanted) do
    if methods[name] then return true end
  end
  return false
end

---What the methods that the script calls anywhere do with a bucket.
local function key_value(self, bucket, methods)
  local stream, why = "KV_" .. bucket, "bucket " .. bucket
  if uses_any(methods, { get = true, create = true, update = true, history = true }) then
    self:reads(stream, why)
  end
  if uses_any(methods, WRITES) then ask(self, ("$KV.%s.>"):format(bucket), why) end
  local reads = uses_any(methods, READS)
  if reads or methods.watch then self:looks(stream, why, reads) end
  if methods.purge_deletes then self:api(why, "STREAM.PURGE." .. stream) end
end

local function object_store(self, bucket, methods)
  local stream, why = "OBJ_" .. bucket, "object store " .. bucket
  self:reads(stream, why)
  if uses_any(methods, { put = true, delete = true, update = true, link = true }) then
    self:may("publish", ("$O.%s.>"):format(bucket), why)
    self:api(why, "STREAM.PURGE." .. stream)
  end
  local reads = uses_any(methods, { get = true, list = true })
  if reads or methods.watch then self:looks(stream, why, reads) end
  if methods.seal then self:api(why, "STREAM.UPDATE." .. stream) end
end

---Dead letters in a stream, or those with a subject; taken back to where they came from, which
---is written in each of them.
local function dead_letters(self, one, redrives)
  local name, why = one.args[1], one.path
  local stream = name and name.text and not name.open and core.js_name_ok(name.text)
    and name.text or "*"
  if stream == "*" then self:api(why, "STREAM.NAMES") end
  self:api(why, "STREAM.INFO." .. stream, "STREAM.MSG.GET." .. stream)
  if not redrives then return end
  local marks = "KV_" .. require("lunats.js.redrive").BUCKET
  self:api(why, "STREAM.NAMES", "STREAM.INFO.*", "STREAM.MSG.GET.*",
    "STREAM.MSG.DELETE." .. stream, "STREAM.CREATE." .. marks, "STREAM.PURGE." .. marks)
  self:reads(marks, why)
  ask(self, ("$KV.%s.>"):format(marks:sub(4)), why)
  self:note(one, "redrive publishes to where the messages of the letters were: allow that, too")
end

local BUCKETS = {
  ["app.js.create_key_value"] = { key_value, "bucket" }, ["app.js.key_value"] = { key_value },
  ["app.js.create_object_store"] = { object_store, "bucket" },
  ["app.js.object_store"] = { object_store },
}

-- ---- a script ------------------------------------------------------------------

---What runs once in the fleet.
local function add_fleet(self, declared)
  local name, leads = declared.name, declared.leases ~= nil
  for _, one in ipairs(declared.timers) do leads = leads or one.singleton end
  if leads then
    local stream = "KV_LUNATS_LEASES"
    self:api("leases", "STREAM.INFO." .. stream, "STREAM.CREATE." .. stream,
      "STREAM.MSG.GET." .. stream)
    ask(self, ("$KV.LUNATS_LEASES.%s.>"):format(name), "leases")
  end
  for _, one in ipairs(declared.jobs or {}) do
    local stream = "LUNATS_CRON"
    self:api("cron", "STREAM.INFO." .. stream, "STREAM.CREATE." .. stream,
      "STREAM.MSG.GET." .. stream)
    self:may("publish", ("lunats.cron.%s.>"):format(name), "cron")
    self:may("publish", ("$SRV.PING.%s.*"):format(name), "whether another one still runs it")
    self:consumes(stream, one.name and ("%s=%s"):format(name, one.name) or "*", "pull", "cron")
    if one.dead_letter then
      self:api("dead letters", "STREAM.NAMES")
      self:may("publish", one.dead_letter, "dead letters")
    end
  end
end

---What each service does.
local function add_service(self, declared)
  local name, options = declared.name, core.options
  self:may("subscribe", (options.inbox_prefix or "_INBOX") .. ".>", "replies")
  for _, verb in ipairs { "PING", "INFO", "STATS" } do
    self:may("subscribe", "$SRV." .. verb, "discovery")
    self:may("subscribe", ("$SRV.%s.%s"):format(verb, name), "discovery")
    self:may("subscribe", ("$SRV.%s.%s.*"):format(verb, name), "discovery")
  end
  self:may("publish", ("lunats.events.%s.*.*"):format(name), "started, stopped, reloaded, ...")
  for _, one in ipairs(declared.listeners) do
    self:may("subscribe", one.subject, "listener")
  end
  add_fleet(self, declared)
  if options.log_subject then
    self:may("publish", ("%s.%s.*"):format(options.log_subject, name), "--log-subject")
  end
  if options.control then
    self:may("subscribe", ("lunats.control.%s.*.reload"):format(name), "--control")
    self:may("subscribe", ("lunats.control.%s.*.log_level"):format(name), "--control")
  end
  if options.console then
    self:may("subscribe", "lunats.console." .. name, "--console")
    self:may("subscribe", ("lunats.console.%s.*"):format(name), "--console")
  end
end

---The letters of consume(): { dead_letter = "subject" }.
local function add_method(self, one)
  if one.method ~= "consume" then return end
  local opts = one.args[2]
  local subject = field(opts, "dead_letter")
  if not subject then return end
  self:api("dead letters", "STREAM.NAMES")
  if subject_of(subject) then
    self:may("publish", subject_of(subject), "dead letters")
  else
    self:note(one, "the subject of the dead letters is only known when it runs")
  end
end

---A module beside the script may do anything.
local function note_module(self, one)
  local name = one.args[1] and not one.args[1].open and one.args[1].text
  local folder = self.path:match "^(.*/)" or ""
  if name and package.searchpath(name, folder .. "?.lua;" .. folder .. "?/init.lua") then
    self:note(one, "what the module %s publishes and asks for is not listed here", name)
  end
end

---@param path string  of the script
---@param declared table  what lunats.commands.declared lists
---@param fn function  the script
function M.collect(path, declared, fn)
  local self = setmetatable({ publish = {}, subscribe = {}, notes = {}, path = path,
    declared = declared, methods = {} }, collected)
  add_service(self, declared)
  local func = bytecode.read(fn)
  local calls = func and uses.calls(func) or {}
  if not func then self.notes[1] = "what it calls cannot be read with this version of Lua" end
  for _, one in ipairs(calls) do
    if one.method then self.methods[one.method] = true end
  end
  for _, one in ipairs(calls) do
    local known = one.path and FUNCTIONS[one.path]
    if known then known(self, one) end
    if one.method then add_method(self, one) end
    local bucket = one.path and BUCKETS[one.path]
    if bucket then
      bucket[1](self, token(bucket[2] and field(one.args[1], bucket[2]) or one.args[1]),
        self.methods)
    end
    if one.path == "require" then note_module(self, one) end
    if one.path == "app.js.dead_letters" then dead_letters(self, one, self.methods.redrive) end
    local js = one.path and one.path:match "^app%.js%.([%w_]+)"
    if js and SILENT[js] then
      self:note(one, "what app.js.%s publishes and asks for is not listed here", js)
    end
  end
  return self
end

-- ---- text ----------------------------------------------------------------------

---Whether a pattern includes another one, or a subject.
local function includes(pattern, other)
  if other:find ">$" and not pattern:find ">$" then return false end
  return patterns.matches(pattern, other)
end

---The subjects of a set, without those that a pattern of it includes.
local function reduced(set)
  local list = {}
  for one in pairs(set) do
    local covered = false
    for other in pairs(set) do covered = covered or other ~= one and includes(other, one) end
    if not covered then list[#list + 1] = one end
  end
  table.sort(list)
  return list
end

local function add_list(lines, verb, set)
  local list, width = reduced(set), 0
  for _, one in ipairs(list) do width = math.max(width, #one) end
  lines[#lines + 1] = ("  %s: { allow: ["):format(verb)
  for _, one in ipairs(list) do
    lines[#lines + 1] = ('    "%s"%s  # %s'):format(one, (" "):rep(width - #one), set[one])
  end
  lines[#lines + 1] = "  ] }"
end

---Options that change what is listed, and were not given.
local function options_left()
  local given, left = core.options, {}
  for _, one in ipairs { "control", "console", "log_subject", "inbox_prefix", "js_prefix" } do
    if not given[one] then left[#left + 1] = "--" .. one:gsub("_", "-") end
  end
  if not given.js_prefix then left[#left + 1] = "--js-domain" end
  return left
end

---How many replies a message may get from the connection of a service, if each of its handlers
---sends one: of a queue group one subscription has it, of those without a group each. Servers
---from 2.10 on count each delivery to that connection but the first one as a reply, too.
local function replies(listeners)
  local most = 1
  for _, one in ipairs(listeners) do
    local groups, count = {}, 0
    for _, other in ipairs(listeners) do
      local group = other.queue and "queue " .. other.queue or other.subject
      if not groups[group] and patterns.overlap(one.subject, other.subject) then
        groups[group], count = true, count + 1
      end
    end
    most = math.max(most, 2 * count - 1)
  end
  return most
end

---@param self permissions
---@return string
function M.text(self)
  local name = self.declared.name
  local lines = { "# Permissions of a user of nats-server, for the service " .. name,
    "# in " .. self.path .. "." }
  local function comment(...) lines[#lines + 1] = "# " .. string.format(...) end
  local left = options_left()
  if #left > 0 then
    comment("For %s", table.concat(left, ", "))
    comment "of run it needs more, or other subjects: give them to `lunats check`, too."
  end
  if #self.notes > 0 then
    comment "Add what cannot be found out here:"
    for _, note in ipairs(self.notes) do comment("  %s", note) end
  end
  lines[#lines + 1] = "permissions: {"
  add_list(lines, "publish", self.publish)
  add_list(lines, "subscribe", self.subscribe)
  -- Several replies of one handler take msg:respond().
  local most = math.max(self.methods.respond and 100 or 1, replies(self.declared.listeners))
  lines[#lines + 1] = ("  allow_responses: { max: %d, expires: \"5m\" }"):format(most)
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n") .. "\n"
end

return M
