---@meta http
-- luacheck: globals app
---What of `app.http` answers requests of HTTP, on the port of --http; the rest is in app.d.lua.

---@class http_opts
---@field max_body integer|string|nil bytes that the body may have, as 65536 or "4M"; 32M at most; default 1M
---@field data_type data_type|nil what `req.data` is, and of a codec what is answered; default "json", and a table for forms
---@field cors boolean|string|string[]|http_cors|nil which pages of other origins may ask: true for all, or origins like "https://example.com"; default none
---@field schema listen_schema|nil of what it takes (`req.data`) and returns
---@field rate rate_opts|number|false|nil how many requests it takes: 429 for those that are too many; a number: so many a second
---@field bulkhead bulkhead_opts|integer|false|nil how many run at once: 503 for those that are too many
---@field breaker breaker_opts|boolean|nil answers 503 at once while its handler fails
---@field retry retry_opts|boolean|nil calls the handler again when it fails

---@class http_cors
---@field origins string|string[]|nil like "https://example.com"; default "*", all
---@field credentials boolean|nil pages may send cookies; needs a list of origins
---@field max_age number|nil seconds for which the browser need not ask again
---@field headers string[]|nil headers that pages may send; default those that they ask for
---@field expose string[]|nil headers of the answer that pages may read

---What a handler gets. It is a table of its own for each request.
---@class http_incoming
---@field method string "GET", "POST", ...; HEAD is answered by the route of GET
---@field path string as it was sent, without the query
---@field params table<string, string> by name what `:name` of the path stands for, decoded; `*` is what the star stands for
---@field query table<string, string> the first value of each name, decoded
---@field query_string string what follows the `?`, as it was sent
---@field headers table<string, string> by name in any case; several of a name are one, with ", " between them
---@field cookies table<string, string>
---@field body string
---@field data any the body as JSON, whatever its type is said to be; of a form a table of strings and http_file; nil without body
---@field remote string the address of the client, or of the proxy before it
local request = {}

---A file of a form.
---@class http_file
---@field filename string as the client says it: not a path to write to
---@field type string|nil
---@field body string

---All values of a name in the query, in their order.
---@param name string
---@return string[]
function request:query_all(name) end

---Adds a header to the answer, whatever comes of the handler.
---@param name string
---@param value string|number|(string|number)[]
function request:set_header(name, value) end

---@class http_cookie_opts
---@field max_age number|nil seconds; default: until the browser is closed; 0 removes it
---@field path string|nil default "/"
---@field domain string|nil default: this host only
---@field secure boolean|nil over TLS only
---@field http_only boolean|nil scripts of the page do not see it; default true
---@field same_site "lax"|"strict"|"none"|nil whether other sites may make the browser send it; default "lax"

---Adds a cookie to the answer.
---@param name string
---@param value string
---@param opts http_cookie_opts|nil
function request:set_cookie(name, value, opts) end

---@class http_route
local route = {}

---No further requests; those that run go on.
function route:stop() end

---What is returned is the answer, as it is of listeners: a value as JSON, a string as text, nil as
---204, nil and an error as one with its code; or app.http.response().
---@alias http_handler fun(req: http_incoming): any, any

---Declares what a path is answered with. `:name` in it stands for one part, `*` at its end for all
---the rest. The path that says the most is met, in whatever order they are declared.
---@param path string
---@param opts http_opts
---@param fn http_handler
---@return http_route
---@overload fun(path: string, fn: http_handler): http_route
function app.http.get(path, opts, fn) end

---@param path string
---@param opts http_opts
---@param fn http_handler
---@return http_route
---@overload fun(path: string, fn: http_handler): http_route
function app.http.post(path, opts, fn) end

---@param path string
---@param opts http_opts
---@param fn http_handler
---@return http_route
---@overload fun(path: string, fn: http_handler): http_route
function app.http.put(path, opts, fn) end

---@param path string
---@param opts http_opts
---@param fn http_handler
---@return http_route
---@overload fun(path: string, fn: http_handler): http_route
function app.http.patch(path, opts, fn) end

---@param path string
---@param opts http_opts
---@param fn http_handler
---@return http_route
---@overload fun(path: string, fn: http_handler): http_route
function app.http.delete(path, opts, fn) end

---All methods that have no route of their own.
---@param path string
---@param opts http_opts
---@param fn http_handler
---@return http_route
---@overload fun(path: string, fn: http_handler): http_route
function app.http.any(path, opts, fn) end

---@class http_response_fields
---@field status integer|nil 200 to 599; default 200, and 204 without body
---@field headers headers|nil
---@field body message
---@field stream fun(write: fun(bytes: string): true|nil, err|nil)|nil instead of a body: sends it piece by piece

---An answer with a status and headers of its own. `stream` is called with a function that sends
---bytes, and waits while the client reads more slowly than that; it returns nil and an error when
---the client has gone (`closed`), or there is no memory for what it has not read (`no_memory`).
---What `stream` raises breaks the answer off.
---@param fields http_response_fields
---@return table response to return from a handler
function app.http.response(fields) end

---@class http_events_opts
---@field heartbeat number|nil seconds after which a comment shows that the stream is alive; default 15
---@field cors boolean|string|string[]|http_cors|nil as of the other routes

---@class http_event_opts
---@field event string|nil its type; default "message"
---@field id string|number|nil what the browser tells as the header Last-Event-ID when it comes again
---@field retry number|nil seconds after which the browser comes again

---Server-sent events, for `EventSource` of browsers. The stream ends when fn returns, and with the
---version of the script; browsers come again then. `send` returns nil and an error when the client
---has gone.
---@param path string
---@param opts http_events_opts
---@param fn fun(send: (fun(data: message, opts: http_event_opts|nil): true|nil, err|nil), req: http_incoming)
---@return http_route
---@overload fun(path: string, fn: fun(send: function, req: http_incoming)): http_route
function app.http.events(path, opts, fn) end

---@class http_files_opts
---@field index string|nil file that stands for its folder; default "index.html"
---@field max_age number|nil seconds for which browsers need not ask again; default: they ask each time
---@field cors boolean|string|string[]|http_cors|nil as of the other routes

---Serves the files of a folder and of those below it, but no hidden ones, and nothing that a link
---leads to elsewhere.
---@param path string below which they are
---@param folder string relative to that of the script
---@param opts http_files_opts|nil
---@return http_route
function app.http.files(path, folder, opts) end
