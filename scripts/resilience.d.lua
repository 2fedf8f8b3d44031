---@meta lunats.resilience
---The options retry, breaker, rate and bulkhead of app.request, app.listen and routes of app.http. Those of a request
---share their state by its subject, or by a name. See docs/resilience.md.

---@class request_guards
---@field breaker breaker_opts|boolean|nil fails at once where too many have failed; an empty list of replies is a failure
---@field rate rate_opts|number|boolean|nil so many within a second
---@field bulkhead bulkhead_opts|number|boolean|nil so many at once

---@class retry_opts
---@field name string|nil what shares the budget; default the subject
---@field attempts integer|nil with the first one, default 3
---@field delay number|nil seconds before the second attempt, default 0.1; twice as long before each further one
---@field max_delay number|nil the longest delay, default 2
---@field jitter number|nil the part of the delay that is left to chance, 0 to 1, default 0.5
---@field budget number|false|nil retries for each request, default 0.2
---@field on (string|integer)[]|(fun(err: any): boolean)|nil codes and statuses; default: `no_responders`, and errors with `retry_after`

---@class breaker_opts
---@field name string|nil what shares it; default the subject
---@field failure_rate number|nil default 0.5
---@field min_calls integer|nil default 20
---@field window number|nil seconds, default 30
---@field open number|nil seconds, default 5
---@field trials integer|nil calls that have to succeed before it closes, default 3
---@field on (string|integer)[]|(fun(err: any): boolean)|nil what is a failure; default: `timeout`, `no_responders`, statuses of 500 and above

---@class rate_opts
---@field name string|nil what shares it; default the subject
---@field limit number how many
---@field per number|nil within so many seconds, default 1
---@field burst number|nil at once, default `limit`
---@field wait number|nil seconds that a call may wait, default 0
---@field key (fun(msg: msg|http_incoming): any)|nil of listeners and routes: each value has a bucket of its own

---@class bulkhead_opts
---@field name string|nil what shares it; default the subject
---@field limit integer how many at once
---@field queue integer|nil how many may wait, default 0
---@field wait number|nil seconds that they may wait, default 10
