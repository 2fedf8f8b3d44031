/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request, from its first line until its answer has been read. The library calls
 * request_go_on() when the header is there, for each piece of the body, at the end of it, and
 * once more after a connection that waited for its answer goes on.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/modules/http/internal.h"
#include "host/base/container_of.h"

/* More than the limit is read and thrown away up to here, so that the client hears of it. */
#define OVERRUN ((size_t)1 << 20)

enum state {
    HEADER,  /* the first line is there */
    BODY,    /* the header is */
    WAITING, /* it is the owner's */
    ANSWERED,
};

struct request {
    struct http_request shown;
    struct connection *connection;
    char *target; /* owned; what path and query point into */
    char *body;   /* owned */
    size_t size;  /* of the body's memory */
    bool inside;  /* the owner is being told */
    enum state state;
    struct MHD_Response *response; /* owned; what to answer */
    size_t len;                    /* of its body */
    int status;
};

static struct request *request_of(const struct http_request *shown) {
    return (struct request *)(uintptr_t)shown;
}

bool request_is_dispatched(const struct request *request) {
    return request->state >= WAITING;
}

/* ---- the request line ---- */

static void free_request(struct request *request) {
    if (request->response != NULL)
        MHD_destroy_response(request->response);
    free(request->target);
    free(request->body);
    free(request);
}

static struct connection *connection_of(struct MHD_Connection *mhd) {
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void *request_begin(void *cls, const char *uri, struct MHD_Connection *mhd) {
    (void)cls;
    struct connection *connection = connection_of(mhd);
    struct request *request = calloc(1, sizeof(*request));
    char *target = strdup(uri);
    if (request == NULL || target == NULL || connection == NULL) {
        free(request);
        free(target);
        return NULL; /* request_go_on() closes the connection */
    }
    char *mark = strchr(target, '?');
    if (mark != NULL)
        *mark = '\0';
    request->target = target;
    request->shown.path = target;
    request->shown.query = mark != NULL ? mark + 1 : "";
    request->connection = connection;
    connection->request = request;
    return request;
}

/* ---- the answer ---- */

static struct MHD_Response *make_response(const struct http_response *from) {
    struct MHD_Response *response = MHD_create_response_from_buffer(
        from->len, from->body,
        from->body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        free(from->body);
        return NULL;
    }
    for (size_t i = 0; i < from->header_count; i++)
        MHD_add_response_header(response, from->headers[i].name, from->headers[i].value);
    return response;
}

void request_answer(struct http_request *shown, const struct http_response *from) {
    struct request *request = request_of(shown);
    request->response = make_response(from);
    request->len = from->len;
    request->status = from->status;
    request->state = ANSWERED;
    if (request->inside)
        return; /* request_go_on() goes on */
    MHD_resume_connection(request->connection->mhd);
    port_run_soon(request->connection->http);
}

void request_give_up(struct request *request) {
    static const struct http_header close_it = {"Connection", "close"};
    static const struct http_response unavailable = {503, &close_it, 1, NULL, 0};
    const struct http_options *options = &request->connection->http->options;
    if (request->state != WAITING)
        return;
    if (options->on_gone != NULL)
        options->on_gone(options->owner, &request->shown);
    request_answer(&request->shown, &unavailable);
}

/* Gives the library what the owner has answered; without memory the connection is closed. */
static enum MHD_Result queue(struct request *request, struct MHD_Connection *mhd) {
    if (request->response == NULL)
        return MHD_NO;
    if (request->connection->http->closing)
        MHD_add_response_header(request->response, "Connection", "close");
    connection_give(request->connection, request->connection->http->options.answer_ms);
    connection_answer(request->connection, request->len);
    return MHD_queue_response(mhd, (unsigned)request->status, request->response);
}

static enum MHD_Result refuse(struct request *request, struct MHD_Connection *mhd, int status) {
    struct http_response refusal = {.status = status};
    request->inside = true;
    request_answer(&request->shown, &refusal);
    return queue(request, mhd);
}

/* ---- header and body ---- */

static enum MHD_Result begin_body(struct request *request, struct MHD_Connection *mhd,
                                  const char *method) {
    const struct http_options *options = &request->connection->http->options;
    const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");
    request->shown.method = method;
    request->state = BODY;
    connection_give(request->connection, options->body_ms);
    /* What is a little too long is read and forgotten, unless the client waits to be told: one
     * that is still sending when the connection closes may not see the answer. */
    const char *expect = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Expect");
    size_t limit = options->max_body + (expect != NULL ? 0 : OVERRUN);
    if (length != NULL && strtoull(length, NULL, 10) > limit)
        return refuse(request, mhd, 413);
    return MHD_YES;
}

static enum MHD_Result add_body(struct request *request, const char *bytes, size_t len) {
    const struct http_options *options = &request->connection->http->options;
    size_t before = request->shown.body_len, whole = before + len;
    request->shown.body_len = whole;
    if (whole > options->max_body)
        return whole > options->max_body + OVERRUN ? MHD_NO : MHD_YES;
    if (whole + 1 > request->size) {
        size_t size = 2 * (whole + 1);
        char *body = realloc(request->body, size);
        if (body == NULL)
            return MHD_NO;
        request->body = body;
        request->size = size;
    }
    memcpy(request->body + before, bytes, len);
    request->body[whole] = '\0';
    request->shown.body = request->body;
    return MHD_YES;
}

static enum MHD_Result dispatch(struct request *request, struct MHD_Connection *mhd) {
    const struct http_options *options = &request->connection->http->options;
    if (request->shown.body_len > options->max_body)
        return refuse(request, mhd, 413);
    if (request->connection->http->closing)
        return refuse(request, mhd, 503);
    request->state = WAITING;
    connection_give(request->connection, 0);
    request->inside = true;
    options->on_request(options->owner, &request->shown);
    request->inside = false;
    if (request->state == ANSWERED)
        return queue(request, mhd);
    MHD_suspend_connection(mhd);
    return MHD_YES;
}

enum MHD_Result request_go_on(void *cls, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **context) {
    (void)cls, (void)url, (void)version;
    struct request *request = *context;
    if (request == NULL)
        return MHD_NO;
    if (request->state == HEADER)
        return begin_body(request, mhd, method);
    if (*upload_len > 0) {
        enum MHD_Result rc = add_body(request, upload, *upload_len);
        *upload_len = 0;
        return rc;
    }
    return request->state == ANSWERED ? queue(request, mhd) : dispatch(request, mhd);
}

/* Over: answered and read, or its client is gone, or the port ends. */
void request_end(void *cls, struct MHD_Connection *mhd, void **context,
                 enum MHD_RequestTerminationCode code) {
    const struct http *http = cls;
    (void)mhd, (void)code;
    struct request *request = *context;
    if (request == NULL)
        return;
    *context = NULL;
    if (request->state == WAITING && http->options.on_gone != NULL)
        http->options.on_gone(http->options.owner, &request->shown);
    connection_rest(request->connection);
    free_request(request);
}

/* ---- looking ---- */

struct search {
    const char *name, *first;
    size_t count;
};

static enum MHD_Result look(void *cls, enum MHD_ValueKind kind, const char *name,
                            const char *value) {
    (void)kind;
    struct search *search = cls;
    if (strcasecmp(name, search->name) == 0 && search->count++ == 0)
        search->first = value != NULL ? value : "";
    return MHD_YES;
}

const char *request_header(const struct http_request *shown, const char *name, size_t *count) {
    struct search search = {.name = name};
    const struct request *request = request_of(shown);
    MHD_get_connection_values(request->connection->mhd, MHD_HEADER_KIND, look, &search);
    if (count != NULL)
        *count = search.count;
    return search.first;
}
