/* What all NICs have. */
#include "hosts/linux/nic.h"

/* 52:54:00 is the field's prefix for virtual machines; the rest is FNV-1a of the
 * name, so that a guest that notes its address finds it again. */
void nic_mac(u8 mac[6], const char *name)
{
	u32 h = 0x811c9dc5;
	while (*name)
		h = (h ^ (u8)*name++) * 0x01000193;
	mac[0] = 0x52;
	mac[1] = 0x54;
	mac[2] = 0;
	mac[3] = (u8)(h >> 24 ^ h);
	mac[4] = (u8)(h >> 16);
	mac[5] = (u8)(h >> 8);
}
