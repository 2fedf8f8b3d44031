/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/voice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/service/internal.h"

#define SUBJECT_SIZE 512
/* Bytes that are not on their way yet, above which lines are not added: half of those at which
 * nothing is read any more. */
#define BUFFERED_MAX ((size_t)4 << 20)
#define LEVEL_SIZE 16 /* of what a request says; "reset" is the longest */

static const char *prefix_of(const struct voice *voice) {
    return service_options(voice->service)->log_subject;
}

static void write_subject(const struct voice *voice, char out[SUBJECT_SIZE]) {
    snprintf(out, SUBJECT_SIZE, "%s.%s.%s", prefix_of(voice), service_name(voice->service),
             service_instance(voice->service));
}

/* ---- publishing ---- */

static bool publish(const struct voice *voice, const struct log_record *record) {
    char subject[SUBJECT_SIZE];
    size_t len;
    char *json = log_as_json(record, &len);
    if (json == NULL)
        return false;
    write_subject(voice, subject);
    int rc = link_publish(service_link(voice->service),
                          &(struct link_out){.subject = subject, .data = json, .len = len});
    free(json);
    return rc == LN_OK;
}

static bool can_publish(const struct voice *voice) {
    const struct link *link = service_link(voice->service);
    struct link_stats stats;
    if (link == NULL || !link_is_connected(link))
        return false;
    link_get_stats(link, &stats);
    return stats.buffered < BUFFERED_MAX;
}

/* Only to those who have missed them: on standard error they are. */
static void tell_lost(struct voice *voice, const struct log_record *record) {
    struct log_field field = {"lines", LOG_TYPE_INT, {.integer = (int64_t)voice->lost}};
    bool told = publish(voice, &(struct log_record){
                                   .level = LOG_LEVEL_WARN,
                                   .time_ms = record->time_ms,
                                   .service = record->service,
                                   .message = "log lines were not published: there was no "
                                              "connection, or it was too slow",
                                   .fields = &field,
                                   .field_count = 1,
                               });
    if (told)
        voice->lost = 0;
}

static void on_record(struct log_copy *copy, const struct log_record *record) {
    struct voice *voice = container_of(copy, struct voice, copy);
    if (record->service == NULL || strcmp(record->service, service_name(voice->service)) != 0)
        return;
    if (voice->refused)
        return;
    if (voice->lost > 0 && can_publish(voice))
        tell_lost(voice, record);
    if (!can_publish(voice) || !publish(voice, record))
        voice->lost++;
}

static void on_connection(struct connection_watcher *watcher, const char *state,
                          const char *detail) {
    struct voice *voice = container_of(watcher, struct voice, watcher);
    (void)detail;
    if (strcmp(state, "connected") == 0)
        voice->refused = false;
}

bool voice_refused(struct voice *voice, const char *text) {
    char subject[SUBJECT_SIZE];
    if (voice->service == NULL || prefix_of(voice) == NULL || text == NULL)
        return false;
    write_subject(voice, subject);
    if (strstr(text, subject) == NULL)
        return false;
    if (!voice->refused) {
        voice->refused = true; /* before the line that says so */
        log_warn(service_name(voice->service), "log lines are not published: %s", text);
    }
    return true;
}

/* ---- the level ---- */

static void tell_level(const struct voice *voice, enum log_level level) {
    log_info(service_name(voice->service), "the log level is %s from now on",
             log_level_name(level));
}

/* The line that tells is seen if one of the two levels lets it. */
static void change(struct voice *voice, bool changed, enum log_level level) {
    const char *name = service_name(voice->service);
    enum log_level before = log_level_of(name);
    if (before < level)
        tell_level(voice, level);
    voice->changed = changed;
    if (changed)
        log_override_set(&voice->override, name, level);
    else
        log_override_clear(&voice->override);
    if (before > level)
        tell_level(voice, level);
}

void voice_set_level(struct voice *voice, enum log_level level) {
    change(voice, true, level);
}

void voice_reset_level(struct voice *voice) {
    change(voice, false, log_level_of(NULL));
}

/* ---- requests ---- */

/* Copies the word, without blanks and quotes around it; false: it cannot be one of ours. */
static bool read_word(const struct message *msg, char out[LEVEL_SIZE]) {
    static const char around[] = " \t\r\n\"";
    const char *at = msg->data + strspn(msg->data, around);
    size_t len = strlen(at);
    bool zeros = at + len != msg->data + msg->len;
    while (len > 0 && strchr(around, at[len - 1]) != NULL)
        len--;
    if (zeros || len >= LEVEL_SIZE)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

/* Does what the request says; false: it says nothing that we know. */
static bool obey(struct voice *voice, const struct message *msg) {
    char word[LEVEL_SIZE];
    enum log_level level;
    if (!read_word(msg, word))
        return false;
    if (strcmp(word, "reset") == 0)
        voice_reset_level(voice);
    else if (log_level_parse(word, &level))
        voice_set_level(voice, level);
    else
        return word[0] == '\0';
    return true;
}

static void reply(const struct voice *voice, const char *to) {
    char body[128];
    int len = snprintf(body, sizeof(body), "{\"level\":\"%s\",\"option\":\"%s\"}",
                       log_level_name(log_level_of(service_name(voice->service))),
                       log_level_name(log_level_of(NULL)));
    link_publish(
        service_link(voice->service),
        &(struct link_out){.subject = to, .data = body, .len = (size_t)len, .checked = true});
}

static void on_request(void *owner, struct message *msg) {
    struct voice *voice = owner;
    struct link *link = service_link(voice->service);
    bool ok = obey(voice, msg);
    if (msg->reply != NULL && !link_may_answer(link, msg->reply))
        answer_refused(&voice->refusals, service_name(voice->service), "control", "log_level",
                       msg->reply);
    else if (msg->reply != NULL && ok)
        reply(voice, msg->reply);
    else
        reply_error(
            link, msg->reply, 400,
            "not a log level: debug, info, warn, error, off, or reset; an empty request "
            "asks for it");
    message_free(msg);
}

int voice_listen(struct voice *voice) {
    char subject[SUBJECT_SIZE];
    struct link_sub *sub; /* ends with the link, before the service */
    snprintf(subject, sizeof(subject), "lunats.control.%s.%s.log_level",
             service_name(voice->service), service_instance(voice->service));
    return link_subscribe(service_link(voice->service), subject,
                          &(struct link_sub_options){.prompt = true}, on_request, NULL, voice,
                          &sub);
}

/* ---- life ---- */

void voice_open(struct voice *voice, struct service *service) {
    voice->service = service;
    if (prefix_of(voice) == NULL)
        return;
    voice->copy.on_record = on_record;
    log_copy_add(&voice->copy);
    voice->watcher.on_change = on_connection;
    list_push_back(&service_vitals(service)->watchers, &voice->watcher.node);
}

void voice_close(struct voice *voice) {
    list_remove(&voice->watcher.node);
    log_copy_remove(&voice->copy);
    log_override_clear(&voice->override);
}
