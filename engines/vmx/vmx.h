/* VT-x with extended page tables, on the bare processor (SDM vol. 3, chapters 23 to 28). */
#ifndef ENGINES_VMX_VMX_H
#define ENGINES_VMX_VMX_H

#include "engines/bare.h"

extern const struct bare_engine bare_vmx;

#endif
