---app.json against lua-cjson, inside this process: rows like those of the other workloads.

local function order(i)
  return {
    id = 1700000000123 + i, customer = "C-" .. i, total = i * 1.25 + 0.1, paid = i % 2 == 0,
    note = 'ring "twice"', tags = { "new", "grün", "express" },
    items = { { sku = "A-" .. i, count = 2, price = 9.99 },
      { sku = "B-" .. i, count = 1, price = 19.95 } },
  }
end

local function orders(n)
  local list = {}
  for i = 1, n do list[i] = order(i) end
  return { orders = list }
end

local DOCUMENTS = {
  { "100 B", { id = 1700000000123, type = "order.created", customer = "C-1042", total = 99.95,
    paid = true, count = 3 } },
  { "4 KiB", orders(20) },
  { "1 MiB", orders(5000) },
}

---Nanoseconds per call.
local function time(run, argument, calls)
  collectgarbage()
  local began = os.clock()
  for _ = 1, calls do run(argument) end
  return (os.clock() - began) / calls * 1e9
end

local function measure(rows, workload, round, codecs, argument, calls)
  for i = 1, #codecs do
    local codec = codecs[(i + round) % #codecs + 1]
    rows[#rows + 1] = { workload = workload, peer = codec.peer, round = round,
      value = time(codec.run, argument, calls) }
  end
end

---@param rounds integer
---@return table[] workloads  empty without lua-cjson
return function(rows, rounds)
  local found, cjson = pcall(require, "cjson")
  if not found then
    io.stderr:write "bench: without lua-cjson there is nothing to compare JSON with\n"
    return {}
  end
  local workloads = {}
  for _, document in ipairs(DOCUMENTS) do
    local text = app.json.encode(document[2])
    for _, what in ipairs { "decode", "encode" } do
      local name = what .. " " .. document[1]
      workloads[#workloads + 1] = { name = name, value = "ns",
        title = ("JSON %s, %d bytes"):format(what, #text),
        goal = { peer = "lua-cjson", factor = 0.5 } }
      local codecs = { { peer = "lunats", run = app.json[what] },
        { peer = "lua-cjson", run = cjson[what] } }
      local calls = math.max(3, 6000000 // (#text + 200))
      for round = 1, rounds do
        measure(rows, name, round, codecs, what == "decode" and text or document[2], calls)
      end
    end
  end
  return workloads
end
