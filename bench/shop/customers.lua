---Who orders: many at once, good orders and bad ones. Who gets no answer repeats the order,
---with the same id.
local M = {}

local customers = {}
customers.__index = customers

---Orders without an end beyond which customers wait: else what is behind them would never be
---done with the many that they can send.
local MOST_OPEN = 1000

-- ---- what is ordered --------------------------------------------------------------

---Bodies that must be refused; %s is the id.
local BAD = {
  '{"id":"%s","sku":"stone","count":1}', '{"id":"%s","sku":"apple","count":0}',
  '{"id":"%s","sku":"apple","count":"3"}', '{"id":"%s","sku":"apple"}',
  '{"id":"%s ","sku":"apple","count":1}', '{"id":"%s","sku":"apple","count":1,"more":1}',
  '{"id":"%s","sku":"apple",', '"%s"', '["%s"]',
}

---Enough of it is there, but of cheese: twice as much is ordered.
local function article(orders)
  local draw = math.random()
  if draw < 0.1 then return "cheese", math.max(1, math.min(1000, 40000 // orders)) end
  if draw < 0.4 then return "bread", 1 end
  return "apple", math.random(2)
end

---What is drawn does not depend on what happens meanwhile.
local function draw_orders(count)
  local list = {}
  for i = 1, count do
    local draw = math.random()
    local sku, many = article(count)
    local order = { id = "n" .. i, sku = sku, count = many }
    if draw < 0.03 then
      order.id = "bad" .. i
      order.bad = BAD[math.random(#BAD)]:format(order.id)
    elseif draw < 0.09 then
      order.id, order.poor = "poor" .. i, true
    elseif draw < 0.11 then
      order.again = "same"
    elseif draw < 0.13 then
      order.again = "other"
    end
    list[i] = order
  end
  return list
end

-- ---- sending ---------------------------------------------------------------------

local function count(list, key) list[key] = (list[key] or 0) + 1 end

---Until there is an answer that counts; returns its status.
function customers:send(body)
  local delay = 0.05
  while true do
    self.tries = self.tries + 1
    local res, err = app.http.request { url = self.url, method = "POST", body = body,
      headers = { ["Content-Type"] = "application/json" }, timeout = 10 }
    if res and (res.ok or res.status == 400 or res.status == 409) then return res.status end
    count(self.lost, res and "status " .. res.status or err.code)
    app.sleep(delay * (0.5 + math.random()))
    delay = math.min(delay * 2, 1)
  end
end

local function expect(self, order, what, wanted, status)
  if status ~= wanted then
    self.fault(("order %s, %s: status %d instead of %d"):format(order.id, what, status, wanted))
  end
end

local TEXT = '{"id":"%s","sku":"%s","count":%d}'

function customers:order(order)
  if order.bad then
    expect(self, order, "which is invalid", 400, self:send(order.bad))
    self.refused = self.refused + 1
    return
  end
  local body = TEXT:format(order.id, order.sku, order.count)
  local twin = order.again == "same" and app.spawn(self.send, self, body)
  local status = self:send(body)
  expect(self, order, "which is valid", 200, status)
  if status ~= 200 then return end
  self.accepted = self.accepted + 1
  if twin then expect(self, order, "sent twice at once", 200, twin:await()) end
  if order.again == "other" then
    expect(self, order, "changed under the same id", 409,
      self:send(TEXT:format(order.id, order.sku, order.count + 1)))
  end
end

---How many that were taken have no end that we have heard of.
function customers:open() return self.accepted - self.ends end

local function work(self)
  while true do
    while self:open() > MOST_OPEN do app.sleep(0.1) end
    if self.next == #self.orders then return end
    self.next = self.next + 1
    self:order(self.orders[self.next])
  end
end

---Sends them all, by so many customers at once.
---@param url string
---@param many integer
function customers:run(url, many)
  self.url = url
  local fibers = {}
  for i = 1, many do fibers[i] = app.spawn(work, self) end
  for _, fiber in ipairs(fibers) do
    local _, err = fiber:await()
    if err then error(err, 0) end
  end
end

---@param orders integer
---@param fault fun(text: string)
function M.new(orders, fault)
  return setmetatable({ orders = draw_orders(orders), fault = fault, next = 0, tries = 0,
    accepted = 0, refused = 0, ends = 0, lost = {} }, customers)
end

return M
