/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request, from its first line until its answer has been read. The library calls
 * request_go_on() when the header is there, for each piece of the body, at the end of it, and
 * once more after a connection that waited for its answer goes on.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bindings/modules/http/internal.h"
#include "host/base/container_of.h"
#include "host/base/tally.h"

#define BODIES_MAX ((size_t)64 << 20) /* bytes of all bodies that have come */
#define SPARE_MAX ((size_t)64 << 10)  /* bytes that a body keeps for more, when all has come */
#define STREAM_BLOCK ((size_t)16 << 10)
#define LONG_BLOCK                                                                             \
    ((size_t)64 << 10)  /* for each of them a client has the time of an answer                 \
                         */
#define BYTES_PER_MS 64 /* of a body that comes, besides the time that each has */

/* More than the limit is read and thrown away up to here, so that the client hears of it. */
#define OVERRUN ((size_t)1 << 20)

enum state {
    HEADER,  /* the first line is there */
    BODY,    /* the header is */
    WAITING, /* it is the owner's */
    ANSWERED,
    STREAMING, /* answered, but the body is the owner's */
};

struct request {
    struct http_request shown;
    struct connection *connection;
    char *target;          /* owned; what path and query point into */
    char *body;            /* owned */
    size_t size;           /* of the body's memory */
    size_t max_body, most; /* that it may have; that is announced, or this */
    bool inside;           /* the owner is being told */
    bool overfull;         /* there are too many bodies */
    size_t charged;        /* bytes that its tally has of it */
    enum state state;
    struct MHD_Response *response; /* owned; what to answer */
    size_t len;                    /* of its body */
    int status;
    struct stream stream;  /* what is left of it */
    char *answer;          /* owned; its body, if that is long */
    struct http_file file; /* its body */
    bool has_file;         /* owned */
};

static struct request *request_of(const struct http_request *shown) {
    return (struct request *)(uintptr_t)shown;
}

bool request_is_dispatched(const struct request *request) {
    return request->state >= WAITING;
}

bool request_is_ours(const struct request *request) {
    return (request->state == WAITING && !request->inside) || request->stream.asleep;
}

/* ---- the request line ---- */

/* The first of them keeps the tally from going away. */
static void charge(struct request *request, size_t bytes) {
    if (request->shown.tally == NULL)
        return;
    tally_add(request->shown.tally, bytes);
    request->charged += bytes;
}

static void free_request(struct request *request) {
    request->connection->http->bodies -= request->size;
    if (request->charged > 0)
        tally_remove(request->shown.tally, request->charged);
    free(request->stream.bytes);
    free(request->answer);
    if (request->has_file)
        close(request->file.fd);
    if (request->response != NULL)
        MHD_destroy_response(request->response);
    free(request->target);
    free(request->body);
    free(request);
}

static struct connection *connection_of(struct MHD_Connection *mhd) {
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* We read the query ourselves. The library would make a record of each of its arguments, which
 * have no room behind a long one, and then forgets to answer; it looks for them after this. */
static void hide_query(const char *uri, size_t at) {
    char *buffer = (char *)(uintptr_t)uri; /* of the library, which splits it up here, too */
    buffer[at] = '\0';
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
    if (mark != NULL) {
        hide_query(uri, (size_t)(mark + 1 - target));
        *mark = '\0';
    }
    request->target = target;
    request->shown.path = target;
    request->shown.query = mark != NULL ? mark + 1 : "";
    request->connection = connection;
    connection->request = request;
    return request;
}

/* ---- the answer ---- */

static void wake(struct request *request) {
    MHD_resume_connection(request->connection->mhd);
    port_run_soon(request->connection->http);
}

/* The library wants more of a stream. */
static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t max) {
    (void)position;
    struct request *request = cls;
    struct stream *stream = &request->stream;
    const struct http_options *options = &request->connection->http->options;
    size_t taken = stream_take(stream, out, max);
    if (taken > 0) {
        connection_give(request->connection, options->answer_ms);
        if (stream->full && stream->len - stream->at <= HTTP_STREAM_FULL / 2) {
            stream->full = false;
            if (!stream->finished && options->on_room != NULL)
                options->on_room(options->owner, &request->shown);
        }
        return (ssize_t)taken;
    }
    if (stream->finished)
        return stream->broken ? MHD_CONTENT_READER_END_WITH_ERROR
                              : MHD_CONTENT_READER_END_OF_STREAM;
    stream->asleep = true;
    connection_give(request->connection, 0);
    MHD_suspend_connection(request->connection->mhd);
    return 0;
}

/* The library wants more of a long body: its client gets the time for that. */
static ssize_t read_long(void *cls, uint64_t position, char *out, size_t max) {
    struct request *request = cls;
    size_t left = request->len - (size_t)position, taken = max < left ? max : left;
    memcpy(out, request->answer + position, taken);
    connection_give(request->connection, request->connection->http->options.answer_ms);
    return (ssize_t)taken;
}

/* The same of a file. One that is shorter than it was ends the connection. */
static ssize_t read_file(void *cls, uint64_t position, char *out, size_t max) {
    struct request *request = cls;
    const struct http_file *file = &request->file;
    if (max > file->len - position)
        max = (size_t)(file->len - position);
    ssize_t got = pread(file->fd, out, max, (off_t)(file->offset + position));
    connection_give(request->connection, request->connection->http->options.answer_ms);
    return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void wake_stream(struct request *request) {
    struct stream *stream = &request->stream;
    if (!stream->asleep)
        return;
    stream->asleep = false;
    connection_give(request->connection, request->connection->http->options.answer_ms);
    wake(request);
}

size_t request_write(struct http_request *shown, const char *bytes, size_t len) {
    struct request *request = request_of(shown);
    size_t growth = stream_growth(&request->stream, len), before = request->stream.size;
    if (growth > 0 && tally_full(shown->tally, growth))
        return SIZE_MAX;
    size_t waiting = stream_add(&request->stream, bytes, len);
    charge(request, request->stream.size - before);
    wake_stream(request);
    return waiting;
}

void request_finish(struct http_request *shown, bool complete) {
    struct request *request = request_of(shown);
    request->state = ANSWERED;
    request->stream.finished = true;
    request->stream.broken = !complete;
    wake_stream(request);
}

static struct MHD_Response *make_body(struct request *request,
                                      const struct http_response *from) {
    if (from->stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream,
                                                 request, NULL);
    if (from->file != NULL)
        return MHD_create_response_from_callback(from->file->len, LONG_BLOCK, read_file,
                                                 request, NULL);
    if (from->len > LONG_BLOCK) {
        request->answer = from->body;
        return MHD_create_response_from_callback(from->len, LONG_BLOCK, read_long, request,
                                                 NULL);
    }
    return MHD_create_response_from_buffer(from->len, from->body,
                                           from->body != NULL ? MHD_RESPMEM_MUST_FREE
                                                              : MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *make_response(struct request *request,
                                          const struct http_response *from) {
    request->has_file = from->file != NULL;
    if (request->has_file)
        request->file = *from->file;
    struct MHD_Response *response = make_body(request, from);
    if (response == NULL) {
        if (request->answer == NULL)
            free(from->body);
        return NULL;
    }
    for (size_t i = 0; i < from->header_count; i++)
        MHD_add_response_header(response, from->headers[i].name, from->headers[i].value);
    return response;
}

void request_answer(struct http_request *shown, const struct http_response *from) {
    struct request *request = request_of(shown);
    request->len = from->len;
    charge(request, from->len);
    request->response = make_response(request, from);
    request->status = from->status;
    request->state = from->stream ? STREAMING : ANSWERED;
    if (!request->inside) /* else request_go_on() goes on */
        wake(request);
}

void request_give_up(struct request *request) {
    static const struct http_header close_it = {"Connection", "close"};
    static const struct http_response unavailable = {
        .status = 503, .headers = &close_it, .header_count = 1};
    const struct http_options *options = &request->connection->http->options;
    enum state state = request->state;
    if (state != WAITING && state != STREAMING)
        return;
    request->state = ANSWERED; /* what the owner does now is not for it */
    if (options->on_gone != NULL)
        options->on_gone(options->owner, &request->shown);
    if (state == WAITING)
        request_answer(&request->shown, &unavailable);
    else
        request_finish(&request->shown, false);
}

/* Gives the library what the owner has answered; without memory the connection is closed. */
static enum MHD_Result queue(struct request *request, struct MHD_Connection *mhd) {
    if (request->response == NULL)
        return MHD_NO;
    if (request->connection->http->closing || request->connection->http->quiet)
        MHD_add_response_header(request->response, "Connection", "close");
    connection_give(request->connection, request->connection->http->options.answer_ms);
    connection_answer(request->connection, request->len);
    return MHD_queue_response(mhd, (unsigned)request->status, request->response);
}

static enum MHD_Result refuse(struct request *request, struct MHD_Connection *mhd, int status) {
    static const struct http_header kind = {"Content-Type", "application/json"},
                                    last = {"Connection", "close"},
                                    later = {"Retry-After", "1"};
    const struct http_options *options = &request->connection->http->options;
    struct http_header headers[2 + HTTP_REFUSAL_HEADERS] = {kind};
    size_t count = 1;
    if (status != 413)
        headers[count++] = status == 400 ? last : later;
    if (options->refusal_headers != NULL)
        count += options->refusal_headers(options->owner, &request->shown, headers + count);
    const char *text =
        status == 413   ? "{\"code\":413,\"message\":\"the body is too long\"}"
        : status == 400 ? "{\"code\":400,\"message\":\"the length of the body is ambiguous\"}"
                        : "{\"code\":503,\"message\":\"too busy\"}";
    struct http_response refusal = {
        .status = status, .headers = headers, .header_count = count, .body = strdup(text)};
    refusal.len = refusal.body != NULL ? strlen(text) : 0;
    if (options->on_refused != NULL)
        options->on_refused(options->owner, &request->shown, status);
    request->inside = true;
    request_answer(&request->shown, &refusal);
    return queue(request, mhd);
}

/* ---- header and body ---- */

/* A proxy before us may have found another end of it, and would take what follows for ours. */
static bool is_ambiguous(const struct request *request) {
    size_t lengths, encodings;
    const char *encoding = request_header(&request->shown, "Transfer-Encoding", &encodings);
    request_header(&request->shown, "Content-Length", &lengths);
    return lengths + encodings > 1 ||
           (encoding != NULL && strcasecmp(encoding, "chunked") != 0);
}

static enum MHD_Result begin_body(struct request *request, struct MHD_Connection *mhd,
                                  const char *method) {
    const struct http_options *options = &request->connection->http->options;
    const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");
    request->shown.method = method;
    request->state = BODY;
    if (is_ambiguous(request))
        return refuse(request, mhd, 400);
    request->max_body = options->limit_body != NULL
                            ? options->limit_body(options->owner, &request->shown)
                            : options->max_body;
    charge(request, sizeof(*request));
    uint64_t announced = length != NULL ? strtoull(length, NULL, 10) : 0;
    uint64_t taken = announced < request->max_body ? announced : request->max_body;
    request->most = length != NULL ? (size_t)taken : request->max_body;
    connection_give(request->connection, options->body_ms + (uint32_t)(taken / BYTES_PER_MS));
    /* What is a little too long is read and forgotten, unless the client waits to be told: one
     * that is still sending when the connection closes may not see the answer. */
    const char *expect = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Expect");
    size_t limit = request->max_body + (expect != NULL ? 0 : OVERRUN);
    if (announced > limit)
        return refuse(request, mhd, 413);
    return MHD_YES;
}

static enum MHD_Result add_body(struct request *request, const char *bytes, size_t len) {
    struct http *http = request->connection->http;
    size_t before = request->shown.body_len, whole = before + len;
    request->shown.body_len = whole;
    if (whole > request->max_body)
        return whole > request->max_body + OVERRUN ? MHD_NO : MHD_YES;
    if (whole + 1 > request->size && !request->overfull) {
        size_t size = whole < request->most / 2 ? 2 * (whole + 1) : request->most + 1;
        request->overfull = http->bodies + size - request->size > BODIES_MAX ||
                            tally_full(request->shown.tally, size - request->size);
        char *body = request->overfull ? NULL : realloc(request->body, size);
        if (body == NULL && !request->overfull)
            return MHD_NO;
        http->bodies += body != NULL ? size - request->size : 0;
        charge(request, body != NULL ? size - request->size : 0);
        request->body = body != NULL ? body : request->body;
        request->size = body != NULL ? size : request->size;
    }
    if (request->overfull)
        return MHD_YES; /* and refused at its end */
    memcpy(request->body + before, bytes, len);
    request->body[whole] = '\0';
    request->shown.body = request->body;
    return MHD_YES;
}

/* Memory that was taken for more than has come is given back: a handler may take its time. */
static void trim(struct request *request) {
    size_t spare = request->size > 0 ? request->size - request->shown.body_len - 1 : 0;
    char *body = spare > SPARE_MAX ? realloc(request->body, request->size - spare) : NULL;
    if (body == NULL)
        return;
    request->shown.body = request->body = body;
    request->size -= spare;
    request->connection->http->bodies -= spare;
    if (request->shown.tally != NULL) {
        tally_remove(request->shown.tally, spare);
        request->charged -= spare;
    }
}

static enum MHD_Result dispatch(struct request *request, struct MHD_Connection *mhd) {
    const struct http_options *options = &request->connection->http->options;
    if (request->shown.body_len > request->max_body)
        return refuse(request, mhd, 413);
    if (request->connection->http->closing || request->overfull)
        return refuse(request, mhd, 503);
    trim(request);
    request->state = WAITING;
    connection_give(request->connection, 0);
    request->inside = true;
    options->on_request(options->owner, &request->shown);
    request->inside = false;
    if (request->state != WAITING)
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
    request->connection->http->moved = true;
    if (request->state == HEADER)
        return begin_body(request, mhd, method);
    if (*upload_len > 0) {
        enum MHD_Result rc = add_body(request, upload, *upload_len);
        *upload_len = 0;
        return rc;
    }
    return request->state >= ANSWERED ? queue(request, mhd) : dispatch(request, mhd);
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
    enum state state = request->state;
    request->state = ANSWERED;
    if ((state == WAITING || state == STREAMING) && http->options.on_gone != NULL)
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

struct visit {
    void (*fn)(void *owner, const char *name, const char *value);
    void *owner;
};

static enum MHD_Result show(void *cls, enum MHD_ValueKind kind, const char *name,
                            const char *value) {
    (void)kind;
    const struct visit *visit = cls;
    visit->fn(visit->owner, name, value != NULL ? value : "");
    return MHD_YES;
}

void request_each_header(const struct http_request *shown,
                         void (*fn)(void *owner, const char *name, const char *value),
                         void *owner) {
    struct visit visit = {fn, owner};
    MHD_get_connection_values(request_of(shown)->connection->mhd, MHD_HEADER_KIND, show,
                              &visit);
}

void request_remote(const struct http_request *shown, char out[HTTP_REMOTE_SIZE]) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        request_of(shown)->connection->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    out[0] = '\0';
    if (address != NULL && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out,
                  HTTP_REMOTE_SIZE);
    else if (address != NULL && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                  out, HTTP_REMOTE_SIZE);
}
