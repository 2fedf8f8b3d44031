/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that stands for the scripts in it. */
#ifndef LUNATS_BASE_FOLDER_H
#define LUNATS_BASE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#define FOLDER_SUFFIX ".lua" /* of scripts; specs ("_spec.lua") and hidden files are none */

/*
 * Lists the scripts directly in a folder, by name, each as folder/name. On success *paths is
 * the caller's, who gives it to folder_free(). Otherwise the code of libuv.
 */
int folder_scripts(const char *folder, char ***paths, size_t *count);
void folder_free(char **paths, size_t count);

/* Whether folder_scripts() would name the path so, if the file was there. */
bool folder_has(const char *folder, const char *path);

#endif
