/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "host/base/log.h"
#include "host/base/strings.h"
#include "host/script/collector.h"
#include "host/script/memory.h"
#include "host/script/modules.h"
#include "host/script/pool.h"
#include "host/script/tell.h"
#include "host/script/trace.h"
#include "host/script/warnings.h"
#include "host/script/watchdog.h"

/* What a script that is at its limit may need to be replaced: app.state as a text. */
#define EXCHANGE_RESERVE ((size_t)256 * 1024 * 1024)

struct script {
    lua_State *L;
    struct pool *pool;
    struct memory memory;
    uv_loop_t *loop;
    struct scheduler *scheduler;
    struct fibers *fibers;
    struct collector *collector;
    struct clock *clock;
    struct script_options options; /* strings are borrowed while loading only */
    char *path;
    int phase[SCRIPT_PHASES]; /* registry references */
    int main;                 /* of an as_fiber script: the loaded chunk */
    int kept;                 /* of the bindings */
    const void *kept_at;      /* lua_topointer() of it */
    enum script_state state;
    struct script_about about;
    struct strings about_strings; /* owned; what `about` points at */
    char **files;                 /* owned */
    size_t file_count;
    struct warnings warnings;
    bool follows; /* another version, by a reload */
    bool declares, returns;
    struct resources resources;
    bool exiting;                                      /* os.exit() was called */
    void (*on_failure)(void *owner, const char *text); /* see script_watch_errors() */
    void *failure_owner;
};

/* ---- loading ---- */

static int with_traceback(lua_State *L) {
    const char *message = error_text(L, 1);
    lua_Debug caller;
    if (!lua_getstack(L, 2, &caller)) /* no Lua code has run: the text says where */
        return 1;
    push_traceback(L, L, message, 1);
    return 1;
}

static void set_arguments(lua_State *L, const struct script_options *options) {
    lua_createtable(L, options->argc, 1);
    lua_pushstring(L, options->path);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < options->argc; i++) {
        lua_pushstring(L, options->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
}

/* What Lua leaves out of a file, it does not leave out of a text: the byte order mark, and a
 * first line that is for the shell. Its end stays, for the numbers of lines. */
static const char *skip_prologue(const char *text, size_t *len) {
    const char *end = text + *len;
    if (*len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    if (text < end && *text == '#') {
        text = memchr(text, '\n', (size_t)(end - text));
        text = text != NULL ? text : end;
    }
    *len = (size_t)(end - text);
    return text;
}

static void load_chunk(lua_State *L, const struct script_options *options) {
    int rc;
    if (options->source != NULL) {
        size_t len = options->source_len;
        const char *text = skip_prologue(options->source, &len);
        const char *name = lua_pushfstring(L, "@%s", options->path);
        rc = luaL_loadbufferx(L, text, len, name, "t");
        lua_remove(L, -2);
    } else {
        rc = luaL_loadfilex(L, options->path, "t");
    }
    if (rc != LUA_OK)
        lua_error(L); /* two colours: this runs in the protected call of script_open() */
}

static void run_prelude(lua_State *L, const char *prelude) {
    if (luaL_loadbuffer(L, prelude, strlen(prelude), "=prelude") != LUA_OK)
        lua_error(L); /* protected, as the rest of load() */
    lua_call(L, 0, 0);
}

/* Protected body of script_open(): libraries, bindings, then the chunk itself. */
static int load(lua_State *L) {
    struct script *script = lua_touserdata(L, 1);
    const struct script_options *options = &script->options;
    script_add_file(script, options->path);
    luaL_openlibs(L);
    modules_set_path(L, options->path);
    set_arguments(L, options);
    lua_pushcfunction(L, options->open);
    lua_call(L, 0, 0);
    if (options->prelude != NULL)
        run_prelude(L, options->prelude);
    if (options->safe_libs)
        run_prelude(L, "require('lunats.safe')()");
    if (options->saved != NULL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, script->phase[SCRIPT_RESTORE]);
        lua_pushlstring(L, options->saved, options->saved_len);
        lua_call(L, 1, 0);
    }
    load_chunk(L, options);
    luaL_checkstack(L, options->argc + 1, "arguments of the script"); /* protected */
    if (options->as_fiber) {
        script->main = luaL_ref(L, LUA_REGISTRYINDEX);
        return 0;
    }
    for (int i = 0; i < options->argc; i++)
        lua_pushstring(L, options->argv[i]);
    lua_call(L, options->argc, 1);
    script->returns = !lua_isnil(L, -1);
    return 0;
}

static void on_fiber_error(void *owner, const char *text) {
    script_report(owner, text);
}

/* Lua of the script that runs in no fiber. */
static void enter(struct script *script, struct watchdog_outer *outer, const char *what) {
    watchdog_enter(scheduler_watchdog(script->scheduler), outer, script->L,
                   script->options.limits.start_ms, what);
}

static void leave(struct script *script, const struct watchdog_outer *outer) {
    watchdog_leave(scheduler_watchdog(script->scheduler), outer);
}

static void set_slices(struct script *script) {
    if (script->fibers == NULL) /* a finalizer, at the end */
        return;
    fibers_set_slices(script->fibers, script->options.limits.slice_ms,
                      script->options.limits.start_ms);
}

/* Only out of memory outside of every protected call gets here; there is no way on. */
static int on_panic(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    log_error(NULL, "Lua panic: %s", text ? text : "(no message)");
    return 0; /* abort() */
}

/* Message of an error that with_traceback() has not seen. */
static int alone(lua_State *L) {
    error_alone(L, 1);
    return 1;
}

/* The text of what loading has raised; borrowed from the stack. */
static const char *load_error(struct script *script, int rc) {
    lua_State *L = script->L;
    if (rc == LUA_ERRMEM) {
        size_t before = memory_enter(&script->memory, MEMORY_RESERVE);
        lua_pushcfunction(L, alone);
        lua_insert(L, -2);
        lua_pcall(L, 1, 1, 0);
        memory_leave(&script->memory, before);
    }
    const char *text = lua_tostring(L, -1);
    return text != NULL ? text : "out of memory";
}

static int open_state(struct script *script, struct scheduler *scheduler) {
    script->pool = pool_open(&script->memory);
    if (script->pool == NULL)
        return LN_ENOMEM;
    script->L = lua_newstate(pool_alloc, script->pool);
    if (script->L == NULL)
        return LN_ENOMEM;
    lua_atpanic(script->L, on_panic);
    lua_setwarnf(script->L, warnings_take, &script->warnings);
    *(struct script **)lua_getextraspace(script->L) = script;
    int rc = fibers_open(&script->fibers, script->L, scheduler, script->clock, on_fiber_error,
                         script);
    if (rc == LN_OK)
        rc = collector_open(&script->collector, script->loop, scheduler, script->fibers,
                            script->L, script->pool);
    if (rc < 0)
        return rc;
    lua_State *L = script->L;
    struct watchdog_outer outer;
    set_slices(script);
    memory_watch(&script->memory, L, script->pool, script->fibers);
    memory_limit(&script->memory, script->options.limits.memory, "--memory");
    fibers_set_memory(script->fibers, &script->memory);
    lua_pushcfunction(L, with_traceback);
    lua_pushcfunction(L, load);
    lua_pushlightuserdata(L, script);
    enter(script, &outer, "the top level");
    rc = lua_pcall(L, 1, 0, 1);
    leave(script, &outer);
    if (rc != LUA_OK && !script->exiting) { /* os.exit() ends the chunk with an error */
        script_report(script, load_error(script, rc));
        lua_settop(L, 0);
        return LN_ESCRIPT;
    }
    lua_settop(L, 0);
    return LN_OK;
}

int script_open(struct script **out, uv_loop_t *loop, struct scheduler *scheduler,
                const struct script_options *options) {
    struct script *script = calloc(1, sizeof(*script));
    if (script == NULL)
        return LN_ENOMEM;
    script->loop = loop;
    script->scheduler = scheduler;
    script->options = *options;
    script->main = LUA_NOREF;
    script->follows = options->saved != NULL;
    for (int i = 0; i < SCRIPT_PHASES; i++)
        script->phase[i] = LUA_NOREF;
    script->about = (struct script_about){.version = "0.0.0", .description = ""};
    script->path = strdup(options->path);
    int rc = script->path == NULL ? LN_ENOMEM
                                  : clock_open(&script->clock, loop, options->manual_clock);
    struct clock *real = options->real_clock != NULL ? options->real_clock : script->clock;
    warnings_open(&script->warnings, real, options->on_warning, options->owner);
    const struct memory_events events = {
        options->other_memory, options->as_fiber ? NULL : options->on_warning, options->owner};
    memory_open(&script->memory, real, &events);
    if (rc == LN_OK)
        rc = open_state(script, scheduler);
    if (rc < 0) {
        script_close(script);
        return rc;
    }
    script->options.path = script->path;
    script->options.source = script->options.saved = NULL;
    script->state = SCRIPT_STARTING;
    *out = script;
    return LN_OK;
}

/* ---- running ---- */

static int main_done(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int main_body(lua_State *L) {
    struct script *script = script_of(L);
    const struct script_options *options = &script->options;
    luaL_checkstack(L, options->argc + 1, "arguments of the script"); /* protected */
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->main);
    for (int i = 0; i < options->argc; i++)
        lua_pushstring(L, options->argv[i]);
    lua_callk(L, options->argc, 0, 0, main_done);
    return 0;
}

int script_run_main(struct script *script, fiber_end_fn on_end, void *arg) {
    return fiber_spawn(script->fibers, FIBER_PHASE, main_body, arg, on_end);
}

void script_set_phase(struct script *script, lua_State *L, enum script_phase phase) {
    luaL_unref(L, LUA_REGISTRYINDEX, script->phase[phase]);
    script->phase[phase] = LUA_NOREF;
    script->phase[phase] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int no_phase(lua_State *L) {
    (void)L;
    return 0;
}

int script_run_phase(struct script *script, enum script_phase phase, fiber_end_fn on_end,
                     void *arg) {
    lua_State *L = script->L;
    if (script->phase[phase] == LUA_NOREF)
        lua_pushcfunction(L, no_phase);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, script->phase[phase]);
    return fiber_start(script->fibers, FIBER_PHASE, L, 0, on_end, arg, NULL);
}

/* What script_exchange() and its protected body tell each other. */
struct exchange {
    struct script *script;
    enum script_phase phase;
    const char *in;
    size_t in_len;
};

static int exchange_body(lua_State *L) {
    const struct exchange *exchange = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->script->phase[exchange->phase]);
    if (exchange->in != NULL)
        lua_pushlstring(L, exchange->in, exchange->in_len);
    else
        lua_pushnil(L);
    lua_call(L, 1, 1);
    return 1;
}

int script_exchange(struct script *script, enum script_phase phase, const char *in,
                    size_t in_len, char **out, size_t *out_len) {
    lua_State *L = script->L;
    struct exchange exchange = {.script = script, .phase = phase, .in = in, .in_len = in_len};
    struct watchdog_outer outer;
    lua_pushcfunction(L, exchange_body);
    lua_pushlightuserdata(L, &exchange);
    size_t before = memory_enter(&script->memory, EXCHANGE_RESERVE);
    enter(script, &outer, "app.state");
    int rc = lua_pcall(L, 1, 1, 0);
    leave(script, &outer);
    memory_leave(&script->memory, before);
    size_t len = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    *out = text != NULL ? malloc(len + 1) : NULL;
    *out_len = len;
    if (*out != NULL)
        memcpy(*out, text, len + 1);
    lua_pop(L, 1);
    if (text != NULL && *out == NULL)
        return LN_ENOMEM;
    return rc == LUA_OK ? LN_OK : LN_ESCRIPT;
}

enum script_state script_state(const struct script *script) {
    return script->state;
}

void script_set_state(struct script *script, enum script_state state) {
    script->state = state;
}

void script_keep(struct script *script, lua_State *L) {
    script->kept_at = lua_topointer(L, -1);
    script->kept = luaL_ref(L, LUA_REGISTRYINDEX);
}

bool script_keeps(const struct script *script, const void *value) {
    return value == script->kept_at;
}

void script_push_kept(const struct script *script, lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->kept);
}

const struct script_about *script_about(const struct script *script) {
    return &script->about;
}

int script_set_about(struct script *script, const struct script_about *about) {
    struct script_about all = script->about;
    struct strings strings;
    if (about->version != NULL)
        all.version = about->version;
    if (about->description != NULL)
        all.description = about->description;
    if (about->metadata != NULL)
        all.metadata = about->metadata;
    all.hidden = about->hidden;
    const char **const fields[] = {&all.version, &all.description, &all.metadata};
    if (!strings_copy(&strings, fields, 3))
        return LN_ENOMEM;
    strings_free(&script->about_strings);
    script->about_strings = strings;
    script->about = all;
    return LN_OK;
}

const struct script_limits *script_limits(const struct script *script) {
    return &script->options.limits;
}

void script_lower_limits(struct script *script, const struct script_limits *given) {
    size_t before = script->options.limits.memory;
    limits_lower(&script->options.limits, given);
    set_slices(script);
    if (script->options.limits.memory != before)
        memory_limit(&script->memory, script->options.limits.memory, "limits.memory");
}

bool script_declares(const struct script *script) {
    return script->declares;
}

void script_set_declares(struct script *script) {
    script->declares = true;
}

bool script_returns(const struct script *script) {
    return script->returns;
}

int script_add_file(struct script *script, const char *path) {
    for (size_t i = 0; i < script->file_count; i++)
        if (strcmp(script->files[i], path) == 0)
            return LN_OK;
    char **files = realloc(script->files, (script->file_count + 1) * sizeof(*files));
    if (files == NULL)
        return LN_ENOMEM;
    script->files = files;
    files[script->file_count] = strdup(path);
    if (files[script->file_count] == NULL)
        return LN_ENOMEM;
    script->file_count++;
    if (script->options.on_file != NULL)
        script->options.on_file(script->options.owner, path);
    return LN_OK;
}

const char *const *script_files(const struct script *script, size_t *count) {
    *count = script->file_count;
    return (const char *const *)script->files;
}

lua_State *script_lua(const struct script *script) {
    return script->L;
}

struct fibers *script_fibers(const struct script *script) {
    return script->fibers;
}

struct memory *script_memory(struct script *script) {
    return &script->memory;
}

struct clock *script_clock(const struct script *script) {
    return script->clock;
}

struct service *script_service(const struct script *script) {
    return script->options.service;
}

struct scheduler *script_scheduler(const struct script *script) {
    return script->scheduler;
}

uv_loop_t *script_loop(const struct script *script) {
    return script->loop;
}

/* ---- resources ---- */

struct resources *script_resources(struct script *script) {
    return &script->resources;
}

void script_add_resource(struct script *script, struct script_resource *resource) {
    resources_add(&script->resources, resource);
}

void script_begin_resources(struct script *script) {
    resources_begin(&script->resources);
}

void script_drain_resources(struct script *script) {
    resources_drain(&script->resources);
}

/* ---- the end ---- */

bool script_can_save(struct script *script, char **why) {
    static const char check[] = "check";
    size_t len;
    return script_exchange(script, SCRIPT_SAVE, check, sizeof(check) - 1, why, &len) == LN_OK;
}

static void free_script(struct script *script) {
    if (script->clock != NULL)
        clock_close(script->clock);
    if (script->pool != NULL)
        pool_close(script->pool);
    for (size_t i = 0; i < script->file_count; i++)
        free(script->files[i]);
    free(script->files);
    free(script->path);
    strings_free(&script->about_strings);
    free(script);
}

/* Finalizers run, and the last block that is freed has the thread in which they do. */
struct closing {
    struct script *script;
    lua_Alloc alloc;
    void *ud;
    void *last; /* NULL: it has been freed */
    struct watchdog_outer outer;
};

static void *alloc_closing(void *ud, void *block, size_t old_size, size_t new_size) {
    struct closing *closing = ud;
    if (new_size == 0 && block != NULL && block == closing->last) {
        leave(closing->script, &closing->outer);
        closing->last = NULL;
    }
    return closing->alloc(closing->ud, block, old_size, new_size);
}

static void close_state(struct script *script) {
    lua_State *L = script->L;
    struct closing closing = {.script = script, .last = lua_getextraspace(L)};
    closing.alloc = lua_getallocf(L, &closing.ud);
    lua_setallocf(L, alloc_closing, &closing);
    enter(script, &closing.outer, "the end of the script");
    lua_close(L);
    script->L = NULL;
    if (closing.last != NULL)
        leave(script, &closing.outer);
}

void script_close(struct script *script) {
    collector_close(script->collector);
    if (script->fibers != NULL)
        fibers_close(script->fibers);
    script->fibers = NULL; /* finalizers run in lua_close() and may call anything */
    memory_last(&script->memory);
    resources_close(&script->resources);
    if (script->L != NULL)
        close_state(script);
    memory_close(&script->memory);
    warnings_close(&script->warnings);
    free_script(script);
}

/* ---- what it tells ---- */

void script_watch_errors(struct script *script, void (*fn)(void *owner, const char *text),
                         void *owner) {
    script->on_failure = fn;
    script->failure_owner = owner;
}

/* A version that has not taken over is spoken for by the one that serves, see script_tell(). */
static bool wants_to_know(const struct script *script) {
    bool alive = script->fibers != NULL && script->state != SCRIPT_LOADING;
    bool serves = !script->follows || script->state != SCRIPT_STARTING;
    return alive && serves && script->phase[SCRIPT_ERROR] != LUA_NOREF;
}

void script_tell(struct script *script, const struct script_error *error) {
    if (!wants_to_know(script) || fibers_quiet(script->fibers))
        return;
    struct script_error raised = *error;
    if (raised.L == NULL)
        raised.L = fibers_raised(script->fibers, &raised.value);
    struct watchdog_outer outer;
    scheduler_hold(script->scheduler); /* what it starts does not run in here */
    enter(script, &outer, "app.on_error");
    tell_error(script->L, script->phase[SCRIPT_ERROR], &raised);
    leave(script, &outer);
    scheduler_release(script->scheduler);
}

void script_report_error(struct script *script, const struct script_error *error) {
    const struct fiber *before = fiber_speak_of(fibers_speaker(script->fibers));
    if (script->on_failure != NULL)
        script->on_failure(script->failure_owner, error->text);
    if (script->options.on_error != NULL)
        script->options.on_error(script->options.owner, error);
    script_tell(script, error);
    fiber_speak_of(before);
}

void script_report(struct script *script, const char *text) {
    script_report_error(script, &(struct script_error){.text = text});
}

void script_exit(struct script *script, int status, const char *where) {
    script->exiting = true;
    if (script->options.on_exit != NULL)
        script->options.on_exit(script->options.owner, script, status, where);
}

bool script_exiting(const struct script *script) {
    return script->exiting;
}
