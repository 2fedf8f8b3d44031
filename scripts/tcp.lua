---app.tcp: sockets for drivers written in Lua.
local core = require "lunats.core"

if core.unreadable then error("app.tcp is not available with --libs safe", 0) end

return { connect = core.tcp_connect }
