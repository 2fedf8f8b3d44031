---app.crypto: what libcrypto knows, for scripts.
local core = require "lunats.core"

local M = {}

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local FORMS = { hex = hex, raw = function(bytes) return bytes end, base64 = core.base64 }

local function check_text(what, name, value)
  if type(value) ~= "string" then
    error(("%s: %s must be a string, got %s"):format(what, name, type(value)), 3)
  end
end

local function form_of(what, form)
  return FORMS[form or "hex"]
    or error(what .. ': the form is "hex", "raw" or "base64"', 3)
end

---@param bytes string
---@param form string|nil
function M.sha256(bytes, form)
  check_text("app.crypto.sha256", "the data", bytes)
  return form_of("app.crypto.sha256", form)(core.sha256(bytes))
end

---@param key string
---@param bytes string
---@param form string|nil
function M.hmac_sha256(key, bytes, form)
  check_text("app.crypto.hmac_sha256", "the key", key)
  check_text("app.crypto.hmac_sha256", "the data", bytes)
  return form_of("app.crypto.hmac_sha256", form)(core.hmac_sha256(key, bytes))
end

function M.equal(a, b)
  check_text("app.crypto.equal", "the first value", a)
  check_text("app.crypto.equal", "the second value", b)
  return core.equal_bytes(a, b)
end

local MOST_RANDOM = 1 << 20

---@param count integer
function M.random(count)
  if math.type(count) ~= "integer" or count < 1 or count > MOST_RANDOM then
    error(("app.crypto.random: a whole number of bytes from 1 to %d expected"):format(
      MOST_RANDOM), 2)
  end
  return core.random(count)
end

---Version 4 of RFC 9562: random but for six bits.
function M.uuid()
  local high, low = (">I8I8"):unpack(core.random(16))
  high = high & ~0xF000 | 0x4000
  low = low & 0x3FFFFFFFFFFFFFFF | 1 << 63
  return ("%08x-%04x-%04x-%04x-%012x"):format(high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF,
    low >> 48, low & 0xFFFFFFFFFFFF)
end

function M.base64_encode(bytes)
  check_text("app.crypto.base64_encode", "the data", bytes)
  return core.base64(bytes)
end

function M.base64_decode(text)
  check_text("app.crypto.base64_decode", "the text", text)
  local bytes = core.base64_decode(text)
  if not bytes then return nil, core.error("invalid", "the text is not base64") end
  return bytes
end

return M
