/* SPDX-License-Identifier: Apache-2.0 */
/* The values of options, as the command line and the environment give them. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/address.h"
#include "host/base/file.h"
#include "host/base/processors.h"
#include "host/base/url.h"
#include "host/dial/keys.h"
#include "host/options/parser.h"

#define BYTES_MAX (1ULL << 53) /* what JSON has numbers for */
#define BYTES_MIN (1ULL << 20) /* a service with less could not even start */
#define SUBJECT_MAX 255        /* there is more behind it, and tokens of 64 bytes each */

/* ---- values ---- */

/* Blanks divide a list as commas do. Of "nats://tok en@host" that would leave two servers, and
 * a part of a secret in what is said of them. */
static bool cuts_a_secret(const char *text) {
    for (bool first = true; *text != '\0'; text += strspn(text, " ")) {
        size_t len = strcspn(text, ", ");
        bool bare = memmem(text, len, "://", 3) == NULL;
        if (!first && bare && memchr(text, '@', len) != NULL)
            return true;
        text += len;
        first = (first && len == 0) || *text == ',';
        text += *text == ',';
    }
    return false;
}

/* Adds one server; "host:port" becomes a URL. `label` is what the user set. */
static int add_server(struct parser *p, const char *label, const char *text, size_t len) {
    struct options *o = p->out;
    struct url read;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ')
            return options_fail(p, "%s: blanks in the URL of a server", label);
    char *url = NULL;
    bool has_scheme = memmem(text, len, "://", 3) != NULL;
    if (asprintf(&url, "%s%.*s", has_scheme ? "" : "nats://", (int)len, text) < 0)
        return options_fail_memory(p);
    const char *fault = url_read(&read, url); /* which repeats nothing secret */
    url_free(&read);
    bool ok =
        fault == NULL && options_list_add(&o->servers, &o->server_count, url, strlen(url));
    free(url);
    if (fault != NULL)
        return options_fail(p, "%s: %s", label, fault);
    return ok ? 0 : options_fail_memory(p);
}

static int add_servers(struct parser *p, const char *label, const char *text) {
    size_t before = p->out->server_count;
    if (cuts_a_secret(text))
        return options_fail(p,
                            "%s: a blank in user, password or token of a server: write %%20 "
                            "(between servers there is a comma)",
                            label);
    while (*text != '\0') {
        text += strspn(text, ", ");
        size_t len = strcspn(text, ", ");
        int rc = len > 0 ? add_server(p, label, text, len) : 0;
        if (rc != 0)
            return rc;
        text += len;
    }
    if (p->out->server_count == before)
        return options_fail(p, "%s: no server in it", label);
    p->out->server_given = true;
    return 0;
}

static int set_text(struct parser *p, const struct options_option *option, const char *label,
                    const char *text, char **field) {
    if (text[0] == '\0')
        return options_fail(p, "%s must not be empty", label);
    if (option->kind == OPTIONS_KIND_FILE && keys_are_bare(text))
        return options_fail(p, "%s: this is no path but a key: write it into a file", label);
    if (option->kind == OPTIONS_KIND_FILE && access(text, R_OK) < 0)
        return options_fail(p, "%s: cannot read %s: %s", label, text, strerror(errno));
    bool once = option->field == OPTIONS_FIELD(creds) || option->field == OPTIONS_FIELD(nkey);
    if (option->kind == OPTIONS_KIND_FILE && !once && !file_is_ordinary(text))
        return options_fail(p, "%s: %s is no ordinary file", label, text);
    free(*field);
    *field = strdup(text);
    return *field != NULL ? 0 : options_fail_memory(p);
}

bool options_is_subject(const char *text) {
    for (const char *token = text;; token++) {
        size_t len = strcspn(token, ".");
        if (len == 0)
            return false;
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)token[i] <= ' ' || strchr("*>\x7f", token[i]) != NULL)
                return false;
        token += len;
        if (*token == '\0')
            return true;
    }
}

static int set_subject(struct parser *p, const struct options_option *option, const char *label,
                       const char *text, char **field) {
    if (!options_is_subject(text))
        return options_fail(p, "%s: '%s' is not a subject without wildcards", label, text);
    if (strlen(text) > SUBJECT_MAX)
        return options_fail(p, "%s: a subject has %d bytes at most here", label, SUBJECT_MAX);
    if (option->kind == OPTIONS_KIND_TOKEN && strchr(text, '.') != NULL)
        return options_fail(p, "%s: '%s' is not a name without dots", label, text);
    return set_text(p, option, label, text, field);
}

static int set_address(struct parser *p, const struct options_option *option, const char *label,
                       const char *text, char **field) {
    struct address address;
    *(option->field == OPTIONS_FIELD(http) ? &p->out->http_given : &p->out->admin_given) = true;
    if (strcmp(text, "off") == 0) {
        free(*field);
        *field = NULL;
        return 0;
    }
    const char *fault = address_parse(&address, text);
    if (fault != NULL)
        return options_fail(p, "%s: %s %s", label, text, fault);
    return set_text(p, option, label, text, field);
}

static int set_seconds(struct parser *p, const struct options_option *option, const char *label,
                       const char *text, double *field) {
    char *end;
    if (option->kind == OPTIONS_KIND_BOUND && strcmp(text, "off") == 0) {
        *field = 0;
        return 0;
    }
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 1e6)
        return options_fail(p, "%s: %s is not a number of seconds", label, text);
    if (option->kind != OPTIONS_KIND_SECONDS && seconds < 1e-3)
        return options_fail(p, "%s must be more than 0 seconds", label);
    *field = seconds;
    return 0;
}

static int set_count(struct parser *p, const char *label, const char *text, long least,
                     long *field) {
    char *end;
    errno = 0;
    long count = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || count < least || count > INT_MAX)
        return options_fail(p, "%s: %s is not a whole number, %ld or more", label, text, least);
    *field = count;
    return 0;
}

/* Units of 1024, as those of nats-server and systemd are. */
static int set_bytes(struct parser *p, const char *label, const char *text, size_t *field) {
    static const char units[] = "KMG";
    char *end;
    errno = 0;
    unsigned long long bytes = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, toupper((unsigned char)*end)) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (strcmp(text, "off") == 0) {
        *field = 0;
        return 0;
    }
    if (end == text || text[0] == '-' || errno != 0 || end[unit != NULL] != '\0' ||
        bytes > BYTES_MAX >> shift || bytes << shift < BYTES_MIN)
        return options_fail(
            p, "%s: %s is not a number of bytes like 67108864 or 64M, 1M or more", label, text);
    *field = (size_t)bytes << shift;
    return 0;
}

static int set_port(struct parser *p, const char *label, const char *text, long *field) {
    char *end;
    errno = 0;
    long port = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || port < 1 || port > 65535)
        return options_fail(p, "%s: %s is not a port, 1 to 65535", label, text);
    *field = port;
    return 0;
}

static int set_workers(struct parser *p, const char *label, const char *text, long *field) {
    char *end;
    errno = 0;
    long count = strtol(text, &end, 10);
    if (strcmp(text, "auto") == 0) {
        *field = (long)processors();
        return 0;
    }
    if (end == text || *end != '\0' || errno != 0 || count < 1 || count > OPTIONS_WORKERS_MAX)
        return options_fail(p, "%s: %s is neither auto nor a number from 1 to %d", label, text,
                            OPTIONS_WORKERS_MAX);
    *field = count;
    return 0;
}

/* The name as the server takes it: letters of ASCII, digits, punctuation. */
static bool is_header(const char *text) {
    size_t len = strcspn(text, ":");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] > '~')
            return false;
    return len > 0 && text[len] == ':' && strpbrk(text, "\r\n") == NULL;
}

static int add_to_list(struct parser *p, const struct options_option *option, const char *label,
                       const char *text, struct options_list *list) {
    if (option->kind == OPTIONS_KIND_HEADERS && !is_header(text))
        return options_fail(p, "%s: '%s' is not a header like Name:value", label, text);
    return options_list_add(&list->items, &list->count, text, strlen(text))
               ? 0
               : options_fail_memory(p);
}

static int set_errors(struct parser *p, const char *label, const char *text,
                      enum options_errors *field) {
    bool is_short = strcmp(text, "short") == 0;
    if (!is_short && strcmp(text, "full") != 0)
        return options_fail(p, "%s: %s is neither short nor full", label, text);
    *field = is_short ? OPTIONS_ERRORS_SHORT : OPTIONS_ERRORS_FULL;
    return 0;
}

static int set_libs(struct parser *p, const char *label, const char *text, bool *field) {
    bool is_safe = strcmp(text, "safe") == 0;
    if (!is_safe && strcmp(text, "all") != 0)
        return options_fail(p, "%s: %s is neither all nor safe", label, text);
    *field = is_safe;
    return 0;
}

int options_set_value(struct parser *p, const struct options_option *option, const char *label,
                      const char *text) {
    void *field = (char *)p->out + option->field;
    switch (option->kind) {
    case OPTIONS_KIND_FLAG:
        *(bool *)field = text[0] == '1';
        return 0;
    case OPTIONS_KIND_TEXT:
    case OPTIONS_KIND_FILE:
        return set_text(p, option, label, text, field);
    case OPTIONS_KIND_SERVERS:
        return add_servers(p, label, text);
    case OPTIONS_KIND_TOKEN:
    case OPTIONS_KIND_SUBJECT:
        return set_subject(p, option, label, text, field);
    case OPTIONS_KIND_ADDRESS:
        return set_address(p, option, label, text, field);
    case OPTIONS_KIND_SECONDS:
    case OPTIONS_KIND_PERIOD:
    case OPTIONS_KIND_BOUND:
        return set_seconds(p, option, label, text, field);
    case OPTIONS_KIND_COUNT:
        return set_count(p, label, text, 1, field);
    case OPTIONS_KIND_LIMIT:
        return set_count(p, label, strcmp(text, "off") == 0 ? "0" : text, 0, field);
    case OPTIONS_KIND_BYTES:
        return set_bytes(p, label, text, field);
    case OPTIONS_KIND_PORT:
        return set_port(p, label, text, field);
    case OPTIONS_KIND_WORKERS:
        return set_workers(p, label, text, field);
    case OPTIONS_KIND_CODE:
    case OPTIONS_KIND_HEADERS:
        return add_to_list(p, option, label, text, field);
    case OPTIONS_KIND_LEVEL:
        if (log_level_parse(text, field))
            return 0;
        return options_fail(p, "%s: %s is none of debug, info, warn, error, off", label, text);
    case OPTIONS_KIND_ERRORS:
        return set_errors(p, label, text, field);
    case OPTIONS_KIND_LIBS:
        return set_libs(p, label, text, field);
    case OPTIONS_KIND_FORMAT:
        if (log_format_parse(text, field))
            return 0;
        return options_fail(p, "%s: %s is neither text nor json", label, text);
    }
    return 0;
}
