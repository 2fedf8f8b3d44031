---Whether the books balance: what PostgreSQL, the stream of ends, the bucket of the stock and
---the book of the provider say of each order, beside what was ordered.
local catalogue = dofile "examples/shop/catalogue.lua"

local M = {}

M.STATES = { "paid", "refused", "failed", "sold_out" }

local FINAL = {}
for _, state in ipairs(M.STATES) do FINAL[state] = true end

-- ---- what is stored ----------------------------------------------------------------

local AT_ONCE = 10000

---@return table<string, table> rows by id
local function read_rows(db)
  local rows, last = {}, ""
  repeat
    local some = assert(db:query("select id, sku, count, state, tells from orders "
      .. "where id > $1 order by id limit $2", last, AT_ONCE))
    for _, row in ipairs(some) do rows[row.id] = row end
    last = some[1] and some[#some].id
  until #some < AT_ONCE
  return rows
end

---@return table<string, table> entries by key: the last `what`, `cents`, how often `charged`
local function read_book(path)
  local entries = {}
  for line in io.lines(path) do
    local one = app.json.decode(line)
    local entry = entries[one.key] or { charged = 0 }
    entry.what = one.what
    if one.what == "charged" then entry.charged, entry.cents = entry.charged + 1, one.cents end
    entries[one.key] = entry
  end
  return entries
end

---@return table<string, true> ids of the orders that payments has given up, integer count
local function read_dead(js)
  local ids, count = {}, 0
  local info = assert(js.stream_info "SHOP_DEAD")
  for seq = math.max(1, info.state.first_seq), info.state.last_seq do
    local msg = js.get_msg("SHOP_DEAD", { seq = seq })
    if msg then
      ids[msg.data.id], count = true, count + 1
    end
  end
  return ids, count
end

---@return table<string, true> ids of the orders that wait for their payment, integer count
local function read_jobs(js)
  local ids, count, seq = {}, 0, 1
  while true do
    local msg = js.get_msg("SHOP_PAY", { next_by_subject = "shop.pay", seq = seq })
    if not msg then return ids, count end
    ids[msg.data.id], count, seq = true, count + 1, msg.sequence + 1
  end
end

-- ---- faults ------------------------------------------------------------------------

---Faults of one sort, with the ids of some.
local findings = {}
findings.__index = findings

function findings:add(what, id)
  local list = self.by_what[what]
  if not list then
    list = {}
    self.by_what[what] = list
    self.order[#self.order + 1] = what
  end
  list[#list + 1] = id
end

function findings:tell(fault)
  for _, what in ipairs(self.order) do
    local ids = self.by_what[what]
    table.sort(ids)
    fault(("%d %s: %s"):format(#ids, what, table.concat(ids, " ", 1, math.min(#ids, 50))))
  end
end

-- ---- checks ------------------------------------------------------------------------

local function check_order(found, books, order)
  local id, row = order.id, books.rows[order.id]
  if order.bad then
    if row then found:add("invalid orders were taken", id) end
    return
  end
  if not row then return found:add("accepted orders are not in PostgreSQL", id) end
  if row.sku ~= order.sku or row.count ~= order.count then
    found:add("orders are not what was ordered", id)
  end
  if FINAL[row.state] then return end
  found:add(books.jobs[id] and "orders wait for their payment" or "orders have no end", id)
end

local function check_end(found, books, order)
  local id, row = order.id, books.rows[order.id]
  if order.bad or not row or not FINAL[row.state] then return end
  local ends = books.ends[id] or {}
  if #ends ~= 1 then
    found:add(#ends == 0 and "orders have no end in the stream"
      or "orders have more than one end in the stream", id)
  elseif ends[1] ~= row.state then
    found:add("orders have another end in PostgreSQL than in the stream", id)
  end
  if row.state == "refused" and not order.poor or row.state == "paid" and order.poor then
    found:add("orders have an end that the provider did not decide", id)
  end
  if row.state == "sold_out" and order.sku ~= "cheese" then
    found:add("orders are sold out of what is there", id)
  end
  if row.state == "failed" and not books.dead[id] then
    found:add("orders have failed without a dead letter", id)
  end
end

local function check_money(found, books, order)
  local id, row = order.id, books.rows[order.id]
  local entry = books.charges[id] or { charged = 0 }
  if entry.charged > 1 then found:add("orders are charged more than once", id) end
  if row and row.state == "paid" then
    if entry.what ~= "charged" then
      found:add("orders are paid without a charge that stands", id)
    elseif entry.cents ~= catalogue[order.sku].price * order.count then
      found:add("charges are of another amount", id)
    end
  elseif entry.what == "charged" then
    found:add("charges stand for orders that are not paid", id)
  end
end

local function check_stock(books, fault)
  local sold = {}
  for _, row in pairs(books.rows) do
    if row.state == "paid" then sold[row.sku] = (sold[row.sku] or 0) + row.count end
  end
  books.sold = sold
  for sku, goods in pairs(catalogue) do
    local gone = goods.stock - books.levels[sku]
    if gone ~= (sold[sku] or 0) or books.levels[sku] < 0 then
      fault(("of %s %d are gone from the stock, and %d are paid"):format(sku, gone,
        sold[sku] or 0))
    end
  end
end

local function check_summary(books, fault)
  local cents = 0
  for _, row in pairs(books.rows) do
    if row.state == "paid" then cents = cents + catalogue[row.sku].price * row.count end
  end
  books.cents = cents
  for _, state in ipairs(M.STATES) do
    if books.summary[state] ~= books.counts[state] then
      fault(("the projector has %d orders that are %s, PostgreSQL %d"):format(
        books.summary[state], state, books.counts[state]))
    end
  end
  if books.summary.cents ~= cents then
    fault(("the projector has a turnover of %d, PostgreSQL one of %d"):format(
      books.summary.cents, cents))
  end
end

local function check_strangers(found, books, orders)
  local known = {}
  for _, order in ipairs(orders) do known[order.id] = true end
  for _, list in ipairs { books.rows, books.ends, books.charges } do
    for id in pairs(list) do
      if not known[id] then found:add("orders that nobody has sent", id) end
    end
  end
end

-- ---- the audit -----------------------------------------------------------------------

---@param sources table  db, js, book, ends (lists of states by id), summary
local function read(sources)
  local books = { rows = read_rows(sources.db), charges = read_book(sources.book),
    ends = sources.ends, summary = sources.summary, levels = {}, counts = {}, retold = 0 }
  books.dead, books.dead_letters = read_dead(sources.js)
  books.jobs, books.left = read_jobs(sources.js)
  for sku in pairs(catalogue) do
    books.levels[sku] = assert(sources.js.key_value("SHOP_LEVELS"):get(sku)).data.level
  end
  for _, state in ipairs(M.STATES) do books.counts[state] = 0 end
  for _, row in pairs(books.rows) do
    books.counts[row.state] = (books.counts[row.state] or 0) + 1
    if row.tells > 0 then books.retold = books.retold + 1 end
  end
  books.standing, books.voided = 0, 0
  for _, entry in pairs(books.charges) do
    if entry.what == "charged" then books.standing = books.standing + 1 end
    if entry.what == "void" then books.voided = books.voided + 1 end
  end
  return books
end

---@param orders table[]  those of bench/shop/customers.lua
---@param fault fun(text: string)
---@return table books, for the table that tells of them
function M.run(sources, orders, fault)
  local books = read(sources)
  local found = setmetatable({ by_what = {}, order = {} }, findings)
  for _, order in ipairs(orders) do
    check_order(found, books, order)
    check_end(found, books, order)
    check_money(found, books, order)
  end
  check_strangers(found, books, orders)
  found:tell(fault)
  check_stock(books, fault)
  check_summary(books, fault)
  return books
end

return M
