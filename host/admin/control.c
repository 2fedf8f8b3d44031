/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator may change by the port: with --control, the token, and from our own pages.
 */
#include <stdlib.h>
#include <string.h>

#include "host/admin/internal.h"
#include "host/base/container_of.h"
#include "host/service/service.h"
#include "host/service/voice.h"

/* A request that waits for the end of its reloads. */
struct change {
    struct admin_wait wait;
    struct admin *admin;
    struct http_request *request; /* NULL: the port has ended */
    struct text reloaded, failed; /* of the answer */
    size_t underway;
};

/* The reload of one service; on_reloaded() frees it. */
struct renewal {
    struct change *change;
    char *service; /* owned */
};

static void put_item(struct text *list, const char *service, const char *why) {
    text_puts(list, list->len > 0 ? "," : "");
    if (why == NULL) {
        text_json(list, service);
        return;
    }
    text_puts(list, "{\"service\":");
    text_json(list, service);
    text_puts(list, ",\"why\":");
    text_json(list, why);
    text_puts(list, "}");
}

/* One reload is over, or all have been begun. */
static void leave(struct change *change) {
    struct text text = {0};
    if (--change->underway > 0)
        return;
    bool failed = change->failed.len > 0;
    text.failed = change->reloaded.failed || change->failed.failed;
    text_puts(&text, "{\"reloaded\":[");
    text_put(&text, change->reloaded.bytes != NULL ? change->reloaded.bytes : "",
             change->reloaded.len);
    text_puts(&text, "],\"failed\":[");
    text_put(&text, failed ? change->failed.bytes : "", change->failed.len);
    text_puts(&text, "]}\n");
    if (change->request != NULL)
        admin_answer(change->admin, change->request, failed ? 500 : 200, "application/json",
                     &text);
    else
        text_free(&text);
    text_free(&change->reloaded);
    text_free(&change->failed);
    free(change);
}

static void on_reloaded(void *owner, int status, const char *text) {
    struct renewal *renewal = owner;
    struct change *change = renewal->change;
    if (status == LN_OK)
        put_item(&change->reloaded, renewal->service, NULL);
    else
        put_item(&change->failed, renewal->service, text != NULL ? text : status_text(status));
    free(renewal->service);
    free(renewal);
    leave(change);
}

static void reload(struct change *change, struct service *service) {
    struct renewal *renewal = malloc(sizeof(*renewal));
    char *name = strdup(service_name(service));
    int rc = LN_ENOMEM;
    if (renewal != NULL && name != NULL) {
        *renewal = (struct renewal){change, name};
        rc = change->admin->options.reload(change->admin->options.owner, service, on_reloaded,
                                           renewal);
    }
    if (rc == LN_OK) {
        change->underway++;
        return;
    }
    put_item(&change->failed, service_name(service),
             rc == LN_EFULL     ? "a reload is under way"
             : rc == LN_ECLOSED ? "it does not run"
                                : status_text(rc));
    free(renewal);
    free(name);
}

static void give_up(struct http_request *request) {
    struct change *change =
        container_of((struct admin_wait *)request->data, struct change, wait);
    change->request = NULL;
}

static bool is_called(const struct service *service, const char *wanted) {
    return strcmp(service_name(service), wanted) == 0 ||
           strcmp(service_instance(service), wanted) == 0;
}

void page_reload(struct admin *admin, struct http_request *request) {
    char wanted[ADMIN_LABEL_SIZE] = "";
    struct service *service = NULL;
    size_t found = 0;
    if (!admin->options.control) {
        admin_refuse(admin, request, 403, "lunats was started without --control");
        return;
    }
    bool one = admin_query(request, "service", wanted, sizeof(wanted));
    if (*request->query != '\0' && !one) {
        admin_refuse(admin, request, 400,
                     "the query is service=NAME, or its instance, or nothing for all");
        return;
    }
    struct change *change = calloc(1, sizeof(*change));
    if (change == NULL) {
        admin_refuse(admin, request, 503, status_text(LN_ENOMEM));
        return;
    }
    *change = (struct change){{give_up}, admin, request, .underway = 1};
    request->data = &change->wait;
    bool looks = !one && admin->options.look != NULL;
    if (looks)
        admin->options.look(admin->options.owner);
    while ((service = admin_next(admin, service)) != NULL) {
        if (one && !is_called(service, wanted))
            continue;
        if (looks && service_state(service) < SERVICE_RUNNING)
            continue; /* it loads what there is now */
        reload(change, service);
        found++;
    }
    if (found > 0 || looks) {
        leave(change);
        return;
    }
    free(change);
    request->data = NULL;
    admin_refuse(admin, request, 404, "there is no such service here");
}

/* ---- the level of the log ---- */

static struct service *find_service(struct admin *admin, const char *wanted) {
    struct service *at = NULL;
    while ((at = admin_next(admin, at)) != NULL)
        if (is_called(at, wanted))
            return at;
    return NULL;
}

static void answer_level(struct admin *admin, struct http_request *request,
                         const struct service *service) {
    struct text text = {0};
    text_puts(&text, "{\"service\":");
    text_json(&text, service_name(service));
    text_printf(&text, ",\"level\":\"%s\",\"option\":\"%s\"}\n",
                log_level_name(log_level_of(service_name(service))),
                log_level_name(log_level_of(NULL)));
    admin_answer(admin, request, 200, "application/json", &text);
}

void page_log_level(struct admin *admin, struct http_request *request) {
    char wanted[ADMIN_LABEL_SIZE] = "", word[16] = "";
    enum log_level level = LOG_LEVEL_INFO;
    if (!admin->options.control) {
        admin_refuse(admin, request, 403, "lunats was started without --control");
        return;
    }
    bool complete = admin_query(request, "service", wanted, sizeof(wanted)) &&
                    admin_query(request, "level", word, sizeof(word));
    bool reset = strcmp(word, "reset") == 0;
    if (!complete || (!reset && !log_level_parse(word, &level))) {
        admin_refuse(admin, request, 400,
                     "the query is service=NAME&level=LEVEL, one of debug, info, warn, error, "
                     "off and reset");
        return;
    }
    struct service *service = find_service(admin, wanted);
    if (service == NULL || service_state(service) != SERVICE_RUNNING) {
        admin_refuse(admin, request, 404, "no such service runs here");
        return;
    }
    struct voice *voice = service_voice(service);
    if (reset)
        voice_reset_level(voice);
    else
        voice_set_level(voice, level);
    answer_level(admin, request, service);
}
