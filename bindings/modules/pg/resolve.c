/* SPDX-License-Identifier: Apache-2.0 */
/* Names: libpq would block in the resolver, so it is given addresses. */
#include <stdlib.h>

#include "bindings/modules/pg/internal.h"

#define ADDRESSES 16

struct lookup {
    uv_getaddrinfo_t request;
    struct fiber *fiber; /* NULL: it has gone, and on_found() frees this */
    int status;
    struct addrinfo *found;
};

static void free_lookup(struct lookup *lookup) {
    uv_freeaddrinfo(lookup->found);
    free(lookup);
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct lookup *lookup = request->data;
    lookup->status = status;
    lookup->found = found;
    request->data = NULL; /* it is over */
    if (lookup->fiber != NULL)
        fiber_wake(lookup->fiber, LN_OK);
    else
        free_lookup(lookup);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct lookup *lookup = *(struct lookup **)area;
    lookup->fiber = NULL;
    if (lookup->request.data == NULL)
        free_lookup(lookup);
    else
        uv_cancel((uv_req_t *)&lookup->request);
}

static int take(const struct addrinfo *found, char texts[ADDRESSES][64]) {
    int count = 0;
    for (; found != NULL && count < ADDRESSES; found = found->ai_next)
        if (uv_ip_name(found->ai_addr, texts[count], sizeof(texts[0])) == 0)
            count++;
    return count;
}

static int resolved(lua_State *L, int yielded, lua_KContext context) {
    (void)yielded, (void)context;
    char texts[ADDRESSES][64];
    struct fiber *fiber = wait_resumed(L);
    int rc = fiber_wake_status(fiber), count = 0;
    struct lookup *lookup = *(struct lookup **)fiber_wait_area(fiber);
    if (rc == LN_OK && (rc = lookup->status) == 0)
        count = take(lookup->found, texts);
    fiber_end_wait(fiber);
    if (rc < 0 || count == 0)
        return push_failure(L, rc < 0 ? rc : UV_EAI_NONAME, lua_tostring(L, 1));
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, texts[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

int pg_resolve(lua_State *L) {
    const char *host = luaL_checkstring(L, 1);
    uint64_t ms = check_ms(L, 2);
    struct fiber *fiber = check_fiber(L, "lunats.pg");
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                          .ai_flags = AI_ADDRCONFIG};
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    lookup->request.data = lookup;
    int rc = uv_getaddrinfo(script_loop(script_of(L)), &lookup->request, on_found, host, NULL,
                            &hints);
    if (rc < 0) {
        free(lookup);
        return push_failure(L, rc, host);
    }
    lookup->fiber = fiber;
    struct lookup **area = fiber_begin_wait(fiber, abandon);
    *area = lookup;
    fiber_deadline(fiber, ms);
    return wait_yield(L, resolved);
}
