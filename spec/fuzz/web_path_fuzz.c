/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates of routes and paths of requests. The input is a line with a template and one with a
 * path as it was sent.
 */
#include "host/base/status.h"
#include "host/web/path.h"
#include "spec/fuzz/fuzz.h"

/* Each part is text without a zero byte, and none leads upwards, however it is encoded. */
static void check_parts(const struct path *path) {
    HOLDS(path->count > 0 && path->count <= PATH_PARTS);
    for (size_t i = 0; i < path->count; i++) {
        const char *text = path->parts[i].text;
        HOLDS(strlen(text) == path->parts[i].len);
        for (const char *at = text;; at++) {
            size_t len = strcspn(at, "/");
            HOLDS(!(len == 1 && at[0] == '.') && !(len == 2 && memcmp(at, "..", 2) == 0));
            at += len;
            if (*at == '\0')
                break;
        }
    }
}

/* Encoded in full and read again it is the same. */
static void check_again(const struct path *path, size_t size) {
    char *raw = malloc(3 * size + path->count + 1), *to = raw;
    struct path again;
    HOLDS(raw != NULL);
    for (size_t i = 0; i < path->count; i++) {
        *to++ = '/';
        for (const char *at = path->parts[i].text; *at != '\0'; at++)
            to += sprintf(to, "%%%02x", (unsigned char)*at);
    }
    *to = '\0';
    HOLDS(path_parse(&again, raw) == LN_OK && again.count == path->count);
    for (size_t i = 0; i < path->count; i++)
        HOLDS(strcmp(again.parts[i].text, path->parts[i].text) == 0);
    path_free(&again);
    free(raw);
}

/* One part at a time. */
static bool plain_matches(const struct path_part *part, size_t left, const struct path *path,
                          size_t at) {
    if (left == 0 || at == path->count)
        return left == 0 && at == path->count;
    if (part->kind == PATH_REST)
        return true;
    bool same = part->kind == PATH_PARAM ? path->parts[at].len > 0
                                         : strcmp(part->text, path->parts[at].text) == 0;
    return same && plain_matches(part + 1, left - 1, path, at + 1);
}

static void check_values(const struct path_template *template, struct path *path) {
    for (size_t i = 0; i < template->count; i++) {
        size_t len;
        const char *value = path_value(template, path, i, &len);
        HOLDS(strlen(value) == len);
        if (template->parts[i].kind == PATH_PARAM)
            HOLDS(len > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    char *text = fuzz_line(&input), *raw = fuzz_line(&input);
    struct path_template template;
    struct path path;
    bool is_template = path_template_parse(&template, text, strlen(text)) == NULL;
    bool is_path = path_parse(&path, raw) == LN_OK;
    if (is_path) {
        check_parts(&path);
        check_again(&path, size);
    }
    if (is_template)
        HOLDS(path_template_compare(&template, &template) == 0);
    if (is_template && is_path) {
        bool matches = path_matches(&template, &path);
        HOLDS(matches == plain_matches(template.parts, template.count, &path, 0));
        if (matches)
            check_values(&template, &path);
    }
    if (is_template)
        path_template_free(&template);
    if (is_path)
        path_free(&path);
    free(text);
    free(raw);
    return 0;
}
