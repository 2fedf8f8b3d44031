/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "host/base/file.h"
#include "host/base/status.h"

#define FILE_SIZE 65536

__attribute__((format(printf, 3, 4))) static int refuse(char *text, size_t size,
                                                        const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(text, size, format, args);
    va_end(args);
    return LN_EINVAL;
}

/* ---- credentials and seeds ---- */

/* Cuts the next line off, without the blanks around it. */
static char *next_line(char **at) {
    char *line = *at + strspn(*at, " \t\r\n");
    if (*line == '\0')
        return NULL;
    char *end = line + strcspn(line, "\r\n");
    *at = *end != '\0' ? end + 1 : end;
    while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    return line;
}

static void find_keys(struct keys *out, char *bytes) {
    for (char *line; (line = next_line(&bytes)) != NULL;) {
        size_t len = strlen(line);
        if (len == NKEY_SEED_LEN && strncmp(line, "SU", 2) == 0)
            memcpy(out->seed, line, len + 1);
        else if (strncmp(line, "eyJ", 3) == 0 && len < sizeof(out->jwt))
            memcpy(out->jwt, line, len + 1);
    }
}

bool keys_are_bare(const char *path) {
    static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    return strncmp(path, "-----", 5) == 0 || strncmp(path, "eyJ", 3) == 0 ||
           strchr(path, '\n') != NULL ||
           (strncmp(path, "SU", 2) == 0 && strspn(path, base32) == strlen(path));
}

static bool is_inline(const char *path) {
    return strncmp(path, KEYS_INLINE, strlen(KEYS_INLINE)) == 0;
}

/* How messages name it: what is inline is secret. */
static const char *shown(const char *path) {
    if (is_inline(path))
        return "what the environment or the context gives as keys";
    return keys_are_bare(path) ? "a key in the place of a path" : path;
}

static int read_file(const char *path, char *bytes, size_t size, char *text, size_t text_size) {
    if (is_inline(path)) {
        snprintf(bytes, size, "%s", path + strlen(KEYS_INLINE));
        return LN_OK;
    }
    size_t len;
    int rc = file_read(path, bytes, size, &len);
    if (rc == -EFBIG)
        return refuse(text, text_size, "%s is too large", shown(path));
    if (rc == -ETIMEDOUT)
        return refuse(text, text_size,
                      "cannot read %s: %s (keys are read again for each connection: a pipe "
                      "gives them once)",
                      shown(path), file_reason(rc));
    if (rc < 0)
        return refuse(text, text_size, "cannot read %s: %s", shown(path), file_reason(rc));
    return len > 0 ? LN_OK : refuse(text, text_size, "%s is empty", shown(path));
}

int keys_read(struct keys *out, const char *path, bool with_jwt, char *text, size_t size) {
    char bytes[FILE_SIZE];
    memset(out, 0, sizeof(*out));
    int rc = read_file(path, bytes, sizeof(bytes), text, size);
    if (rc == LN_OK)
        find_keys(out, bytes);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    if (rc != LN_OK)
        return rc;
    if (with_jwt && out->jwt[0] == '\0')
        return refuse(text, size, "%s holds no user JWT: is it a .creds file?", shown(path));
    if (out->seed[0] == '\0' || nkey_public(out->seed, out->public) != LN_OK)
        return refuse(text, size, "%s holds no valid user seed (a line that begins with SU)",
                      shown(path));
    return LN_OK;
}

void keys_forget(struct keys *keys) {
    OPENSSL_cleanse(keys, sizeof(*keys));
}

/* ---- PEM files ---- */

static const char *reason(void) {
    const char *word = ERR_reason_error_string(ERR_peek_last_error());
    return word != NULL ? word : "not PEM";
}

static BIO *open_pem(const char *path, char *text, size_t size) {
    if (!file_is_ordinary(path)) {
        refuse(text, size, "%s is no ordinary file: it is read more than once", shown(path));
        return NULL;
    }
    errno = 0;
    BIO *bio = BIO_new_file(path, "rbe");
    if (bio == NULL)
        refuse(text, size, "cannot read %s: %s", shown(path), strerror(errno));
    return bio;
}

static int read_certificate(const char *path, X509 **out, char *text, size_t size) {
    BIO *bio = open_pem(path, text, size);
    if (bio == NULL)
        return LN_EINVAL;
    X509 *found = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (found == NULL)
        return refuse(text, size, "%s holds no certificate: %s", path, reason());
    if (out != NULL)
        *out = found;
    else
        X509_free(found);
    return LN_OK;
}

static int refuse_passphrase(char *buffer, int size, int writing, void *asked) {
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int read_key(const char *path, EVP_PKEY **out, char *text, size_t size) {
    bool encrypted = false;
    BIO *bio = open_pem(path, text, size);
    if (bio == NULL)
        return LN_EINVAL;
    *out = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &encrypted);
    BIO_free(bio);
    if (encrypted)
        return refuse(text, size,
                      "%s is encrypted and nobody can be asked for its passphrase: write a "
                      "copy without one (openssl pkey -in %s -out ...)",
                      path, path);
    return *out != NULL ? LN_OK
                        : refuse(text, size, "%s holds no private key: %s", path, reason());
}

int keys_check_pem(const char *ca, const char *cert, const char *key, char *text, size_t size) {
    X509 *certificate = NULL;
    EVP_PKEY *private = NULL;
    ERR_clear_error();
    int rc = ca != NULL ? read_certificate(ca, NULL, text, size) : LN_OK;
    if (rc == LN_OK && (cert == NULL) != (key == NULL))
        rc = refuse(text, size, "a client certificate needs both files: %s is given alone",
                    cert != NULL ? cert : key);
    if (rc == LN_OK && cert != NULL && key != NULL)
        rc = read_certificate(cert, &certificate, text, size);
    if (rc == LN_OK && cert != NULL && key != NULL)
        rc = read_key(key, &private, text, size);
    if (rc == LN_OK && certificate != NULL && X509_check_private_key(certificate, private) != 1)
        rc = refuse(text, size, "%s is not the key of %s", key, cert);
    X509_free(certificate);
    EVP_PKEY_free(private);
    ERR_clear_error();
    return rc;
}
