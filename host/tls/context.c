/* SPDX-License-Identifier: Apache-2.0 */
#include "host/tls/context.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>

#include "host/base/status.h"
#include "host/dial/keys.h"

#define KEPT 8
#define NAME_SIZE 1024

/* Under the mutex. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kept {
    char name[NAME_SIZE]; /* of the files, and which version of them it was */
    SSL_CTX *context;     /* NULL: free */
    uint64_t used;
} kept[KEPT];
static uint64_t uses;

static const char *trusted_by_system(void) {
    const char *file = getenv(X509_get_default_cert_file_env());
    return file != NULL ? file : X509_get_default_cert_file();
}

/* False: the names are too long to be remembered. */
static bool describe(const struct tls_files *files, char out[NAME_SIZE]) {
    const char *paths[] = {files->ca != NULL ? files->ca : trusted_by_system(), files->cert,
                           files->key};
    size_t at = (size_t)snprintf(out, NAME_SIZE, "%d", files->any_peer);
    for (size_t i = 0; i < 3 && at < NAME_SIZE; i++) {
        struct stat st = {0};
        if (paths[i] != NULL)
            stat(paths[i], &st); /* one that is missing is told of by whoever reads it */
        at += (size_t)snprintf(out + at, NAME_SIZE - at, "\n%s %llx %llx %llx.%lx",
                               paths[i] != NULL ? paths[i] : "", (unsigned long long)st.st_ino,
                               (unsigned long long)st.st_size,
                               (unsigned long long)st.st_mtim.tv_sec,
                               (unsigned long)st.st_mtim.tv_nsec);
    }
    return at < NAME_SIZE;
}

static bool load(SSL_CTX *context, const struct tls_files *files) {
    bool ok = files->any_peer ||
              (files->ca != NULL ? SSL_CTX_load_verify_file(context, files->ca) == 1
                                 : SSL_CTX_set_default_verify_paths(context) == 1);
    if (ok && files->cert != NULL)
        ok = SSL_CTX_use_certificate_chain_file(context, files->cert) == 1 &&
             SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) == 1;
    return ok;
}

static int make(SSL_CTX **out, const struct tls_files *files, char *text, size_t size) {
    int rc = keys_check_pem(files->ca, files->cert, files->key, text, size);
    if (rc < 0)
        return rc;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        return LN_ENOMEM;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (load(context, files)) {
        *out = context;
        return LN_OK;
    }
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    snprintf(text, size, "cannot use the certificates: %s", why != NULL ? why : "no reason");
    ERR_clear_error();
    SSL_CTX_free(context);
    return LN_EINVAL;
}

/* The one of that name, or else the one that was used longest ago. */
static struct kept *find(const char *name) {
    struct kept *oldest = kept;
    for (size_t i = 0; i < KEPT; i++) {
        if (kept[i].context != NULL && strcmp(kept[i].name, name) == 0)
            return &kept[i];
        if (kept[i].used < oldest->used)
            oldest = &kept[i];
    }
    return oldest;
}

static int get(SSL_CTX **out, const struct tls_files *files, const char *name, char *text,
               size_t size) {
    struct kept *place = find(name);
    if (place->context == NULL || strcmp(place->name, name) != 0) {
        SSL_CTX *context;
        int rc = make(&context, files, text, size);
        if (rc < 0)
            return rc;
        SSL_CTX_free(place->context);
        place->context = context;
        strcpy(place->name, name);
    }
    place->used = ++uses;
    SSL_CTX_up_ref(place->context);
    *out = place->context;
    return LN_OK;
}

int tls_context(SSL_CTX **out, const struct tls_files *files, char *text, size_t size) {
    char name[NAME_SIZE];
    *text = '\0';
    if (!describe(files, name))
        return make(out, files, text, size);
    pthread_mutex_lock(&mutex);
    int rc = get(out, files, name, text, size);
    pthread_mutex_unlock(&mutex);
    return rc;
}
