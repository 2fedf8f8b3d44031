/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: what scripts declare. How they get their messages is in intake.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/service/identity.h"
#include "host/service/internal.h"
#include "host/service/keys.h"

#define CONCURRENCY 256

/* ---- life ---- */

void listener_free(struct listener *listener) {
    if (listener->holder != NULL)
        *listener->holder = NULL;
    keys_close(listener);
    if (listener->endpoint != NULL)
        intake_remove(listener);
    script_remove_resource(&listener->resource);
    lua_State *L = script_lua(listener->script); /* clears fields that exist: cannot raise */
    luaL_unref(L, LUA_REGISTRYINDEX, listener->options.handler);
    luaL_unref(L, LUA_REGISTRYINDEX, listener->options.anchor);
    luaL_unref(L, LUA_REGISTRYINDEX, listener->options.codec);
    luaL_unref(L, LUA_REGISTRYINDEX, listener->options.key);
    luaL_unref(L, LUA_REGISTRYINDEX, listener->options.keyless);
    free((char *)(uintptr_t)listener->options.subject);
    free((char *)(uintptr_t)listener->options.queue);
    free((char *)(uintptr_t)listener->options.name);
    free((char *)(uintptr_t)listener->options.where);
    free((char *)(uintptr_t)listener->options.metadata);
    free(listener->endpoint_name);
    free(listener->span_label);
    free(listener);
}

/* No fiber of the script lives any more, so no handler runs. */
static void on_script_close(struct script_resource *resource) {
    struct listener *listener = container_of(resource, struct listener, resource);
    subscription_leave(listener);
    listener->gone = false;
    listener_free(listener);
}

static char *copy(const char *text) {
    return text != NULL ? strdup(text) : NULL;
}

/* Owned copies in the place of borrowed strings. */
static bool copy_strings(struct listener_options *options) {
    const struct listener_options from = *options;
    options->subject = copy(from.subject);
    options->queue = copy(from.queue);
    options->name = copy(from.name != NULL ? from.name : from.subject);
    options->where = copy(from.where);
    options->metadata = copy(from.metadata);
    return options->subject != NULL && options->name != NULL &&
           (options->queue != NULL || from.queue == NULL) &&
           (options->where != NULL || from.where == NULL) &&
           (options->metadata != NULL || from.metadata == NULL);
}

/* Whether this is the name of another listener of the same script. */
static bool named(const struct listener *listener, const char *name) {
    struct listener *at = NULL;
    while ((at = listener_next(listener->intake, listener->script, at)) != NULL)
        if (at != listener && strcmp(at->endpoint_name, name) == 0)
            return true;
    return false;
}

/* "orders", or "orders_2", ... when that is taken. */
static char *endpoint_name(const struct listener *listener) {
    char *base = identity_endpoint_name(listener->options.name), *name = NULL;
    if (base == NULL || !named(listener, base))
        return base;
    for (unsigned number = 2; name == NULL || named(listener, name); number++) {
        free(name);
        if (asprintf(&name, "%s_%u", base, number) < 0) {
            name = NULL;
            break;
        }
    }
    free(base);
    return name;
}

int listener_open(struct listener **out, struct intake *intake, struct script *script,
                  const struct listener_options *options) {
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return LN_ENOMEM;
    listener->intake = intake;
    listener->script = script;
    listener->options = *options;
    if (options->concurrency == 0)
        listener->options.concurrency = CONCURRENCY;
    if (!copy_strings(&listener->options) ||
        (listener->endpoint_name = endpoint_name(listener)) == NULL ||
        (options->key_source.kind != MESSAGE_KEY_NONE && keys_open(listener) < 0) ||
        intake_add(intake, listener) < 0) {
        listener_free(listener);
        return LN_ENOMEM;
    }
    listener->resource.close = on_script_close;
    script_add_resource(script, &listener->resource);
    fibers_add_role(script_fibers(script), &job_role);
    listener->holder = out;
    *out = listener;
    return LN_OK;
}

void listener_let_go(struct listener *listener) {
    listener->holder = NULL;
}

void listener_retire(struct listener *listener) {
    listener->gone = true;
    listener_free_if_idle(listener);
}

void listener_free_if_idle(struct listener *listener) {
    if (listener->gone && listener->running == 0 &&
        (listener->keys == NULL || !keys_waiting(listener->keys)))
        listener_free(listener);
}

void listener_stop(struct listener *listener, uint32_t timeout_ms) {
    if (listener->gone)
        return;
    if (listener->holder != NULL)
        *listener->holder = NULL;
    listener->holder = NULL;
    if (subscription_stop(listener, timeout_ms))
        listener_retire(listener);
}

/* ---- looking ---- */

const struct listener_options *listener_options(const struct listener *listener) {
    return &listener->options;
}

const struct endpoint *listener_endpoint(const struct listener *listener) {
    return listener->endpoint;
}

const char *listener_endpoint_name(const struct listener *listener) {
    return listener->endpoint_name;
}

void listener_get_stats(const struct listener *listener, struct listener_stats *out) {
    struct link_sub_stats queue;
    subscription_get_stats(listener->subscription, &queue);
    *out = (struct listener_stats){
        .received = listener->endpoint->requests + listener->running,
        .failed = listener->endpoint->errors,
        .running = listener->running,
        .queued = queue.waiting,
        .queued_bytes = queue.bytes,
        .dropped = queue.dropped,
    };
    if (listener->keys == NULL)
        return;
    uint64_t dropped;
    keys_get_stats(listener->keys, &out->keys, &dropped);
    out->keyed = true;
    out->queued += out->keys.waiting;
    out->queued_bytes += out->keys.bytes;
    out->dropped += dropped;
}
