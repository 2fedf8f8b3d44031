/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page: one HTML file without anything from outside. Its policy lets a browser run only the
 * script and the style that are in it, by their digests, and ask nobody but this port.
 */
#include "host/admin/page.h"

#include <string.h>

#include <openssl/evp.h>

#include "host/admin/internal.h"

#define DIGEST_SIZE 32
#define BASE64_SIZE (4 * ((DIGEST_SIZE + 2) / 3) + 1)

static const char *chars(const unsigned char *bytes) {
    return (const char *)bytes;
}

/* "sha256-..." as policies have it. */
static void put_digest(struct text *text, const unsigned char *bytes) {
    unsigned char digest[DIGEST_SIZE], base64[BASE64_SIZE];
    if (EVP_Digest(bytes, strlen(chars(bytes)), digest, NULL, EVP_sha256(), NULL) != 1) {
        text->failed = true;
        return;
    }
    EVP_EncodeBlock(base64, digest, DIGEST_SIZE);
    text_printf(text, "'sha256-%s'", chars(base64));
}

/* The policy, with the answer's other words about where the page may be shown. */
static void write_policy(struct text *text) {
    text_puts(text, "default-src 'none'; script-src ");
    put_digest(text, page_js);
    text_puts(text, "; style-src ");
    put_digest(text, page_css);
    text_puts(text, "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'; require-trusted-types-for 'script'; "
                    "trusted-types 'none'");
}

/* Copies up to the end of `tag` and puts `inside` behind it; returns the rest. */
static const char *put_until(struct text *text, const char *from, const char *tag,
                             const unsigned char *inside) {
    const char *end = strstr(from, tag) + strlen(tag);
    text_put(text, from, (size_t)(end - from));
    text_puts(text, chars(inside));
    return end;
}

void page_show(struct admin *admin, struct http_request *request) {
    struct text text = {0}, policy = {0};
    write_policy(&policy);
    const char *rest = put_until(&text, chars(page_html), "<style>", page_css);
    rest = put_until(&text, rest, "<script>", page_js);
    text_puts(&text, rest);
    text.failed |= policy.failed;
    admin_answer_with(admin, request, 200, "text/html; charset=utf-8",
                      policy.failed ? "default-src 'none'" : policy.bytes, &text);
    text_free(&policy);
}
