// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual machine in the memory of a process.
 */

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attach.h"

#define CODE		0x1000
#define FIRST_WRITE	0x10000

/* In real mode: writes the low byte of each segment that it writes to, which is 0. */
static const uint8_t code[] = {
	0xb8, 0x00, 0x10,		/* mov $0x1000, %ax */
	0x8e, 0xc0,			/* 1: mov %ax, %es */
	0x26, 0xa2, 0x00, 0x00,		/* mov %al, %es:0 */
	0x05, 0x00, 0x10,		/* add $0x1000, %ax */
	0x3d, 0x00, 0x90,		/* cmp $0x9000, %ax */
	0x75, 0xf2,			/* jne 1b */
	0xf4,				/* hlt */
};

static int set_registers(int vcpu)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs) ? -1 : 0;
}

int attach_kvm(struct victim *victim, char *memory)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = VICTIM_MEMORY,
		.userspace_addr = (uintptr_t)memory,
	};
	int kvm = open("/dev/kvm", O_RDWR), vm, vcpu;
	struct kvm_run *run;

	if (kvm < 0)
		return 20;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		return 21;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (vcpu < 0 || run == MAP_FAILED || set_registers(vcpu))
		return 22;

	memcpy(memory + CODE, code, sizeof(code));
	if (ioctl(vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_HLT)
		return 23;
	return memory[FIRST_WRITE] ? 24 : 0;
}
