/* SPDX-License-Identifier: Apache-2.0 */
/* One call: how it is set up, where its answer goes, how it ends. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bindings/modules/curl/internal.h"
#include "host/base/container_of.h"
#include "host/base/status.h"

#define MAX_BODY ((size_t)64 << 10)
#define CONNECT_MS 5000
#define CA_CACHE_SECONDS 3600L /* what the system trusts is read that often at most */

/* The library keeps the headers behind a body, without a limit of its own. */
#define TRAILERS_MAX ((size_t)64 << 10)

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

void call_cancel(struct http_call *call) {
    list_remove(&call->node);
    list_remove(&call->news);
    end_transfer(call);
    curl_slist_free_all(call->headers);
    free(call->body);
    free(call);
}

static bool refused_by_proxy(const struct http_call *call) {
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300;
}

static const char *word_of(const struct http_call *call, CURLcode code) {
    switch (code) {
    case CURLE_WRITE_ERROR:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_ABORTED_BY_CALLBACK:
        return call->trailing > TRAILERS_MAX ? "too_large"
               : call->stopped               ? "stopped"
                                             : "no_memory";
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "resolve";
    case CURLE_COULDNT_CONNECT:
        return refused_by_proxy(call) ? "proxy" : "connect";
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return "proxy";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_SSL_ENGINE_INITFAILED:
        return "tls";
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND: /* of a body that cannot be sent again */
    case CURLE_PARTIAL_FILE:
        return refused_by_proxy(call) ? "proxy" : "disconnected";
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
        return "protocol";
    default:
        return "error";
    }
}

static uint32_t retry_after(CURL *easy) {
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 3600 ? 3600000 : seconds > 0 ? (uint32_t)seconds * 1000 : 0;
}

void call_finish(struct http_call *call, CURLcode code) {
    long status = 0;
    struct http_reply reply = {.body = call->body != NULL ? call->body : "", .len = call->len};
    if (code == CURLE_OK) {
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    } else {
        reply.code = word_of(call, code);
        if (call->trailing > TRAILERS_MAX)
            strcpy(call->error, "the headers behind the body have more than 64 KiB");
        reply.error = *call->error != '\0' ? call->error : curl_easy_strerror(code);
    }
    reply.status = (int)status;
    reply.retry_after_ms = retry_after(call->easy);
    end_transfer(call); /* the owner may close the client */
    list_remove(&call->node);
    list_remove(&call->news);
    call->on_done(call->owner, &reply);
    call_cancel(call);
}

/* ---- the answer ---- */

static void has_news(struct http_call *call) {
    list_push_back(&call->client->news, &call->news);
}

static size_t stop(struct http_call *call) {
    call->stopped = true;
    return 0;
}

/* What is more than the owner wants is read and forgotten. */
static size_t keep(struct http_call *call, const char *bytes, size_t len) {
    size_t room = call->max - call->len, kept = len < room ? len : room;
    char *body = realloc(call->body, call->len + kept + 1);
    if (body == NULL)
        return 0;
    memcpy(body + call->len, bytes, kept);
    call->body = body;
    call->len += kept;
    body[call->len] = '\0';
    return len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *owner) {
    struct http_call *call = owner;
    size_t len = size * count;
    if (call->sink == NULL)
        return keep(call, bytes, len);
    enum http_taken taken = call->sink->on_body(call->owner, bytes, len);
    if (taken == HTTP_STOP)
        return stop(call);
    has_news(call);
    return taken == HTTP_WAIT ? CURL_WRITEFUNC_PAUSE : len;
}

static size_t on_read(char *out, size_t size, size_t count, void *owner) {
    struct http_call *call = owner;
    size_t len = 0;
    enum http_taken taken = call->sink->on_read(call->owner, out, size * count, &len);
    if (taken == HTTP_STOP) {
        call->stopped = true;
        return CURL_READFUNC_ABORT;
    }
    has_news(call);
    return taken == HTTP_WAIT ? CURL_READFUNC_PAUSE : len;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* An empty line: of the headers, or of those of an answer in between. */
static void end_head(struct http_call *call) {
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return;
    call->headed = true;
    if (call->sink == NULL)
        return;
    call->sink->on_head(call->owner, (int)status);
    has_news(call);
}

/* One line. Those behind the body, of a chunked one, are of no use to anybody. */
static size_t on_header(char *line, size_t size, size_t count, void *owner) {
    struct http_call *call = owner;
    size_t len = size * count, end = len;
    if (call->headed) {
        call->trailing += len;
        return call->trailing <= TRAILERS_MAX ? len : 0;
    }
    while (end > 0 && is_blank(line[end - 1]))
        end--;
    if (end == 0) {
        end_head(call);
        return len;
    }
    if (call->sink == NULL)
        return len;
    if (end >= 5 && memcmp(line, "HTTP/", 5) == 0)
        return call->sink->on_header(call->owner, NULL, 0, NULL, 0) ? len : stop(call);
    const char *colon = memchr(line, ':', end);
    if (colon == NULL || is_blank(*line))
        return len;
    const char *value = colon + 1;
    while (value < line + end && is_blank(*value))
        value++;
    bool taken = call->sink->on_header(call->owner, line, (size_t)(colon - line), value,
                                       (size_t)(line + end - value));
    return taken ? len : stop(call);
}

bool call_resume(struct http_call *call) {
    return curl_easy_pause(call->easy, CURLPAUSE_CONT) == CURLE_OK;
}

/* ---- setting it up ---- */

static bool add_line(struct http_call *call, const char *line) {
    struct curl_slist *headers = curl_slist_append(call->headers, line);
    if (headers != NULL)
        call->headers = headers;
    return headers != NULL;
}

static bool add_header(struct http_call *call, const struct http_header *header) {
    size_t size = strlen(header->name) + strlen(header->value) + 3;
    char *line = malloc(size);
    if (line == NULL)
        return false;
    strcpy(line, header->name);
    /* An empty value would take a header of the library away. */
    strcat(line, *header->value != '\0' ? ": " : ";");
    strcat(line, header->value);
    bool added = add_line(call, line);
    free(line);
    return added;
}

static bool add_headers(struct http_call *call, const struct http_ask *ask) {
    bool typed = false;
    for (size_t i = 0; i < ask->header_count; i++) {
        typed = typed || strcasecmp(ask->headers[i].name, "Content-Type") == 0;
        if (!add_header(call, &ask->headers[i]))
            return false;
    }
    /* The library would say of any body that it is a form, and ask before it sends a long one.
     */
    return (typed || add_line(call, "Content-Type:")) && add_line(call, "Expect:");
}

static void set_up_tls(struct http_call *call, const struct http_ask *ask) {
    CURL *easy = call->easy;
    const char *bundle = call->client->bundle;
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (ask->tls_ca != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, ask->tls_ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* it is the only one to be trusted */
    } else if (bundle != NULL && access(bundle, R_OK) == 0) {
        /* It says the same as the folder, with which nothing is kept for later handshakes. */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT,
                     ask->tls_ca == NULL ? CA_CACHE_SECONDS : 0L);
#endif
    if (ask->tls_cert != NULL)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, ask->tls_cert);
    if (ask->tls_key != NULL)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, ask->tls_key);
    if (ask->tls_unverified) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_up_body(struct http_call *call, const struct http_ask *ask) {
    CURL *easy = call->easy;
    static const char *const with_body[] = {"POST", "PUT", "PATCH"};
    bool empty = false; /* its length is said all the same */
    for (size_t i = 0; i < sizeof(with_body) / sizeof(with_body[0]); i++)
        empty = empty || strcmp(ask->method, with_body[i]) == 0;
    if (ask->upload) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)ask->upload_len);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
    } else if (ask->body != NULL || empty) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, ask->body != NULL ? ask->body : "");
    }
    if (strcmp(ask->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, ask->method);
}

/* Programs that a script starts do not get it: they would keep it open. */
static curl_socket_t open_socket(void *owner, curlsocktype purpose,
                                 struct curl_sockaddr *address) {
    (void)owner, (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void set_up_network(CURL *easy, const struct http_ask *ask) {
    uint32_t connect_ms = ask->connect_ms != 0 ? ask->connect_ms : CONNECT_MS;
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ask->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (ask->proxy != NULL)
        curl_easy_setopt(easy, CURLOPT_PROXY, ask->proxy);
}

static CURLcode set_up(struct http_call *call, const struct http_ask *ask) {
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "lunats/" LN_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    set_up_network(easy, ask);
    set_up_tls(call, ask);
    set_up_body(call, ask);
    return curl_easy_setopt(easy, CURLOPT_URL, ask->url);
}

int call_send(struct http_call **out, struct http_client *client, const struct http_ask *ask) {
    struct http_call *call = client->closing ? NULL : calloc(1, sizeof(*call));
    if (call == NULL)
        return client->closing ? LN_ECLOSED : LN_ENOMEM;
    call->client = client;
    call->max = ask->max_body != 0 ? ask->max_body : MAX_BODY;
    call->sink = ask->sink;
    call->on_done = ask->on_done;
    call->owner = ask->owner;
    call->easy = client->spare != NULL ? client->spare : curl_easy_init();
    client->spare = NULL;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (call->easy != NULL && add_headers(call, ask))
        code = set_up(call, ask);
    if (code != CURLE_OK || curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
        call_cancel(call);
        return code == CURLE_OUT_OF_MEMORY ? LN_ENOMEM : LN_EINVAL;
    }
    list_push_back(&client->calls, &call->node);
    *out = call;
    return LN_OK;
}
