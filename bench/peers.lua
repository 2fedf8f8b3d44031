---Who is measured. Those that are not here are left out; bench/run has said so. `node` is the
---package that a peer needs, `only` and `except` are ids of workloads.
local machine = require "machine"

local FOLDER = machine.folder
local NODE = FOLDER .. "/node"

local REPLIES = { W1 = true, W2 = true, W6 = true }

local all = {
  { name = "lunats", words = { FOLDER .. "/lunats", "run", "bench/service.lua" } },
  { name = "raw socket", words = { FOLDER .. "/peer_raw", "bench.echo" },
    only = { W1 = true, W6 = true } },
  { name = "nats.c", words = { FOLDER .. "/peer_cb" },
    except = os.getenv "BENCH_WITHOUT_CJSON" and { W2 = true } },
  { name = "nats.go", words = { FOLDER .. "/peer_go" } },
  { name = "nats.js", words = { "node", "bench/peers/nats.mjs" }, node = "@nats-io/jetstream",
    consumes = true },
  { name = "Moleculer", words = { "node", "bench/peers/moleculer.cjs" }, node = "moleculer",
    envelope = "moleculer", only = REPLIES, slow = true },
  { name = "NestJS", words = { "node", NODE .. "/nest.mjs" }, node = "@nestjs/core",
    envelope = "nest", only = REPLIES, slow = true },
}
all[1].consumes = true

local function is_there(peer)
  if peer.node and not machine.has "node" then return false end
  local file = io.open(peer.node and NODE .. "/node_modules/" .. peer.node or peer.words[1])
  return file ~= nil and file:close()
end

---@param quick boolean  leaves out the slow ones
---@param names table<string, boolean>|nil  these, and lunats
---@return table[]
return function(quick, names)
  local known = {}
  for _, peer in ipairs(all) do known[peer.name] = true end
  for name in pairs(names or {}) do
    if not known[name] then
      io.stderr:write("bench: --against: there is no peer \"", name, "\"\n")
      os.exit(2)
    end
  end
  local here = assert(machine.run { "/bin/pwd" }):match "[^\n]+"
  local list = {}
  for _, peer in ipairs(all) do
    local wanted = peer.name == "lunats" or (names and names[peer.name])
      or (not names and not (quick and peer.slow))
    if wanted and is_there(peer) then
      peer.env = { BENCH_NODE = here .. "/" .. NODE }
      list[#list + 1] = peer
    end
  end
  return list
end
