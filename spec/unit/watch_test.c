/* SPDX-License-Identifier: Apache-2.0 */
/* Files in a temporary folder, changed in all the ways editors and deployments do it. */
#include "host/base/watch.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

static uv_loop_t loop;
static char folder[64];
static struct watch *watch;

static struct seen {
    int calls;
    char last[256];
    bool clear, close; /* what the next call does */
} seen;

static void on_change(void *owner, const char *path) {
    struct seen *s = owner;
    s->calls++;
    snprintf(s->last, sizeof(s->last), "%s", path);
    if (s->clear)
        watch_clear(watch);
    if (s->close)
        watch_close(watch);
}

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Runs the loop until there were `calls` or the time is over. */
static void run(int calls, uint64_t ms) {
    uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    uint64_t end = uv_hrtime() + ms * 1000000;
    while (seen.calls < calls && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* Nothing (more) comes. */
static void run_quiet(void) {
    run(1000, 150);
}

static const char *in(const char *name) {
    static char path[4][160];
    static int turn;
    char *at = path[turn++ % 4];
    snprintf(at, 160, "%s/%s", folder, name);
    return at;
}

static void put(const char *name, const char *text) {
    FILE *file = fopen(in(name), "w");
    if (file == NULL)
        return;
    fputs(text, file);
    fclose(file);
}

static void begin(void) {
    snprintf(folder, sizeof(folder), "/tmp/lunats-watch-XXXXXX");
    if (mkdtemp(folder) == NULL)
        exit(1);
    seen = (struct seen){0};
    uv_loop_init(&loop);
    if (watch_open(&watch, &loop, 0, on_change, &seen) < 0)
        exit(1);
}

static void end(void) {
    if (!seen.close)
        watch_close(watch);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_SOFT(uv_loop_close(&loop) == 0);
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    CHECK_SOFT(system(command) == 0);
}

#define CHECK_SEEN(count, path)                                                                \
    do {                                                                                       \
        run(count, 5000);                                                                      \
        CHECK_INT(seen.calls, count);                                                          \
        CHECK_STR(seen.last, path);                                                            \
    } while (0)

static void write_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    put("other.lua", "1");
    run_quiet();
    CHECK_INT(seen.calls, 0);
    put("a.lua", "2"); /* as long as before */
    CHECK_SEEN(1, in("a.lua"));
    for (int i = 0; i < 20; i++)
        put("a.lua", "a burst");
    CHECK_SEEN(2, in("a.lua"));
    run_quiet();
    CHECK_INT(seen.calls, 2);
}

static void rename_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    for (int i = 1; i <= 3; i++) { /* the inode is another one each time */
        put("a.lua.new", "2");
        CHECK_INT(rename(in("a.lua.new"), in("a.lua")), 0);
        CHECK_SEEN(i, in("a.lua"));
    }
    CHECK_INT(rename(in("a.lua"), in("a.lua~")), 0); /* vim: move away, write anew */
    put("a.lua", "3");
    CHECK_SEEN(4, in("a.lua"));
}

static void delete_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(watch_add(watch, in("later.lua")), LN_OK);
    unlink(in("a.lua"));
    run_quiet();
    CHECK_INT(seen.calls, 0);
    put("a.lua", "1");
    CHECK_SEEN(1, in("a.lua"));
    put("later.lua", "1");
    CHECK_SEEN(2, in("later.lua"));
}

/* ConfigMaps: a.lua -> data/a.lua, data -> v1, and data is turned to v2. */
static void link_body(void) {
    CHECK_INT(mkdir(in("v1"), 0700), 0);
    CHECK_INT(mkdir(in("v2"), 0700), 0);
    put("v1/a.lua", "1");
    put("v2/a.lua", "2");
    CHECK_INT(symlink("v1", in("data")), 0);
    CHECK_INT(symlink("data/a.lua", in("a.lua")), 0);
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(symlink("v2", in("data.new")), 0);
    CHECK_INT(rename(in("data.new"), in("data")), 0);
    CHECK_SEEN(1, in("a.lua"));
}

static void folder_body(void) {
    CHECK_INT(mkdir(in("spec"), 0700), 0);
    put("spec/old_spec.lua", "1");
    CHECK_INT(watch_add_folder(watch, in("spec/"), ".lua", false), LN_OK);
    put("spec/new_spec.lua", "1");
    CHECK_SEEN(1, in("spec/new_spec.lua"));
    put("spec/.hidden.lua", "1");
    put("spec/notes.txt", "1");
    run_quiet();
    CHECK_INT(seen.calls, 1);
    put("spec/old_spec.lua", "2");
    CHECK_SEEN(2, in("spec/old_spec.lua"));
}

static void replaced_body(void) {
    CHECK_INT(mkdir(in("src"), 0700), 0);
    put("src/a.lua", "1");
    CHECK_INT(watch_add(watch, in("src/a.lua")), LN_OK);
    CHECK_INT(rename(in("src"), in("away")), 0);
    run_quiet();
    CHECK_INT(seen.calls, 0);
    CHECK_INT(mkdir(in("src"), 0700), 0); /* git checkout */
    put("src/a.lua", "2");
    CHECK_SEEN(1, in("src/a.lua"));
    put("src/a.lua", "three");
    CHECK_SEEN(2, in("src/a.lua"));
}

static void missing_body(void) {
    CHECK_INT(watch_add_folder(watch, in("no"), ".lua", false), UV_ENOENT);
    CHECK_INT(watch_add(watch, in("no/way/a.lua")), LN_OK);
    CHECK_INT(mkdir(in("no"), 0700), 0);
    CHECK_INT(mkdir(in("no/way"), 0700), 0);
    put("no/way/a.lua", "1");
    CHECK_SEEN(1, in("no/way/a.lua"));
}

/* Turns a link to another target, in one step. */
static void turn(const char *name, const char *target) {
    CHECK_SOFT(symlink(target, in("turned")) == 0);
    CHECK_SOFT(rename(in("turned"), in(name)) == 0);
}

static void target_body(void) {
    CHECK_INT(mkdir(in("shared"), 0700), 0);
    CHECK_INT(mkdir(in("svc"), 0700), 0);
    put("shared/real.lua", "1");
    turn("svc/b.lua", "../shared/real.lua");
    turn("svc/a.lua", "b.lua");
    CHECK_INT(watch_add(watch, in("svc/a.lua")), LN_OK);
    put("shared/real.lua", "2");
    CHECK_SEEN(1, in("svc/a.lua"));
    put("svc/unrelated", "1");
    put("shared/unrelated", "1");
    run_quiet();
    CHECK_INT(seen.calls, 1);
    put("shared/other.lua", "2");
    turn("svc/b.lua", "../shared/other.lua");
    CHECK_SEEN(2, in("svc/a.lua"));
    put("shared/real.lua", "left behind");
    run_quiet();
    CHECK_INT(seen.calls, 2);
    put("shared/other.lua", "3");
    CHECK_SEEN(3, in("svc/a.lua"));
}

/* current -> v1/live, live -> src; the folder that was left may go. */
static void release_body(void) {
    CHECK_INT(mkdir(in("v1"), 0700), 0);
    CHECK_INT(mkdir(in("v1/src"), 0700), 0);
    CHECK_INT(mkdir(in("v2"), 0700), 0);
    put("v1/src/a.lua", "1");
    turn("v1/live", "src");
    put("v2/a.lua", "2");
    turn("current", in("v1/live"));
    CHECK_INT(watch_add(watch, in("current/a.lua")), LN_OK);
    CHECK_INT(watch_add_folder(watch, in("current"), ".lua", false), LN_OK);
    watch_keep(watch, NULL, 0); /* folders stay */
    CHECK_INT(watch_add(watch, in("current/a.lua")), LN_OK);
    turn("v1/live", "../v2");
    run(1, 5000);
    run_quiet();
    CHECK_INT(seen.calls, 1); /* for the file and the folder */
    CHECK_INT(unlink(in("v1/src/a.lua")), 0);
    CHECK_INT(rmdir(in("v1/src")), 0);
    run_quiet();
    CHECK_INT(seen.calls, 1);
    put("v2/a.lua", "three");
    CHECK_SEEN(2, in("current/a.lua"));
    put("v2/new.lua", "1");
    CHECK_SEEN(3, in("current/new.lua"));
    CHECK_INT(unlink(in("current")), 0); /* not in one step: gone for a while */
    run_quiet();
    CHECK_INT(seen.calls, 3);
    watch_clear(watch);
    CHECK_INT(watch_add(watch, in("current/a.lua")), LN_OK);
    turn("current", "v2");
    CHECK_SEEN(4, in("current/a.lua"));
}

static void circle_body(void) {
    turn("a.lua", "b.lua");
    turn("b.lua", "a.lua");
    CHECK_INT(watch_add(watch, in("a.lua")), UV_ELOOP);
}

/* Whoever adds a file reads it then. */
static void read_again_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    put("a.lua", "22");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    run_quiet();
    CHECK_INT(seen.calls, 0);
    put("a.lua", "333");
    CHECK_SEEN(1, in("a.lua"));
}

/* Events without a change: of the mode, of a write that has been seen already. */
static void same_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(chmod(in("a.lua"), 0600), 0);
    run_quiet();
    CHECK_INT(chmod(in("a.lua"), 0644), 0);
    run_quiet();
    CHECK_INT(seen.calls, 0);
}

static void truncated_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    put("a.lua", "");
    run_quiet(); /* longer than a burst */
    CHECK_INT(seen.calls, 0);
    put("a.lua", "2");
    CHECK_SEEN(1, in("a.lua"));
    run_quiet();
    CHECK_INT(seen.calls, 1);
    put("a.lua", ""); /* and stays so */
    CHECK_SEEN(2, in("a.lua"));
    put("a.lua", "3");
    CHECK_SEEN(3, in("a.lua"));
}

static void removals_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add_folder(watch, folder, ".lua", true), LN_OK);
    put("a.txt", "1");
    CHECK_INT(unlink(in("a.txt")), 0);
    run_quiet();
    CHECK_INT(seen.calls, 0);
    CHECK_INT(unlink(in("a.lua")), 0);
    CHECK_SEEN(1, folder);
    put("b.lua", "1");
    CHECK_SEEN(2, in("b.lua"));
}

static void poll_body(void) {
    watch_close(watch);
    CHECK_INT(watch_open(&watch, &loop, 20, on_change, &seen), LN_OK);
    put("a.lua", "1");
    CHECK_INT(mkdir(in("v1"), 0700), 0);
    CHECK_INT(mkdir(in("v2"), 0700), 0);
    put("v1/c.lua", "1");
    put("v2/c.lua", "2");
    CHECK_INT(symlink("v1", in("current")), 0);
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(watch_add(watch, in("b.lua")), LN_OK); /* not there yet */
    CHECK_INT(watch_add(watch, in("current/c.lua")), LN_OK);
    put("a.lua", "22"); /* before the first look of the thread, or after it */
    CHECK_SEEN(1, in("a.lua"));
    put("b.lua", "1");
    CHECK_SEEN(2, in("b.lua"));
    CHECK_INT(unlink(in("a.lua")), 0);
    run_quiet();
    CHECK_INT(seen.calls, 2);
    put("a.lua", "333");
    CHECK_SEEN(3, in("a.lua"));
    CHECK_INT(symlink("v2", in("turned")), 0);
    CHECK_INT(rename(in("turned"), in("current")), 0);
    CHECK_SEEN(4, in("current/c.lua"));
    CHECK_INT(watch_add_folder(watch, in("v1"), ".lua", false), LN_OK);
    put("v1/new.lua", "1");
    CHECK_SEEN(5, in("v1"));
}

static void clear_body(void) {
    put("a.lua", "1");
    put("b.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(watch_add(watch, in("b.lua")), LN_OK);
    seen.clear = true;
    put("a.lua", "2");
    put("b.lua", "2");
    run(1, 5000);
    run_quiet();
    CHECK_INT(seen.calls, 1);
    seen.clear = false;
    CHECK_INT(watch_add(watch, in("b.lua")), LN_OK);
    put("b.lua", "3");
    CHECK_SEEN(2, in("b.lua"));
}

/* A change from before is seen all the same. */
static void keep_body(void) {
    put("a.lua", "1");
    put("b.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    CHECK_INT(watch_add(watch, in("b.lua")), LN_OK);
    put("a.lua", "22");
    put("b.lua", "22");
    const char *kept = in("a.lua");
    watch_keep(watch, &kept, 1);
    CHECK_SEEN(1, in("a.lua"));
    put("b.lua", "333");
    run_quiet();
    CHECK_INT(seen.calls, 1);
    watch_keep(watch, NULL, 0);
    put("a.lua", "333");
    run_quiet();
    CHECK_INT(seen.calls, 1);
}

static void close_body(void) {
    put("a.lua", "1");
    CHECK_INT(watch_add(watch, in("a.lua")), LN_OK);
    seen.close = true;
    put("a.lua", "2");
    run(1, 5000);
    CHECK_INT(seen.calls, 1);
}

static void relative_body(void) {
    char before[1024];
    CHECK(getcwd(before, sizeof(before)) != NULL);
    CHECK_INT(chdir(folder), 0);
    put("a.lua", "1");
    CHECK_SOFT(watch_add(watch, "a.lua") == LN_OK);
    put("a.lua", "22");
    run(1, 5000);
    CHECK_SOFT(strcmp(seen.last, "a.lua") == 0);
    CHECK_SOFT(mkdir("svc", 0700) == 0 && symlink("../a.lua", "svc/link.lua") == 0);
    CHECK_SOFT(watch_add(watch, "svc/../svc/link.lua") == LN_OK);
    watch_keep(watch, (const char *const[]){"svc/../svc/link.lua"}, 1);
    put("a.lua", "333");
    run(2, 5000);
    CHECK_SOFT(strcmp(seen.last, "svc/../svc/link.lua") == 0);
    CHECK_INT(chdir(before), 0);
}

#define TEST(name, body)                                                                       \
    static void name(void) {                                                                   \
        begin();                                                                               \
        body();                                                                                \
        end();                                                                                 \
    }
TEST(sees_writes_once_a_burst, write_body)
TEST(sees_files_renamed_over_the_old_one, rename_body)
TEST(waits_until_a_deleted_file_is_back, delete_body)
TEST(sees_links_turned_elsewhere, link_body)
TEST(sees_new_files_of_a_folder, folder_body)
TEST(follows_a_folder_that_is_replaced, replaced_body)
TEST(waits_for_a_missing_folder, missing_body)
TEST(sees_what_links_lead_to, target_body)
TEST(sees_every_link_of_a_folder, release_body)
TEST(refuses_links_in_a_circle, circle_body)
TEST(forgets_what_was_cleared, clear_body)
TEST(knows_what_is_read_again, read_again_body)
TEST(sees_no_change_without_one, same_body)
TEST(waits_until_an_emptied_file_is_written, truncated_body)
TEST(sees_files_of_a_folder_go, removals_body)
TEST(looks_for_itself, poll_body)
TEST(keeps_what_is_still_wanted, keep_body)
TEST(may_be_closed_by_the_callback, close_body)
TEST(takes_relative_paths, relative_body)

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(sees_writes_once_a_burst);
    RUN(sees_files_renamed_over_the_old_one);
    RUN(waits_until_a_deleted_file_is_back);
    RUN(sees_links_turned_elsewhere);
    RUN(sees_new_files_of_a_folder);
    RUN(follows_a_folder_that_is_replaced);
    RUN(waits_for_a_missing_folder);
    RUN(sees_what_links_lead_to);
    RUN(sees_every_link_of_a_folder);
    RUN(refuses_links_in_a_circle);
    RUN(forgets_what_was_cleared);
    RUN(knows_what_is_read_again);
    RUN(sees_no_change_without_one);
    RUN(waits_until_an_emptied_file_is_written);
    RUN(sees_files_of_a_folder_go);
    RUN(looks_for_itself);
    RUN(keeps_what_is_still_wanted);
    RUN(may_be_closed_by_the_callback);
    RUN(takes_relative_paths);
    return test_end();
}
