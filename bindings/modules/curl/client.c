/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP client: libcurl's multi interface, without threads of ours. It says which sockets it
 * wants to hear of, each of them a poll of the loop, and when it wants to be called; each event
 * runs it. Nothing of it is called from inside one of its callbacks: an idle handle does that
 * where it wants to run at once, as libuv before 1.45 looks at nothing else while a timer of
 * 0 ms starts itself again.
 *
 * Where the library would wait for a thread that resolves a name, it is told not to
 * (CURLOPT_QUICK_EXIT).
 */
#include <stdlib.h>

#include "bindings/modules/curl/internal.h"
#include "host/base/module.h"
#include "host/base/status.h"

/* Of all calls of a client, and of those to one server; what is more waits. */
#define CONNECTIONS 256L
#define SERVER_CONNECTIONS 128L
#define IDLE_CONNECTIONS 64L

/* A socket of the library. */
struct watched {
    uv_poll_t poll;
    struct list_node node;
    struct http_client *client;
    curl_socket_t fd;
    int events; /* that the library wants to hear of */
};

/* ---- on the loop ---- */

/* Owners may start and cancel any calls meanwhile, as below. */
static void tell_news(struct http_client *client) {
    struct list_node *node;
    while (!client->closing && (node = list_pop_front(&client->news)) != NULL) {
        struct http_call *call = list_item(node, struct http_call, news);
        call->sink->on_news(call->owner);
    }
}

/* Tells of those that have ended, one by one. */
static void look(struct http_client *client) {
    int left;
    CURLMsg *message;
    while (!client->closing && (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct http_call *call;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call_finish(call, code);
    }
}

static void run(struct http_client *client, curl_socket_t fd, int what) {
    int running;
    curl_multi_socket_action(client->multi, fd, what, &running);
    tell_news(client);
    look(client);
}

static void on_time(uv_timer_t *timer) {
    run(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_soon(uv_idle_t *soon) {
    uv_idle_stop(soon);
    run(soon->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wish(CURLM *multi, long ms, void *owner) {
    (void)multi;
    struct http_client *client = owner;
    if (client->closing)
        return 0;
    uv_timer_stop(&client->timer);
    uv_idle_stop(&client->soon);
    if (ms > 0)
        uv_timer_start(&client->timer, on_time, (uint64_t)ms, 0);
    else if (ms == 0)
        uv_idle_start(&client->soon, on_soon);
    return 0;
}

static void on_event(uv_poll_t *poll, int status, int events) {
    const struct watched *watched = (struct watched *)poll;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
    if (status <
        0) /* libuv has stopped the poll, and there may be more to read before the end */
        uv_poll_start(poll, watched->events, on_event);
    if (events & (UV_READABLE | UV_DISCONNECT))
        what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        what |= CURL_CSELECT_OUT;
    run(watched->client, watched->fd, what);
}

static void on_one_closed(struct http_client *client) {
    if (--client->handles > 0)
        return;
    client->on_closed(client->close_owner);
    free(client);
}

static void on_poll_closed(uv_handle_t *handle) {
    struct watched *watched = (struct watched *)handle;
    struct http_client *client = watched->client;
    free(watched);
    on_one_closed(client);
}

static void forget(struct watched *watched) {
    curl_multi_assign(watched->client->multi, watched->fd, NULL);
    list_remove(&watched->node);
    uv_close((uv_handle_t *)&watched->poll, on_poll_closed);
}

static struct watched *watch(struct http_client *client, curl_socket_t fd) {
    struct watched *watched = calloc(1, sizeof(*watched));
    if (watched == NULL || uv_poll_init_socket(client->loop, &watched->poll, fd) < 0) {
        free(watched);
        return NULL;
    }
    uv_unref((uv_handle_t *)&watched->poll);
    watched->client = client;
    watched->fd = fd;
    client->handles++;
    list_push_back(&client->sockets, &watched->node);
    curl_multi_assign(client->multi, fd, watched);
    return watched;
}

static int on_socket_wish(CURL *easy, curl_socket_t fd, int what, void *owner, void *socket) {
    (void)easy;
    struct http_client *client = owner;
    struct watched *watched = socket;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL)
            forget(watched);
        return 0;
    }
    if (watched == NULL)
        watched = watch(client, fd);
    if (watched == NULL)
        return -1;
    watched->events =
        (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
    return uv_poll_start(&watched->poll, watched->events, on_event) < 0 ? -1 : 0;
}

/* ---- life ---- */

static int client_open(struct http_client **out, uv_loop_t *loop) {
    const curl_version_info_data *about = curl_version_info(CURLVERSION_NOW);
    if ((about->features & CURL_VERSION_ASYNCHDNS) == 0)
        return UV_ENOSYS; /* the loop would wait for names */
    struct http_client *client = calloc(1, sizeof(*client));
    if (client == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(client);
        return LN_ENOMEM;
    }
    client->multi = curl_multi_init();
    if (client->multi == NULL) {
        free(client);
        curl_global_cleanup();
        return LN_ENOMEM;
    }
    client->loop = loop;
    client->bundle = about->age >= CURLVERSION_SEVENTH ? about->cainfo : NULL;
    client->handles = 2;
    uv_timer_init(loop, &client->timer); /* cannot fail */
    uv_idle_init(loop, &client->soon);
    uv_unref((uv_handle_t *)&client->timer);
    uv_unref((uv_handle_t *)&client->soon);
    client->timer.data = client->soon.data = client;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wish);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, SERVER_CONNECTIONS);
    *out = client;
    return LN_OK;
}

static void on_handle_closed(uv_handle_t *handle) {
    on_one_closed(handle->data);
}

/* Polls of sockets that the library still has are closed with them. */
static void client_close(struct http_client *client, void (*on_closed)(void *owner),
                         void *owner) {
    struct list_node *node;
    client->closing = true;
    client->on_closed = on_closed;
    client->close_owner = owner;
    while ((node = list_first(&client->calls)) != NULL)
        call_cancel(list_item(node, struct http_call, node));
    while ((node = list_first(&client->sockets)) != NULL)
        forget(list_item(node, struct watched, node));
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_easy_cleanup(client->spare);
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->soon, on_handle_closed);
}

static const struct http_client_api api = {
    .open = client_open,
    .send = call_send,
    .cancel = call_cancel,
    .resume = call_resume,
    .close = client_close,
    .read_url = url_read,
};

extern const struct module lunats_module;
MODULE_EXPORT const struct module lunats_module = {.version = MODULE_VERSION, .api = &api};
