/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module know of each other. */
#ifndef LUNATS_MODULE_CURL_INTERNAL_H
#define LUNATS_MODULE_CURL_INTERNAL_H

#include <stdbool.h>

#include <curl/curl.h>
#include <uv.h>

#include "host/base/list.h"
#include "host/http/client.h"

struct http_client {
    CURLM *multi;
    uv_loop_t *loop;
    uv_timer_t timer; /* when the library wants to run */
    uv_idle_t soon;   /* and when that is at once */
    CURL *spare;      /* for the next call; or NULL */
    const char
        *bundle; /* file of the authorities that the system trusts; NULL: there is none */
    struct list calls, sockets;
    struct list news; /* calls whose sink has got something */
    int handles;      /* polls, the timer and the idle one, as long as they are not closed */
    bool closing;
    void (*on_closed)(void *owner);
    void *close_owner;
};

struct http_call {
    struct list_node node;
    struct list_node news;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    const struct http_sink *sink;
    bool headed;     /* all headers have come */
    bool stopped;    /* by the sink */
    size_t trailing; /* bytes of headers behind the body */
    char *body;      /* of the answer, with a zero behind it */
    size_t len, max;
    void (*on_done)(void *owner, const struct http_reply *reply);
    void *owner;
};

/* As in struct http_client_api. */
int call_send(struct http_call **out, struct http_client *client, const struct http_ask *ask);
void call_cancel(struct http_call *call);
bool call_resume(struct http_call *call);
const char *url_read(struct http_url *out, const char *base, const char *url);

/* The library is done with it; it is gone afterwards. */
void call_finish(struct http_call *call, CURLcode code);

#endif
