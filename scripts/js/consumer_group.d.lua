---@meta lunats.js.consumer_group

---@class js
local js = {}

---@class js.consumer_group_opts
---@field partitions integer|nil how many there are, up to 1024; default: what the key `<stream>.<group>` of the bucket `static-consumer-groups` says
---@field subject string|string[]|nil what is read of each, with `{partition}` as the token of the number; several: servers from 2.10 on. Default: all whose first token is the number
---@field member string|nil one of those that the bucket names: reads only what is its
---@field elastic boolean|nil the group is one of app.js.create_elastic_group (servers from 2.11 on), which `member` reads; without `partitions` and `subject`
---@field ttl number|nil seconds after which others take over from a process that says nothing, 2 to 3600, default 15
---@field config js.consumer_config|nil further fields of the consumers; ack_wait is a third of ttl, from 1 to 5 seconds
---@field key "subject"|string|(fun(msg: msg): string|number|nil)|nil several keys of a partition at once; default: its messages are handled one after the other
---@field concurrency integer|nil handlers of a partition that run at once, with key: default 64. Of an elastic group: of all partitions of the member, without key as many as it has
---@field max_messages integer|nil of a partition, asked for and not finished, default 100. Of an elastic group: of the member
---@field pending integer|nil messages that may wait for another one of their key, besides max_messages; default 1000 with key
---@field pending_bytes integer|nil bytes of all that wait, default 64 MiB
---@field manual_ack boolean|nil the handler acknowledges itself
---@field backoff number[]|nil seconds until a failed message is tried again
---@field max_deliver integer|nil after so many failures it is given up
---@field dead_letter string|nil subject of a stream that gets what was given up
---@field data_type data_type|nil what msg.data is, default "json"

---Reads a stream together with the other members of the group, each partition in one process at a
---time, in order. At the top level of a script it begins with the start, which fails if it cannot
---begin. See docs/ordering.md.
---@param stream string
---@param group string letters, digits, `_`, `-` and `=`
---@param opts js.consumer_group_opts
---@param fn fun(msg: msg, partition: { number: integer, token: integer }): any, any token grows with each new reader of the partition
---@return consumer_group|nil group
---@return js.err|nil err
---@overload fun(stream: string, group: string, fn: fun(msg: msg, partition: { number: integer, token: integer }): any, any): consumer_group|nil, js.err|nil
function js.consumer_group(stream, group, opts, fn) end

---What app.js.consumer_group returns.
---@class consumer_group
---@field stream string
---@field name string
local consumer_group = {}

---The numbers of the partitions that this process reads just now.
---@return integer[]
function consumer_group:partitions() end

---How many members there are, as far as this one knows.
---@return integer
function consumer_group:members() end

---Reads no more: what is under way is finished, and the leases are given back.
function consumer_group:stop() end
