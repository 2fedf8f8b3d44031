---The shop with servers of its own: what bench/shop.lua kills, and what starts it again as a
---supervisor does.
local core = require "lunats.core"
local postgres = require "spec.support.postgres"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local M = {}

---Seconds that a server has to come back, on a machine that does much else.
local PATIENCE = 60
---Seconds after which an order without an end is told again.
local RETELL = 45
---How often the provider fails, in both directions.
local FAILING = 0.02

local SERVICES = { "orders", "stock", "payments", "projector", "gateway", "provider" }

---What can be killed.
M.victims = { "nats-server", "PostgreSQL", table.unpack(SERVICES) }

-- ---- a service -----------------------------------------------------------------

local service = {}
service.__index = service

local function new_service(shop, name, http)
  local self = setmetatable({ shop = shop, name = name, http = http, kept = {}, ended = 0 },
    service)
  self:start()
  return self
end

function service:start()
  self.child = process.spawn({ process.lunats(), "run", "--retry", "--server",
    self.shop.broker.url, "--http", self.http, ("examples/shop/%s.lua"):format(self.name) },
    { env = self.shop.env })
  self.kept[#self.kept + 1] = self.child
  self.wanted = true
end

function service:kill(seconds)
  self.wanted = false
  self.child:signal "KILL"
  self.child:wait(PATIENCE)
  app.sleep(seconds)
  self:start()
end

---One that ends by itself is started again: it may not have found its servers.
function service:supervise(fault)
  local status = self.wanted and self.child:status()
  if not status then return end
  self.ended = self.ended + 1
  if status >= 128 or status == 0 then
    fault(("%s has ended with status %d:\n%s"):format(self.name, status,
      self.child:output():sub(-3000)))
  end
  self:start()
end

function service:output()
  local texts = {}
  for i, child in ipairs(self.kept) do texts[i] = child:output() end
  return table.concat(texts)
end

-- ---- servers -------------------------------------------------------------------

local function kill_nats(shop, seconds)
  shop.broker:kill()
  app.sleep(seconds)
  local til = core.hrtime() + PATIENCE
  while true do
    local ok, err = shop.broker:restart()
    if ok then return end
    if core.hrtime() > til then error("nats-server does not come back: " .. tostring(err)) end
    app.sleep(0.2)
  end
end

local function kill_postgres(shop, seconds)
  shop.database:kill()
  app.sleep(seconds)
  shop.database:start()
end

-- ---- all of it -----------------------------------------------------------------

local shop = {}
shop.__index = shop

---Kills one and lets it come back after so many seconds; waits while it is away already.
function shop:kill(name, seconds)
  local _ <close> = self.locks[name]:lock()
  self.killed[name] = (self.killed[name] or 0) + 1
  if name == "nats-server" then return kill_nats(self, seconds) end
  if name == "PostgreSQL" then return kill_postgres(self, seconds) end
  self.by_name[name]:kill(seconds)
end

---How many were killed so far.
function shop:kills()
  local sum = 0
  for _, count in pairs(self.killed) do sum = sum + count end
  return sum
end

local function free_address() return "127.0.0.1:" .. core.free_port() end

---@param fault fun(text: string)
function M.start(fault)
  assert(not postgres.missing, postgres.missing)
  local self = setmetatable({ locks = {}, killed = {}, services = {}, by_name = {} }, shop)
  self.broker = testing.broker()
  self.database = postgres.start()
  self.book = process.path "book"
  local gateway, provider = free_address(), free_address()
  self.url = ("http://%s/api/orders"):format(gateway)
  self.env = {
    SHOP_DSN = self.database.dsn, SHOP_RETELL = tostring(RETELL), SHOP_BOOK = self.book,
    SHOP_FAILING = tostring(FAILING), NO_COLOR = "1",
    SHOP_PROVIDER = ("http://%s/provider/charges"):format(provider),
  }
  for _, name in ipairs(SERVICES) do
    local one = new_service(self, name, name == "gateway" and gateway
      or name == "provider" and provider or "off")
    self.services[#self.services + 1], self.by_name[name] = one, one
  end
  for _, name in ipairs(M.victims) do self.locks[name] = app.mutex() end
  app.spawn(function()
    while not self.over do
      for _, one in ipairs(self.services) do one:supervise(fault) end
      app.sleep(0.1)
    end
  end)
  for _, one in ipairs(self.services) do one.child:expect("started, connected to", PATIENCE) end
  return self
end

---@param fault fun(text: string)
function shop:stop(fault)
  self.over = true
  for _, one in ipairs(self.services) do
    one.wanted = false
    local status = one.child:stop(PATIENCE)
    if status ~= 0 then fault(("%s ends with status %d"):format(one.name, status)) end
  end
  self.database:stop()
  self.broker:stop()
end

return M
