# SPDX-License-Identifier: GPL-2.0-only
"""Where the walk ends: functions of the core kernel that sleep, and that do not.

To sleep is to do what a debug kernel reports in a nonblocking section: its own
might_sleep() decides, and not whether there is always something to wait for. What is
in none of the tables is looked up in the kernel's source. See selftest.py for the check of
this against what the KUnit suites show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Optional

# What to do about it; see the guide.
LOCK = 'use the trylock, and back off without it'
PERCPU = 'use percpu_down_read_trylock(), and back off without the lock'
WAIT = 'do not wait: back off (return -EAGAIN, or false), or leave it to somebody else'
WORK = 'do not wait for work, which may itself wait for memory: queue it, or back off'
RCU = 'do not wait for readers: use call_rcu() or kfree_rcu(), or back off'
RECLAIM = 'take what was allocated before, or use GFP_NOWAIT and back off without memory'
USER = 'user memory may have to be paged in: use the _nofault variant, or back off'
SLEEP = 'this may sleep: do it in a blockable call only, and back off'
RELEASE = 'the last reference may be this one: use the _async variant, or drop it elsewhere'
VMAP = 'freeing virtual mappings sleeps: leave it to a work item'

# By regular expression, of the whole name
SLEEPING: dict[str, str] = {
    r'mutex_lock(_nested|_interruptible|_killable|_io|_interruptible_nested|_killable_nested'
    r'|_io_nested)?|_mutex_lock_(nest_lock|killable)|atomic_dec_and_mutex_lock': LOCK,
    r'__mutex_lock(_\w+)?': LOCK,
    r'rt_mutex_lock(_nested|_interruptible|_killable)?|_rt_mutex_lock_nest_lock': LOCK,
    r'ww_mutex_lock(_interruptible|_slow|_slow_interruptible)?': LOCK,
    r'down(_interruptible|_killable|_timeout)?|_down_write_nest_lock'
    r'|down_(read|write)(_interruptible|_killable)?(_nested|_killable_nested)?'
    r'|down_read_non_owner': LOCK,
    r'percpu_down_write': PERCPU,
    r'_{0,2}folio_lock(_killable|_or_retry)?|__lock_page\w*|set_page_dirty_lock'
    r'|folio_mark_dirty_lock|lock_sock_nested|lock_rename|console_lock|device_lock'
    r'|rtnl_lock(_killable)?|cpus_read_lock|cpu_hotplug_\w*lock|get_online_\w+'
    r'|mm_take_all_locks|drm_modeset_lock\w*': LOCK,
    r'__might_sleep|__might_resched|_cond_resched|__cond_resched\w*|__SCT__cond_resched'
    r'|__SCT__might_resched|might_sleep': SLEEP,
    r'__might_fault|might_fault': USER,
    r'msleep(_interruptible)?|usleep_range_state|fsleep|ssleep|schedule(_timeout\w*)?'
    r'|schedule_hrtimeout\w*|io_schedule\w*|yield(_to)?|preempt_schedule_irq|do_wait_intr\w*'
    r'|wait_for_(completion\w*|random_bytes)|wait_woken|out_of_line_wait_on_\w+|wait_on_bit\w*'
    r'|__wait_on_bit\w*|bit_wait\w*|folio_wait_\w+|__folio_wait_\w+|wait_on_page_\w+'
    r'|__wait_rcu_gp|wait_rcu_gp|kthread_stop\w*|kthread_park|wait_for_\w*completion\w*'
    r'|mmu_interval_read_begin|mmu_interval_notifier_remove|mmu_notifier_unregister'
    r'|mmu_notifier_synchronize|__wait_var_event\w*|disable_irq'
    r'|synchronize_irq|synchronize_hardirq|free_irq|wait_on_inode': WAIT,
    r'dma_fence_wait(_timeout|_any_timeout)?|dma_fence_default_wait|dma_resv_wait_timeout'
    r'|dma_fence_wait_for_\w+': WAIT,
    r'flush_work\w*|__flush_work\w*|flush_delayed_work|flush_rcu_work|cancel_(delayed_)?work_sync'
    r'|disable_(delayed_)?work_sync|drain_workqueue|destroy_workqueue|kthread_flush_work\w*'
    r'|kthread_cancel_\w*work_sync|drain_all_pages|lru_add_drain_all|async_synchronize_\w+'
    r'|stop_machine\w*|stop_one_cpu|work_on_cpu\w*|schedule_on_each_cpu': WORK,
    r'synchronize_(rcu\w*|srcu\w*|net|sched\w*|shrinkers)|rcu_barrier\w*|srcu_barrier'
    r'|kvfree_call_rcu_mightsleep|cond_synchronize_\w+|cleanup_srcu_struct': RCU,
    r'_?copy_(from|to)_user|_copy_from_user|_copy_to_user|(get|pin)_user_pages(?!_fast_only)\w*'
    r'|fixup_user_fault|handle_mm_fault|access_process_vm|access_remote_vm'
    r'|faultin_page\w*|hmm_range_fault|strn?(cpy_from|len)_user|clear_user|fault_in_\w+'
    r'|populate_vma_page_range|__mm_populate': USER,
    r'mmput|exit_mmap|mm_release|vma_close|do_munmap|vm_munmap|vm_mmap|do_mmap|zap_vma_ptes'
    r'|unmap_mapping_range|put_files_struct': RELEASE,
    r'vfree|vunmap|vm_unmap_ram|free_vm_area|remove_vm_area|vfree_sensitive'
    r'|set_memory_\w+|change_page_attr_\w+|text_poke\w*|vmap|vm_map_ram|vmap_pfn': VMAP,
    r'vmalloc(_user|_node|_32|_32_user|_array)?|vzalloc(_node)?|vcalloc|alloc_workqueue\w*'
    r'|kthread_create\w*|kmem_cache_(create|destroy|shrink)\w*|filp_open|kernel_(read|write)'
    r'|request_(threaded_irq|firmware\w*)|register_\w+_notifier|debugfs_\w+'
    r'|sysfs_create_\w+|sysfs_remove_\w+|device_(add|del|register|unregister)'
    r'|percpu_ref_switch_to_atomic_sync|memory_failure|try_to_free_pages|migrate_vma_\w+'
    r'|__pm_runtime_(disable|barrier)|pm_runtime_barrier': SLEEP,
}

NOT_SLEEPING = (
    # Locks that spin, and what tries
    r'_raw_(spin|read|write)_\w+', r'_raw_\w+_trylock\w*', r'queued_(spin|read|write)_\w+',
    r'native_queued_\w+', r'__pv_queued_\w+', r'mutex_(trylock|unlock|is_locked)\w*',
    r'__mutex_(trylock|init)\w*', r'_mutex_trylock\w*', r'__mutex_unlock_slowpath',
    r'ww_mutex_(trylock|unlock)', r'rt_mutex_(trylock|unlock)', r'rt_mutex_base_is_locked',
    r'(down|down_read|down_write)_trylock\w*', r'up(_read|_write)?(_non_owner)?',
    r'downgrade_write', r'__init_rwsem', r'rwsem_\w+_owner', r'rcu_sync_\w+_fast',
    r'percpu_up_write', r'__percpu_up_read', r'_{0,2}percpu_rwsem_trylock', r'rcuwait_wake_up',
    r'folio_unlock|unlock_page|folio_trylock|trylock_page', r'osq_\w+',
    r'__(rcu|srcu)_read_(un)?lock\w*', r'rcu_read_unlock_\w+', r'__rcu_read_\w+', r'rcu_\w*is_\w+',
    r'srcu_\w*read\w*', r'rcu_note_\w+', r'_{0,2}rcu_\w*(momentary|irq|nmi|eqs)\w*',
    r'call_rcu\w*', r'call_srcu', r'kvfree_call_rcu', r'kfree_rcu\w*', r'queue_rcu_work',
    r'preempt_(schedule|count_\w+)\w*', r'__SCT__preempt_schedule\w*', r'preempt_notrace\w*',
    r'lockdep_\w+', r'lock_(acquire|release|is_held|contended|acquired)\w*', r'debug_\w*lock\w*',
    r'debug_check_\w+', r'trace_\w+', r'local_bh_\w+', r'__local_bh_\w+', r'do_softirq\w*',
    # Waking, queueing
    r'_{0,2}wake_up\w*', r'wake_q_\w+', r'try_to_wake_up', r'complete(_all|_on_current_cpu)?',
    r'swake_up_\w+', r'completion_done', r'try_wait_for_completion', r'(__)?queue_work\w*',
    r'(__)?queue_delayed_work\w*', r'mod_delayed_work_on', r'delayed_work_timer_fn',
    r'cancel_(delayed_)?work', r'(mod|add|del)_timer\w*', r'timer_(delete|reduce|shutdown)',
    r'hrtimer_(start|try_to_cancel|forward|init|cancel)\w*',
    r'timer_delete_sync|del_timer_sync', r'_{0,2}tasklet_\w*schedule',
    r'irq_work_queue\w*', r'kthread_queue_\w+', r'eventfd_signal\w*', r'send_sig\w*',
    r'(do_)?send_sig_info', r'force_sig\w*', r'kill_pid\w*', r'task_work_add', r'_{0,2}finish_wait',
    r'prepare_to_wait\w*', r'add_wait_queue\w*', r'remove_wait_queue', r'init_wait\w*',
    r'prepare_to_swait\w*', r'finish_swait', r'__init_(waitqueue|swait)\w*', r'poll_wait\w*',
    r'kick_process', r'resched_\w+', r'smp_(call_function|send|wake)\w*', r'on_each_cpu\w*',
    r'arch_send_\w+', r'raise_softirq\w*', r'smp_send_reschedule', r'migrate_(dis|en)able',
    # References and freeing
    r'kfree(_const|_sensitive|_nolock|_bulk)?', r'kmem_cache_free(_bulk)?', r'mempool_free\w*',
    r'_{0,2}free_pages?(_core|_ok)?', r'free_pages\w*', r'__free_pages', r'free_frozen_pages',
    r'_{0,2}folio_put(_small|_large)?', r'free_percpu', r'put_page\w*', r'__put_page',
    r'folios_put_\w+', r'release_pages', r'(free_)?unref_\w+', r'__mmdrop\w*', r'mmdrop_async\w*',
    r'mmput_async', r'fput\w*', r'__put_task_struct\w*', r'put_pid',
    r'refcount_(warn_saturate|dec_not_one|dec_if_one|dec_and_lock\w*)', r'atomic\w+_lock\w*',
    r'_atomic_dec_and_\w*lock\w*', r'dma_fence_(release|free|signal\w*|is_signaled\w*|init\w*'
    r'|context_alloc|add_callback|remove_callback|enable_sw_signaling|get_\w+|put|set_error'
    r'|check_and_signal\w*|set_deadline)', r'percpu_ref_\w*(get|put|kill)\w*', r'mmgrab\w*',
    r'get_task_mm', r'get_task_pid', r'find_(get_)?(task|pid|vpid)\w*', r'pid_(task|vnr|nr_ns)',
    r'__task_pid_nr_ns', r'get_pid_task', r'mmget_not_zero',
    r'unpin_user_(page|pages|folio)', r'unpin_folio',
    r'folio_mark_(dirty|accessed)', r'set_page_dirty', r'mark_page_accessed',
    # Memory that is there already
    r'mem(cpy|set|move|cmp|chr|scan)\w*', r'__mem(cpy|set|move)\w*', r'str\w*(cpy|cmp|len'
    r'|chr|str|cat|sep|pbrk|spn)\w*', r'copy_(from|to)_(user|kernel)_nofault\w*',
    r'copy_(page|mc_\w+)|clear_page\w*', r'memscan', r'sized_strscpy\w*', r'v?s[cn]*printf',
    r'__(cmp|x)chg\w*_wrong_size', r'__(bad|compiletime)\w*', r'__fortify_\w+', r'fortify_panic',
    r'__(read|write)_overflow\w*', r'__stack_chk_fail', r'__ubsan_\w+', r'__(kasan|kmsan)_\w+',
    # Tables and trees
    r'rb_\w+', r'__rb_\w+', r'(__)?interval_tree_\w+', r'__list_\w+', r'list_sort', r'llist_\w+',
    r'xa_(load|erase|find\w*|get_mark|extract|destroy|get_order)|__xa_erase|__xa_(set|clear)_mark'
    r'|xas_(load|find\w*|next\w*|prev\w*|store|pause|set_mark|get_mark|clear_mark|__\w+)'
    r'|__xas_(next|prev)',
    r'radix_tree_(lookup\w*|delete\w*|next_chunk|tagged|gang_lookup\w*)|idr_(find|remove'
    r'|get_next\w*)|ida_free', r'mas_(find|walk|next|prev|empty_area)\w*', r'mt_find\w*',
    r'find_vma\w*', r'vma_lookup', r'(_)?find_(next|first|last|nth)\w*', r'__bitmap_\w+',
    r'bitmap_(?!\w*alloc)\w+', r'__sw_hweight\w*', r'sort(_r)?', r'bsearch', r'gen_pool_free\w*',
    r'rhashtable_lookup\w*', r'(hash|jhash|siphash)\w*', r'sg_(next|nents\w*|last)',
    r'__sg_page_\w+', r'mt_\w*next', r'maple_\w*find',
    # Words, time, numbers
    r'_?printk\w*', r'_printk_deferred', r'vprintk\w*', r'_dev_\w+', r'dev_(printk\w*|vprintk\w*'
    r'|driver_string)', r'__drm_(dbg|err|dev_dbg|printfn\w*|puts\w*)|drm_dev_(dbg|printk)'
    r'|drm_printf|__drm_\w*printf\w*',
    r'_{0,2}(dynamic|netdev|ibdev)_\w*dbg\w*|__ibdev_\w+|ibdev_\w+'
    r'|__dynamic_\w+', r'netdev_(err|info|warn|printk|notice)', r'__warn_printk|warn_slowpath\w*'
    r'|__WARN\w*|__SCT__WARN_trap|__warn\w*|dump_(stack\w*|page)|print_hex_dump\w*|panic'
    r'|(___?)?ratelimit|__printk_ratelimit|printk_timed_ratelimit|report_bug|oops_\w+',
    r'ktime_get\w*', r'(get_)?jiffies\w*', r'_{0,2}(u|n)delay', r'__const_udelay',
    r'sched_clock\w*',
    r'local_clock\w*', r'(m|u|n)secs_to_jiffies\w*', r'_{0,2}(m|u|n)secs_to_\w+', r'jiffies_to_\w+',
    r'get_random_(u\w+|bytes)', r'prandom_\w+', r'__get_random_\w+', r'do_div\w*',
    # Tracing, and events
    r'__SCT__tp_func_\w+', r'__traceiter_\w+', r'__bpf_trace_\w+', r'trace_event_\w+',
    r'__trace_\w+', r'perf_(trace|tp|swevent|sw_event)\w*|__perf_\w+', r'ftrace_\w+',
    r'__probestub_\w+',
    r'kasan_\w+', r'kmemleak_\w+',
    r'kcsan_\w+', r'__kcsan_\w+', r'__tsan_\w+', r'kmsan_\w+', r'__sanitizer_\w+',
    r'mmu_interval_(set_seq|check_retry|read_retry)', r'mmu_notifier_range_\w+',
    r'_{0,2}count_(vm|memcg)\w*|(__)?(mod|inc|dec)_(node|zone|lruvec|memcg)\w*|vm_event\w*',
    # Devices
    r'dma_(unmap|sync|map)_\w+', r'__dma_sync_\w+', r'iommu_(unmap_fast|iova_to_phys|map_nosync)',
    r'iommu_dma_(unmap|sync)\w*', r'arch_(invalidate|flush|tlb)\w*', r'flush_tlb_\w+',
    r'__flush_tlb_\w+', r'clflush_cache_range', r'flush_(dcache|icache|cache)_\w+', r'native_\w+',
    r'(io(read|write)|__raw_(read|write)|read|write|in|out)[bwlq]?\d*(be|_rep)?', r'mc?sr\w*',
    r'mem(cpy|set)_(from|to)?io', r'pci_(read|write)_config_\w+', r'wbinvd\w*', r'pv_\w+',
    r'paravirt_\w+', r'__x86_\w+', r'this_cpu_\w+', r'_{0,2}this_cpu_\w+', r'cpumask_\w+',
    r'drm_dev_(enter|exit)', r'pm_runtime_get_if_\w+',
    r'capable', r'ns_capable', r'security_\w*capable', r'__get_user_nocheck_\w+',
    r'kernel_fpu_\w+', r'__SCT__hv_hypercall',
    r'non_block_\w+', r'irq_enter|irq_exit', r'cgroup_\w*get', r'css_put\w*',
)

# Function pointers of the core, structure and member, that are also called where nothing
# may sleep: whoever fills them knows
POINTERS = (
    r'dma_fence_ops\.(signaled|enable_signaling|get_\w+|release|set_deadline)',
    r'dma_map_ops\.(un)?map_\w+|dma_map_ops\.sync_\w+',
    r'(wait_queue_entry|rcu_head|callback_head|timer_list|hrtimer|irq_work)\.func\w*',
    r'tracepoint_func\.func', r'iommu_flush_ops\.\w+', r'iommu_domain_ops\.(iotlb_sync|unmap\w*'
    r'|iova_to_phys|flush_iotlb_all)', r'console\.\w+', r'clocksource\.read',
    r'rb_augment_callbacks\.\w+',
)

# Allocators: which argument has the flags, from the end if it is negative. Whether that
# is one of 4 or of 5 depends on options of the kernel.
ALLOCATORS: dict[str, int] = {
    r'__kmalloc|__kmalloc_large|__kmalloc_index': -1,
    r'__kmalloc_node|__kmalloc_large_node|kmalloc_node_\w+': -2,
    r'__kmalloc_node_track_caller|kmalloc_node_track_caller|kmalloc_track_caller': -3,
    r'__kmalloc_cache|__kmalloc_cache_node|kmalloc_trace\w*': 1,
    r'kmem_cache_alloc|kmem_cache_alloc_node|kmem_cache_alloc_bulk': 1,
    r'kmem_cache_alloc_lru|kmem_cache_alloc_from_sheaf': 2,
    r'kmem_cache_charge': 1,
    r'__kvmalloc_node|kvrealloc_node_align|krealloc_node_align': -2,
    r'krealloc|kvrealloc': -1,
    r'vmalloc_huge|__vmalloc|vmalloc_huge_node': 1,
    r'__vmalloc_node': 2,
    r'alloc_pages|folio_alloc|folio_alloc_mpol|alloc_pages_mpol|vma_alloc_folio': 0,
    r'__alloc_pages|__alloc_frozen_pages|__folio_alloc|get_free_pages|get_zeroed_page': 0,
    r'alloc_pages_bulk\w*|__get_free_pages': 0,
    r'alloc_pages_node|alloc_pages_exact|mempool_alloc': 1,
    r'pcpu_alloc': 3,
    r'dma_alloc_attrs|dma_alloc_pages': 3,
    r'devm_kmalloc|devm_kmemdup': -1,
    r'dma_pool_alloc': 1,
    r'kmemdup|kstrndup|kmemdup_nul': 2,
    r'kstrdup|kstrdup_const': 1,
    r'kasprintf|kvasprintf': 0,
    r'sg_alloc_table': 2,
}


@dataclass(frozen=True)
class Knowledge:
    """Whether a function sleeps: True, False, or None if it depends on what nobody knows."""
    sleeps: Optional[bool]
    why: str = ''


# What the value of an argument may be, and whether there is more that is not known
Values = tuple[frozenset[int], bool]
Argument = Callable[[int, int], Values]


def _compiled(names: dict[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(name), why) for name, why in names.items()]


_SLEEPING = _compiled(SLEEPING)
_NOT_SLEEPING = re.compile('|'.join(f'(?:{name})' for name in NOT_SLEEPING))
_ALLOCATORS = [(re.compile(name), index) for name, index in ALLOCATORS.items()]


_POINTERS = re.compile('|'.join(POINTERS))


def pointer_never_sleeps(structure: str, member: str) -> bool:
    return bool(_POINTERS.fullmatch(f'{structure}.{member}'))


def by_flag(values: Values, bit: int, why: str) -> Knowledge:
    known, more = values
    if any(value & bit for value in known):
        return Knowledge(True, why)
    return Knowledge(None, 'depends on flags that are not known') if more else Knowledge(False)


def base_name(name: str) -> str:
    return re.sub(r'_noprof$', '', name)


def look_up(name: str, argument: Argument, reclaim: int) -> Optional[Knowledge]:
    """What is known of a function; None if nothing is. `reclaim` is __GFP_DIRECT_RECLAIM."""
    name = base_name(name)
    for pattern, index in _ALLOCATORS:
        if pattern.fullmatch(name):
            return by_flag(argument(index, reclaim), reclaim, RECLAIM)
    if name == '__percpu_down_read':        # (semaphore, only try, ...)
        known, more = argument(1, 1)
        if more:
            return Knowledge(None, 'depends on an argument that is not known')
        return Knowledge(0 in known, PERCPU)
    if name == 'kvfree_call_rcu' and 0 in argument(0, -1)[0]:
        return Knowledge(True, RCU)         # without a head: kvfree_rcu_mightsleep()
    if name in ('kvfree', 'kvfree_sensitive'):
        return Knowledge(None, 'sleeps if the memory is from vmalloc()')
    for pattern, why in _SLEEPING:
        if pattern.fullmatch(name):
            return Knowledge(True, why)
    if _NOT_SLEEPING.fullmatch(name):
        return Knowledge(False)
    return None
