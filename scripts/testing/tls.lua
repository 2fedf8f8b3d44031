---Certificates for specs: an authority, a server on this machine, a client. Made by openssl.
local core = require "lunats.core"

local M = {}

local SCRIPT = [[
set -e
cd "$1"
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "$@"; }
new -x509 -keyout ca.key -out ca.pem -subj /CN=lunats-testing
for one in server client; do
  new -keyout $one.key -out $one.csr -subj /CN=$one
  echo 'subjectAltName=IP:127.0.0.1,DNS:localhost' >$one.ext
  openssl x509 -req -in $one.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
    -extfile $one.ext -out $one.pem
done
]]

local CONFIG = [[
tls { cert_file: "%s/server.pem", key_file: "%s/server.key", ca_file: "%s/ca.pem", verify: %s }
]]

---@class testing.certificates
---@field ca string  paths of PEM files
---@field cert string
---@field key string
local certificates = {}
certificates.__index = certificates

---The files go with the state, as the servers that read them.
function certificates:__gc()
  for _, name in ipairs { "ca.key", "ca.pem", "ca.srl", "server.key", "server.csr",
    "server.ext", "server.pem", "client.key", "client.csr", "client.ext", "client.pem" } do
    os.remove(self.folder .. "/" .. name)
  end
  os.remove(self.folder)
end

local made

---@return testing.certificates  the same ones for the whole run
function M.certificates()
  if made then return made end
  local words = { "/bin/sh", "-c", 'mktemp -d "${TMPDIR:-/tmp}/lunats-tls-XXXXXX" 2>&1' }
  local status, folder = assert(core.process(words, true)):wait()
  folder = folder:gsub("%s+$", "")
  if status ~= 0 then error("testing.broker: tls: " .. folder, 0) end
  made = setmetatable({ folder = folder, ca = folder .. "/ca.pem",
    cert = folder .. "/client.pem", key = folder .. "/client.key" }, certificates)
  local output
  words = { "/bin/sh", "-c", "exec 2>&1\n" .. SCRIPT, "sh", folder }
  status, output = assert(core.process(words, true)):wait()
  if status ~= 0 then
    made = nil
    error("testing.broker: tls: openssl failed: " .. output, 0)
  end
  return made
end

---What the configuration of a server has to say.
---@param verify boolean  clients need a certificate, too
function M.config(verify)
  local folder = M.certificates().folder
  return CONFIG:format(folder, folder, folder, verify)
end

return M
