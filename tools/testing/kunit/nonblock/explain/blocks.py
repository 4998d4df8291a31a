# SPDX-License-Identifier: GPL-2.0-only
"""What blocks, and what to do instead."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import Iterable, Optional

from . import texts
from .symbols import Symbol


@dataclass(frozen=True)
class Primitive:
    functions: str      # a regular expression
    said: str
    remedy: str
    files: str = ''     # where might_sleep() stands in it, if it is inlined


SPINLOCK_RT = Primitive(r'rt_(spin|read|write)_(try)?lock\w*|rtlock_\w+',
                        'spin_lock() on PREEMPT_RT', '', r'kernel/locking/spinlock_rt\.c')
PRIMITIVES = (
    Primitive(r'mmput', 'mmput()', texts.DROPPING),
    Primitive(r'mmu_interval_(notifier_(remove|insert\w*)|read_begin)|'
              r'mmu_notifier_(unregister|synchronize)',
              'the removal of a notifier, or a wait for an invalidation', texts.REMOVING),
    SPINLOCK_RT,
    Primitive(r'mmap_(read|write)_lock\w*', 'mmap_read_lock() or mmap_write_lock()', texts.LOCKING),
    Primitive(r'pcpu_alloc\w*', 'alloc_percpu()', texts.ALLOCATING),
    Primitive(r'mempool_alloc\w*', 'mempool_alloc()', texts.ALLOCATING),
    Primitive(r'(__)?kv[mz]alloc\w*', 'kvmalloc()', texts.ALLOCATING),
    Primitive(r'(__)?v[mz]alloc\w*|__get_vm_area\w*|alloc_vmap_area|vmap', 'vmalloc()',
              texts.ALLOCATING),
    Primitive(r'(__)?k[mz]alloc\w*|(__)?krealloc\w*|kmemdup\w*|kstrdup\w*', 'kmalloc()',
              texts.ALLOCATING),
    Primitive(r'(__)?kmem_cache_alloc\w*', 'kmem_cache_alloc()', texts.ALLOCATING),
    Primitive(r'xas_(nomem|alloc)|__xas_nomem|xa_(insert|store|alloc)\w*|__xa_\w+',
              'an xarray that allocates', texts.ALLOCATING),
    Primitive(r'(__)?(folio_)?alloc_(frozen_)?pages?\w*|get_free_pages\w*|__folio_alloc\w*',
              'alloc_pages()', texts.ALLOCATING),
    Primitive(r'(__)?(vfree|kvfree|vunmap)\w*', 'vfree()', texts.FREEING),
    Primitive(r'(__)?flush_(delayed_)?work\w*|__flush_workqueue|(__)?cancel_(delayed_)?work_sync|'
              r'__cancel_work_timer|drain_workqueue|kthread_flush_\w+', 'flush_work() or its like',
              texts.WORKING, r'kernel/workqueue\.c'),
    Primitive(r'kthread_(stop|park)\w*', 'kthread_stop()', texts.WAITING),
    Primitive(r'dma_(fence|resv)_(default_)?wait\w*', 'dma_fence_wait()', texts.WAITING,
              r'drivers/dma-buf/dma-(fence|resv)\.c'),
    Primitive(r'synchronize_\w+|__synchronize_srcu|wait_rcu_gp|rcu_barrier\w*|__wait_rcu_gp',
              'synchronize_rcu() or its like', texts.GRACE, r'kernel/rcu/.*'),
    Primitive(r'(__)?might_fault|_?copy_(from|to)_user\w*|strn\w+_user\w*|(__)?[gp]et_user\w*|'
              r'(get|pin)_user_pages\w*', 'an access to user memory', texts.FAULTING),
    Primitive(r'(__)?rt_mutex_(slow)?lock\w*', 'rt_mutex_lock()', texts.LOCKING,
              r'kernel/locking/rtmutex\w*\.c'),
    Primitive(r'(__)?ww_mutex_lock\w*', 'ww_mutex_lock()', texts.LOCKING),
    Primitive(r'(__)?mutex_lock\w*', 'mutex_lock()', texts.LOCKING, r'kernel/locking/mutex\.c'),
    Primitive(r'(__)?percpu_down_(read|write)\w*', 'percpu_down_read()', texts.LOCKING,
              r'include/linux/percpu-rwsem\.h'),
    Primitive(r'(__)?down_read\w*|rwsem_down_read\w*', 'down_read()', texts.LOCKING),
    Primitive(r'(__)?down_write\w*|rwsem_down_write\w*', 'down_write()', texts.LOCKING,
              r'kernel/locking/rwsem\.c'),
    Primitive(r'(__)?down(_interruptible|_killable|_timeout|_common)?', 'down()', texts.LOCKING,
              r'kernel/locking/semaphore\.c'),
    Primitive(r'(__)?folio_lock\w*|(__)?lock_page\w*', 'folio_lock()', texts.LOCKING,
              r'include/linux/pagemap\.h'),
    Primitive(r'(__)?wait_for_(common|completion)\w*', 'wait_for_completion()', texts.WAITING,
              r'kernel/sched/completion\.c'),
    Primitive(r'wait_woken|out_of_line_wait_on_\w+|prepare_to_wait\w*|do_wait_intr\w*|'
              r'folio_wait_\w+|wait_on_page_\w+|__wait_on_bit\w*', 'wait_event() or its like',
              texts.WAITING),
    Primitive(r'(_|__)?cond_resched\w*', 'cond_resched()', texts.RESCHEDULING),
    Primitive(r'msleep\w*|usleep_range\w*|fsleep|schedule_(hr)?timeout\w*|io_schedule\w*|'
              r'schedule', 'a function that sleeps', texts.SLEEPING),
    Primitive(r'(native_)?queued_(spin_lock|read_lock|write_lock)_slowpath|smp_call_function\w*|'
              r'on_each_cpu\w*|csd_lock_wait\w*', 'a spinlock, or another CPU, that it waits for',
              texts.SPINNING_FOR),
    # An allocation that the trace does not name
    Primitive(r'fs_reclaim_acquire|__?might_alloc',
              'an allocation', texts.ALLOCATING, r'include/linux/sched/mm\.h'),
)

# What stands between a primitive and the report of it, and what UML finds on the stack
NOISE = re.compile(
    r'_{2,3}might_(resched|sleep)\w*|__schedule(_bug)?|dump_stack\w*|__dump_stack|show_stack|'
    r'dump_backtrace\w*|_?printk|print_\w+|unwind_backtrace|'
    r'(__)?lock_(acquire|release|is_held\w*)|__lock_acquire|__lockdep\w*|lockdep_\w+|mark_\w+|'
    r'validate_chain|check_\w+|save_trace|match_held_lock|um_[gs]et_signals|_raw_spin_\w+|'
    r'(un)?block_signals|__?warn\w*|warn_slowpath\w*|report_bug|handle_bug|exc_\w+|asm_exc_\w+|'
    r'debug_lockdep\w*|\w*mmu_notifier_nonblock\w*|mn_nonblock\w*|new_thread_handler|__wake_up\w*|'
    r'schedule_preempt_disabled|\w*_return_thunk|__x86_indirect_\w+|ftrace_\w+|__switch_to|'
    r'__pfx_\w+|__cfi_\w+|asm_\w+|sysvec_\w+')
LOCKS = re.compile(r'.*_lock(_nested|_interruptible|_killable|_slowpath|_common|_irq\w*|_bh)?|'
                   r'_*(ww_)?mutex_\w+|down_\w+|rwsem_\w+|_*down')


@functools.lru_cache(10000)
def primitive_of(name: str) -> Optional[Primitive]:
    """What a function is, if it may block."""
    name = name.removesuffix('_noprof')
    return next((primitive for primitive in PRIMITIVES
                 if re.fullmatch(primitive.functions, name)), None)


def find_primitive(frames: Iterable[Symbol]) -> tuple[Optional[int], Optional[Primitive]]:
    """The outermost, that which the driver called; frames are outermost first."""
    for number, frame in enumerate(frames):
        primitive = primitive_of(frame.base) if 'trylock' not in frame.base else None
        if primitive and primitive.remedy is texts.SLEEPING:
            primitive = replace(primitive, said=f'{frame.base}()')
        if primitive:
            return number, primitive
    return None, None


def by_file(file: str) -> Optional[Primitive]:
    path = file.rpartition(':')[0]
    return next((primitive for primitive in PRIMITIVES if primitive.files and
                 re.search(rf'(?:^|/){primitive.files}$', path)), None)


def is_spinlock_rt(frames: Iterable[Symbol], file: str) -> bool:
    """Whether what was reported is a spinlock, which sleeps on PREEMPT_RT only."""
    if re.search(rf'(?:^|/){SPINLOCK_RT.files}:', file):
        return True
    inner = [frame for frame in frames if not NOISE.fullmatch(frame.base)]
    return bool(inner and re.fullmatch(SPINLOCK_RT.functions, inner[0].base))
