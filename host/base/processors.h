/* SPDX-License-Identifier: Apache-2.0 */
/* How many processors this process may use. */
#ifndef LUNATS_BASE_PROCESSORS_H
#define LUNATS_BASE_PROCESSORS_H

/* Those of its affinity, or less where a control group grants it less time: 1 to 256. */
unsigned processors(void);

/* For tests: the smaller of `cpus` and what the files of a control group grant, version 2
 * ("MAX PERIOD") or 1 (two numbers); NULL: there is no such file. */
unsigned processors_granted(unsigned cpus, const char *v2, const char *quota,
                            const char *period);

#endif
