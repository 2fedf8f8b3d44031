/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every binding that works without a server, with memory that runs out: Lua gets 0, 1, 2, ...
 * allocations until the call succeeds. Each failure must be Lua's own error and leave the state
 * as good as before; what is leaked outside of Lua the sanitizer tells at the end.
 */
#include <stdlib.h>

#include <lauxlib.h>
#include <uv.h>

#include "bindings/lib/lib.h"
#include "bindings/open.h"
#include "host/cache/cache.h"
#include "host/script/pool.h"
#include "host/service/service.h"
#include "host/web/web.h"
#include "spec/unit/budget.h"
#include "spec/unit/test.h"

enum { PLENTY = 1 << 30 };

static struct budget budget;
static char failure[1024];

/* In the place of host/script/pool.c. */
struct pool *pool_open(struct memory *memory) {
    (void)memory;
    return (struct pool *)&budget;
}

size_t pool_held(const struct pool *pool) {
    (void)pool;
    return 0;
}

size_t pool_gaps(const struct pool *pool) {
    (void)pool;
    return 0;
}

bool pool_tidy(struct pool *pool) {
    (void)pool;
    return false;
}

void pool_expect_again(struct pool *pool) {
    (void)pool;
}

void pool_expect_nothing(struct pool *pool) {
    (void)pool;
}

struct memory *pool_memory_of(lua_State *L) {
    (void)L;
    return NULL;
}

void pool_close(struct pool *pool) {
    (void)pool;
}

void *pool_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
    return budget_alloc(ud, block, old_size, new_size);
}

/* allow(allocations): from here Lua gets so many, without an argument plenty */
static int allow(lua_State *L) {
    budget.allocations_left = (long)luaL_optinteger(L, 1, PLENTY);
    return 0;
}

static int open_bindings(lua_State *L) {
    bindings_open(L);
    lua_register(L, "allow", allow);
    return 0;
}

static void on_error(void *owner, const char *text) {
    (void)owner;
    if (strstr(text, "not enough memory") == NULL)
        snprintf(failure, sizeof(failure), "%s", text);
}

static void on_stopped(void *owner, struct service *service, int status) {
    (void)service;
    *(int *)owner = status;
}

/* Runs a chunk as `lunats lua` does, with `allocations` for loading it. */
static int run(const char *source, long allocations) {
    uv_loop_t loop;
    struct scheduler *scheduler;
    struct service *service;
    int status = -1;
    struct service_options options = {
        .path = "chunk.lua",
        .source = source,
        .source_len = strlen(source),
        .runner = true,
        .offline = true,
        .own_errors = true, /* on_error() says which ones count */
        .drain_timeout = 5,
        .open = open_bindings,
        .on_error = on_error,
        .on_stopped = on_stopped,
        .owner = &status,
    };
    failure[0] = '\0';
    uv_loop_init(&loop);
    clock_open(&options.clock, &loop, false);
    caches_open(&options.caches, &loop);
    web_open(&options.web, &(struct web_options){0});
    budget = (struct budget){.allocations_left = allocations};
    scheduler_open(&scheduler, NULL);
    int rc = service_open(&service, &loop, scheduler, &options);
    budget.allocations_left = PLENTY;
    if (rc == LN_OK) {
        service_start(service);
        while (status < 0)
            uv_run(&loop, UV_RUN_ONCE);
        rc = status;
    }
    web_close(options.web, 0, NULL, NULL);
    caches_close(options.caches);
    clock_close(options.clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_SOFT(uv_loop_close(&loop) == 0);
    scheduler_close(scheduler);
    CHECK_SOFT(budget.in_use == 0);
    return rc;
}

/* ---- the sweep ---- */

/*
 * Calls the function of a case with fewer allocations than it needs, until it has enough; the
 * call after that shows that nothing was left half-done.
 */
static const char driver[] =
    "local core = require 'lunats.core'\n"
    "local function is_memory(err) return tostring(err):find 'not enough memory' end\n"
    "local function refused(fn, ...)\n"
    "  local ok, err = pcall(fn, ...)\n"
    "  if is_memory(err) then error(err, 0) end\n"
    "  assert(not ok)\n"
    "end\n"
    "local function sweep(fn)\n"
    "  fn()\n"
    "  for allowed = 0, 100000 do\n"
    "    allow(allowed)\n"
    "    local ok, err = pcall(fn)\n"
    "    allow()\n"
    "    collectgarbage()\n" /* a finalizer that has no memory is not called again */
    "    if ok then fn() return end\n"
    "    if not is_memory(err) then\n"
    "      error(('with %d allocations: %s'):format(allowed, err), 0)\n"
    "    end\n"
    "  end\n"
    "  error('never enough', 0)\n"
    "end\n";

/* Each is the body of the function that is starved; what stands before "--" runs once. */
static const struct {
    const char *name, *source;
} cases[] = {
    {"app.json.encode",
     "assert(#app.json.encode { a = { 1, 2.5, 'x\\n', true }, [''] = {} } > 9)"},
    {"app.json.decode",
     "assert(app.json.decode '{\"a\":[1,2.5,\"x\\\\n\"],\"b\":{}}'.a[2] == 2.5)\n"
     "assert(not app.json.decode '[1,')"},
    {"core.folder", "assert(next(core.folder '/proc/self/task') and not core.folder '/none')"},
    {"core.sorted_json",
     "assert(core.sorted_json { b = 1, a = { 'c' } } == '{\"a\":[\"c\"],\"b\":1}')"},
    {"core.raised", "local _, caught = xpcall(error, core.raised, 'x')\n"
                    "local _, err = core.caught(caught)\n"
                    "if err ~= 'x' then error(err, 0) end"},
    {"core.fibers", "local list = core.fibers(5)\n"
                    "assert(type(list[1].thread) == 'thread')"},
    {"app.on_error", "app.on_error(function() end)"},
    {"app.log", "app.log.error('text', { a = 1, b = { 'c' } })"},
    {"app.config", "refused(app.config, { name = 'a b' })"},
    {"app.name", "assert(app.name .. app.version .. app.instance_id)"},
    {"app.now", "assert(app.now() > 0 and core.hrtime() > 0 and core.clock())"},
    {"app.sleep", "app.sleep(0)"},
    {"app.metrics", "local metrics = app.metrics --\n"
                    "local opts = { name = 'a_total', help = 'x', labels = { 'l' } }\n"
                    "metrics.counter(opts):inc { l = 1 }\n"
                    "metrics.gauge { name = 'b', help = 'x' }:set(2)\n"
                    "metrics.histogram { name = 'c', help = 'x' }:observe(3)\n"
                    "refused(metrics.gauge, { name = 'lunats_b', help = 'x' })"},
    {"app.cache", "local cache = app.cache('x') --\n"
                  "assert(app.cache('x', { ttl = 5, max_bytes = 1e5 }) == cache)\n"
                  "assert(cache:set('a', 'text', { ttl = 5 }) and cache:get('a') == 'text')\n"
                  "assert(cache:set(7, 2.5) and cache:incr(7, 1, { init = 1 }))\n"
                  "cache:add('b', true)\n"
                  "assert(#cache:keys() == 3 and cache:stats().entries == 3)\n"
                  "assert(not cache:set('c', ('x'):rep(50000)))\n"
                  "refused(cache.set, cache, 'a', {})\n"
                  "refused(app.cache, '')"},
    {"app.thread", "local r, err = app.thread('no_such', 'f', { 1, 'x' }, 2.5, false) --\n"
                   "assert(r == nil and err.code == 'thread_error', err.code)\n"
                   "refused(app.thread, 'no_such', 'f', print)\n"
                   "local t = app.thread.open('string') --\n"
                   "assert(t:call('rep', 'x', 3) == 'xxx' and t:close())"},
    {"app.http", "local http, n = app.http, 0 --\n"
                 "n = n + 1\n"
                 "local path = '/a' .. n .. '/:id'\n"
                 "http.get(path, { cors = true, max_body = '1K' }, print):stop()\n"
                 "http.files('/f' .. n, '/etc'):stop()\n"
                 "http.events('/e' .. n, print):stop()\n"
                 "http.response { headers = { a = { 1 } }, body = {} }\n"
                 "refused(http.get, 'a', print)"},
    {"app.health", "local health, n = app.health, 0 --\n"
                   "n = n + 1\n"
                   "health('x' .. n, { interval = 1000 }, function() return true end):stop()"},
    {"app.leader", "refused(app.leader, 'a b', print)\n"
                   "refused(app.leader, 'a', { ttl = 0 }, print)"},
    {"app.cron", "refused(app.cron, '61 * * * *', print)\n"
                 "refused(app.cron, '@daily', { zone = '../x' }, print)"},
    {"core.exact_clock", "assert(core.exact_clock() > 0)"},
    {"app.on_connection", "app.on_connection(function() end)"},
    {"app.spawn", "local done\n"
                  "app.spawn(function() app.sleep(0) done = true end)\n"
                  "for _ = 1, 3 do app.sleep(0) end"},
    {"f:await", "local f = app.spawn(function(...) app.sleep(0) return ... end, 1, 2)\n"
                "local a, b = f:await()\n"
                "if not a then error('not enough memory', 0) end\n"
                "assert(b == 2 and f:await(1) == 1)"},
    {"f:cancel", "local f = app.spawn(app.sleep, 1000)\n"
                 "assert(f:cancel())\n"
                 "local ok, err = f:await()\n"
                 "if err.code == 'error' then error('not enough memory', 0) end\n"
                 "assert(not ok and err.code == 'cancelled' and not f:cancel())"},
    {"app.timeout",
     "local ok, x = pcall(app.timeout, 1000, function(x) app.sleep(0) return x end, 1)\n"
     "if not ok then error('not enough memory', 0) end\n"
     "assert(x == 1)"},
    {"app.mutex", "local m = app.mutex()\n"
                  "assert(m:with(function(x) return x end, 1) == 1)\n"
                  "assert(m:lock() == m)\n"
                  "m:unlock()"},
    {"app.crypto", "local c = app.crypto\n"
                   "assert(#c.sha256 'a' == 64 and #c.hmac_sha256('k', 'a', 'base64') == 44)\n"
                   "assert(#c.random(2000) == 2000 and #c.uuid() == 36 and c.equal('', ''))\n"
                   "assert(c.base64_decode(c.base64_encode 'x') == 'x')"},
    {"coroutine",
     "local co = coroutine.create(function() app.sleep(0) coroutine.yield(1) end)\n"
     "local _, one = assert(coroutine.resume(co))\n"
     "assert(one == 1 and coroutine.status(co) == 'suspended')\n"
     "assert(coroutine.close(co) and coroutine.running())\n"
     "assert(coroutine.wrap(function() app.sleep(0) return 2 end)() == 2)"},
    {"core.alarm", "local alarm = core.alarm()\n"
                   "alarm:ring()\n"
                   "alarm:sleep(0.001)"},
    {"core.gate", "core.gate():open()"},
    {"app.timer", "app.timer(10, function() end):stop()"},
    {"app.task", "app.task(function() end):stop()"},
    {"app.listen", "refused(app.listen, 'a.*', function() end)"},
    {"core.listeners", "assert(#core.listeners() == 0)"},
    {"app.publish", "refused(app.publish, 'a', { b = 1 })"},
    {"app.request", "refused(app.request, 'a', { b = 1 })"},
    {"app.request_many", "refused(app.request_many, 'a', 'b')"},
    {"app.flush", "refused(app.flush)"},
    {"app.nats", "app.nats.status()\n"
                 "app.nats.stats()\n"
                 "app.nats.server_info()"},
    {"app.connect",
     "local other = app.connect { server = 'nats://127.0.0.1:1', retry = true }\n"
     "assert(other.publish('a', { b = 1 }) and other.nats.status() == 'connecting')\n"
     "other.listen('a.*', function() end):stop()\n"
     "other.close()\n"
     "refused(app.connect, { sever = 'x' })"},
    {"core.error", "local err = core.error('code', 'text')\n"
                   "assert('a' .. err == 'atext' and tostring(err) == 'text')"},
    {"core.check", "core.check('f', { a = 1 }, { a = 'number' })\n"
                   "refused(core.check, 'f', { aa = 1 }, { ab = 'number' })"},
    {"app.unknown", "local function wrong() app.lisen 'a' end\n"
                    "local ok, err = pcall(wrong)\n"
                    "if is_memory(err) then error(err, 0) end\n"
                    "assert(core.explained(err):find 'listen')"},
    {"data_type", "local codecs = require 'lunats.codec' --\n"
                  "local packed = codecs.encode(codecs.of 'msgpack', { 'a' })\n"
                  "local value, code, problem = codecs.read('msgpack', packed)\n"
                  "if code then error(problem, 0) end\n"
                  "assert(value[1] == 'a' and codecs.read('json', '[1]')[1] == 1)\n"
                  "value, code, problem = codecs.read('msgpack', '\\x91')\n"
                  "if is_memory(problem) then error(problem, 0) end\n"
                  "assert(code == 'bad_data')\n"
                  "refused(codecs.of, 'xml')"},
    {"core.check_subject", "core.check_subject 'a.b'\n"
                           "core.check_pattern 'a.>'\n"
                           "refused(core.check_subject, 'a b')\n"
                           "assert(core.js_name_ok 'a')"},
    {"core.module", "assert(core.module('lunats.js.errors', {})().NOT_AVAILABLE)"},
    {"core.sha256", "local digest = core.sha256()\n"
                    "digest:update 'abc'\n"
                    "digest:final()"},
    {"core.base64", "assert(core.base64_decode(core.base64 'abc') == 'abc')\n"
                    "assert(core.base64url_decode(core.base64url 'abc') == 'abc')"},
    {"core.nearest", "assert(core.nearest('tset', { 'test', 'x' }) == 'test')"},
    {"core.process", "local child = assert(core.process({ '/bin/echo', 'x' }, true))\n"
                     "local status, output = child:wait()\n"
                     "assert(status == 0 and output == 'x\\n')"},
    {"core.watch", "local watch = assert(core.watch())\n"
                   "watch:add('spec/unit', '.none')\n"
                   "watch:clear()\n"
                   "watch:close()"},
    {"core.is_below",
     "assert(core.is_below('spec', 'spec/unit') and not core.is_below('spec', '/'))"},
    {"core.load_service", "core.load_service('examples/hello.lua', {})"},
    {"core.broker", "refused(core.broker, { port = 'x' })"},
    {"app.js", "local js = app.js --\n"
               "refused(js.publish, 'a', 'b')\n"
               "refused(js.stream_info, 'S')"},
    {"lunats.testing", "local testing = require 'lunats.testing' --\n"
                       "testing.fake_js_msg({ data = 1 }):ack()\n"
                       "refused(testing.start, 'x = \\n')"},
};

static size_t current;

static void sweeps(void) {
    static char source[8192];
    const char *body = strstr(cases[current].source, "--\n");
    body = body != NULL ? body : cases[current].source;
    snprintf(source, sizeof(source), "%s%.*s\nsweep(function()\n%s\nend)", driver,
             (int)(body - cases[current].source), cases[current].source, body);
    int rc = run(source, PLENTY);
    if (rc != 0 || failure[0] != '\0')
        test_fail(__FILE__, __LINE__, "status %d: %s", rc, failure);
}

/* All functions with all kinds of arguments; prints its seed and what is wrong. One of its
 * hooks of app.on_stop may fail. */
static void wrong_calls_without_memory_do_no_harm(void) {
    int rc = run("dofile 'spec/support/torture.lua'", PLENTY);
    CHECK(rc == 0 || rc == 1);
}

/* Opening itself takes some ten thousand allocations: a sample of them fails. */
static void a_state_that_cannot_open_leaves_nothing(void) {
    int rc = LN_ENOMEM;
    for (long allowed = 0; rc != 0 && allowed < 1000000; allowed += 1 + allowed / 40) {
        rc = run("", allowed);
        CHECK(rc == 0 || rc == LN_ENOMEM || rc == LN_ESCRIPT);
    }
    CHECK_INT(rc, 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(a_state_that_cannot_open_leaves_nothing);
    RUN(wrong_calls_without_memory_do_no_harm);
    for (current = 0; current < sizeof(cases) / sizeof(cases[0]); current++)
        test_run(cases[current].name, sweeps);
    return test_end();
}
