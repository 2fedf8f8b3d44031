/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a port of ours is: "127.0.0.1:8080", "[::1]:8080", "localhost:0", "unix:/run/x", or
 * "systemd:NAME" for a socket that whoever has started us listens on already (sd_listen_fds(3),
 * FileDescriptorName=).
 */
#ifndef LUNATS_BASE_ADDRESS_H
#define LUNATS_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un local;
    } to;
    socklen_t len;
    char given[48]; /* the name of a socket that is there already; "": there is none */
};

/* Reads it. Returns NULL, or what is wrong, to follow the text; static. No name is looked up
 * but "localhost": that could block. */
const char *address_parse(struct address *out, const char *text);

bool address_is_unix(const struct address *address);
/* Nobody on another machine gets there: a loopback address, or a path. */
bool address_is_local(const struct address *address);
/* All addresses of the machine: 0.0.0.0 or [::]. */
bool address_is_any(const struct address *address);

/* "127.0.0.1:8080", "[::1]:8080" or "unix:/run/x". */
#define ADDRESS_TEXT_SIZE 128
void address_text(const struct address *address, char out[ADDRESS_TEXT_SIZE]);
/* Without the port. */
void address_host(const struct address *address, char out[ADDRESS_TEXT_SIZE]);

/*
 * Listens there: *fd is the caller's, and *address has the real port instead of 0. The socket
 * file of a process that is gone is replaced; a new one is for its owner only (0600). Returns
 * LN_OK or a code of libuv, with a reason for people in `error`.
 */
int address_listen(struct address *address, int *fd, char *error, size_t size);

/* Removes the socket file, if we have made one. Before the descriptor is closed. */
void address_unlink(const struct address *address);

#endif
