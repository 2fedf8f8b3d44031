---A server whose clients say what it does, a line for each thing: "send TEXT" with \r and \n,
---"many N" bytes, "sleep S", "count" what comes until the client is done, "close", "reset".
local process = require "spec.support.process"

---@param path string|nil  of a Unix socket
---@return integer port
return function(path)
  return tonumber(process.spawn({ "perl", "spec/support/peer.pl", path })
    :expect("listening on (%S+)\n")) or path
end
