/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics of scripts: app.metrics, and what scripts/ counts for the host. The numbers belong to
 * the service, so they go on over reloads; a script holds the meters that it has declared.
 */
#include <math.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/log.h"
#include "host/base/meter.h"
#include "host/service/vitals.h"

static const char *const classes[] = {"lunats.counter", "lunats.gauge", "lunats.histogram"};

struct meter_box {
    struct meter *meter; /* NULL: not declared yet */
    bool warned;         /* that it has too many series */
};

/* ---- declaring ---- */

/* The list of strings at `arg`, which the Lua side has checked. */
static size_t read_labels(lua_State *L, int arg, const char *out[METER_LABELS]) {
    size_t count = lua_rawlen(L, arg);
    luaL_argcheck(L, count <= METER_LABELS, arg, "too many labels");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, arg, (lua_Integer)i + 1);
        out[i] = luaL_checkstring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    return count;
}

static size_t read_bounds(lua_State *L, int arg, double out[METER_BOUNDS]) {
    size_t count = lua_rawlen(L, arg);
    luaL_argcheck(L, count <= METER_BOUNDS, arg, "too many buckets");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, arg, (lua_Integer)i + 1);
        out[i] = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    return count;
}

/*
 * core.meter("counter" | "gauge" | "histogram", name, help, labels, buckets) -> meter
 * Checked by the Lua side; the lists may be empty.
 */
static int core_meter(lua_State *L) {
    check_open(L);
    static const char *const types[] = {"counter", "gauge", "histogram", NULL};
    const char *labels[METER_LABELS];
    double bounds[METER_BOUNDS];
    struct meter_options options = {
        .type = (enum meter_type)luaL_checkoption(L, 1, NULL, types),
        .name = luaL_checkstring(L, 2),
        .help = luaL_checkstring(L, 3),
        .labels = labels,
        .bounds = bounds,
    };
    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_checktype(L, 5, LUA_TTABLE);
    options.label_count = read_labels(L, 4, labels);
    options.bound_count = read_bounds(L, 5, bounds);
    struct meter_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = (struct meter_box){0};
    luaL_setmetatable(L, classes[options.type]);
    struct service *service = script_service(script_of(L));
    box->meter = meter_open(&service_vitals(service)->meters, &options);
    return box->meter != NULL ? 1 : luaL_error(L, "out of memory");
}

/* Upvalue 1 is the name of the class. */
static int meter_gc(lua_State *L) {
    struct meter_box *box = luaL_checkudata(L, 1, lua_tostring(L, lua_upvalueindex(1)));
    if (box->meter != NULL)
        meter_close(box->meter);
    box->meter = NULL;
    return 0;
}

/* ---- counting ---- */

/* Finalizers see those that are gone at the end of the script, and whoever has called __gc. */
static const struct meter *check_here(lua_State *L, const struct meter_box *box) {
    if (box->meter == NULL)
        raise_error(L, "the metric is gone");
    return box->meter;
}

static struct meter_box *check_meter(lua_State *L, enum meter_type type) {
    struct meter_box *box = check_self(L, classes[type]);
    check_here(L, box);
    return box;
}

static int refuse(lua_State *L, const struct meter *meter, const char *what,
                  const char *label) {
    return raise_error(L, "metric %s: %s '%s'", meter->options.name, what, label);
}

/* The value of a label; it stays on the stack. Whatever runs meanwhile, a metamethod of the
 * labels or a finalizer, the metric is here afterwards. */
static const char *check_value(lua_State *L, int labels, const struct meter_box *box,
                               size_t i) {
    int type = lua_getfield(L, labels, check_here(L, box)->options.labels[i]);
    const char *value = type == LUA_TNUMBER || type == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    const struct meter *meter = check_here(L, box);
    const char *label = meter->options.labels[i];
    if (type == LUA_TNIL)
        refuse(L, meter, "no value for the label", label);
    if (type == LUA_TBOOLEAN)
        return lua_toboolean(L, -1) ? "true" : "false";
    if (value == NULL)
        refuse(L, meter, "a string, a number or a boolean expected for the label", label);
    return value;
}

static void check_no_other(lua_State *L, int labels, const struct meter *meter) {
    size_t left = meter->options.label_count;
    lua_pushnil(L);
    for (; lua_next(L, labels) != 0; lua_pop(L, 1)) {
        if (left-- > 0)
            continue;
        for (lua_pushnil(L); lua_next(L, labels) != 0; lua_pop(L, 1)) {
            bool known = false;
            const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
            for (size_t i = 0; i < meter->options.label_count; i++)
                known |= strcmp(name, meter->options.labels[i]) == 0;
            if (!known)
                refuse(L, meter, "it was declared without the label", name);
        }
    }
}

/* The series for the labels at `arg`; NULL: there are too many. */
static struct series *check_series(lua_State *L, struct meter_box *box, int arg) {
    const struct meter *meter = box->meter;
    const char *values[METER_LABELS];
    if (!lua_isnoneornil(L, arg)) {
        luaL_checktype(L, arg, LUA_TTABLE);
        lua_settop(L, arg);
        check_no_other(L, arg, meter);
    } else if (meter->options.label_count > 0) {
        refuse(L, meter, "no value for the label", meter->options.labels[0]);
    }
    for (size_t i = 0; i < meter->options.label_count; i++)
        values[i] = check_value(L, arg, box, i);
    struct series *series = meter_series(box->meter, values);
    if (series == NULL && !box->warned) {
        box->warned = true;
        log_warn(service_name(script_service(script_of(L))),
                 "metric %s: more than %d sets of labels; further ones are not counted",
                 meter->options.name, METER_SERIES);
    }
    return series;
}

static double check_amount(lua_State *L, const struct meter_box *box, int arg, bool negative) {
    double amount = luaL_checknumber(L, arg);
    /* Not a number, or an infinite one, would stay in the sum for ever. */
    if (!isfinite(amount) || (!negative && amount < 0))
        raise_error(L, "metric %s: %s cannot be counted", box->meter->options.name,
                    isnan(amount) ? "NaN" : luaL_tolstring(L, arg, NULL));
    return amount;
}

/* inc(): [n = 1,] [labels] */
static int add(lua_State *L, struct meter_box *box, double sign, bool negative) {
    int labels = lua_istable(L, 2) ? 2 : 3;
    double amount =
        lua_isnoneornil(L, 2) || labels == 2 ? 1 : check_amount(L, box, 2, negative);
    series_add(check_series(L, box, labels), sign * amount);
    return 0;
}

/* counter:inc([n = 1,] [labels]) */
static int counter_inc(lua_State *L) {
    return add(L, check_meter(L, METER_COUNTER), 1, false);
}

/* gauge:inc([n = 1,] [labels]) */
static int gauge_inc(lua_State *L) {
    return add(L, check_meter(L, METER_GAUGE), 1, true);
}

/* gauge:dec([n = 1,] [labels]) */
static int gauge_dec(lua_State *L) {
    return add(L, check_meter(L, METER_GAUGE), -1, true);
}

/* gauge:set(value, [labels]) */
static int gauge_set(lua_State *L) {
    struct meter_box *box = check_meter(L, METER_GAUGE);
    double value = luaL_checknumber(L, 2);
    struct series *series = check_series(L, box, 3);
    if (series != NULL)
        series->value = value;
    return 0;
}

/* histogram:observe(value, [labels]) */
static int histogram_observe(lua_State *L) {
    struct meter_box *box = check_meter(L, METER_HISTOGRAM);
    double value = check_amount(L, box, 2, true);
    series_observe(box->meter, check_series(L, box, 3), value);
    return 0;
}

static const luaL_Reg counter_methods[] = {{"inc", counter_inc}, {NULL, NULL}};

static const luaL_Reg gauge_methods[] = {
    {"set", gauge_set}, {"inc", gauge_inc}, {"dec", gauge_dec}, {NULL, NULL}};

static const luaL_Reg histogram_methods[] = {{"observe", histogram_observe}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"meter", core_meter},
    {NULL, NULL},
};

static void add_meter_class(lua_State *L, const char *class, const luaL_Reg *methods) {
    add_class(L, class, methods);
    luaL_getmetatable(L, class);
    lua_pushstring(L, class);
    lua_pushcclosure(L, meter_gc, 1);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void bindings_metrics(lua_State *L) {
    add_meter_class(L, classes[METER_COUNTER], counter_methods);
    add_meter_class(L, classes[METER_GAUGE], gauge_methods);
    add_meter_class(L, classes[METER_HISTOGRAM], histogram_methods);
    luaL_setfuncs(L, functions, 0);
}
