/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/jetstream/status.h"

#define BODY_SIZE 512 /* all fields at their longest */
#define LATE_MS 2000  /* for the server to confirm that a given up request brings no more */

int js_request_subject(char **out, const char *prefix, const char *stream,
                       const char *consumer) {
    static const char format[] = "%s.CONSUMER.MSG.NEXT.%s.%s";
    if (!js_name_ok(stream, strlen(stream)) || !js_name_ok(consumer, strlen(consumer)))
        return LN_EINVAL;
    size_t size = sizeof(format) + strlen(prefix) + strlen(stream) + strlen(consumer);
    char *subject = malloc(size);
    if (subject == NULL)
        return LN_ENOMEM;
    snprintf(subject, size, format, prefix, stream, consumer);
    if (!link_subject_ok(subject, strlen(subject))) {
        free(subject);
        return LN_EINVAL;
    }
    *out = subject;
    return LN_OK;
}

__attribute__((format(printf, 3, 4))) static size_t append(char *out, size_t at,
                                                           const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + at, BODY_SIZE - at, format, args);
    va_end(args);
    return at + (size_t)n;
}

static size_t append_ms(char *out, size_t at, const char *name, uint64_t ms) {
    return append(out, at, ",\"%s\":%llu", name, (unsigned long long)ms * 1000000);
}

static size_t append_count(char *out, size_t at, const char *name, uint64_t count) {
    return count == 0 ? at : append(out, at, ",\"%s\":%llu", name, (unsigned long long)count);
}

static size_t append_group(char *out, size_t at, const struct js_group *group,
                           const struct js_pin *pin) {
    at = append(out, at, ",\"group\":\"%s\"", group->name);
    at = append_count(out, at, "min_pending", group->min_pending);
    at = append_count(out, at, "min_ack_pending", group->min_ack_pending);
    at = append_count(out, at, "priority", group->priority);
    if (pin != NULL && pin->id[0] != '\0')
        at = append(out, at, ",\"id\":\"%s\"", pin->id);
    return at;
}

int js_request_send(struct link *link, const char *subject, const char *reply,
                    const struct js_request *request) {
    char body[BODY_SIZE];
    size_t len = append(body, 0, "{\"batch\":%llu", (unsigned long long)request->batch);
    if (request->no_wait)
        len = append(body, len, ",\"no_wait\":true");
    else
        len = append_ms(body, len, "expires", request->expires_ms);
    if (request->heartbeat_ms > 0)
        len = append_ms(body, len, "idle_heartbeat", request->heartbeat_ms);
    len = append_count(body, len, "max_bytes", request->max_bytes);
    if (request->group != NULL && request->group->name[0] != '\0')
        len = append_group(body, len, request->group, request->pin);
    len = append(body, len, "}");
    return link_publish(link, &(struct link_out){
                                  .subject = subject,
                                  .reply = reply,
                                  .data = body,
                                  .len = len,
                                  .checked = true,
                              });
}

void js_return_message(struct link *link, struct message *msg) {
    struct js_meta meta;
    if (js_parse_reply(msg->reply, &meta))
        link_publish(link, &(struct link_out){
                               .subject = msg->reply,
                               .data = JS_NAK_SOON,
                               .len = sizeof(JS_NAK_SOON) - 1,
                           });
    message_free(msg);
}

static void on_late_msg(void *owner, struct message *msg) {
    js_return_message(owner, msg);
}

static void on_late_end(void *owner) {
    (void)owner;
}

void js_drain_inbox(struct link *link, struct link_sub *sub) {
    if (!link_is_connected(link)) {
        link_unsubscribe(sub);
        return;
    }
    link_sub_retarget(sub, on_late_msg, NULL, link);
    link_sub_resume(sub);
    link_sub_drain(sub, LATE_MS, on_late_end);
}
