/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, read by the parser of the library: what is checked is what will be asked. */
#include <ctype.h>
#include <string.h>

#include "bindings/modules/curl/internal.h"

static const char *explain(CURLUcode code) {
    switch (code) {
    case CURLUE_OUT_OF_MEMORY:
        return "there is no memory for it";
    case CURLUE_BAD_PORT_NUMBER:
        return "its port is none";
    case CURLUE_UNSUPPORTED_SCHEME:
    case CURLUE_BAD_SCHEME:
        return "it must begin with http:// or https://";
    case CURLUE_NO_HOST:
    case CURLUE_BAD_HOSTNAME:
        return "it has no host, or one that cannot be";
    default:
        return "it is malformed (blanks are written %20)";
    }
}

/* One part of it into `out`. */
static CURLUcode get(CURLU *url, CURLUPart part, unsigned flags, char *out, size_t size) {
    char *text;
    CURLUcode code = curl_url_get(url, part, &text, flags);
    if (code != CURLUE_OK)
        return code;
    size_t len = strlen(text);
    if (len < size)
        memcpy(out, text, len + 1);
    curl_free(text);
    return len < size ? CURLUE_OK : CURLUE_LAST; /* the latter: too long */
}

static CURLUcode get_origin(CURLU *url, char *out, size_t size) {
    char port[8];
    CURLUcode code = get(url, CURLUPART_SCHEME, 0, out, size - sizeof("://:65535"));
    size_t len = code == CURLUE_OK ? strlen(out) : 0;
    if (code == CURLUE_OK) {
        strcpy(out + len, "://");
        len += 3;
        code = get(url, CURLUPART_HOST, 0, out + len, size - len - sizeof(":65535"));
    }
    if (code == CURLUE_OK)
        code = get(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port));
    if (code != CURLUE_OK)
        return code;
    strcat(strcat(out, ":"), port);
    for (; *out != '\0'; out++)
        *out = (char)tolower((unsigned char)*out);
    return CURLUE_OK;
}

static const char *read_into(CURLU *handle, struct http_url *out, const char *base,
                             const char *url) {
    static const CURLUPart secret[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS,
                                       CURLUPART_QUERY, CURLUPART_FRAGMENT};
    CURLUcode code = CURLUE_OK;
    if (base != NULL)
        code = curl_url_set(handle, CURLUPART_URL, base, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(handle, CURLUPART_URL, url, CURLU_URLENCODE);
    if (code == CURLUE_OK)
        code = get_origin(handle, out->origin, sizeof(out->origin));
    if (code == CURLUE_OK && strncmp(out->origin, "http://", 7) != 0 &&
        strncmp(out->origin, "https://", 8) != 0)
        code = CURLUE_UNSUPPORTED_SCHEME;
    if (code == CURLUE_OK)
        code = get(handle, CURLUPART_URL, 0, out->text, sizeof(out->text));
    for (size_t i = 0; code == CURLUE_OK && i < sizeof(secret) / sizeof(secret[0]); i++)
        code = curl_url_set(handle, secret[i], NULL, 0);
    if (code == CURLUE_OK)
        code = get(handle, CURLUPART_URL, 0, out->shown, sizeof(out->shown));
    if (code == CURLUE_LAST)
        return "it is too long";
    return code != CURLUE_OK ? explain(code) : NULL;
}

/* Newer versions of the library encode them, where older ones refuse. */
static bool has_controls(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

const char *url_read(struct http_url *out, const char *base, const char *url) {
    if (has_controls(url))
        return explain(CURLUE_MALFORMED_INPUT);
    CURLU *handle = curl_url();
    if (handle == NULL)
        return explain(CURLUE_OUT_OF_MEMORY);
    const char *wrong = read_into(handle, out, base, url);
    curl_url_cleanup(handle);
    return wrong;
}
