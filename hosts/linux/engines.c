/* The engines of this program, the best first. */
#include "engines/bt/bt.h"
#include "engines/bt/shadow.h"
#include "engines/interp/interp.h"
#include "engines/kvm/kvm.h"
#include "hosts/linux/machine.h"

const struct engine *const engines[] = { &engine_kvm, &engine_bt, &engine_interp, NULL };
const struct engine *const shadow_engine = &engine_shadow;

void shadow_often(struct vm *vm, unsigned every)
{
	shadow_every(vm->vcpu[0], every);
}
