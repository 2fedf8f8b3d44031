/* SPDX-License-Identifier: Apache-2.0 */
#include "host/broker/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/status.h"

#define LOG_TAIL 1200 /* bytes of the server's log shown in a message */
#define DIR_PREFIX "lunats-broker."
#define LOG_NAME "nats-server.log"
#define USER "lunats"

/* Writes a message and passes the status on. */
__attribute__((format(printf, 3, 4))) static int fail(char text[BROKER_TEXT_SIZE], int status,
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(text, BROKER_TEXT_SIZE, format, args);
    va_end(args);
    return status;
}

/* ---- preparing ---- */

static bool is_executable(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Finds a program by name in a list of folders; returns a path to be freed, or NULL. */
static char *search_folders(const char *folders, const char *name) {
    while (folders != NULL && *folders != '\0') {
        size_t len = strcspn(folders, ":");
        char *path = NULL;
        if (asprintf(&path, "%.*s/%s", (int)len, folders, name) < 0)
            return NULL;
        if (len > 0 && is_executable(path))
            return path;
        free(path);
        folders += len + (folders[len] == ':');
    }
    return NULL;
}

static int find_binary(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    const char *name = files->binary;
    char *path = NULL;
    if (strchr(name, '/') != NULL)
        path = is_executable(name) ? strdup(name) : NULL;
    else if ((path = search_folders(getenv("PATH"), name)) == NULL)
        path = search_folders("/usr/local/bin:/usr/sbin", name);
    if (path == NULL)
        return fail(text, UV_ENOENT,
                    "%s not found: install it (apt-get install nats-server) or set NATS_SERVER",
                    name);
    free(files->binary);
    files->binary = path;
    return LN_OK;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

/* Removes a directory of ours with all that is in it; symbolic links are not followed. */
static void remove_tree(const char *path) {
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/*
 * Tells whether a temporary directory was left behind: its owner's process is gone, and nobody
 * holds the lock on it (which also protects owners in another container that shares the
 * folder).
 */
static bool is_leftover(const char *path, const char *name) {
    char *end;
    long pid = strtol(name + strlen(DIR_PREFIX), &end, 10);
    if (pid <= 0 || pid > INT_MAX || *end != '.' || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
        return false;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct stat st;
    bool dead =
        fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return dead;
}

static void remove_leftovers(const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        if (strncmp(entry->d_name, DIR_PREFIX, strlen(DIR_PREFIX)) != 0 ||
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path))
            continue;
        if (is_leftover(path, entry->d_name))
            remove_tree(path);
    }
    closedir(dir);
}

static int make_temporary(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    const char *folder = getenv("TMPDIR");
    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    remove_leftovers(folder);
    if (asprintf(&files->dir, "%s/" DIR_PREFIX "%ld.XXXXXX", folder, (long)getpid()) < 0) {
        files->dir = NULL;
        return fail(text, LN_ENOMEM, "out of memory");
    }
    if (mkdtemp(files->dir) == NULL) {
        int status = uv_translate_sys_error(errno);
        free(files->dir);
        files->dir = NULL;
        return fail(text, status, "cannot make a temporary directory in %s: %s", folder,
                    uv_strerror(status));
    }
    files->temporary = true;
    files->lock = open(files->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->lock >= 0)
        flock(files->lock, LOCK_EX | LOCK_NB);
    return LN_OK;
}

/* As `mkdir -p`, but what it makes is private. Changes the string on the way only. */
static int make_folders(char *path) {
    if (*path == '\0')
        return UV_ENOENT;
    for (char *slash = path; slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        int rc = mkdir(path, 0700) < 0 && errno != EEXIST ? errno : 0;
        if (slash != NULL)
            *slash = '/';
        if (rc != 0)
            return uv_translate_sys_error(rc);
    }
    return LN_OK;
}

/* A directory of the owner's. Two servers that store in it would destroy what is there. */
static int take_dir(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    int status = make_folders(files->dir);
    if (status != LN_OK)
        return fail(text, status, "cannot make the folder %s: %s", files->dir,
                    uv_strerror(status));
    files->lock = open(files->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->lock >= 0 && flock(files->lock, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return fail(text, UV_EBUSY, "the folder %s is in use: another nats-server stores in it",
                    files->dir);
    if (files->lock < 0 || access(files->dir, W_OK | X_OK) < 0) {
        status = uv_translate_sys_error(errno);
        return fail(text, status, "cannot store in %s: %s", files->dir, uv_strerror(status));
    }
    return LN_OK;
}

static int make_dir(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    return files->dir == NULL ? make_temporary(files, text) : take_dir(files, text);
}

/*
 * The line that includes a file of the owner's, to be freed: nats-server takes its path for one
 * below the folder of our configuration, absolute or not. "" without such a file; NULL: out of
 * memory, or the path has a quote in it.
 */
static char *include_line(const struct broker_files *files) {
    if (files->config_include == NULL)
        return strdup("");
    char up[PATH_MAX] = "", *line = NULL;
    for (const char *at = files->dir; *at != '\0' && strlen(up) + 4 < sizeof(up); at++)
        if (*at == '/' && at[1] != '\0')
            strcat(up, "../");
    if (strpbrk(files->config_include, "\"\n\\") != NULL ||
        asprintf(&line, "include \"%s%s\"\n", up, files->config_include + 1) < 0)
        return NULL;
    return line;
}

/* Without a configuration of the owner's the server asks for a password that nobody can guess:
 * other users of the machine reach its port, too. */
static int make_password(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    if (files->config_text != NULL || files->config_file != NULL)
        return LN_OK;
    int rc = unique_name(files->password);
    if (rc < 0)
        return fail(text, rc, "no password for nats-server: %s", uv_strerror(rc));
    if (files->config_include != NULL && files->config_include[0] != '/') /* no real path */
        return fail(text, UV_ENOENT, "there is no file %s", files->config_include);
    char *include = include_line(files);
    if (include == NULL)
        return fail(text, LN_EINVAL, "cannot include %s: is there a quote in its name?",
                    files->config_include);
    rc = asprintf(&files->config_text,
                  "authorization { user: \"" USER "\", password: \"%s\" }\n%s", files->password,
                  include);
    free(include);
    if (rc >= 0)
        return LN_OK;
    files->config_text = NULL;
    return fail(text, LN_ENOMEM, "out of memory");
}

/* Creates a file that only this user reads, whatever stood there before. */
static bool write_private(const char *path, const char *content) {
    if (unlink(path) < 0 && errno != ENOENT)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = fputs(content, file) >= 0;
    return fclose(file) == 0 && ok;
}

/* A configuration given as text becomes a file next to the log. */
static int write_config(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    if (files->config_text == NULL)
        return LN_OK;
    char *path = NULL;
    if (asprintf(&path, "%s/nats-server.conf", files->dir) < 0)
        return fail(text, LN_ENOMEM, "out of memory");
    if (!write_private(path, files->config_text)) {
        int status = uv_translate_sys_error(errno);
        fail(text, status, "cannot write %s: %s", path, uv_strerror(status));
        free(path);
        return status;
    }
    free(files->config_file);
    files->config_file = path;
    return LN_OK;
}

/* A script may change the working directory before the server is started again. */
static void make_absolute(char **path) {
    char *absolute = *path != NULL ? realpath(*path, NULL) : NULL;
    if (absolute == NULL)
        return; /* the server will say what is wrong with it */
    free(*path);
    *path = absolute;
}

int broker_files_prepare(struct broker_files *files, char text[BROKER_TEXT_SIZE]) {
    int rc = find_binary(files, text);
    if (rc == LN_OK)
        rc = make_dir(files, text);
    make_absolute(&files->binary);
    make_absolute(&files->dir);
    make_absolute(&files->config_file);
    make_absolute(&files->config_include);
    if (rc == LN_OK)
        rc = make_password(files, text);
    if (rc == LN_OK)
        rc = write_config(files, text);
    return rc;
}

void broker_files_remove(const struct broker_files *files) {
    if (files->temporary)
        remove_tree(files->dir);
}

void broker_files_free(struct broker_files *files) {
    if (files->password[0] != '\0' && files->config_file != NULL && !files->temporary)
        unlink(files->config_file);
    if (files->lock >= 0)
        close(files->lock);
    free(files->binary);
    free(files->dir);
    free(files->config_text);
    free(files->config_file);
    free(files->config_include);
}

/* ---- log ---- */

static char *path_in_dir(const struct broker_files *files, const char *name) {
    char *path = NULL;
    return asprintf(&path, "%s/%s", files->dir, name) < 0 ? NULL : path;
}

int broker_files_open_log(const struct broker_files *files, off_t *start) {
    char *path = path_in_dir(files, LOG_NAME);
    if (path == NULL)
        return LN_ENOMEM;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    free(path);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    *start = lseek(fd, 0, SEEK_END);
    return fd;
}

void broker_files_append_log(const struct broker_files *files, off_t start,
                             char text[BROKER_TEXT_SIZE]) {
    char *path = path_in_dir(files, LOG_NAME);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    free(path);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= start) {
        if (fd >= 0)
            close(fd);
        return;
    }
    off_t from = st.st_size - start > LOG_TAIL ? st.st_size - LOG_TAIL : start;
    char tail[LOG_TAIL + 1];
    ssize_t n = pread(fd, tail, LOG_TAIL, from);
    close(fd);
    while (n > 0 && (tail[n - 1] == '\n' || tail[n - 1] == ' '))
        n--;
    if (n <= 0)
        return;
    tail[n] = '\0';
    char *lines = tail;
    if (from > start && strchr(tail, '\n') != NULL)
        lines = strchr(tail, '\n') + 1; /* the first line is cut */
    size_t len = strlen(text);
    snprintf(text + len, BROKER_TEXT_SIZE - len, "\n%s", lines);
}

/* ---- ports ---- */

/* Opens "<name of the binary>_<pid>.ports"; returns NULL while there is none. */
static FILE *open_ports_file(const struct broker_files *files, pid_t pid, char path[PATH_MAX]) {
    char suffix[32];
    int len = snprintf(suffix, sizeof(suffix), "_%ld.ports", (long)pid);
    DIR *dir = opendir(files->dir);
    FILE *file = NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (n < (size_t)len || strcmp(entry->d_name + n - (size_t)len, suffix) != 0)
            continue;
        snprintf(path, PATH_MAX, "%s/%s", files->dir, entry->d_name);
        file = fopen(path, "re");
        break;
    }
    if (dir != NULL)
        closedir(dir);
    return file;
}

/* It holds {"nats":["nats://127.0.0.1:38071"],...}. */
bool broker_files_read_ports(const struct broker_files *files, pid_t pid,
                             char url[BROKER_URL_SIZE], int *port) {
    char path[PATH_MAX], json[4096];
    FILE *file = open_ports_file(files, pid, path);
    if (file == NULL)
        return false;
    size_t n = fread(json, 1, sizeof(json) - 1, file);
    fclose(file);
    json[n] = '\0';
    while (n > 0 && (json[n - 1] == '\n' || json[n - 1] == ' '))
        n--;
    const char *list = strstr(json, "\"nats\":[\"");
    if (n == 0 || json[n - 1] != '}' || list == NULL)
        return false;
    const char *first = list + strlen("\"nats\":[\"");
    size_t len = strcspn(first, "\"");
    const char *colon = memrchr(first, ':', len);
    long number = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
    const char *host = memmem(first, len, "://", 3);
    if (number <= 0 || number > 65535 || host == NULL)
        return false;
    host += 3;
    const char *password = files->password;
    int written = snprintf(url, BROKER_URL_SIZE, "%.*s%s%s%s%.*s", (int)(host - first), first,
                           *password ? USER ":" : "", password, *password ? "@" : "",
                           (int)(first + len - host), host);
    *port = (int)number;
    return written < BROKER_URL_SIZE;
}

void broker_files_remove_ports(const struct broker_files *files, pid_t pid) {
    char path[PATH_MAX];
    FILE *file = open_ports_file(files, pid, path);
    if (file == NULL)
        return;
    fclose(file);
    unlink(path);
}
