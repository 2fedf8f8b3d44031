/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of routes, and the paths that match them. */
#include "host/web/path.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

static const char *fault_of(const char *text) {
    struct path_template path;
    const char *fault = path_template_parse(&path, text, strlen(text));
    if (fault == NULL)
        path_template_free(&path);
    return fault != NULL ? fault : "";
}

static void refuses_templates(void) {
    static const char *const wrong[] = {
        "", "a", "//", "/a//b", "/:", "/:a-b", "/a*", "/*/a", "/a?b", "/a#b", "/:a/:a",
    };
    static const char *const right[] = {"/", "/a", "/a/", "/:a/b/:c", "/a/*", "/*", "/a.b:c"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_INT(fault_of(wrong[i])[0] != '\0', true);
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        CHECK_STR(fault_of(right[i]), "");
    struct path_template path;
    CHECK_INT(path_template_parse(&path, "/a\0b", 4) != NULL, true);
    char many[2 * PATH_PARTS + 3] = "";
    for (int i = 0; i < PATH_PARTS; i++)
        strcat(many, "/a");
    CHECK_STR(fault_of(many), "");
    strcat(many, "/a");
    CHECK_INT(fault_of(many)[0] != '\0', true);
}

/* The values of a template's parts, "a|b", or what is wrong. */
static const char *match(const char *template, const char *raw) {
    static char values[256];
    struct path_template path;
    struct path request;
    values[0] = '\0';
    path_template_parse(&path, template, strlen(template));
    if (path_parse(&request, raw) < 0) {
        path_template_free(&path);
        return "malformed";
    }
    bool matches = path_matches(&path, &request);
    for (size_t i = 0; matches && i < path.count; i++) {
        size_t len;
        const char *value = path_value(&path, &request, i, &len);
        snprintf(values + strlen(values), sizeof(values) - strlen(values), "%s%.*s",
                 i > 0 ? "|" : "", (int)len, value);
    }
    path_template_free(&path);
    path_free(&request);
    return matches ? values : "no";
}

static void matches_paths(void) {
    CHECK_STR(match("/", "/"), "");
    CHECK_STR(match("/a/b", "/a/b"), "a|b");
    CHECK_STR(match("/a", "/a/"), "no");
    CHECK_STR(match("/a/", "/a/"), "a|");
    CHECK_STR(match("/a", "/A"), "no");
    CHECK_STR(match("/a/:b", "/a/x"), "a|x");
    CHECK_STR(match("/a/:b", "/a/"), "no");
    CHECK_STR(match("/a/:b", "/a/x/y"), "no");
    CHECK_STR(match("/a/*", "/a/"), "a|");
    CHECK_STR(match("/a/*", "/a"), "no");
    CHECK_STR(match("/a/*", "/a/x/y/"), "a|x/y/");
    CHECK_STR(match("/*", "//x"), "/x");
}

static void decodes_each_part_by_itself(void) {
    CHECK_STR(match("/:a", "/x%2Fy"), "x/y");
    CHECK_STR(match("/:a/:b", "/x%20y/%c3%bc"), "x y|\xc3\xbc");
    CHECK_STR(match("/:a", "/x+y"), "x+y");
    CHECK_STR(match("/a%20b", "/a%20b"), "no"); /* a template is written as it is meant */
    CHECK_STR(match("/a b", "/a%20b"), "a b");
    CHECK_STR(match("/f/*", "/f/a%20b/c%2Fd"), "f|a b/c/d");
}

static void refuses_paths(void) {
    static const char *const wrong[] = {
        "",      "a",     "/%",      "/%1",     "/%zz",   "/a%00b", "/.",      "/..",
        "/a/..", "/../a", "/%2e%2e", "/.%2e/a", "/a/./b", "/%2e",   "/x%2F..", "/..%2fx",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_STR(match("/*", wrong[i]), "malformed");
    CHECK_STR(match("/*", "/..."), "...");
    CHECK_STR(match("/*", "/..a"), "..a");
    char many[2 * PATH_PARTS + 3] = "";
    for (int i = 0; i <= PATH_PARTS; i++)
        strcat(many, "/a");
    CHECK_STR(match("/*", many), "malformed");
}

static int compare(const char *one, const char *other) {
    struct path_template a, b;
    path_template_parse(&a, one, strlen(one));
    path_template_parse(&b, other, strlen(other));
    int order = path_template_compare(&a, &b);
    bool turned = (path_template_compare(&b, &a) > 0) == (order < 0);
    path_template_free(&a);
    path_template_free(&b);
    return !turned ? 9 : order < 0 ? -1 : order > 0;
}

static void puts_first_what_says_more(void) {
    CHECK_INT(compare("/a/b", "/a/:x"), -1);
    CHECK_INT(compare("/a/:x", "/a/*"), -1);
    CHECK_INT(compare("/a/:x/c", "/a/*"), -1);
    CHECK_INT(compare("/:x/b", "/a/*"), 1);
    CHECK_INT(compare("/a/:x", "/a/:y"), 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(refuses_templates);
    RUN(matches_paths);
    RUN(decodes_each_part_by_itself);
    RUN(refuses_paths);
    RUN(puts_first_what_says_more);
    return test_end();
}
