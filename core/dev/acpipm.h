/* ACPI's fixed hardware: power management events and control, the PM timer, and a
 * block of general events. */
#ifndef CORE_DEV_ACPIPM_H
#define CORE_DEV_ACPIPM_H

#include "core/device.h"

enum { /* ports from the base, for the FADT */
	ACPIPM_EVENT = 0x00,    /* PM1a_EVT_BLK, 4 bytes */
	ACPIPM_CONTROL = 0x04,  /* PM1a_CNT_BLK, 2 */
	ACPIPM_TIMER = 0x08,    /* PM_TMR_BLK, 4 */
	ACPIPM_GPE0 = 0x10,     /* GPE0_BLK, 4: 16 events */
	ACPIPM_SIZE = 0x20,
};
enum { ACPIPM_SLP_S5 = 5 };     /* SLP_TYPa for \_S5 */

struct acpipm;
/* NULL after the error was said. */
struct acpipm *acpipm_new(struct vm *, u16 base, struct wire sci);
void acpipm_power_button(struct acpipm *);         /* any thread, no lock held */
void acpipm_gpe(struct acpipm *, unsigned event);  /* the same: a general event, 0..15, happened */

#endif
