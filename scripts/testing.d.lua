---@meta lunats.testing
---For specs, under `lunats test`: private servers, services in the same process, time on command.
---Whatever waits waits for the event. Times are seconds.
---@class testing
local testing = {}

---@class testing.start_opts: testing.connect_opts
---@field server string|string[]|nil URL; default: the server of `lunats test`
---@field clock "manual"|"real"|nil manual: the service's time moves with svc:advance() only
---@field stubs table<string, (fun(msg: msg): any, any)|{ [1]: (fun(msg: msg): any, any), data_type: data_type|nil }>|nil handlers by subject that stand in for other services
---@field name string|nil of the service; default: of its file
---@field libs "all"|"safe"|nil as --libs of `lunats run`
---@field log boolean|nil also print its log lines
---@field drain_timeout number|nil given to running handlers at the end (1; 0.1 with a manual clock)

---@class testing.connect_opts
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

---Starts a service in this process, with its own Lua state and connection. Raises with the reason
---when it does not start. A Lua error that it does not handle fails the running test, and so does
---a service that is still there at its end; one of setup() lives until teardown().
---@param script string path of a file, or source text
---@param opts testing.start_opts|nil
---@return testing.service
function testing.start(script, opts) end

---@class testing.broker_opts
---@field config string|nil text of a configuration of the server
---@field config_file string|nil
---@field dir string|nil where it stores; default: a temporary folder, removed at the end
---@field port integer|nil default: a free one
---@field jetstream boolean|nil default true
---@field tls boolean|"verify"|nil verify: clients need a certificate as well; see certificates()

---A private nats-server, gone at the end of the run at the latest. Without `config`, `config_file`
---and `tls` it asks for a random password, which is in `url`.
---@param opts testing.broker_opts|nil
---@return testing.broker
function testing.broker(opts) end

---@class testing.reset_opts: testing.connect_opts
---@field purge boolean|nil take the messages only: streams, consumers and buckets stay, and services that use them may run

---Deletes all streams, and with them consumers and buckets, of an account, for a test that begins
---with nothing. Raises, with nothing deleted, when a service of this spec runs that uses one.
---@param target testing.broker|testing.cluster|string|nil a server, or its URL; default: that of `lunats test`
---@param opts testing.reset_opts|nil
---@return integer count of streams
function testing.reset(target, opts) end

---URL of the server that the specs are connected to, with user and password: for other programs
---that a spec starts.
---@return string|nil url nil without a connection
function testing.server_url() end

---Errors of the spec's own fibers (app.spawn, listeners, timers, tasks) that nobody handled, with
---tracebacks. Asking for them makes them expected; else they fail the running test.
---@return string[]
function testing.errors() end

---Certificates for servers with `tls`, made by openssl once for a run: paths of PEM files for
---`tls_ca`, `tls_cert` and `tls_key`.
---@return { ca: string, cert: string, key: string }
function testing.certificates() end

---A JetStream cluster on this machine.
---@param size integer|nil default 3
---@param opts { config: string|nil }|nil config: more lines for nats-server.conf of each
---@return testing.cluster
function testing.cluster(size, opts) end

---Sends the requests of a file that `lunats record` has written and compares the replies, JSON by
---value. Raises with the places that differ.
---@param svc testing.service
---@param path string
---@param opts { ignore: string[]|nil, timeout: number|nil }|nil ignore: fields ("id") or paths ("items.id")
---@return integer compared how many replies
function testing.replay(svc, path, opts) end

---A message of a stream, made by hand, for calling a handler. What is not given is made up.
---@param fields { subject: string|nil, data: any, headers: table|nil, metadata: table|nil }|nil
---@return testing.fake_js_msg
function testing.fake_js_msg(fields) end

---@class testing.service
---@field name string
---@field instance_id string
local service = {}

---As app.request, sent by the spec; the error also says what the service did wrong.
---@param to string subject
---@param message message
---@param opts request_opts|nil timeout: 2
---@return msg|nil reply
---@return err|nil err
function service:request(to, message, opts) end

---Returns when the server has the message.
---@param to string subject
---@param message message
---@param opts { headers: headers|nil, reply_to: string|nil, data_type: data_type|nil }|nil
function service:publish(to, message, opts) end

---@class testing.http_opts
---@field headers table<string, string|number>|nil
---@field body string|nil
---@field json any sent as the body, instead
---@field form table<string, string>|nil sent as the body of a form, instead
---@field timeout number|nil 2
---@field stop_after integer|nil of a stream: the client goes away after so many pieces
---@field data_type data_type|nil what res.data is, default "json"

---@class testing.http_answer
---@field status integer 0: a stream that was broken off
---@field headers table<string, string> by name in any case
---@field cookies string[] each as the header Set-Cookie has it
---@field body string
---@field data any the body, decoded by `data_type` when first read

---Asks one of its routes of app.http, without a port; of a stream all that has come.
---@param method string
---@param path string with the query
---@param opts testing.http_opts|nil
---@return testing.http_answer|nil res
---@return err|nil err `timeout`
function service:http(method, path, opts) end

---Waits for a message of the service that no call of expect() has returned before; raises when
---none comes, and says what the service has sent instead.
---@param pattern string subject, wildcards allowed
---@param opts { timeout: number|nil, where: (fun(msg: testing.sent): any)|nil, data_type: data_type|nil }|nil timeout: 2
---@return testing.sent
function service:expect(pattern, opts) end

---What the service has sent so far.
---@param pattern string subject, wildcards allowed
---@param opts { data_type: data_type|nil }|nil
---@return testing.sent[]
function service:calls(pattern, opts) end

---Its log lines.
---@param pattern string|nil a Lua pattern that the message has to match
---@return { level: string, message: string, fields: table<string, any>|nil, context: table<string, string>|nil }[]
function service:logs(pattern) end

---Errors that it did not handle, with tracebacks. Asking for them makes them expected.
---@return string[]
function service:errors() end

---Tracebacks of the handlers (or tasks and timers) that are running.
---@param kind "handler"|"background"|nil
---@return string[]
function service:fibers(kind) end

---Moves the manual clock: timers, deadlines and back-offs fire in order, at once. Requests under
---way are answered in between; what JetStream delivers is not waited for.
---@param seconds number
function service:advance(seconds) end

---Replaces the running version; returns when the new one has taken over.
---@param script string|nil path or source text; default: the file again
---@return true|nil ok
---@return err|nil err why the old version goes on
function service:reload(script) end

---It loses its connection for that long.
---@param seconds number
function service:partition(seconds) end

---Stops in order.
---@return integer status that a process would have had
function service:stop() end

---Errors nobody has asked for, which become known. Called at the end of each test.
---@return string[]
function service:take_unexpected() end

---A message that a service has sent.
---@class testing.sent
---@field subject string
---@field raw string
---@field data any decoded when first read, from JSON unless `data_type` says something else; raises when it is none
---@field reply_to string|nil
---@field headers table<string, string|string[]>

---@class testing.broker
---@field url string with the random password that it asks for, if it has no `config`
---@field port integer
---@field pid integer
---@field dir string
local broker = {}

---Ends the server and removes its folder.
function broker:stop() end

---SIGKILL; port and folder are kept for restart().
function broker:kill() end

---On the same port, with the same folder.
function broker:restart() end

---A server that hangs, until resume().
function broker:pause() end

---A server that was paused goes on.
function broker:resume() end

---@class testing.cluster
---@field urls string[]
---@field [integer] testing.broker
local cluster = {}

---Ends its servers and removes their folders.
function cluster:stop() end

---Like a message of JetStream; says afterwards what the handler did.
---@class testing.fake_js_msg: msg
---@field settled "ack"|"nak"|"term"|nil
---@field detail any delay of nak, reason of term
---@field responses any[] what was given to respond()
---@field progress integer calls of in_progress()

return testing
