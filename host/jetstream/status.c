/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/status.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/json_scan.h"
#include "host/link/answer.h"
#include "host/link/link.h"

/* ---- names ---- */

bool js_name_ok(const char *name, size_t len) {
    if (len == 0 || len > JS_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] <= 0x20 || name[i] == 0x7f || strchr(".*>/\\", name[i]))
            return false;
    return true;
}

/* ---- reply subjects ---- */

#define ACK_PREFIX "$JS.ACK."
#define ACK_PREFIX_LEN (sizeof(ACK_PREFIX) - 1)
#define ACK_TOKENS_MAX 16

/* Splits at the dots; returns the number of tokens, of which at most `max` are stored. */
static size_t split(const char *text, struct js_slice *tokens, size_t max) {
    size_t count = 0;
    for (;;) {
        size_t len = strcspn(text, ".");
        if (count < max)
            tokens[count] = (struct js_slice){text, len};
        count++;
        if (text[len] == '\0')
            return count;
        text += len + 1;
    }
}

#define DIGITS_MAX 19 /* of an int64_t */

/* Larger ones are no numbers of a stream, and no integers of Lua. */
static bool parse_number(struct js_slice token, uint64_t *out) {
    uint64_t value = 0;
    if (token.len == 0 || token.len > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < token.len; i++) {
        if (token.at[i] < '0' || token.at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(token.at[i] - '0');
    }
    *out = value;
    return value <= INT64_MAX;
}

bool js_parse_reply(const char *reply, struct js_meta *out) {
    struct js_slice token[ACK_TOKENS_MAX];
    if (reply == NULL || strncmp(reply, ACK_PREFIX, ACK_PREFIX_LEN) != 0)
        return false;
    size_t count = split(reply, token, ACK_TOKENS_MAX);
    const struct js_slice *at = token + 2; /* version 1: 9 tokens, no domain */
    out->domain = (struct js_slice){"", 0};
    if (count >= 11) { /* version 2: domain and account hash come first */
        if (token[2].len != 1 || *token[2].at != '_')
            out->domain = token[2];
        at = token + 4;
    } else if (count != 9) {
        return false;
    }
    uint64_t timestamp;
    if (at[0].len == 0 || at[1].len == 0 || !parse_number(at[2], &out->num_delivered) ||
        !parse_number(at[3], &out->stream_seq) || !parse_number(at[4], &out->consumer_seq) ||
        !parse_number(at[5], &timestamp) || !parse_number(at[6], &out->num_pending))
        return false;
    out->stream = at[0];
    out->consumer = at[1];
    out->timestamp = (int64_t)timestamp;
    return true;
}

static bool begins(const char *text, const char *with, size_t len) {
    return strncmp(text, with, len) == 0;
}

/* "<stream>.<consumer>." */
static bool names(const char *text, const char *consumer) {
    size_t len = strlen(consumer);
    return begins(text, consumer, len) && text[len] == '.';
}

bool js_answer_ok(const char *subject, const char *consumer) {
    static const char flow[] = "$JS.FC.";
    if (answer_ok(subject))
        return true;
    if (consumer == NULL)
        return false;
    if (!begins(subject, ACK_PREFIX, ACK_PREFIX_LEN))
        return begins(subject, flow, sizeof(flow) - 1) &&
               names(subject + sizeof(flow) - 1, consumer);
    if (names(subject + ACK_PREFIX_LEN, consumer)) /* version 1, as servers write it */
        return true;
    struct js_meta meta;
    return js_parse_reply(subject, &meta) && names(meta.stream.at, consumer);
}

/* "1.2.3.1700000000000000000.5" to the end, each of them certainly below INT64_MAX. */
static bool plain_numbers(const char *at) {
    for (int left = 5; left > 0; left--, at++) {
        const char *first = at;
        while (*at >= '0' && *at <= '9')
            at++;
        size_t digits = (size_t)(at - first);
        if (digits == 0 || digits > DIGITS_MAX || (digits == DIGITS_MAX && *first == '9') ||
            *at != (left > 1 ? '.' : '\0'))
            return false;
    }
    return true;
}

/* Each message of a consumer comes by here: what servers write is seen without splitting it. */
bool js_comes_from(const char *reply, const char *consumer) {
    struct js_meta meta;
    if (reply == NULL)
        return false;
    if (consumer != NULL && begins(reply, ACK_PREFIX, ACK_PREFIX_LEN) &&
        names(reply + ACK_PREFIX_LEN, consumer) &&
        plain_numbers(reply + ACK_PREFIX_LEN + strlen(consumer) + 1))
        return true;
    return js_parse_reply(reply, &meta) && js_answer_ok(reply, consumer);
}

bool js_delivered(const char *pattern, const char *subject, const char *reply) {
    return begins(reply, ACK_PREFIX, ACK_PREFIX_LEN) && !link_pattern_covers(pattern, subject);
}

const char *js_consumer_of(const char *subject) {
    const char *at = subject + strlen(subject);
    for (int dots = 0; at > subject; at--)
        if (at[-1] == '.' && ++dots == 2)
            break;
    return at;
}

/* ---- statuses ---- */

/* Texts as the server writes them (2.9 to 2.14); where one is missing the number decides. */
static const struct {
    int status;
    const char *text; /* what it begins with */
    enum js_status meaning;
} statuses[] = {
    {100, "Idle", JS_HEARTBEAT},
    {100, "Flow", JS_FLOW_CONTROL},
    {100, "", JS_HEARTBEAT},
    {404, "", JS_NO_MESSAGES},
    {408, "Requests Pending", JS_NO_MESSAGES},
    {408, "", JS_EXPIRED}, /* Request Timeout, Interest Expired */
    {409, "Message Size Exceeds MaxBytes", JS_MAX_BYTES},
    {409, "Batch Completed", JS_COMPLETED},
    {409, "Leadership Change", JS_MOVED},
    {409, "Server Shutdown", JS_MOVED},
    {409, "Exceeded MaxWaiting", JS_BUSY},
    {409, "Consumer Deleted", JS_GONE},
    {409, "Consumer is push based", JS_GONE},
    {423, "", JS_UNPINNED},
    {503, "", JS_ABSENT},
};

enum js_status js_classify_status(int status, const char *text) {
    if (status == 0)
        return JS_DATA;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].status == status &&
            strncmp(text != NULL ? text : "", statuses[i].text, strlen(statuses[i].text)) == 0)
            return statuses[i].meaning;
    return JS_REFUSED;
}

enum js_status js_classify(const struct message *msg) {
    const char *reply = msg->reply;
    if (reply != NULL && strncmp(reply, ACK_PREFIX, ACK_PREFIX_LEN) == 0)
        return JS_DATA;
    int status = msg->status;
    if (status == 0)
        return JS_DATA;
    return js_classify_status(status, message_header(msg, "Description"));
}

/* ---- acknowledgements of publishing ---- */

struct scan {
    const char *at, *end;
};

static void skip_blanks(struct scan *scan) {
    while (scan->at < scan->end && *scan->at == ' ')
        scan->at++;
}

static bool scan_char(struct scan *scan, char c) {
    skip_blanks(scan);
    if (scan->at >= scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

/* A string of printable ASCII without escapes. */
static bool scan_string(struct scan *scan, const char **text, size_t *len) {
    if (!scan_char(scan, '"'))
        return false;
    const char *start = scan->at;
    while (scan->at < scan->end && *scan->at != '"') {
        if (*scan->at == '\\' || (unsigned char)(*scan->at - ' ') >= 0x7f - ' ')
            return false;
        scan->at++;
    }
    if (scan->at >= scan->end)
        return false;
    *text = start;
    *len = (size_t)(scan->at++ - start);
    return true;
}

static bool scan_number(struct scan *scan, int64_t *number) {
    skip_blanks(scan);
    const char *start = scan->at;
    int64_t value = 0;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        if (scan->at - start == 18)
            return false; /* it may overflow: a matter for the JSON parser */
        value = value * 10 + (*scan->at++ - '0');
    }
    *number = value;
    return scan->at > start && (*start != '0' || scan->at == start + 1);
}

static bool scan_literal(struct scan *scan, const char *literal) {
    size_t len = strlen(literal);
    skip_blanks(scan);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, literal, len) != 0)
        return false;
    scan->at += len;
    return true;
}

static bool is(const char *name, size_t len, const char *literal) {
    return len == strlen(literal) && memcmp(name, literal, len) == 0;
}

static bool scan_member(struct scan *scan, struct js_pub_ack *out) {
    const char *name;
    size_t len;
    if (!scan_string(scan, &name, &len) || !scan_char(scan, ':'))
        return false;
    if (is(name, len, "stream"))
        return scan_string(scan, &out->stream, &out->stream_len);
    if (is(name, len, "seq"))
        return scan_number(scan, &out->seq);
    if (is(name, len, "duplicate"))
        return out->duplicate = scan_literal(scan, "true");
    if (is(name, len, "domain"))
        return scan_string(scan, &out->domain, &out->domain_len);
    return false;
}

bool js_scan_pub_ack(const char *data, size_t len, struct js_pub_ack *out) {
    struct scan scan = {data, data + len};
    *out = (struct js_pub_ack){0};
    if (!scan_char(&scan, '{') || !scan_member(&scan, out))
        return false;
    while (scan_char(&scan, ','))
        if (!scan_member(&scan, out))
            return false;
    if (!scan_char(&scan, '}'))
        return false;
    skip_blanks(&scan);
    return scan.at == scan.end && out->stream_len > 0 && out->seq > 0;
}

/* ---- refusals ---- */

static bool find_member(const char *at, const char *end, const char *name,
                        struct json_member *out) {
    int rc = json_first_member(&at, end, out);
    while (rc == 1 && strcmp(out->name, name) != 0)
        rc = json_next_member(&at, end, out);
    return rc == 1;
}

int js_refusal_code(const char *data, size_t len) {
    struct json_member error, code;
    if (!find_member(data, data + len, "error", &error) ||
        !find_member(error.value, error.end, "err_code", &code))
        return 0;
    char digits[12];
    size_t size = (size_t)(code.end - code.value);
    if (size >= sizeof(digits))
        return 0;
    memcpy(digits, code.value, size);
    digits[size] = '\0';
    return (int)strtol(digits, NULL, 10);
}
