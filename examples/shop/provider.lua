-- Stands for the company that handles cards. It refuses some of them, fails now and then, and
-- keeps a book: with SHOP_BOOK, the name of a file, for longer than it lives.
app.config { name = "shop_provider", version = "1.0.0" }

local state = app.state
state.failing = state.failing or tonumber(os.getenv "SHOP_FAILING") or 0

-- The last line of a key counts: { key =, what = "charged", "refused" or "void", cents = }.
local entries, book = {}, nil

app.on_start(function()
  local path = os.getenv "SHOP_BOOK"
  if not path then
    state.entries = state.entries or entries
    entries = state.entries
    return
  end
  book = assert(io.open(path, "a+"))
  for line in book:lines() do
    local entry = app.json.decode(line)
    entries[entry.key] = entry
  end
end)

-- It is in the book before anybody hears of it.
local function note(key, what, cents)
  local entry = { key = key, what = what, cents = cents }
  if book then assert(assert(book:write(app.json.encode(entry), "\n")):flush()) end
  entries[key] = entry
  return entry
end

local function busy() return math.random() < state.failing end

local BUSY = { code = 503, message = "busy" }

app.http.post("/provider/charges", function(req)
  local key = req.headers["Idempotency-Key"]
  if not key then return nil, { code = 400, message = "Idempotency-Key is missing" } end
  if busy() then return nil, BUSY end
  local entry = entries[key]
    or note(key, key:find("poor", 1, true) and "refused" or "charged", req.data.cents)
  if busy() then return nil, BUSY end -- its answer is lost
  if entry.what == "void" then return nil, { code = 410, message = "it was voided" } end
  if entry.what == "refused" then return nil, { code = 402, message = "no money" } end
  return { charged = entry.cents }
end)

-- Gives back what was charged, if it was. Nothing can be charged with this key any more.
app.http.delete("/provider/charges/:key", function(req)
  local key = req.params.key
  if not entries[key] or entries[key].what ~= "void" then note(key, "void", 0) end
end)

-- How often it fails: for specs, and for those who want to see retries.
app.listen("shop.provider.failing", function(msg)
  state.failing = tonumber(msg.data) or 0
  return true
end)

app.listen("shop.provider.sum", function()
  local cents, count = 0, 0
  for _, entry in pairs(entries) do
    if entry.what == "charged" then cents, count = cents + entry.cents, count + 1 end
  end
  return { cents = cents, charges = count }
end)
