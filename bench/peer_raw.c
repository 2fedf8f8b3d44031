/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: an echo service of one blocking socket, without a client library. It answers all
 * requests of a read with one write and understands as much of the protocol as that takes.
 *
 *     NATS_URL=nats://127.0.0.1:4222 peer_raw bench.echo
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char in[1 << 20], out[1 << 21];
static size_t in_len, out_len;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int dial(unsigned port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

static void put(const void *data, size_t len) {
    if (out_len + len > sizeof(out)) {
        fprintf(stderr, "peer_raw: too much at once\n");
        exit(1);
    }
    memcpy(out + out_len, data, len);
    out_len += len;
}

/* Answers "MSG subject sid reply-to len" and its payload; returns false if it is not whole. */
static int answer(const char *line, size_t line_len, size_t *used) {
    char *space[3], *at = in + *used;
    for (int i = 0; i < 3; i++) { /* after MSG, the subject and the sid */
        at = memchr(at, ' ', line_len - (size_t)(at - line));
        if (at == NULL) {
            fprintf(stderr, "peer_raw: a line without a reply subject\n");
            exit(1);
        }
        space[i] = at++;
    }
    char *len_text = memchr(at, ' ', line_len - (size_t)(at - line));
    size_t len = len_text != NULL ? strtoul(len_text, NULL, 10) + 2 : 0;
    if (line_len + len > in_len - *used)
        return 0;
    put("PUB", 3);
    put(space[2], line_len - (size_t)(space[2] - line));
    put(line + line_len, len);
    *used += line_len + len;
    return 1;
}

/* Answers all whole lines; what is left stays for the next read. */
static void answer_all(void) {
    size_t used = 0;
    char *end;
    while ((end = memchr(in + used, '\n', in_len - used)) != NULL) {
        size_t line_len = (size_t)(end + 1 - (in + used));
        if (in[used] == 'M') {
            if (!answer(in + used, line_len, &used))
                break;
            continue;
        }
        if (strncmp(in + used, "PING", 4) == 0)
            put("PONG\r\n", 6);
        used += line_len;
    }
    in_len -= used;
    memmove(in, in + used, in_len);
}

int main(int argc, char **argv) {
    const char *url = getenv("NATS_URL"), *port = url != NULL ? strrchr(url, ':') : NULL;
    if (argc != 2 || port == NULL)
        return 2;
    int fd = dial((unsigned)atoi(port + 1));
    out_len = (size_t)snprintf(out, sizeof(out),
                               "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"raw\","
                               "\"version\":\"0\",\"protocol\":1,\"headers\":false}\r\n"
                               "SUB %s 1\r\n",
                               argv[1]);
    for (;;) {
        for (size_t done = 0; done < out_len;) {
            ssize_t n = write(fd, out + done, out_len - done);
            if (n < 0)
                die("write");
            done += (size_t)n;
        }
        out_len = 0;
        ssize_t n = read(fd, in + in_len, sizeof(in) - in_len);
        if (n <= 0)
            return 0;
        in_len += (size_t)n;
        answer_all();
    }
}
