/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/key.h"

#include "host/link/message.h"
#include "spec/unit/test.h"

static struct message *message(const char *subject, const char *headers) {
    return message_new(&(struct message_parts){
        .subject = subject,
        .subject_len = strlen(subject),
        .headers = headers,
        .headers_len = headers != NULL ? strlen(headers) : 0,
        .data = "",
    });
}

#define CHECK_KEY(source, subject, headers, want)                                              \
    do {                                                                                       \
        struct message_key key;                                                                \
        size_t len = 77;                                                                       \
        CHECK(message_key_parse(source, &key));                                                \
        struct message *msg = message(subject, headers);                                       \
        const char *found = message_key_find(&key, msg, &len);                                 \
        bool same = found == NULL ? (want) == NULL                                             \
                                  : (want) != NULL && len == strlen(want) &&                   \
                                        memcmp(found, want, len) == 0;                         \
        message_free(msg);                                                                     \
        CHECK(same);                                                                           \
    } while (0)

static const char *const none;

static void finds_the_subject_and_its_tokens(void) {
    CHECK_KEY("subject", "a.bc.d", NULL, "a.bc.d");
    CHECK_KEY("subject:1", "a.bc.d", NULL, "a");
    CHECK_KEY("subject:2", "a.bc.d", NULL, "bc");
    CHECK_KEY("subject:3", "a.bc.d", NULL, "d");
    CHECK_KEY("subject:4", "a.bc.d", NULL, none);
    CHECK_KEY("subject:1", "a", NULL, "a");
}

static void finds_headers(void) {
    static const char headers[] = "NATS/1.0\r\nCustomer: 7\r\nEmpty: \r\n\r\n";
    CHECK_KEY("header:Customer", "a", headers, "7");
    CHECK_KEY("header:customer", "a", headers, "7");
    CHECK_KEY("header:Empty", "a", headers, "");
    CHECK_KEY("header:Other", "a", headers, none);
    CHECK_KEY("header:Customer", "a", NULL, none);
}

static void refuses_what_is_no_source(void) {
    static const char *const texts[] = {"",          "subjects",   "subject:",   "subject:0",
                                        "subject:x", "subject:-1", "subject:1x", "subject: 1",
                                        "header",    "header:",    "Customer"};
    struct message_key key;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (message_key_parse(texts[i], &key))
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", texts[i]);
    char longest[200] = "header:";
    memset(longest + 7, 'x', MESSAGE_KEY_HEADER - 1);
    CHECK(message_key_parse(longest, &key));
    CHECK_INT(strlen(key.header), MESSAGE_KEY_HEADER - 1);
    longest[7 + MESSAGE_KEY_HEADER - 1] = 'x';
    CHECK(!message_key_parse(longest, &key));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(finds_the_subject_and_its_tokens);
    RUN(finds_headers);
    RUN(refuses_what_is_no_source);
    return test_end();
}
