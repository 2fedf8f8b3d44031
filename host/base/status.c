/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/status.h"

#include <stddef.h>

#include <uv.h>

static const struct {
    int status;
    const char *word;
    const char *text;
} table[] = {
    {LN_OK, "ok", "success"},
    {LN_ENOMEM, "no_memory", "out of memory"},
    {LN_ETIMEOUT, "timeout", "timed out"},
    {LN_ENORESPONDERS, "no_responders", "nobody listens to this subject"},
    {LN_EDISCONNECTED, "disconnected", "not connected to the NATS server"},
    {LN_ECLOSED, "closed", "the connection is closed"},
    {LN_ECANCELLED, "cancelled", "cancelled"},
    {LN_ETOOLARGE, "too_large",
     "more than the server takes: max_payload, or max_control_line for the subjects"},
    {LN_EPERMISSION, "permission", "the server does not permit this subject"},
    {LN_EINVAL, "invalid", "invalid subject or header"},
    {LN_EAUTH, "permission", "the server refused the credentials"},
    {LN_EFULL, "full", "the buffer is full"},
    {LN_ENATS, "nats", "the connection reported an error"},
    {LN_ESCRIPT, "script", "the script failed"},
    {LN_ENOSERVER, "disconnected", "no NATS server could be reached"},
    {LN_EJETSTREAM, "jetstream", "the JetStream API refused"},
    {LN_ESERVICE, "service_error", "the service answered with an error"},
    {LN_EINBOX, "permission",
     "the server does not permit the inbox that replies come to; --inbox-prefix PREFIX names "
     "one that this user may subscribe to"},
    {LN_EANSWER, "refused", "the reply subject of the message belongs to the server"},
    {LN_ECONSUMER_LOST, "consumer_lost", "the consumer is gone"},
    {LN_ETLS, "tls", "TLS failed"},
};

const char *status_word(int status) {
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].word;
    return status < 0 ? uv_err_name(status) : "error";
}

const char *status_text(int status) {
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].text;
    return status < 0 ? uv_strerror(status) : "unknown error";
}
