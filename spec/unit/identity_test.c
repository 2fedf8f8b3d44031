/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/identity.h"

#include <stdlib.h>

#include "host/service/endpoint.h"
#include "spec/unit/test.h"

static void versions(void) {
    static const char *const good[] = {
        "0.0.0",   "1.2.3",          "10.20.30",  "1.0.0-rc.1",
        "1.0.0-0", "1.0.0-a-b.c--d", "1.0.0+001", "1.0.0-x.7.z+a.01.-"};
    static const char *const bad[] = {"",         "1",          "1.2",     "1.2.",
                                      "1.2.3.4",  "01.2.3",     "1.02.3",  "1.2.3-",
                                      "1.2.3-01", "1.2.3-a..b", "1.2.3+",  "1.2.3+a+b",
                                      "v1.2.3",   " 1.2.3",     "1.2.3\n", "1.2.3-a_b"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(identity_version_ok(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!identity_version_ok(bad[i]));
}

static void expect_name(const char *text, const char *expected) {
    char *name = identity_endpoint_name(text);
    CHECK_STR(name, expected);
    free(name);
}

static void endpoint_names(void) {
    expect_name("orders.create", "orders_create");
    expect_name("orders.*.x.>", "orders_any_x_all");
    expect_name("a b/\xc3\xa4!", "a_b____");
    expect_name(">", "all");
    expect_name("", "_");
}

static bool none(const struct endpoint *endpoint, const void *arg) {
    return endpoint == arg;
}

static void endpoints(void) {
    struct list list = {0};
    struct endpoint *a = endpoint_join(&list, "a", NULL, none, NULL);
    CHECK(endpoint_join(&list, "a", NULL, none, NULL) == a);
    struct endpoint *taken = endpoint_join(&list, "a", NULL, none, a);
    CHECK(taken != a);
    struct endpoint *queue = endpoint_join(&list, "a", "q", none, NULL);
    CHECK(queue != a && queue != taken);
    endpoint_count(a, 1);
    endpoint_count(a, endpoint_bounds[0] + 1);
    endpoint_count(a, UINT64_MAX / 2);
    CHECK(a->buckets[0] == 1 && a->buckets[1] == 1 && a->buckets[ENDPOINT_BOUNDS] == 1);
    for (int code = 400; code < 400 + 2 * ENDPOINT_CODES; code++)
        endpoint_failed(a, code, "first\r\nsecond");
    CHECK_STR(a->last_error, "423:first");
    CHECK(a->codes[0].code == 400 && a->codes[0].count == 1);
    CHECK(a->codes[ENDPOINT_CODES].code == 0 &&
          a->codes[ENDPOINT_CODES].count == ENDPOINT_CODES);
    endpoint_leave(a);
    CHECK(endpoint_join(&list, "a", NULL, none, taken) == a);
    endpoint_leave(a);
    endpoint_leave(a);
    endpoint_leave(taken);
    endpoint_leave(queue);
    CHECK(list_empty(&list));
}

int main(void) {
    RUN(versions);
    RUN(endpoint_names);
    RUN(endpoints);
    return test_end();
}
