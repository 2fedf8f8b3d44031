/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a broker: the program, the directory, the configuration, the log and the ports
 * file. Part of the module broker; nobody else includes it. Some calls wait for the disk: those
 * marked "worker" belong to a thread of the pool.
 */
#ifndef LUNATS_BROKER_FILES_H
#define LUNATS_BROKER_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include <sys/types.h>

#include "host/base/unique.h"

#define BROKER_TEXT_SIZE 2048 /* of messages to the owner */
#define BROKER_URL_SIZE 128

/* Strings are owned. All zero, but lock -1, is empty. */
struct broker_files {
    char *binary;      /* as asked for; its path once prepared */
    char *dir;         /* as asked for; NULL: a temporary one is made */
    char *config_text; /* contents of config_file, or NULL */
    char *config_file;
    char *config_include;       /* see broker.h */
    char password[UNIQUE_SIZE]; /* that the server asks for; "": see broker.h */
    bool temporary;             /* dir was made here and goes away */
    int lock;                   /* descriptor of the locked directory; -1: none */
};

/*
 * Worker. Finds the program, makes the directory, writes the configuration. Returns LN_OK, or
 * a status with a message in `text`.
 */
int broker_files_prepare(struct broker_files *files, char text[BROKER_TEXT_SIZE]);

/* Worker. Removes the temporary directory with all that is in it. */
void broker_files_remove(const struct broker_files *files);

/* Frees the strings and the lock. Removes nothing but the file with the password. */
void broker_files_free(struct broker_files *files);

/* Opens the log for appending; returns a descriptor or a status. *start: its size so far. */
int broker_files_open_log(const struct broker_files *files, off_t *start);

/* Adds the end of what was logged since `start` to a message, on lines of its own. */
void broker_files_append_log(const struct broker_files *files, off_t start,
                             char text[BROKER_TEXT_SIZE]);

/* Reads the ports file of a server; false while it is not there or not complete. `url` has user
 * and password. */
bool broker_files_read_ports(const struct broker_files *files, pid_t pid,
                             char url[BROKER_URL_SIZE], int *port);

/* Removes the ports file that a killed server left behind, if there is one. */
void broker_files_remove_ports(const struct broker_files *files, pid_t pid);

#endif
