---@meta lunats.js
---JetStream: streams, consumers, publishing and subscribing. All times are seconds. What can fail
---in production returns `nil, err`; wrong arguments raise.

---What JetStream says besides.
---@class js.err: err
---@field err_code integer|nil error number of the JetStream server
---@field status integer|nil status in the manner of HTTP
---@field description string|nil the server's words
---@field ack js.pub_ack|nil the stream of another domain that has stored a message
---@field field string|nil with `unsupported`: what the server does not know
---@field differences js.difference[]|nil of what exists with another configuration
---@field report js.redrive_report|nil of a redrive that has ended early

---@class js.difference
---@field field string
---@field asked any what the call has asked for; nil: not given
---@field found any what the server has; nil: its default

---Every field of the server's StreamConfig. One that no server knows raises; one that this server
---is too old for is `unsupported`, and nothing is changed.
---@class js.stream_config
---@field name string
---@field subjects string[]|nil default: the name
---@field description string|nil
---@field retention "limits"|"interest"|"workqueue"|nil
---@field storage "file"|"memory"|nil
---@field max_msgs integer|nil
---@field max_bytes integer|nil
---@field max_age number|nil seconds
---@field max_msg_size integer|nil
---@field max_msgs_per_subject integer|nil
---@field max_consumers integer|nil
---@field discard "old"|"new"|nil
---@field num_replicas integer|nil
---@field duplicate_window number|nil seconds
---@field allow_direct boolean|nil
---@field allow_rollup_hdrs boolean|nil
---@field deny_delete boolean|nil
---@field deny_purge boolean|nil
---@field discard_new_per_subject boolean|nil
---@field mirror_direct boolean|nil
---@field no_ack boolean|nil publishing gets no answer
---@field sealed boolean|nil
---@field mirror js.source|nil
---@field sources js.source[]|nil
---@field placement { cluster: string|nil, tags: string[]|nil, preferred: string|nil }|nil preferred: 2.11
---@field republish { src: string|nil, dest: string, headers_only: boolean|nil }|nil
---@field metadata table<string, string>|nil 2.10, as the next four
---@field compression "none"|"s2"|nil
---@field first_seq integer|nil
---@field subject_transform js.subject_transform|nil
---@field consumer_limits { inactive_threshold: number|nil, max_ack_pending: integer|nil }|nil
---@field allow_msg_ttl boolean|nil 2.11
---@field subject_delete_marker_ttl number|nil seconds; 2.11
---@field allow_atomic boolean|nil 2.12, as the next three
---@field allow_msg_counter boolean|nil
---@field allow_msg_schedules boolean|nil
---@field persist_mode "default"|"async"|nil
---@field allow_batched boolean|nil 2.14
---@field pedantic boolean|nil of the request: the server fills in nothing that contradicts; 2.11
---@field template_owner string|nil
---@field [string] any what only servers newer than 2.15 know

---@class js.subject_transform
---@field src string
---@field dest string

---@class js.source
---@field name string
---@field opt_start_seq integer|nil
---@field opt_start_time number|string|nil Unix time or RFC3339
---@field filter_subject string|nil
---@field subject_transforms js.subject_transform[]|nil 2.10
---@field external { api: string, deliver: string|nil }|nil of another account or domain
---@field consumer { name: string, deliver_subject: string }|nil 2.14

---Every field of the server's ConsumerConfig. `ack_policy` is "explicit" unless set.
---@class js.consumer_config
---@field durable_name string|nil
---@field name string|nil
---@field description string|nil
---@field deliver_policy "all"|"last"|"new"|"by_start_sequence"|"by_start_time"|"last_per_subject"|nil
---@field opt_start_seq integer|nil
---@field opt_start_time number|string|nil Unix time or RFC3339
---@field ack_policy "explicit"|"all"|"none"|"flow_control"|nil the last one: servers from 2.14 on
---@field replay_policy "instant"|"original"|nil
---@field ack_wait number|nil seconds
---@field max_deliver integer|nil
---@field backoff number[]|nil seconds
---@field filter_subject string|nil
---@field filter_subjects string[]|nil
---@field max_ack_pending integer|nil
---@field inactive_threshold number|nil seconds
---@field idle_heartbeat number|nil seconds
---@field flow_control boolean|nil
---@field headers_only boolean|nil
---@field max_batch integer|nil
---@field max_expires number|nil seconds
---@field deliver_subject string|nil
---@field deliver_group string|nil
---@field priority_groups string[]|nil one name; servers from 2.11 on
---@field priority_policy "overflow"|"pinned_client"|"prioritized"|nil the last one: servers from 2.12 on
---@field priority_timeout number|nil seconds until a pinned reader that is silent loses its pin
---@field metadata table<string, string>|nil 2.10
---@field max_waiting integer|nil requests that wait at once
---@field max_bytes integer|nil of one request
---@field num_replicas integer|nil
---@field mem_storage boolean|nil
---@field rate_limit_bps integer|nil bits in a second
---@field sample_freq string|nil "100%"
---@field pause_until number|string|nil Unix time or RFC3339; 2.11
---@field direct boolean|nil of the server's own
---@field sourcing boolean|nil of the server's own
---@field [string] any what only servers newer than 2.15 know

---@class js.stream_info
---@field config js.stream_config
---@field state { messages: integer, bytes: integer, first_seq: integer, last_seq: integer, consumer_count: integer, subjects: table<string, integer>|nil }
---@field created string RFC3339

---@class js.consumer_info
---@field stream_name string
---@field name string
---@field config js.consumer_config
---@field num_pending integer messages not delivered yet
---@field num_ack_pending integer messages delivered and not acknowledged
---@field num_redelivered integer
---@field num_waiting integer
---@field push_bound boolean|nil
---@field created string RFC3339

---@class js.pub_ack
---@field stream string
---@field seq integer
---@field duplicate boolean the message id was used before; nothing was stored
---@field domain string|nil

---@class js.publish_opts
---@field msg_id string|nil the stream stores a message of that id once within its duplicate_window
---@field expected_stream string|nil
---@field expected_last_seq integer|nil last sequence of the stream
---@field expected_last_subject_seq integer|nil last sequence of the subject; 0: none yet
---@field expected_last_msg_id string|nil
---@field expected_last_subject_seq_subject string|nil the subject that is meant by it, if another one; servers from 2.11 on
---@field rollup "sub"|"all"|nil takes the place of all earlier messages of the subject, of the stream
---@field ttl number|string|nil seconds, or "never"; servers from 2.11 on, else `unsupported`
---@field headers table<string, string|number|string[]>|nil
---@field timeout number|nil seconds, default 5
---@field data_type data_type|nil a codec encodes the message

---@class js
---@field publish_window integer messages of publish_async under way at the same time, default 256
local js = {}

---Creates a stream. The same configuration again succeeds, another one is an err that tells the
---differences.
---@param config js.stream_config
---@return js.stream_info|nil info
---@return js.err|nil err
function js.add_stream(config) end

---@param name string
---@param opts { deleted_details: boolean|nil, subjects_filter: string|nil, offset: integer|nil }|nil
---@return js.stream_info|nil info
---@return js.err|nil err
function js.stream_info(name, opts) end

---@param name string
---@return boolean|nil ok
---@return js.err|nil err
function js.delete_stream(name) end

---Changes fields of a stream; those that are not given stay as they are, `json.null` takes one
---back to its default.
---@param config js.stream_config
---@return js.stream_info|nil info
---@return js.err|nil err
function js.update_stream(config) end

---Creates a stream, or changes the one that is there where it differs from what is given.
---@param config js.stream_config
---@param opts { keep: boolean|nil }|nil keep: leave a stream that is there as it is
---@return js.stream_info|nil info
---@return js.err|nil err
function js.ensure_stream(config, opts) end

---Deletes messages: all, those of a subject, those before a sequence number, or all but the
---last so many (of a subject).
---@param name string
---@param opts { subject: string|nil, seq: integer|nil, keep: integer|nil }|nil
---@return integer|nil count of deleted messages
---@return js.err|nil err
function js.purge_stream(name, opts) end

---All streams, or those that may have messages of a subject (mirrors are not found by subject).
---@param opts { subject: string|nil }|nil
---@return js.stream_info[]|nil infos
---@return js.err|nil err
function js.streams(opts) end

---@param opts { subject: string|nil }|nil
---@return string[]|nil names
---@return js.err|nil err
function js.stream_names(opts) end

---What the account uses and may use.
---@return { memory: integer, storage: integer, streams: integer, consumers: integer, limits: table, api: table, domain: string|nil }|nil info
---@return js.err|nil err
function js.account_info() end

---A message as it is stored. `data` is decoded when it is first read.
---@class js.stored_msg
---@field subject string
---@field sequence integer
---@field created number Unix time in seconds
---@field data any
---@field raw string
---@field headers table<string, string|string[]>
local stored_msg = {}

---@param name string in any case
---@return string|nil value the first one
function stored_msg:header(name) end

---Reads one message. Where the stream allows direct gets any server that has it may answer, so
---the newest message may be missing for a moment; `direct = false` asks the leader.
---@param name string
---@param query { seq: integer|nil, last_by_subject: string|nil, next_by_subject: string|nil } seq; last_by_subject; or next_by_subject, from seq on
---@param opts { data_type: data_type|nil, direct: boolean|nil }|nil
---@return js.stored_msg|nil message
---@return js.err|nil err
function js.get_msg(name, query, opts) end

---@param name string
---@param seq integer
---@param opts { secure: boolean|nil }|nil secure: overwrite it on the disk
---@return boolean|nil ok
---@return js.err|nil err
function js.delete_msg(name, seq, opts) end

---The stream that has messages of a subject.
---@param subject string
---@return string|nil name
---@return js.err|nil err
function js.find_stream(subject) end

---Creates a consumer or updates the one of that name.
---@param config js.consumer_config with the field `stream`
---@return js.consumer_info|nil info
---@return js.err|nil err
function js.add_consumer(config) end

---@param stream string
---@param name string
---@return js.consumer_info|nil info
---@return js.err|nil err
function js.consumer_info(stream, name) end

---@param stream string
---@param name string
---@return boolean|nil ok
---@return js.err|nil err
function js.delete_consumer(stream, name) end

---Changes fields of a consumer; those that are not given stay as they are.
---@param config js.consumer_config with the field `stream`
---@return js.consumer_info|nil info
---@return js.err|nil err
function js.update_consumer(config) end

---Creates a consumer, or changes the one that is there where it differs from what is given.
---@param config js.consumer_config with the field `stream`
---@param opts { keep: boolean|nil }|nil keep: leave a consumer that is there as it is
---@return js.consumer_info|nil info
---@return js.err|nil err
function js.ensure_consumer(config, opts) end

---@param stream string
---@return js.consumer_info[]|nil infos
---@return js.err|nil err
function js.consumers(stream) end

---@param stream string
---@return string[]|nil names
---@return js.err|nil err
function js.consumer_names(stream) end

---Nothing is delivered until then. Servers from 2.11 on, else `unsupported`.
---@param stream string
---@param name string
---@param till number|string Unix time, or RFC3339
---@return { paused: boolean, pause_until: string, pause_remaining: number }|nil state
---@return js.err|nil err
function js.pause_consumer(stream, name, till) end

---@param stream string
---@param name string
---@return { paused: boolean }|nil state
---@return js.err|nil err
function js.resume_consumer(stream, name) end

---Which reader of a priority group is pinned is decided anew. Servers from 2.11 on, else
---`unsupported`.
---@param stream string
---@param name string
---@param group string
---@return boolean|nil ok
---@return js.err|nil err
function js.unpin_consumer(stream, name, group) end

---Delivery begins anew: after what was acknowledged, or at a stream sequence. Servers from 2.14
---on, else `unsupported`.
---@param stream string
---@param name string
---@param seq integer|nil
---@return js.consumer_info|nil info with `reset_seq`, where it begins
---@return js.err|nil err
function js.reset_consumer(stream, name, seq) end

---Publishes and waits until a stream has stored the message. After `timeout` it may have been
---stored: publishing again is safe with a `msg_id` only.
---@param subject string
---@param message any a string as it is, nil as empty, anything else as JSON
---@param opts js.publish_opts|nil
---@return js.pub_ack|nil ack
---@return js.err|nil err
function js.publish(subject, message, opts) end

---Publishes and returns at once; waits only while `publish_window` messages are under way. A
---failure that nobody awaits, and no flush() returns, is an error in the log.
---@param subject string
---@param message any
---@param opts js.publish_opts|nil
---@return future
function js.publish_async(subject, message, opts) end

---Waits until all messages of publish_async are acknowledged or have failed.
---@param timeout number|nil seconds
---@return true|nil ok
---@return js.err|nil err of the first that failed and was not awaited; `count`: how many did
function js.flush(timeout) end

---@class future
---@field done boolean
local future = {}

---@param timeout number|nil seconds; without it until the publish itself has timed out
---@return js.pub_ack|nil ack
---@return js.err|nil err
function future:await(timeout) end

---@class js.subscribe_opts
---@field durable string|nil name of the consumer; it stays when the service stops
---@field stream string|nil default: the one that has the subject
---@field queue string|nil instances with the same queue share the messages
---@field manual_ack boolean|nil the handler acknowledges itself
---@field data_type data_type|nil what msg.data is, default "json"
---@field concurrency integer|nil handlers that run at once, default 256; 1 keeps the order
---@field key "subject"|string|(fun(msg: msg): string|number|nil)|nil messages with the same one are handled one after the other: "subject", "subject:2" (a token), "header:Name", or a function that must not wait
---@field pending integer|nil messages that may wait for a handler, default 65536
---@field pending_bytes integer|nil their bytes, default 64 MiB
---@field name string|nil for the log
---@field ordered boolean|nil every message in order and without gaps, one after the other, never acknowledged; not together with durable, queue, manual_ack, concurrency, key, pending, pending_bytes
---@field heartbeat number|nil seconds, default 5; after a silence twice as long the consumer is looked for; not with a queue
---@field on_error fun(err: js.err)|nil with `ordered`: the consumer could not be made again
---@field config js.consumer_config|nil

---Calls fn for each message; acknowledges after success, asks for redelivery after an error.
---At the top level of a script the subscription is made during the start.
---@param subject string|nil
---@param opts js.subscribe_opts
---@param fn fun(msg: msg): any, any
---@return js.subscription|nil subscription
---@return js.err|nil err
---@overload fun(subject: string, fn: fun(msg: msg): any, any): js.subscription|nil, js.err|nil
function js.subscribe(subject, opts, fn) end

---@class js.subscription
---@field stream string|nil known when it is active
---@field consumer string|nil the same
local subscription = {}

---@return js.consumer_info|nil info
---@return js.err|nil err
function subscription:info() end

---Ends it; messages that have arrived are handled. A consumer without a durable name is deleted.
function subscription:stop() end

---Of a consumer with priority groups: which of its readers is served. Servers from 2.11 on, else
---`unsupported`. Those of a call go before those of the subscription.
---@class js.group_opts
---@field group string|nil its name; default: the one that the consumer has
---@field min_pending integer|nil with "overflow": served while so many messages are to come
---@field min_ack_pending integer|nil with "overflow": served while others have so many unacknowledged
---@field priority integer|nil with "prioritized": 0 (default), served first, to 9

---@class js.pull_subscribe_opts: js.group_opts
---@field durable string|nil name of the consumer; without one it lasts as long as it is used
---@field stream string|nil default: the one that has the subject
---@field config js.consumer_config|nil creates the consumer so, or updates it; a consumer that was declared here is created again when somebody deletes it

---Stream and consumer are found or made at the first use, so this may stand at the top level.
---@param subject string|nil may be left out with `stream`
---@param opts js.pull_subscribe_opts|nil
---@return psub
function js.pull_subscribe(subject, opts) end

---@class psub
---@field stream string|nil known after the first use
---@field consumer string|nil the same
local psub = {}

---@class psub.fetch_opts: js.group_opts
---@field timeout number|nil seconds, default 5
---@field no_wait boolean|nil only what is there now
---@field max_bytes number|nil default: any, or a quarter of the limit of memory; math.huge: as if not given
---@field heartbeat number|nil seconds
---@field data_type data_type|nil what msg.data is, default "json"

---Fetches up to n messages: waits until all n are there or the time is up.
---@param n integer|nil default 1
---@param opts psub.fetch_opts|nil
---@return msg[]|nil messages {} when nothing came
---@return js.err|nil err
function psub:fetch(n, opts) end

---@class psub.consume_opts: js.group_opts
---@field concurrency integer|nil handlers that run at once, default 1: in the order of the stream
---@field max_messages integer|nil messages asked for and not finished, default 100
---@field key "subject"|string|(fun(msg: msg): string|number|nil)|nil messages with the same one are handled one after the other, over retries, too: "subject", "subject:2" (a token), "header:Name", or a function that must not wait; nil: the message has none. concurrency is 64 then
---@field pending integer|nil with key: messages that may wait for another one of their key, besides max_messages, default 1000
---@field pending_bytes integer|nil with key: bytes of all that wait, default 64 MiB
---@field manual_ack boolean|nil the handler acknowledges itself
---@field backoff number[]|nil seconds until a failed message comes again, after the first, second, ... failure; default 1, 2, 4, 8, 16, 32, 60
---@field max_deliver integer|nil after so many failures it is given up; default: that of the consumer
---@field dead_letter string|nil subject of a stream that gets what was given up; not one that the consumer delivers, which has no max_deliver of its own then
---@field data_type data_type|nil what msg.data is, default "json"
---@field expires number|nil seconds of a request to the server, default 30
---@field heartbeat number|nil seconds, default 5; after twice as long a silence the consumer is looked for
---@field on_error fun(err: js.err)|nil it has ended by itself; without it that is an error in the log

---Calls fn for each message as long as the subscription lasts. After success the message is
---acknowledged; after an error, or `nil, err`, it is delivered again, later and later. While a
---message waits here or is worked on the server is told so, however long it takes. At the top
---level of a script it begins with the start, which fails if it cannot begin.
---@param opts psub.consume_opts
---@param fn fun(msg: msg): any, any
---@return consume|nil handle
---@return js.err|nil err
---@overload fun(self: psub, fn: fun(msg: msg): any, any): consume|nil, js.err|nil
function psub:consume(opts, fn) end

---@class consume
---@field error js.err|nil why it ended by itself
local consume = {}

---No more messages: those that are not started go back to the server, running handlers finish.
function consume:stop() end

---No more messages: those that have arrived are handled.
function consume:drain() end

---Whether it has ended: stopped, and the last handler is done.
---@return boolean
function consume:closed() end

---Counters. returned: sent back unstarted; dropped: too old when their turn came.
---@return { received: integer, acked: integer, failed: integer, returned: integer, dropped: integer, running: integer, queued: integer, keys: integer, blocked: integer }
function consume:stats() end

---@return js.consumer_info|nil info
---@return js.err|nil err
function psub:info() end

---A fetch that waits returns nil, err (code `closed`). A consumer without a durable name is
---deleted.
function psub:stop() end

---What a message of a stream can do besides. A message is settled once: a second ack, nak or term
---returns nil, err with the code `already_acked`. Messages from elsewhere raise.
---@class msg
---@field metadata js.metadata|nil
local msg = {}

---@class js.metadata
---@field stream string
---@field consumer string
---@field stream_sequence integer
---@field consumer_sequence integer
---@field num_delivered integer 1: for the first time
---@field num_pending integer messages of the consumer still to come
---@field timestamp number Unix time in seconds
---@field domain string|nil

---Handled.
---@return true|nil ok
---@return err|nil err
function msg:ack() end

---Handled; waits until the server has confirmed it. After a failure it may be tried again.
---@param timeout number|nil seconds, default 5
---@return true|nil ok
---@return err|nil err
function msg:ack_sync(timeout) end

---Deliver it again.
---@param delay number|nil seconds
---@return true|nil ok
---@return err|nil err
function msg:nak(delay) end

---Never deliver it again.
---@param reason string|nil for the server's advisory, from nats-server 2.10.4 on; older ones are not told
---@return true|nil ok
---@return err|nil err
function msg:term(reason) end

---Still at work: the time until redelivery starts anew.
---@return true|nil ok
---@return err|nil err
function msg:in_progress() end

return js
