/* Words for people: the first serial port and the VGA text screen.  host_log() and
 * host_panic() end here. */
#ifndef HOSTS_METAL_WORDS_H
#define HOSTS_METAL_WORDS_H

#include "core/host.h"

void words_init(void);                     /* before everything else */
void words_screen(void *vga);              /* where the text screen is mapped, or NULL: none */
void words_put(const char *s, size_t n);   /* as it is; any context */
int words_key(void);                       /* a byte that came in, or -1 */
void say(const char *fmt, ...) printf_like(1, 2);  /* a line, always shown */

#endif
