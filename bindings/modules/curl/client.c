/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP client: libcurl's multi interface, without threads of ours. It says which sockets it
 * wants to hear of, each of them a poll of the loop, and when it wants to be called; each event
 * runs it. Nothing of it is called from inside one of its callbacks: a timer that is due at
 * once does that.
 *
 * Where the library would wait for a thread that resolves a name, it is told not to
 * (CURLOPT_QUICK_EXIT).
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "host/base/list.h"
#include "host/base/module.h"
#include "host/base/status.h"
#include "host/http/client.h"

#define MAX_BODY ((size_t)64 << 10)
#define CONNECT_MS 5000L
#define IDLE_CONNECTIONS 16L

struct http_client {
    CURLM *multi;
    uv_loop_t *loop;
    uv_timer_t timer; /* when the library wants to run */
    CURL *spare;      /* for the next call; or NULL */
    struct list calls, sockets;
    int handles; /* polls and the timer, as long as they are not closed */
    bool closing;
    void (*on_closed)(void *owner);
    void *close_owner;
};

struct http_call {
    struct list_node node;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    char *body; /* of the answer, with a zero behind it */
    size_t len, max;
    void (*on_done)(void *owner, const struct http_reply *reply);
    void *owner;
};

/* A socket of the library. */
struct watched {
    uv_poll_t poll;
    struct list_node node;
    struct http_client *client;
    curl_socket_t fd;
};

/* ---- the end of a call ---- */

static void end_transfer(struct http_call *call) {
    if (call->easy == NULL)
        return;
    struct http_client *client = call->client;
    curl_multi_remove_handle(client->multi, call->easy);
    if (client->spare == NULL) {
        curl_easy_reset(call->easy);
        client->spare = call->easy;
    } else {
        curl_easy_cleanup(call->easy);
    }
    call->easy = NULL;
}

static void free_call(struct http_call *call) {
    list_remove(&call->node);
    end_transfer(call);
    curl_slist_free_all(call->headers);
    free(call->body);
    free(call);
}

static uint32_t retry_after(CURL *easy) {
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 3600 ? 3600000 : seconds > 0 ? (uint32_t)seconds * 1000 : 0;
}

static void finish(struct http_call *call, CURLcode code) {
    long status = 0;
    struct http_reply reply = {.body = call->body != NULL ? call->body : "", .len = call->len};
    if (code == CURLE_OK)
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    else
        reply.error = *call->error != '\0' ? call->error : curl_easy_strerror(code);
    reply.status = (int)status;
    reply.retry_after_ms = retry_after(call->easy);
    end_transfer(call); /* the owner may close the client */
    list_remove(&call->node);
    call->on_done(call->owner, &reply);
    free_call(call);
}

/* Tells of those that have ended, one by one, as the owner may start and cancel others. */
static void look(struct http_client *client) {
    int left;
    CURLMsg *message;
    while (!client->closing && (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct http_call *call;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        finish(call, code);
    }
}

/* ---- on the loop ---- */

static void run(struct http_client *client, curl_socket_t fd, int what) {
    int running;
    curl_multi_socket_action(client->multi, fd, what, &running);
    look(client);
}

static void on_time(uv_timer_t *timer) {
    run(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wish(CURLM *multi, long ms, void *owner) {
    (void)multi;
    struct http_client *client = owner;
    if (client->closing)
        return 0;
    if (ms < 0)
        uv_timer_stop(&client->timer);
    else
        uv_timer_start(&client->timer, on_time, (uint64_t)ms, 0);
    return 0;
}

static void on_event(uv_poll_t *poll, int status, int events) {
    const struct watched *watched = (struct watched *)poll;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
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
    int events =
        (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
    return uv_poll_start(&watched->poll, events, on_event) < 0 ? -1 : 0;
}

/* ---- calls ---- */

/* What is more than the owner wants is read and forgotten. */
static size_t on_body(char *bytes, size_t size, size_t count, void *owner) {
    struct http_call *call = owner;
    size_t len = size * count, room = call->max - call->len, kept = len < room ? len : room;
    char *body = realloc(call->body, call->len + kept + 1);
    if (body == NULL)
        return 0;
    memcpy(body + call->len, bytes, kept);
    call->body = body;
    call->len += kept;
    body[call->len] = '\0';
    return len;
}

static bool add_header(struct http_call *call, const char *name, const char *value) {
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    if (line == NULL)
        return false;
    /* An empty value would take a header of the library away. */
    strcpy(line, name);
    strcat(line, *value != '\0' ? ": " : ";");
    strcat(line, value);
    struct curl_slist *headers = curl_slist_append(call->headers, line);
    free(line);
    if (headers != NULL)
        call->headers = headers;
    return headers != NULL;
}

static bool add_headers(struct http_call *call, const struct http_ask *ask) {
    for (size_t i = 0; i < ask->header_count; i++)
        if (!add_header(call, ask->headers[i].name, ask->headers[i].value))
            return false;
    return add_header(call, "Expect", ""); /* a body is sent without asking first */
}

static void set_up(struct http_call *call, const struct http_ask *ask) {
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#endif
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ask->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "lunats/" LN_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    if (ask->tls_ca != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, ask->tls_ca);
    if (ask->tls_cert != NULL)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, ask->tls_cert);
    if (ask->tls_key != NULL)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, ask->tls_key);
    if (ask->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, ask->body);
    }
    if (strcmp(ask->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, ask->method);
}

static int call_send(struct http_call **out, struct http_client *client,
                     const struct http_ask *ask) {
    struct http_call *call = client->closing ? NULL : calloc(1, sizeof(*call));
    if (call == NULL)
        return client->closing ? LN_ECLOSED : LN_ENOMEM;
    call->client = client;
    call->max = ask->max_body != 0 ? ask->max_body : MAX_BODY;
    call->on_done = ask->on_done;
    call->owner = ask->owner;
    call->easy = client->spare != NULL ? client->spare : curl_easy_init();
    client->spare = NULL;
    CURLcode code =
        call->easy != NULL && add_headers(call, ask) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
    if (code == CURLE_OK) {
        set_up(call, ask);
        code = curl_easy_setopt(call->easy, CURLOPT_URL, ask->url);
    }
    if (code != CURLE_OK || curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
        free_call(call);
        return code == CURLE_OUT_OF_MEMORY ? LN_ENOMEM : LN_EINVAL;
    }
    list_push_back(&client->calls, &call->node);
    *out = call;
    return LN_OK;
}

/* ---- life ---- */

static int client_open(struct http_client **out, uv_loop_t *loop) {
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
    client->handles = 1;
    uv_timer_init(loop, &client->timer); /* cannot fail */
    uv_unref((uv_handle_t *)&client->timer);
    client->timer.data = client;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wish);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    *out = client;
    return LN_OK;
}

static void on_timer_closed(uv_handle_t *handle) {
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
        free_call(list_item(node, struct http_call, node));
    while ((node = list_first(&client->sockets)) != NULL)
        forget(list_item(node, struct watched, node));
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_easy_cleanup(client->spare);
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

static const struct http_client_api api = {
    .open = client_open,
    .send = call_send,
    .cancel = free_call,
    .close = client_close,
};

extern const struct module lunats_module;
MODULE_EXPORT const struct module lunats_module = {.version = MODULE_VERSION, .api = &api};
