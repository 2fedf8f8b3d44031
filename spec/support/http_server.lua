---A server of HTTP, or of HTTPS, in a process of its own: what it answers is in the path, see
---http_server.py. It ends with process.close_all().
local core = require "lunats.core"
local process = require "spec.support.process"

local M = {}

local server = {}
server.__index = server

---@param files string[]|nil  PEM files: certificate, key; who signs certificates of clients
function M.start(files)
  local self = setmetatable({}, server)
  self.child = process.spawn { "python3", "spec/support/http_server.py",
    table.unpack(files or {}) }
  self.port = tonumber(self.child:expect "port (%d+)")
  self.url = (files and "https://localhost:" or "http://127.0.0.1:") .. self.port
  return self
end

---Waits for what it says: "asked GET /x", "gone /x" (its client), "connect host:port".
function server:expect(pattern) return self.child:expect(pattern) end

function server:said() return self.child:output() end

local function openssl(...)
  local command = core.process { "openssl", ... }
  assert(command:wait() == 0, "openssl has failed")
end

---A certificate that signs itself.
---@param name string  of the host
---@return string cert, string key  paths
function M.certificate(name)
  local cert, key = process.path "cert.pem", process.path "key.pem"
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=" .. name, "-addext",
    "subjectAltName=DNS:" .. name)
  return cert, key
end

return M
