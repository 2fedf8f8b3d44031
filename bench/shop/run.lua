---One run of bench/shop.lua: starts the shop, lets customers order while servers die, waits
---until nothing moves any more, and audits the books.
local audit = require "bench.shop.audit"
local core = require "lunats.core"
local customers = require "bench.shop.customers"
local pg = require "lunats.pg"
local process = require "spec.support.process"
local servers = require "bench.shop.servers"

---Seconds without any progress, at the end, after which what is open counts as lost.
local PATIENCE = 180
---Seconds after which jobs of orders that have their end count as left by nats-server: one that
---was killed may have done jobs in its queue again, and 2.9 does not deliver all of them.
local LEFT = 15
---Seconds between two lines that tell how far it is.
local TELL = 10

local function say(text, ...)
  print(text:format(...))
  io.stdout:flush()
end

-- ---- while it runs -------------------------------------------------------------------

---Reads the stream of ends from its beginning, whatever happens to its server.
local function watch_ends(self)
  self.ends = {}
  self.reader = assert(self.nats.js.subscribe("shop.done.*", {
    ordered = true, stream = "SHOP_DONE", config = { deliver_policy = "all" },
  }, function(msg)
    local id = msg.subject:match "[^.]+$"
    self.ends[id] = self.ends[id] or {}
    table.insert(self.ends[id], msg.data.state)
    self.customers.ends = self.customers.ends + 1
    self.last_end = msg.metadata.stream_sequence
  end))
end

---All names in an order that is drawn, again and again.
local function bag(names)
  local left = {}
  return function()
    if #left == 0 then left = table.move(names, 1, #names, 1, {}) end
    return table.remove(left, math.random(#left))
  end
end

---Kills are spread over the orders; now and then two come at once.
local function plan_kills(orders, kills)
  local plan, draw = {}, bag(servers.victims)
  for i = 1, kills do
    local together = plan[i - 1] and math.random() < 0.2
    -- Who is away for long uses up the tries of those that ask it.
    local seconds = math.random() < 0.2 and 6 or math.random()
    plan[i] = { name = draw(), seconds = seconds,
      at = together and plan[i - 1].at or (i - 0.5 + math.random() / 2) * orders / (kills + 1) }
  end
  return plan
end

local function kill(self)
  local under_way = {}
  for i, one in ipairs(self.plan) do
    while self.customers.next < one.at do app.sleep(0.02) end
    if self.opts.logs then
      say("%7.1f s  %s, away for %.1f s", core.hrtime() - self.began, one.name, one.seconds)
    end
    under_way[i] = app.spawn(self.shop.kill, self.shop, one.name, one.seconds)
  end
  for i, fiber in ipairs(under_way) do
    local _, err = fiber:await()
    if err then self.fault(("%s: %s"):format(self.plan[i].name, tostring(err))) end
  end
end

local function tell_progress(self)
  while true do
    app.sleep(TELL)
    if self.over then return end
    local all = self.customers
    say("%7.1f s  %d orders sent, %d without an end, %d kills", core.hrtime() - self.began,
      all.next, all:open(), self.shop:kills())
  end
end

-- ---- the end -------------------------------------------------------------------------

local STREAMS = { "SHOP_PLACED", "SHOP_PAY", "SHOP_DONE", "SHOP_DEAD" }

---What is under way, as their servers see it; nil and why, when one does not answer.
---@return integer|nil count
---@return string what
---@return integer|nil left  how much of it waits in the queue of jobs
local function under_way(self)
  local rows, err = self.db:query("select count(*) filter (where state = 'new') as new, "
    .. "(select count(*) from outbox) as outbox from orders")
  if not rows then return nil, err.message end
  local parts = { new = rows[1].new, outbox = rows[1].outbox }
  for _, stream in ipairs(STREAMS) do
    local list
    list, err = self.nats.js.consumers(stream)
    if not list then return nil, err.message end
    for _, info in ipairs(list) do
      local durable = info.config.durable_name
      if durable then
        parts[stream .. "/" .. durable] = info.num_pending + info.num_ack_pending
      end
    end
  end
  local info
  info, err = self.nats.js.stream_info "SHOP_DONE"
  if not info then return nil, err.message end
  local summary = self.nats.request("shop.summary", nil, { timeout = 5 })
  if not summary then return nil, "the projector does not answer" end
  self.summary = summary.data
  parts.projector = info.state.last_seq - summary.data.seq
  parts.reader = info.state.last_seq - (self.last_end or 0)
  local sum, texts = 0, {}
  for name, count in pairs(parts) do
    sum = sum + count
    if count ~= 0 then texts[#texts + 1] = name .. " " .. count end
  end
  table.sort(texts)
  return sum, table.concat(texts, ", "), parts["SHOP_PAY/payments"]
end

local function settle(self)
  local last, since = nil, core.hrtime()
  repeat
    local count, what, left = under_way(self)
    if count == 0 then return end
    if count ~= last then last, since = count, core.hrtime() end
    if count == left and core.hrtime() - since > LEFT then return end
    if core.hrtime() - since > PATIENCE then
      return self.fault("nothing moves any more, and this is left: " .. what)
    end
    app.sleep(0.5)
  until false
end

-- ---- what it tells ---------------------------------------------------------------------

local function counts(list)
  local parts = {}
  for name, count in pairs(list) do parts[#parts + 1] = ("%s %d"):format(name, count) end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, ", ") or "none"
end

local function report(self, books, seconds)
  local all = self.customers
  local errors, ended = {}, {}
  for _, one in ipairs(self.shop.services) do
    local _, count = one:output():gsub(" ERROR ", "")
    if count > 0 then errors[one.name] = count end
    if one.ended > 0 then ended[one.name] = one.ended end
  end
  say("")
  say("orders        %d in %.0f s: %d taken, %d refused as invalid", self.opts.orders, seconds,
    all.accepted, all.refused)
  say("tries         %d; without an answer that counts: %s", all.tries, counts(all.lost))
  say("killed        %s", counts(self.shop.killed))
  say("ended, as there was no server: %s; errors logged: %s", counts(ended), counts(errors))
  for _, state in ipairs(audit.STATES) do
    say("%-12s  %d in PostgreSQL, %d at the projector", state, books.counts[state],
      books.summary[state])
  end
  say("charges       %d stand, %d are void; %.2f turned over", books.standing, books.voided,
    books.cents / 100)
  say("dead letters  %d; told again after a while: %d; done jobs left in the queue: %d",
    books.dead_letters, books.retold, books.left)
  for sku, level in pairs(books.levels) do
    say("%-12s  %d left, %d paid", sku, level, books.sold[sku] or 0)
  end
end

local function save_logs(self)
  if not self.opts.logs then return end
  os.execute(("mkdir -p '%s'"):format(self.opts.logs))
  for _, one in ipairs(self.shop.services) do
    local file = assert(io.open(("%s/%s.log"):format(self.opts.logs, one.name), "wb"))
    file:write(one:output())
    file:close()
  end
end

---Customers, kills and audit, with a shop that runs.
local function run(self)
  self.db = pg.pool { dsn = self.shop.database.dsn, max = 2 }
  self.nats = assert(app.connect { server = self.shop.broker.url, ping_interval = 1,
    name = "audit" })
  watch_ends(self)
  self.began = core.hrtime()
  app.spawn(tell_progress, self)
  local killer = app.spawn(kill, self)
  self.customers:run(self.shop.url, self.opts.clients)
  killer:await()
  settle(self)
  local seconds = core.hrtime() - self.began
  self.over = true
  local books = audit.run({ db = self.db, js = self.nats.js, book = self.shop.book,
    ends = self.ends, summary = self.summary }, self.customers.orders, self.fault)
  report(self, books, seconds)
  save_logs(self)
  self.reader:stop()
  self.nats.close()
  self.db:close()
end

---@param opts table  orders, kills, clients, seed, logs
---@return boolean whether the books balance
return function(opts)
  say("shop: %d orders, %d kills, seed %d", opts.orders, opts.kills, opts.seed)
  math.randomseed(opts.seed)
  local self, faults = { opts = opts }, 0
  function self.fault(text)
    faults = faults + 1
    say("FAULT: %s", text)
  end
  -- Before anything else draws.
  self.customers = customers.new(opts.orders, self.fault)
  self.plan = plan_kills(opts.orders, opts.kills)
  self.shop = servers.start(self.fault)
  local ok, why = xpcall(run, core.traceback, self)
  if not ok then self.fault(why) end
  self.over = true
  self.shop:stop(self.fault)
  ok, why = pcall(process.close_all)
  if not ok then self.fault(tostring(why)) end
  say("%s", faults == 0 and "the books balance" or faults .. " faults")
  return faults == 0
end
