/* SPDX-License-Identifier: Apache-2.0 */
/* What the system says of the process. */
#ifndef LUNATS_ADMIN_PROCESS_H
#define LUNATS_ADMIN_PROCESS_H

double process_resident_bytes(void);
double process_heap_bytes(void);  /* malloc, with what Lua has of it */
double process_cpu_seconds(void); /* user and system */
double process_open_fds(void);

#endif
