/* SPDX-License-Identifier: Apache-2.0 */
/* The files of page/, compiled into the binary by cmake/embed_page.cmake. Each ends with a
 * zero. */
#ifndef LUNATS_ADMIN_PAGE_H
#define LUNATS_ADMIN_PAGE_H

/* Style and scripts belong between its tags <style> and <script>, which are empty here. */
extern const unsigned char page_html[];
extern const unsigned char page_css[];
extern const unsigned char page_js[];

#endif
