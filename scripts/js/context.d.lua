---@meta lunats.js.context

---@class js
local js = {}

---JetStream of another domain (over a leaf node), or of another account whose API is imported
---under a prefix: a table with the functions of `app.js`. The same one again for the same domain
---or prefix. Messages that are published into the streams of the domain go by their own subjects,
---so a stream of the own domain with such a subject takes them as well; the acknowledgement of
---such a stream is an error with `err.ack`.
---@param opts { domain: string|nil, prefix: string|nil } one of them; prefix: subject of the API, `$JS.API` elsewhere
---@return js
function js.context(opts) end
