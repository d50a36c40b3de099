/* Hardware-assisted, by the host kernel's KVM (Linux, Documentation/virt/kvm/api.rst). */
#ifndef ENGINES_KVM_KVM_H
#define ENGINES_KVM_KVM_H

#include "core/engine.h"

extern const struct engine engine_kvm;

#endif
