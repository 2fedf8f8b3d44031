---@meta lunats.js.elastic_groups

---@class js
local js = {}

---@class js.elastic_group_opts
---@field partitions integer how many there are, 1 to 1024, and so how many members can read: this is for ever
---@field filters (string|js.elastic_filter)[]|nil subjects that are read; of a string with `*` all of them make the key, of one that ends in `>` the whole subject does (servers from 2.12 on). Default: all of the stream, by the whole subject
---@field members string[]|nil who reads: each gets as many partitions as the others, give or take one; default: nobody yet
---@field mappings table<string, integer[]>|nil who reads which partitions, instead of `members`; each partition once
---@field max_msgs integer|nil messages that may wait in the stream of the group; more stay in that of their own
---@field max_bytes integer|nil the same of their bytes

---@class js.elastic_filter
---@field filter string a subject with `*`, or one that ends in `>`
---@field wildcards integer[]|nil which `*` make the key, `{ 1 }` for the first; none: the whole subject (servers from 2.12 on)

---Creates an elastic consumer group: its entry in the bucket `elastic-consumer-groups`, which is
---made if there is none, and the stream `<stream>-<group>`, a work queue with a copy of each
---message that nobody has handled yet. One that is there stays as it is, with its members; with
---other partitions, filters or limits it is an err with the code "exists". Servers from 2.11 on.
---@param stream string
---@param group string letters, digits, `_`, `-` and `=`
---@param opts js.elastic_group_opts
---@return elastic_group|nil group
---@return js.err|nil err
function js.create_elastic_group(stream, group, opts) end

---Opens one that is there.
---@param stream string
---@param group string
---@return elastic_group|nil group
---@return js.err|nil err code "not_found"
function js.elastic_group(stream, group) end

---Deletes one, and its stream with all that was not handled. Whoever reads it stops.
---@param stream string
---@param group string
---@return boolean|nil ok
---@return js.err|nil err code "not_found"
function js.delete_elastic_group(stream, group) end

---The names of those that a stream has.
---@param stream string
---@return string[]|nil names
---@return js.err|nil err
function js.elastic_group_names(stream) end

---What app.js.create_elastic_group and app.js.elastic_group return. Changes are for all that
---read; those of several processes at once all take place.
---@class elastic_group
---@field stream string
---@field name string
local elastic_group = {}

---@class js.elastic_group_info
---@field partitions integer
---@field filters js.elastic_filter[] none: all of the stream
---@field members string[]|nil nil: there are mappings, or nobody reads
---@field mappings table<string, integer[]>|nil nil: there are members
---@field shares table<string, integer[]> the partitions of each member
---@field pending integer messages that were not handled yet
---@field max_msgs integer|nil
---@field max_bytes integer|nil
---@field revision integer of its key in the bucket

---@return js.elastic_group_info|nil info
---@return js.err|nil err
function elastic_group:info() end

---The members for which a process reads just now: its requests wait for messages.
---@return string[]|nil members
---@return js.err|nil err
function elastic_group:active() end

---@param members string|string[]
---@return boolean|nil ok
---@return js.err|nil err code "exists": there are mappings
function elastic_group:add_members(members) end

---What they have begun is finished before others read on.
---@param members string|string[]
---@return boolean|nil ok
---@return js.err|nil err code "exists": there are mappings
function elastic_group:remove_members(members) end

---These are all, each with as many partitions as the others. Ends mappings.
---@param members string[]
---@return boolean|nil ok
---@return js.err|nil err
function elastic_group:set_members(members) end

---Says which partitions each member reads, all of them once. Ends members.
---@param mappings table<string, integer[]>
---@return boolean|nil ok
---@return js.err|nil err code "invalid"
function elastic_group:set_mappings(mappings) end
