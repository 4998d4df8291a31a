// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kfd_svm.c calls when a GPU has to be told: it is linked to, and never called in
 * amdkfd_kunit.c. No prototype is included, because they differ from kernel to kernel.
 */

#include <linux/bug.h>

#define UNREACHED(function)	\
void function(void);		\
void function(void)		\
{				\
	BUG();			\
}

UNREACHED(amdgpu_bo_unref)
UNREACHED(amdgpu_vm_flush_compute_tlb)
UNREACHED(amdgpu_vm_ready)
UNREACHED(amdgpu_vm_update_range)
UNREACHED(dma_fence_release)
UNREACHED(dma_fence_signal)
UNREACHED(dma_fence_wait_timeout)
UNREACHED(kfd_get_process_device_data)
UNREACHED(kfd_smi_event_unmap_from_gpu)
UNREACHED(kfd_unref_process)
