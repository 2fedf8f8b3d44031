/* SPDX-License-Identifier: Apache-2.0 */
/* LN_POOLED: whether what is freed may be kept for the next one. Not under AddressSanitizer and
 * valgrind (which defines LN_NO_POOL): who uses one that is freed shall be found. A test may
 * define it. */
#ifndef LUNATS_BASE_POOLED_H
#define LUNATS_BASE_POOLED_H

#ifndef LN_POOLED
#if defined(__SANITIZE_ADDRESS__) || defined(LN_NO_POOL)
#define LN_POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LN_POOLED 0
#endif
#endif
#endif
#ifndef LN_POOLED
#define LN_POOLED 1
#endif

#endif
