---@meta metrics
-- luacheck: globals app
---What a script counts: `app.metrics`. See docs/operations.md.

---What a script counts, for /metrics of the admin port. The numbers go on over reloads. Each set
---of label values is a series of its own: 1,000 for each metric, more are not counted, with a
---warning. The label `service` is added.
---@class metrics
app.metrics = {}

---@class metric_opts
---@field name string letters, digits and `_`; in the units of Prometheus (seconds, bytes); not `lunats_...`
---@field help string a sentence
---@field labels string[]|nil names of labels, 8 at most

---@class histogram_opts: metric_opts
---@field buckets number[]|nil upper bounds, rising; default 0.005 to 10, for seconds

---@alias label_values table<string, string|number|boolean>

---@class metric_counter
local metric_counter = {}

---Adds to the counter. Also inc(labels).
---@param n number|nil default 1, not negative
---@param labels label_values|nil
function metric_counter:inc(n, labels) end

---@class metric_gauge
local metric_gauge = {}

---Sets the gauge.
---@param value number
---@param labels label_values|nil
function metric_gauge:set(value, labels) end

---Adds to the gauge. Also inc(labels).
---@param n number|nil default 1
---@param labels label_values|nil
function metric_gauge:inc(n, labels) end

---Takes away from the gauge. Also dec(labels).
---@param n number|nil default 1
---@param labels label_values|nil
function metric_gauge:dec(n, labels) end

---@class metric_histogram
local metric_histogram = {}

---Counts the value in its bucket.
---@param value number
---@param labels label_values|nil
function metric_histogram:observe(value, labels) end

---A number that only rises. Its name ends in `_total`. Declared again with the same words it is
---the same counter.
---@param opts metric_opts
---@return metric_counter
function app.metrics.counter(opts) end

---A number that goes up and down.
---@param opts metric_opts
---@return metric_gauge
function app.metrics.gauge(opts) end

---How often values were within each bucket.
---@param opts histogram_opts
---@return metric_histogram
function app.metrics.histogram(opts) end
