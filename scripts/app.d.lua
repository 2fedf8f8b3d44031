---@meta app
-- luacheck: globals app
---The global `app` of every script, also `require "app"`. Times are seconds. An options table
---stands before the function where one follows; an unknown option raises. What can fail in
---production returns `nil, err`; wrong arguments raise.

---What is sent: a string as it is, nil as an empty payload, anything else as JSON.
---@alias message string|table|number|boolean|nil

---Of bytes and values: "json", where strings are sent as they are; "string", the bytes;
---"msgpack"; or a codec.
---@alias data_type "json"|"string"|"msgpack"|codec

---What makes messages of values, and the other way round. Neither function can wait.
---@class codec
---@field encode fun(value: any): string|nil, any the bytes; called for anything but nil
---@field decode fun(bytes: string): any, any the value; nil and why for bytes that it cannot decode
---@field content_type string|nil what HTTP calls it; default application/octet-stream

---Headers to send; a list sends the name several times.
---@alias headers table<string, string|number|(string|number)[]>

---@class app
---@field state table plain data; nothing else of a script will survive a hot reload
---@field name string of the service: from app.config, or the name of the file
---@field version string from app.config, default "0.0.0"
---@field instance_id string 22 letters and digits, new with every start
---@field js js JetStream; loaded when first used
---@field crypto crypto digests, random bytes and base64; loaded when first used
---@field http http HTTP; loaded when first used
---@field tcp app.tcp sockets; loaded when first used
---@field metrics metrics counters, gauges and histograms; loaded when first used
---@field thread app.thread functions that block, in threads of their own; loaded when first used
---@field json json
---@field log log
---@field nats nats
app = {}

---@class config_opts
---@field name string|nil letters, digits, `_` and `-`, 64 at most; default the file name without `.lua`
---@field version string|nil a semantic version, like 1.2.0 or 2.0.0-rc.1; default 0.0.0
---@field description string|nil for those who discover the service
---@field metadata table<string, string>|nil the same; names that begin with `_nats` are kept for NATS
---@field queue string|false|nil queue group of listeners that name none; default `<service>:<subject>`
---@field discover boolean|nil whether $SRV.PING, INFO and STATS are answered, default true
---@field limits config_limits|nil what the service may use; of these and the options of the process the smaller ones count

---@class config_limits
---@field slice number|nil seconds of processor time after which a call that does not wait is ended; --slice, 1
---@field memory integer|string|nil bytes, or "64M", "1G": what it may use of memory; --memory, no limit
---@field fibers integer|nil fibers that live at once: with more app.spawn raises; 100,000

---Says who the service is. At the top level only.
---@param opts config_opts
function app.config(opts) end

-- ---- life -------------------------------------------------------------------

---Adds a hook that runs when the service is connected and before its listeners subscribe. Hooks
---run one after another and may wait; an error stops the start with exit status 1. At the top
---level only.
---@param fn fun()
function app.on_start(fn) end

---Adds a hook that runs when no handler runs any more and before the connection closes. All
---hooks run, even after one has failed; then the exit status is 1.
---@param fn fun()
function app.on_stop(fn) end

---Adds a hook for hot reload: it runs in the new version, after that has taken over, with the
---version (app.config) of the one before. app.state has the old values by then.
---@param fn fun(old_version: string)
function app.on_reload(fn) end

---Hears of the connection to NATS: called when the service has started, with the present state,
---and for each change: "connected" (detail: the URL of the server), "disconnected" (the reason),
---"lame_duck" (the server is about to go away). Each call is a fiber of its own.
---@param fn fun(state: "connected"|"disconnected"|"lame_duck", detail: string)
function app.on_connection(fn) end

---Declares a check. Its result is shown by /readyz and /healthz of the admin port; a critical
---check (that is the default) that fails makes the service not ready. `interval` is 10 s,
---`timeout` 2 s. Two checks have two names; a new version goes on with the last result.
---@param name string
---@param opts { interval: number|nil, timeout: number|nil, critical: boolean|nil }
---@param fn fun(): boolean|nil, any true when all is well, or nil and why not; an error says why not, too
---@return periodic
---@overload fun(name: string, fn: fun(): boolean|nil, any): periodic
function app.health(name, opts, fn) end

---Calls fn for each error that is logged of the script's own code, after it has been logged. It
---may wait. Its own errors are logged and not told; above 16 at once, errors are only counted.
---@param fn fun(err: any, where: app.where) `err` is what was raised
function app.on_error(fn) end

---What app.timer and app.task return.
---@class periodic
---@field name string|nil
---@field ticks integer calls so far
---@field skipped integer ticks left out because the call before took too long
---@field errors integer calls that failed
local periodic = {}

---No further call; one that is under way goes on to its end.
function periodic:stop() end

---@class timer_opts
---@field delay number|nil seconds to the first tick, default 0
---@field name string|nil for the log
---@field singleton boolean|nil ticks in the instance that leads, see docs/scheduling.md

---Calls fn every `interval` seconds once the service runs. Calls never overlap: a tick that is
---still busy makes the ones it misses be skipped and counted. An error is logged with its
---traceback and counted, and the timer goes on.
---@param interval number seconds, more than 0
---@param opts timer_opts
---@param fn fun()
---@return periodic handle
---@overload fun(interval: number, fn: fun()): periodic
function app.timer(interval, opts, fn) end

---@class task_opts
---@field interval number|nil seconds; makes it a timer whose first tick comes at once
---@field restart "never"|"on_error"|nil after an error: again after 0.1 s, doubling up to 30 s; default never
---@field name string|nil for the log

---Calls fn once, in a fiber of its own, when the listeners have subscribed. It may run as long
---as the service; a stop cancels it in its next wait.
---@param opts task_opts
---@param fn fun()
---@return periodic handle
---@overload fun(fn: fun()): periodic
function app.task(opts, fn) end

-- ---- messages ---------------------------------------------------------------

---@class listen_opts
---@field queue string|false|nil queue group; default `<service>:<subject>`; false: every instance gets every message
---@field data_type data_type|nil what msg.data is, and of a codec what is answered; default "json"
---@field concurrency integer|nil handlers that run at once, default 256; 1 keeps the order
---@field key "subject"|string|(fun(msg: msg): string|number|nil)|nil messages with the same one are handled one after the other: "subject", "subject:2" (a token), "header:Name", or a function that must not wait; nil: the message has none
---@field pending integer|nil messages that may wait for a handler, default 65536; more are dropped and counted
---@field pending_bytes integer|nil their bytes, default 64 MiB
---@field name string|nil for the log, and the name of the endpoint; default the subject
---@field endpoint boolean|nil false: not shown to those who discover the service
---@field description string|nil of the endpoint, in its metadata
---@field metadata table<string, string>|nil of the endpoint
---@field schema listen_schema|nil of what it takes and returns
---@field rate rate_opts|number|boolean|nil so many within a second, others are answered with 429
---@field bulkhead bulkhead_opts|number|boolean|nil so many at once, others are answered with 503
---@field breaker breaker_opts|boolean|nil answers 503 at once where too many have failed
---@field retry retry_opts|boolean|nil calls the handler again after some errors

---JSON Schema 2020-12, a subset: see docs/middleware.md.
---@class listen_schema
---@field request table|boolean|nil msg.data of others is answered with 400
---@field response table|boolean|nil a result that breaks it is an error of the service

---What app.listen returns.
---@class listener
local listener = {}

---Messages that have arrived are handled, no more come.
function listener:stop() end

---Calls fn, in a fiber of its own, for each message of one or several subjects; `*` stands for
---one token, `>` for all that follow. If the message wants a reply, the result of fn is sent:
---any message, nothing for nil, an error reply for `nil, "text"` and for
---`nil, { code = 404, message = "text" }`. `return app.request(...)` passes on the reply, headers
---included, or the error. A raised error is logged and sent as code 500.
---@param subject string|string[]
---@param opts listen_opts
---@param fn fun(msg: msg, ctx: middleware_context|nil): message|msg, string|{ code: integer, message: string }|err|nil
---@return listener handle
---@overload fun(subject: string|string[], fn: fun(msg: msg): message|msg, any): listener
function app.listen(subject, opts, fn) end

---Of one message on its way through the middleware; handlers get it as their second argument.
---Fields of your own may be added.
---@class middleware_context
---@field kind "listen"|"request"|"publish"|"js"|"http"
---@field msg msg|nil what is handled
---@field req http_incoming|nil the same, of "http"
---@field subject string|nil
---@field name string|nil what was called to send: "app.request", "app.js.publish"
---@field data message|nil what is sent
---@field opts table|nil a copy of the options of the call

---Puts fn around everything of a kind that the service handles or sends, in the order of the
---calls. Only at the top level, before what it is around.
---@param kind "listen"|"request"|"publish"|"js"|"http"
---@param fn fun(ctx: middleware_context, next: fun(ctx: middleware_context): any, any): any, any
function app.use(kind, fn) end

---@class group_opts
---@field queue string|false|nil queue group of its listeners
---@field metadata table<string, string>|nil of its endpoints; each may add to it
---@field description string|nil of its endpoints

---@class group
local group = {}

---Listeners below a common prefix of their subjects, with options in common.
---@param prefix string tokens with dots between them
---@param opts group_opts|nil
---@return group
function app.group(prefix, opts) end

---app.listen with the prefix in front of the subject; its options win over those of the group.
---@param subject string|string[]
---@param opts listen_opts
---@param fn fun(msg: msg): any, any
---@return listener handle
---@overload fun(self: group, subject: string|string[], fn: fun(msg: msg): any, any): listener
function group:listen(subject, opts, fn) end

---A group inside of this one.
---@param prefix string
---@param opts group_opts|nil
---@return group
function group:group(prefix, opts) end

---Sends a message. While the server is away, up to 8 MiB are kept and sent later; while it takes
---less than is published, the fiber waits.
---@param subject string without wildcards
---@param message message
---@param opts { headers: headers|nil, reply_to: string|nil, data_type: data_type|nil }|nil data_type: a codec encodes the message
---@return true|nil ok
---@return err|nil err
function app.publish(subject, message, opts) end

---@class request_opts: request_guards
---@field timeout number|nil seconds, default 10
---@field headers headers|nil
---@field data_type data_type|nil what reply.data is, and of a codec what is sent; default "json"
---@field deadline boolean|nil the handler sees in msg.deadline how long this waits
---@field retry retry_opts|boolean|nil another attempt after some errors; true: as by default

---Sends a message and waits for the reply. An error reply is `nil, err` with the code
---"service_error" and its status; without anybody who listens it fails at once with
---"no_responders".
---@param subject string without wildcards
---@param message message
---@param opts request_opts|nil
---@return msg|nil reply
---@return err|nil err
function app.request(subject, message, opts) end

---@class request_many_opts: request_guards
---@field timeout number|nil seconds, default 10
---@field headers headers|nil
---@field data_type data_type|nil what msg.data is, and of a codec what is sent; default "json"
---@field max number|nil ends after so many replies
---@field max_bytes number|nil ends when the replies have so many bytes, default 64 MiB, or a quarter of the limit of memory; math.huge: any
---@field stall number|nil ends after so many seconds without a further reply

---Sends a message and collects replies until the time is up, or as the options say.
---@param subject string without wildcards
---@param message message
---@param opts request_many_opts|nil
---@return msg[]|nil replies {} when none came in time
---@return err|nil err
function app.request_many(subject, message, opts) end

---Waits until the server has everything that was sent so far.
---@param timeout number|nil seconds, default 10
---@return true|nil ok
---@return err|nil err
function app.flush(timeout) end

-- ---- time -------------------------------------------------------------------

---Waits; everything else goes on.
---@param seconds number 0 lets others have their turn
function app.sleep(seconds) end

---@return number seconds Unix time with fractions
function app.now() end

---A fiber that app.spawn has started.
---@class fiber
local fiber = {}

---Waits for the end of the fiber, and returns what its function has returned, as often as it is
---asked.
---@param timeout number|nil seconds, default: as long as it takes; the fiber goes on after it
---@return any ... the results of the function; nil when it failed
---@return err|nil err `timeout`, `cancelled`, what the function has raised when that is a table, otherwise `error` with its text
function fiber:await(timeout) end

---Cancels the fiber: where it waits, or waits next, an error is raised that it should not catch
---for good. One that has not begun yet does not begin. Never waits itself. What else is raised then
---is logged.
---@return boolean cancelled false: it had ended already
function fiber:cancel() end

---Runs fn in a fiber of its own; raises while too many live. A stop treats it like the fiber that
---started it: what a handler has spawned may finish, what a task or timer has spawned is
---cancelled. An error is logged, unless somebody awaits the fiber, or its parent is awaiting
---another one at that moment.
---@param fn function
---@param ... any arguments
---@return fiber
function app.spawn(fn, ...) end

---Calls fn in a fiber of its own, for so many seconds at most. Then that is cancelled; its
---to-be-closed variables have run when app.timeout returns. Errors of fn are raised. Where fn calls
---os.exit() the caller does not go on either.
---@param seconds number
---@param fn function
---@param ... any arguments
---@return any ... the results of fn; nil when it has not ended in time
---@return err|nil err `timeout`
function app.timeout(seconds, fn, ...) end

---A lock that one fiber holds at a time; the others get it in the order of their arrival.
---@class mutex
local mutex = {}

---Waits until nobody holds it. As `local _ <close> = m:lock()` it is unlocked at the end of the
---block, whatever ends it; otherwise by unlock(). Raises when this fiber holds it already.
---@param timeout number|nil seconds, default: as long as it takes
---@return mutex|nil locked
---@return err|nil err `timeout`
function mutex:lock(timeout) end

---Lets the next one have it. Raises when this fiber does not hold it.
function mutex:unlock() end

---Calls fn while this fiber holds the mutex, and unlocks it also when fn raises or is cancelled.
---@param fn function
---@param ... any arguments
---@return any ... the results of fn
function mutex:with(fn, ...) end

---@return mutex
function app.mutex() end

-- ---- caches -----------------------------------------------------------------

---The cache with this name, which is one in the whole process. Called again it gives the same
---one, and what the options say counts from then on. It lives as long as a service that has
---opened it.
---@param name string 1 to 255 bytes
---@param opts cache_opts|nil
---@return cache
function app.cache(name, opts) end

-- ---- threads ----------------------------------------------------------------

---app.thread(module, name, ...) calls a function of a module that blocks, in one of up to 4 threads
---with Lua states of their own, and returns what it returns; the fiber waits. Arguments and results
---are copied: plain values, and tables of them. `nil, err` with `thread_error` when it raises, and
---`full`, `no_memory`.
---@class app.thread
---@overload fun(module: string, name: string, ...: any): any
app.thread = {}

---A thread with a state that is kept: a handle of a database, for one.
---@param module string for `require`, loaded at the first call
---@return thread
function app.thread.open(module) end

---@class thread
local thread = {}

---Calls a function of its module, when the calls before it are done. Waits.
---@param name string
---@param ... any plain values, and tables of them
---@return any ... what the function returns; `nil, err` with `thread_error`, `closed`, `full`, `no_memory`
function thread:call(name, ...) end

---Waits for the calls before it, and for the end of the state. As `local t <close> = ...` it is
---called at the end of the block.
---@return true|nil ok
---@return err|nil err
function thread:close() end

-- ---- crypto -----------------------------------------------------------------

---@class crypto
app.crypto = {}

---@alias crypto.form "hex"|"raw"|"base64"

---The SHA-256 digest.
---@param bytes string
---@param form crypto.form|nil default "hex", in small letters
---@return string
function app.crypto.sha256(bytes, form) end

---The HMAC with SHA-256: who does not know the key can neither make nor check it.
---@param key string
---@param bytes string
---@param form crypto.form|nil default "hex", in small letters
---@return string
function app.crypto.hmac_sha256(key, bytes, form) end

---Compares two strings in a time that does not tell where they differ.
---@param a string
---@param b string
---@return boolean
function app.crypto.equal(a, b) end

---Random bytes, fit for keys and tokens.
---@param count integer
---@return string bytes
function app.crypto.random(count) end

---A random UUID (version 4).
---@return string uuid in small letters
function app.crypto.uuid() end

---@param bytes string
---@return string text with padding
function app.crypto.base64_encode(bytes) end

---@param text string with padding
---@return string|nil bytes
---@return err|nil err `invalid`
function app.crypto.base64_decode(text) end

-- ---- HTTP -------------------------------------------------------------------

---@class http
app.http = {}

---@class http_request
---@field url string http:// or https://
---@field method string|nil default GET, with a body POST
---@field headers table<string, string|number|boolean|(string|number|boolean)[]>|nil
---@field query table<string, string|number|boolean|(string|number|boolean)[]>|string|nil added to that of the URL
---@field body string|(fun(): string|nil)|nil as it is; a function is called for the next piece until it returns nil
---@field length integer|nil bytes of a body that is a function; without it is sent in chunks
---@field json any sent as JSON
---@field form table<string, string|number|boolean|(string|number|boolean)[]>|nil sent as a form
---@field timeout number|nil seconds for all of it, default 10
---@field connect_timeout number|nil seconds for name, connection and handshake, default 5
---@field max_bytes number|nil of the body, default 16 MiB; with `stream` any
---@field stream (fun(piece: string, res: http_response): boolean|nil)|nil gets the body piece by piece; false ends it
---@field redirects integer|nil how many are followed, default 0
---@field data_type data_type|nil what res.data is, default "json"
---@field tls http_tls|nil
---@field proxy string|false|nil URL of a proxy; false: none; default what the environment says
---@field trace boolean|nil whether the server is told of the trace, default true

---@class http_tls
---@field ca string|nil PEM file: trusted instead of what the system trusts
---@field cert string|nil PEM file: who we are
---@field key string|nil PEM file
---@field verify boolean|nil false: whoever answers is good enough

---@class http_response
---@field status integer of HTTP
---@field ok boolean 200 to 299
---@field headers table<string, string|string[]> by name, in any case; set-cookie is a list
---@field body string|nil nil where it went to `stream`
---@field data any the body decoded when it is first read; raises `bad_json`, `bad_data`
---@field url string what was asked in the end

---Asks a server of HTTP and waits for its answer, whatever its status.
---@param opts http_request
---@return http_response|nil res
---@return err|nil err `timeout`, `resolve`, `connect`, `tls`, `proxy`, `disconnected`, `protocol`, `too_large`, `redirect`, `invalid`, ...
function app.http.request(opts) end

-- ---- log --------------------------------------------------------------------

---One function per level. `fields` become `key=value` in text and members in JSON; the first 32
---of them. Behind them a line has what it is logged in: `listener`, `subject`, `trace_id`, or
---`consumer` and `stream`, `timer`, `task`. Yours win.
---@class log
app.log = {}

---Shown with `--log-level debug`.
---@param message any
---@param fields table<string, any>|nil
function app.log.debug(message, fields) end

---What goes as it should.
---@param message any
---@param fields table<string, any>|nil
function app.log.info(message, fields) end

---What goes wrong, and was dealt with.
---@param message any
---@param fields table<string, any>|nil
function app.log.warn(message, fields) end

---What somebody should look at.
---@param message any
---@param fields table<string, any>|nil
function app.log.error(message, fields) end

-- ---- the connection ---------------------------------------------------------

---@class nats
---@field client_id integer|nil number of the connection on the server
---@field connected_url string|nil
---@field max_payload integer|nil bytes
app.nats = {}

---@return "connecting"|"connected"|"disconnected"|"closed"
function app.nats.status() end

---@class nats.info
---@field url string|nil
---@field server_id string|nil
---@field version string|nil of the server
---@field client_ip string|nil
---@field client_id integer|nil
---@field max_payload integer|nil bytes

---@return nats.info info without the fields that are not known (yet)
function app.nats.server_info() end

---@class nats.stats
---@field in_msgs integer
---@field in_bytes integer
---@field out_msgs integer
---@field out_bytes integer
---@field reconnects integer
---@field dropped integer messages of listeners that were too slow
---@field buffered integer bytes not written yet
---@field subscriptions integer
---@field pending_requests integer

---@return nats.stats stats counted since the start, over all connections
function app.nats.stats() end

---Measures one round trip to the server.
---@param timeout number|nil seconds, default 10
---@return number|nil seconds
---@return err|nil err
function app.nats.rtt(timeout) end

-- ---- a second connection ----------------------------------------------------

---What app.connect returns: another server, or another account, beside the own connection.
---@class connection
---@field name string what log lines call it
---@field nats nats
---@field js js JetStream; loaded when first used
---@field publish fun(subject: string, message: message, opts: table|nil): true|nil, err|nil as app.publish
---@field request fun(subject: string, message: message, opts: request_opts|nil): msg|nil, err|nil as app.request
---@field request_many fun(subject: string, message: message, opts: request_many_opts|nil): msg[]|nil, err|nil as app.request_many
---@field flush fun(timeout: number|nil): true|nil, err|nil as app.flush
---@field listen fun(subject: string|string[], opts: listen_opts|fun(msg: msg): (message, any), fn: nil|fun(msg: msg): (message, any)): listener as app.listen
---@field group fun(prefix: string, opts: group_opts|nil): group as app.group
---@field close fun() loses nothing: what has arrived is handled, what was published is sent. Goes on by itself

---@class connect_opts
---@field server string|string[] URLs; also several with commas between them
---@field name string|nil of the connection: for the server (else `SERVICE/INSTANCE`) and in log lines (else its URL)
---@field retry boolean|nil return at once and try for ever, with the reasons in the log; what is published meanwhile is kept, up to 8 MiB
---@field timeout number|nil seconds to wait at most; default: until each server was tried once
---@field user string|nil
---@field password string|nil
---@field token string|nil
---@field creds string|nil path of a credentials file
---@field nkey string|nil path of a file with an NKey seed
---@field tls_ca string|nil path of a PEM file
---@field tls_cert string|nil path of a PEM file
---@field tls_key string|nil path of a PEM file
---@field tls_name string|nil the name that the server's certificate must show
---@field tls_first boolean|nil begin with TLS, for servers with `handshake_first`
---@field inbox_prefix string|nil where replies come to ("_INBOX")
---@field connect_timeout number|nil time for one attempt to connect (2)
---@field ping_interval number|nil silence after which the server is probed (5)
---@field max_control_line integer|nil limit of the server for one line (4096)
---@field js_domain string|nil JetStream domain
---@field js_prefix string|nil subject of the JetStream API ("$JS.API"); not with js_domain

---Connects to a further server. Waits for it, so not at the top level: call it in app.on_start. It
---reconnects by itself, and closes when the service stops or nobody can reach it any more.
---@param opts connect_opts
---@return connection|nil other
---@return err|nil err `disconnected` (nobody there), `permission` (refused), `timeout`, ...
function app.connect(opts) end

return app
