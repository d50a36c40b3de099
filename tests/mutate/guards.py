"""The guards: what stands between a guest and what is not its own, and which test notices when one is gone.

A row: (file, text that is there once, what it becomes, test).  Tests: unit:NAME and host:NAME are programs of
tests/unit and tests/host; check is lodge.elf with two guests and the checker; attack:CASE,CASE is the attacker with
its victim beside it; pytest:FILE::TEST is one of tests/metal."""

NOT = "if (0 && "

NPT = [("engines/npt.c", *row, "unit:test_npt") for row in [
    ("if (!bare_owned(vm, phys, len))", "if (0)"),
    ("write ? n->format->write : n->format->read", "n->format->write"),
    ("if (!e)\n\t\t\treturn fail", "if (0)\n\t\t\treturn fail"),
]]

TAGS = [("engines/tag.h", *row, "unit:test_tag") for row in [
    ("bool anew = ++cpu->last >= cpu->n;", "bool anew = ++cpu->last >= cpu->n && 0;"),
    ("cpu->generation++;", ""),
    ("t->of == cpu && t->gen", "t->gen"),
    (" && t->generation == cpu->generation", ""),
    ("t->of = NULL;", ""),
]]

KNOWN = [("engines/known.h", *row, "unit:test_known") for row in [
    ("if ((ld64(k->code) ^ k->bytes[0]) & k->mask[0])", "if (0)"),
    ("if (k->mask[1] && (ld64(k->code + 8) ^ k->bytes[1]) & k->mask[1])", "if (0)"),
    ("(__atomic_load_n(k->pte[3], __ATOMIC_RELAXED) ^ k->val[3])", "0"),
    ("(k->at.cr3 ^ cr3) | ", ""),
]]

CALLS = [("core/hypercall.c", *row, "unit:test_hypercall") for row in [
    ("if (user)", "if (0)"),
    ("n > sizeof(text) || ", ""),
    ("v->x86.r[RBX] < 32 || ", ""),
    (" || v->x86.r[RBX] > 255", ""),
    ("if (s->load && c->vector &&", "if (0 && c->vector &&"),
]]

PACK = [("core/pack.c", *row, "unit:test_pack") for row in [
    ("n < PACK_HEAD || ", ""),
    ("ld64(p + PACK_AT_LENGTH) > n || ", ""),
    (" || table > n - PACK_HEAD", ""),
    ("vms > PACK_VMS || ", ""),
    ("record_crc(0, p + PACK_HEAD, table) != ld32(p + PACK_AT_CRC)", "0"),
    ("n < end - at && ", ""),
    (" && n <= length - at", ""),
    (" && at % PAGE_SIZE == 0", ""),
    ("n > most || ", ""),
    (" && n % 512 == 0", ""),
    ("d[PACK_NIC_MAC] & 1)", "0)"),
]]

RULES = [("hosts/metal/switch_rules.c", *row, "host:test_switch_rules") for row in [
    (" || !is(f + ETH_SRC, mac, 6)", ""),
    ("n < ETH_HEAD || ", ""),
    (" && is(f + ARP_MAC, mac, 6) &&", " &&"),
    ("is(f + ARP_IP, ip, 4) || ", "1 || "),
    ("return n >= ARP_END && is(f + ARP_KIND", "return is(f + ARP_KIND"),
    (" && is(f + IPV4_SRC, ip, 4)", ""),
    ("n >= IPV4_END && ", ""),
    (" && f[ETH_HEAD] >> 4 == 4", ""),
    ("return is(f + ETH_TYPE, ipv4, 2) &&", "return"),
]]

SWITCH = [("hosts/metal/switch_port.c", *row, "host:test_metal_parts") for row in [
    ("if (need + skip > PORT_RING - (p->put - p->got))", "if (0)"),
    ("skip = need > left ? left : 0;", "skip = 0;"),
    ("!rules_allow(nic->mac, p->ip, peek, all[0].n)", "0"),
    ("p == from || ", ""),
    ("strcmp(p->net, from->net) || ", ""),
    ("!(to[0] & 1) && (p->up || memcmp(to, p->nic.mac, 6))", "0"),
    ("bytes > LONGEST || ", ""),
]]

DISK = [("hosts/metal/disk_queue.c", *row, "host:test_metal_parts") for row in [
    ("r->sector > d->disk.sectors || ", ""),
    (" || r->nsector > d->disk.sectors - r->sector", ""),
    ("r->op != DISK_READ && d->disk.readonly", "0"),
]]

RINGS = [("core/dev/virtq.c", *row, "unit:test_virtq") for row in [
    ("!q->size || q->size > q->max || (", "!q->size || ("),
    (" || (q->size & (q->size - 1))", ""),
    ("if (!p)\n\t\t\treturn broken", "if (0)\n\t\t\treturn broken"),
    ("if (!write && c->nwrite)", "if (0)"),
    ("if (at >= n)", "if (0)"),
    ("if (count++ == q->size)", "if (count++ == 100000)"),
    ("if (n > q->size)", "if (0)"),
    ("if (q->inflight >= q->size)", "if (0)"),
    (" || inside || ", " || "),
]]

MSRS = [
    ("core/x86/msr.c", "if ((val & ~m->mask) || ", "if (", "unit:test_msr"),
    ("core/x86/msr.c", "if (m->rule & RO)", "if (0)", "unit:test_msr"),
    ("core/x86/sys_table.c", "(val & ~v->emul.cpuid->xcr0) ||", "", "unit:test_msr"),
    ("core/x86/sys_table.c", "!(val & XCR0_X87) || ", "", "unit:test_msr"),
    ("core/x86/sys_table.c", "(u32)v->x86.r[RCX] || !(val", "!(val", "unit:test_msr"),
    ("core/x86/msr.c", "((m->rule & CANONICAL) && !canonical(val))", "0", "unit:test_msr"),
    ("core/x86/walk.c", "if (e & reserved(v, level, leaf))", "if (0)", "unit:test_walk"),
    ("core/ram.c", "n > b->len - (a - b->base) || ", "", "unit:test_ram"),
]

# What the checker of VT-x must not overlook; of AMD-V it is CHECK's rows that try it
VMX = [("engines/vmx/audit.c", *row, "unit:test_vmx_audit") for row in [
    ("if (!has(c->pin, 1 << 0 | 1 << 3 | 1 << 5))", "if (0)"),
    ("!has(c->cpu, 1 << 24) || ", ""),
    (" || c->cpu & 1 << 25", ""),
    ("if (!has(c->cpu, 1 << 19 | 1 << 20))", "if (0)"),
    ("if (!has(c->cpu, 1u << 31) || !has(c->cpu2, 1 << 1 | 1 << 5 | 1 << 7))", "if (0)"),
    ("if (c->cpu2 & (1 << 13 |", "if (c->cpu2 & (0 * 1 << 13 |"),
    ("if ((s->exceptions & exceptions) != exceptions)", "if (0)"),
    ("s->cr4_mask != ~0ull || ", ""),
    ("if (s->msrs != bare_phys(k->msrs))", "if (0)"),
    ("s->eptp != (bare_phys(k->npt.root) | 3 << 3 | 6)", "0"),
    ("s->host_cr3 != s->cr3 || ", ""),
    ("s->msr_loads | ", ""),
    ("s->cr0 & (CR0_CD | CR0_NW) || ", ""),
]]

REASONS = ("INTR NMI SMI INIT CPUID INVD HLT INVLPGA IOIO MSR".split(), "VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT WBINVD XSETBV".split())

CHECK = [("engines/svm/regs.c", f"I_{name} |", "", "check") for name in REASONS[0][1:] if name != "MSR"] + \
        [("engines/svm/regs.c", f"I_{name} |", "", "check") for name in REASONS[1] if name != "XSETBV"] + [
    ("engines/svm/regs.c", "c->misc1 = I_INTR | ", "c->misc1 = ", "check"),
    ("engines/svm/regs.c", "I_IOIO | I_MSR |", "I_IOIO |", "check"),
    ("engines/svm/regs.c", " | I_SHUTDOWN", "", "check"),
    ("engines/svm/regs.c", "I_VMRUN | ", "", "check"),
    ("engines/svm/regs.c", "I_XSETBV | ", "", "check"),
    ("engines/svm/regs.c", "1u << VEC_DB | ", "", "check"),
    ("engines/svm/regs.c", "1u << VEC_AC | ", "", "check"),
    ("engines/svm/regs.c", " | 1u << VEC_MC", "", "check"),
    ("engines/svm/regs.c", "c->cr_write = 1 << 4 | ", "c->cr_write = ", "check"),
    ("engines/svm/regs.c", "c->cr_read = 1 << 8;", "c->cr_read = 0;", "check"),
    ("engines/svm/regs.c", "c->v_intr = V_INTR_MASKING;", "c->v_intr = 0;", "check"),
    ("engines/svm/regs.c", "c->msrpm = bare_phys(k->msrpm);", "c->msrpm = bare_phys(k->iopm);", "check"),
    ("engines/svm/svm.c", "memset(k->iopm, 0xff", "memset(k->iopm, 0xf7", "check"),
    ("engines/svm/svm.c", "memset(k->msrpm, 0xff", "memset(k->msrpm, 0xfb", "check"),
    ("engines/svm/svm.c", "0xc0000101, 0xc0000102,", "0xc0000101, 0xc0000080,", "check"),
    ("engines/npt.c", "*e = phys | bits", "*e = (phys + 64 * MiB) | bits", "check"),
    ("hosts/metal/paging.c", "[MAP_WRITE] = PTE_P | PTE_W | PTE_NX", "[MAP_WRITE] = PTE_P | PTE_W", "check"),
    ("hosts/metal/frames.c", "set(f, f + n, owner);", "set(f, f + n - 1, owner);", "check"),
]

ATTACKS = [
    ("hosts/metal/frames.c", "vmovntps %%ymm0, at(%0)", "nop", "attack:msr-efer,msr-pat"),
    ("engines/svm/svm.c", "if (unlikely(s->debug))\n\t\tdebug_in(&v->x86);", "", "attack:insn-dr,insn-dr"),
    ("engines/vectors.h", "xsetbv(v->x86.xcr0);", "", "attack:insn-xstate"),
    ("hosts/metal/console.c", "if (byte != '\\n' && byte != '\\r')\n\t\tc->line[c->n++] = byte == '\\t' ||", "c->line[c->n++] = 1 ||",
     "attack:port-words"),
    ("hosts/metal/thread.c", "if (fair > 1)", "if (0)", "attack:irq-halt,irq-lines"),
]

SHARES = [
    ("hosts/metal/machine.c", "if (n > PROMISE_MOST)", "if (0)", "pytest:tests/metal/test_sched.py::test_a_promise_is_kept"),
    ("hosts/metal/thread.c", "cap_charge(t->cap, ran);", ";", "pytest:tests/metal/test_sched.py::test_cap"),
    ("hosts/metal/thread.c", "t->turn += ran * WEIGHT / t->weight;", "t->turn += ran;", "pytest:tests/metal/test_sched.py::test_weights"),
]

GUARDS = NPT + TAGS + KNOWN + CALLS + PACK + RULES + SWITCH + DISK + RINGS + MSRS + VMX + CHECK + ATTACKS + SHARES
