/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of the log, whatever is logged: in text one record, in JSON an object with all of it.
 * The input is a line with the message, in which "|" breaks lines, one with the service, and
 * fields as key=value.
 */
#include "host/base/log_line.h"

#include "host/base/utf8.h"
#include "spec/fuzz/lua.h"

#define FIELDS_MAX 8

/* Each line break is the end, or an indentation follows; there are no other controls. */
static void check_text(const struct log_line *line) {
    HOLDS(line->len > 0 && line->data[line->len - 1] == '\n');
    for (size_t i = 0; i + 1 < line->len; i++) {
        unsigned char c = (unsigned char)line->data[i];
        HOLDS(c != 0x7f && c != 0x1b && (c >= ' ' || c == '\n' || c == '\t'));
        HOLDS(c != '\n' || strncmp(line->data + i, "\n    ", 5) == 0);
    }
    HOLDS(utf8_find_invalid(line->data, line->data + line->len) == NULL);
}

/* Whether the decoded line has this text under this name, unless it cannot be shown as it is.
 */
static void check_member(lua_State *L, const char *name, const char *text) {
    size_t len = strlen(text);
    bool shown = len < 256 && utf8_find_invalid(text, text + len) == NULL;
    lua_getfield(L, 1, name);
    HOLDS(!shown || strcmp(luaL_tolstring(L, -1, NULL), text) == 0);
    lua_settop(L, 1);
}

static int decode(lua_State *L) {
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    HOLDS(json_decode(L, text, len));
    return 1;
}

static void check_json(const struct log_line *line, const struct log_record *record) {
    lua_State *L = fuzz_state(NULL);
    lua_pushcfunction(L, decode);
    lua_pushlstring(L, line->data, line->len);
    fuzz_call(L, 1, 1);
    HOLDS(lua_istable(L, 1));
    check_member(L, "message", record->message);
    if (record->service != NULL)
        check_member(L, "service", record->service);
    size_t members = 0, own = record->service != NULL ? 4 : 3;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1))
        members++;
    HOLDS(members == own + record->field_count);
}

static void check_record(const struct log_record *record) {
    struct log_line line;
    for (int colours = 0; colours <= 1; colours++) {
        log_line_compose(&line, record, LOG_FORMAT_TEXT, colours == 1);
        if (colours == 0)
            check_text(&line);
        log_line_free(&line);
    }
    log_line_compose(&line, record, LOG_FORMAT_JSON, false);
    check_json(&line, record);
    log_line_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    char *message = fuzz_line(&input), *service = fuzz_line(&input), *lines[FIELDS_MAX];
    struct log_field fields[FIELDS_MAX];
    size_t count = 0;
    for (char *at = message; (at = strchr(at, '|')) != NULL;)
        *at = '\n';
    while (input.left > 0 && count < FIELDS_MAX) {
        char *line = lines[count] = fuzz_line(&input), *equals = strchr(line, '=');
        if (equals != NULL)
            *equals = '\0';
        fields[count++] = log_text(line, equals != NULL ? equals + 1 : "");
    }
    struct log_record record = {
        .level = LOG_LEVEL_WARN,
        .time_ms = 1700000000123,
        .service = *service != '\0' ? service : NULL,
        .message = message,
        .fields = fields,
        .field_count = count,
    };
    if (size < 2000) /* longer ones are cut */
        check_record(&record);
    for (size_t i = 0; i < count; i++)
        free(lines[i]);
    free(message);
    free(service);
    return 0;
}
