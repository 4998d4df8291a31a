/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What MMU notifier callbacks do, and what has to be reported about it.
 */
#ifndef _MM_TESTS_MMU_NOTIFIER_OPS_KUNIT_H
#define _MM_TESTS_MMU_NOTIFIER_OPS_KUNIT_H

#include <kunit/report.h>
#include <linux/anon_inodes.h>
#include <linux/bit_spinlock.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/local_lock.h>
#include <linux/lockdep.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/percpu-rwsem.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/radix-tree.h>
#include <linux/rcupdate.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/semaphore.h>
#include <linux/seqlock.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/ww_mutex.h>
#include <linux/xarray.h>

#define WAIT_CONTEXT	KUNIT_REPORT_WAIT_CONTEXT
#define RECURSION	KUNIT_REPORT_RECURSION
#define CIRCULAR	KUNIT_REPORT_CIRCULAR
#define DEADLOCK	KUNIT_REPORT_DEADLOCK
#define MIGHT_SLEEP	KUNIT_REPORT_MIGHT_SLEEP
#define SCHEDULE	KUNIT_REPORT_SCHEDULE
#define MAYBE_SCHEDULE	KUNIT_REPORT_MAYBE_SCHEDULE

/* A sleeping lock that lockdep knows, and an allocation that may reclaim */
#define LOCK		(WAIT_CONTEXT | MIGHT_SLEEP)
#define RECLAIM		(RECURSION | MIGHT_SLEEP)

/**
 * struct mn_op - one thing that a callback does
 * @name: for the name of the test
 * @prepare: what has to be done before, outside of the callback, or NULL; may
 *	     sleep; returns an errno
 * @run: does it
 * @gfp: for @run, if it allocates
 * @scope: PF_MEMALLOC flags of the task meanwhile
 * @nonblock: what it must report in a nonblocking pass, about
 *	      mmu_notifier_nonblock held at the callback
 * @blockable_range: what it must report in a blockable pass in a range callback,
 *		     about mmu_notifier_invalidate_range_start, as it ever did
 * @blockable_interval: likewise in an interval callback
 * @missing: why it cannot be tested in this kernel, or NULL
 */
struct mn_op {
	const char *name;
	int (*prepare)(void);
	void (*run)(gfp_t gfp);
	gfp_t gfp;
	unsigned int scope;
	unsigned int nonblock;
	unsigned int blockable_range;
	unsigned int blockable_interval;
	const char *missing;
};

/* One object of each kind is enough: the passes come one after the other. */

static DEFINE_MUTEX(mutex);
static DECLARE_RWSEM(rwsem);
static DEFINE_SEMAPHORE(semaphore, 1);
DEFINE_STATIC_PERCPU_RWSEM(percpu_rwsem);
static DEFINE_WD_CLASS(ww_class);
static struct ww_mutex ww_mutex;
static DEFINE_SEQLOCK(seqlock);
static unsigned long bit_lock;
static struct mm_struct *other_mm;
static struct folio *folio;

static DECLARE_COMPLETION(completion);
static DECLARE_WAIT_QUEUE_HEAD(wait_queue);
static struct task_struct *kthread;
DEFINE_STATIC_SRCU(srcu_struct);

static struct kmem_cache *cache;
static mempool_t *mempool;
static DEFINE_XARRAY(xarray);
static void *vmalloced;

struct locked {
	local_lock_t lock;
};

static DEFINE_PER_CPU(struct locked, locked) = {
	.lock = INIT_LOCAL_LOCK(lock),
};

/* What most of them do, in a line */

#define CALL_OP(op, call)						\
static void op_##op(gfp_t gfp)						\
{									\
	call;								\
}

#define PAIR_OP(op, first, second)					\
static void op_##op(gfp_t gfp)						\
{									\
	first;								\
	second;								\
}

#define COND_OP(op, first, second)					\
static void op_##op(gfp_t gfp)						\
{									\
	if (first)							\
		second;							\
}

#define SPINLOCK_OPS(type, define)					\
static define(type##lock);						\
PAIR_OP(type##_lock, type##_lock(&type##lock), type##_unlock(&type##lock)) \
PAIR_OP(type##_lock_bh, type##_lock_bh(&type##lock),			\
	type##_unlock_bh(&type##lock))					\
static void op_##type##_lock_irqsave(gfp_t gfp)				\
{									\
	unsigned long flags;						\
									\
	type##_lock_irqsave(&type##lock, flags);			\
	type##_unlock_irqrestore(&type##lock, flags);			\
}

/* Sleeping locks */

PAIR_OP(mutex_lock, mutex_lock(&mutex), mutex_unlock(&mutex))
PAIR_OP(mutex_lock_nested, mutex_lock_nested(&mutex, SINGLE_DEPTH_NESTING),
	mutex_unlock(&mutex))
COND_OP(mutex_lock_interruptible, !mutex_lock_interruptible(&mutex), mutex_unlock(&mutex))
COND_OP(mutex_lock_killable, !mutex_lock_killable(&mutex), mutex_unlock(&mutex))
COND_OP(mutex_trylock, mutex_trylock(&mutex), mutex_unlock(&mutex))
PAIR_OP(down_read, down_read(&rwsem), up_read(&rwsem))
COND_OP(down_read_killable, !down_read_killable(&rwsem), up_read(&rwsem))
COND_OP(down_read_trylock, down_read_trylock(&rwsem), up_read(&rwsem))
PAIR_OP(down_write, down_write(&rwsem), up_write(&rwsem))
COND_OP(down_write_killable, !down_write_killable(&rwsem), up_write(&rwsem))
COND_OP(down_write_trylock, down_write_trylock(&rwsem), up_write(&rwsem))
PAIR_OP(mmap_read_lock, mmap_read_lock(other_mm), mmap_read_unlock(other_mm))
COND_OP(mmap_read_trylock, mmap_read_trylock(other_mm), mmap_read_unlock(other_mm))
COND_OP(ww_mutex_lock, !ww_mutex_lock(&ww_mutex, NULL), ww_mutex_unlock(&ww_mutex))
COND_OP(ww_mutex_trylock, ww_mutex_trylock(&ww_mutex, NULL), ww_mutex_unlock(&ww_mutex))

#ifdef CONFIG_RT_MUTEXES
#define NO_RT_MUTEX NULL
static DEFINE_RT_MUTEX(rt_mutex);

PAIR_OP(rt_mutex_lock, rt_mutex_lock(&rt_mutex), rt_mutex_unlock(&rt_mutex))
COND_OP(rt_mutex_trylock, rt_mutex_trylock(&rt_mutex), rt_mutex_unlock(&rt_mutex))
#else
#define NO_RT_MUTEX "no rt_mutex without CONFIG_RT_MUTEXES"
#define op_rt_mutex_lock NULL
#define op_rt_mutex_trylock NULL
#endif

PAIR_OP(percpu_down_read, percpu_down_read(&percpu_rwsem), percpu_up_read(&percpu_rwsem))
COND_OP(percpu_down_read_trylock, percpu_down_read_trylock(&percpu_rwsem),
	percpu_up_read(&percpu_rwsem))
PAIR_OP(down, down(&semaphore), up(&semaphore))
COND_OP(down_trylock, !down_trylock(&semaphore), up(&semaphore))

static const struct file_operations no_fops;
static struct file *file;

PAIR_OP(inode_lock, inode_lock(file_inode(file)), inode_unlock(file_inode(file)))
COND_OP(inode_trylock, inode_trylock(file_inode(file)), inode_unlock(file_inode(file)))

#define NO_CPU_LOCK							\
	(IS_ENABLED(CONFIG_HOTPLUG_CPU) ? NULL : "no lock of CPUs without CONFIG_HOTPLUG_CPU")

PAIR_OP(cpus_read_lock, cpus_read_lock(), cpus_read_unlock())
COND_OP(cpus_read_trylock, cpus_read_trylock(), cpus_read_unlock())

/* Waits for another task as mutex_lock() does, but neither sleeps nor tells lockdep. */
static void op_mutex_trylock_spinning(gfp_t gfp)
{
	while (!mutex_trylock(&mutex))
		cpu_relax();
	mutex_unlock(&mutex);
}

PAIR_OP(folio_lock, folio_lock(folio), folio_unlock(folio))
COND_OP(folio_trylock, folio_trylock(folio), folio_unlock(folio))

/* Waiting */

CALL_OP(might_sleep, might_sleep())
CALL_OP(wait_event, wait_event(wait_queue, true))

PAIR_OP(wait_for_completion, complete(&completion), wait_for_completion(&completion))
PAIR_OP(complete, complete(&completion), reinit_completion(&completion))
CALL_OP(wake_up, wake_up(&wait_queue))

/* With shorter timeouts, a slow CPU has them over before it comes to schedule. */
CALL_OP(msleep, msleep(50))
CALL_OP(schedule_timeout, schedule_timeout_uninterruptible(HZ / 20))
CALL_OP(usleep_range, usleep_range(50000, 60000))
CALL_OP(cond_resched, cond_resched())
CALL_OP(yield, yield())

static int prepare_mmput(void)
{
	mmget(other_mm);
	return 0;
}

CALL_OP(mmput, mmput(other_mm))

static void op_get_user(gfp_t gfp)
{
	char c;

	/* That nothing is there does not matter: it might have slept before. */
	if (!get_user(c, (char __user *)NULL))
		pr_warn("there is a %#x\n", c);
}

static int until_stopped(void *unused)
{
	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int prepare_kthread(void)
{
	kthread = kthread_run(until_stopped, NULL, "mmu_notifier_op");
	return PTR_ERR_OR_ZERO(kthread);
}

CALL_OP(kthread_stop, kthread_stop(kthread))
CALL_OP(synchronize_rcu, synchronize_rcu())
CALL_OP(synchronize_srcu, synchronize_srcu(&srcu_struct))

#ifdef CONFIG_DMA_SHARED_BUFFER
#define NO_DMA_FENCE NULL

static const char *fence_name(struct dma_fence *fence)
{
	return "mmu_notifier_op";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

static DEFINE_SPINLOCK(fence_lock);
static struct dma_fence *fence;

static int prepare_fence(void)
{
	if (fence)
		return 0;

	fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	if (!fence)
		return -ENOMEM;
	dma_fence_init(fence, &fence_ops, &fence_lock, dma_fence_context_alloc(1), 1);
	dma_fence_signal(fence);
	return 0;
}

/* Over already, but it does not know before. */
CALL_OP(dma_fence_wait, dma_fence_wait(fence, false))

static void put_fence(void)
{
	dma_fence_put(fence);
	fence = NULL;
}
#else
#define NO_DMA_FENCE "no dma_fence without CONFIG_DMA_SHARED_BUFFER"
#define prepare_fence NULL
#define op_dma_fence_wait NULL
static void put_fence(void) { }
#endif

/* Work */

static DECLARE_COMPLETION(flushing);
static struct task_struct *flusher;

/* Not over before somebody waits for it: or there would be nothing to wait for. */
static void allocate(struct work_struct *work)
{
	wait_for_completion(&flushing);
	while (READ_ONCE(flusher->__state) != TASK_UNINTERRUPTIBLE)
		schedule_timeout_uninterruptible(1);
	kfree(kmalloc(64, GFP_KERNEL));
}

static void nothing(struct work_struct *work)
{
}

static DECLARE_WORK(idle_work, nothing);
static DECLARE_WORK(allocating_work, allocate);
static DECLARE_DELAYED_WORK(delayed_work, nothing);

CALL_OP(queue_work, queue_work(system_long_wq, &idle_work))
CALL_OP(mod_delayed_work, mod_delayed_work(system_long_wq, &delayed_work, 1))
CALL_OP(flush_work, flush_work(&idle_work))
CALL_OP(cancel_work_sync, cancel_work_sync(&idle_work))

static struct workqueue_struct *workqueue;

CALL_OP(flush_workqueue, flush_workqueue(workqueue))

static void timer_over(struct timer_list *timer)
{
}

static DEFINE_TIMER(timer, timer_over);

/* Waits for timer_over() only, which cannot sleep. */
PAIR_OP(timer_delete_sync, mod_timer(&timer, jiffies + HZ), timer_delete_sync(&timer))

/*
 * Indirect dependencies on an allocation: what is waited for here allocates
 * elsewhere, and lockdep has seen it do so (mn_ops_init()).
 */

static int prepare_allocating_work(void)
{
	reinit_completion(&flushing);
	queue_work(system_long_wq, &allocating_work);
	return 0;
}

static void op_flush_allocating_work(gfp_t gfp)
{
	flusher = current;
	complete_all(&flushing);
	flush_work(&allocating_work);
}

static struct lockdep_map held_by_allocator =
	STATIC_LOCKDEP_MAP_INIT("held_by_allocator", &held_by_allocator);

PAIR_OP(held_by_allocator, lock_map_acquire(&held_by_allocator),
	lock_map_release(&held_by_allocator))

/* Locks that spin, and what else never sleeps */

SPINLOCK_OPS(spin, DEFINE_SPINLOCK)
SPINLOCK_OPS(raw_spin, DEFINE_RAW_SPINLOCK)
SPINLOCK_OPS(read, DEFINE_RWLOCK)
SPINLOCK_OPS(write, DEFINE_RWLOCK)

static void op_seqlock(gfp_t gfp)
{
	unsigned int seq;

	write_seqlock(&seqlock);
	write_sequnlock(&seqlock);
	do {
		seq = read_seqbegin(&seqlock);
	} while (read_seqretry(&seqlock, seq));
}

PAIR_OP(local_lock, local_lock(&locked.lock), local_unlock(&locked.lock))
PAIR_OP(bit_spin_lock, bit_spin_lock(0, &bit_lock), bit_spin_unlock(0, &bit_lock))
PAIR_OP(rcu_read_lock, rcu_read_lock(), rcu_read_unlock())

static void op_srcu_read_lock(gfp_t gfp)
{
	int idx = srcu_read_lock(&srcu_struct);

	srcu_read_unlock(&srcu_struct, idx);
}

PAIR_OP(preempt_disable, preempt_disable(), preempt_enable())

static void op_local_irq_save(gfp_t gfp)
{
	unsigned long flags;

	local_irq_save(flags);
	local_irq_restore(flags);
}

static void op_preempted(gfp_t gfp)
{
	preempt_disable();
	set_tsk_need_resched(current);
	set_preempt_need_resched();
	preempt_enable();
}

struct rcu_object {
	struct rcu_head rcu;
};

CALL_OP(kfree, kfree(kmalloc(64, GFP_NOWAIT)))

static void op_kvfree_rcu(gfp_t gfp)
{
	struct rcu_object *object = kmalloc(sizeof(*object), GFP_NOWAIT);

	if (object)
		kvfree_rcu(object, rcu);
}

static void free_rcu_object(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct rcu_object, rcu));
}

static void op_call_rcu(gfp_t gfp)
{
	struct rcu_object *object = kmalloc(sizeof(*object), GFP_NOWAIT);

	if (object)
		call_rcu(&object->rcu, free_rcu_object);
}

/* Allocators */

CALL_OP(kmalloc, kfree(kmalloc(64, gfp)))

/* Locks of their own: the others do not depend on reclaim. */

static void op_kmalloc_in_raw_spin_lock(gfp_t gfp)
{
	static DEFINE_RAW_SPINLOCK(lock);

	raw_spin_lock(&lock);
	kfree(kmalloc(64, GFP_KERNEL));
	raw_spin_unlock(&lock);
}

static void op_kmalloc_in_spin_lock_bh(gfp_t gfp)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock_bh(&lock);
	kfree(kmalloc(64, GFP_KERNEL));
	spin_unlock_bh(&lock);
}

static void op_kmalloc_in_spin_lock_irqsave(gfp_t gfp)
{
	static DEFINE_SPINLOCK(lock);
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	kfree(kmalloc(64, GFP_KERNEL));
	spin_unlock_irqrestore(&lock, flags);
}

static void op_mutex_lock_in_raw_spin_lock(gfp_t gfp)
{
	raw_spin_lock(&raw_spinlock);
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	raw_spin_unlock(&raw_spinlock);
}

static void op_kmem_cache_alloc(gfp_t gfp)
{
	void *object = kmem_cache_alloc(cache, gfp);

	if (object)
		kmem_cache_free(cache, object);
}

static void op_alloc_page(gfp_t gfp)
{
	struct page *page = alloc_page(gfp);

	if (page)
		__free_page(page);
}

CALL_OP(kvmalloc, kvfree(kvmalloc(64, gfp)))

/* vfree() may sleep itself, so a test of that or mn_ops_exit() does it. */
static void free_vmalloced(void)
{
	vfree(vmalloced);
	vmalloced = NULL;
}

static int prepare_vmalloc(void)
{
	free_vmalloced();
	return 0;
}

static void op_vmalloc(gfp_t gfp)
{
	vmalloced = __vmalloc(PAGE_SIZE, gfp);
}

static int prepare_vfree(void)
{
	free_vmalloced();
	vmalloced = vmalloc(PAGE_SIZE);
	return vmalloced ? 0 : -ENOMEM;
}

CALL_OP(vfree, free_vmalloced())

static void op_kvfree(gfp_t gfp)
{
	kvfree(vmalloced);
	vmalloced = NULL;
}

/* vmap is a macro in UML of 6.13 */
static void op_vmap_page(gfp_t gfp)
{
	struct page *page = folio_page(folio, 0);

	vunmap(vmap(&page, 1, VM_MAP, PAGE_KERNEL));
}

CALL_OP(alloc_percpu, free_percpu(alloc_percpu_gfp(int, gfp)))

static void op_mempool_alloc(gfp_t gfp)
{
	void *object = mempool_alloc(mempool, gfp);

	if (object)
		mempool_free(object, mempool);
}

COND_OP(xa_insert, !xa_insert(&xarray, 1000, xa_mk_value(1), gfp), xa_erase(&xarray, 1000))

static void op_radix_tree_insert(gfp_t gfp)
{
	RADIX_TREE(tree, gfp);

	if (!radix_tree_insert(&tree, 1000, xa_mk_value(1)))
		radix_tree_delete(&tree, 1000);
}

/* Tables */

#define OP(op)		.name = #op, .run = op_##op
/* Takes start_map in a blockable pass, in which that is held */
#define DEADLOCKS	.blockable_range = DEADLOCK, .blockable_interval = DEADLOCK
/* Range callbacks run in an SRCU read side, through which lockdep sees no circle. */
#define INTERVAL_DEADLOCKS	.blockable_interval = DEADLOCK
/* On PREEMPT_RT, too: it holds rcu_read_lock(). */
#define IN_SPINLOCK						\
	.blockable_range = DEADLOCK | MIGHT_SLEEP,		\
	.blockable_interval = DEADLOCK | MIGHT_SLEEP
#define ALLOCATOR(op)	OP(op), .gfp = GFP_KERNEL, .nonblock = RECLAIM, DEADLOCKS
#define KMALLOC(how)	.name = "kmalloc/" #how, .run = op_kmalloc, .gfp = how
/* In a scope, of memalloc_nofs_save() for example */
#define SCOPED(how, flag)						\
	.name = "kmalloc/memalloc_" #how, .run = op_kmalloc, .gfp = GFP_KERNEL, .scope = flag

static const struct mn_op wrong_ops[] = {
	{ OP(mutex_lock), .nonblock = LOCK },
	{ OP(mutex_lock_nested), .nonblock = LOCK },
	{ OP(mutex_lock_interruptible), .nonblock = LOCK },
	{ OP(mutex_lock_killable), .nonblock = LOCK },
	{ OP(rt_mutex_lock), .nonblock = LOCK, .missing = NO_RT_MUTEX },
	{ OP(ww_mutex_lock), .nonblock = LOCK },
	{ OP(down_read), .nonblock = LOCK },
	{ OP(down_read_killable), .nonblock = LOCK },
	{ OP(down_write), .nonblock = LOCK },
	{ OP(down_write_killable), .nonblock = LOCK },
	{ OP(inode_lock), .nonblock = LOCK },
	{ OP(flush_workqueue), .nonblock = LOCK },
	{ OP(mmap_read_lock), .nonblock = LOCK, INTERVAL_DEADLOCKS },
	{ OP(get_user), .nonblock = LOCK, INTERVAL_DEADLOCKS },
	/* Lockdep knows of no lock here, or of none with a wait type. */
	{ OP(percpu_down_read), .nonblock = MIGHT_SLEEP },
	{ OP(down), .nonblock = MIGHT_SLEEP },
	{ OP(folio_lock), .nonblock = MIGHT_SLEEP },
	{ OP(might_sleep), .nonblock = MIGHT_SLEEP },
	{ OP(cond_resched), .nonblock = MIGHT_SLEEP },
	{ OP(wait_event), .nonblock = MIGHT_SLEEP },
	{ OP(wait_for_completion), .nonblock = MIGHT_SLEEP },
	{ OP(flush_work), .nonblock = MIGHT_SLEEP },
	{ OP(cancel_work_sync), .nonblock = MIGHT_SLEEP },
	{ OP(mmput), .prepare = prepare_mmput, .nonblock = MIGHT_SLEEP },
	{ OP(vfree), .prepare = prepare_vfree, .nonblock = MIGHT_SLEEP },
	{ OP(kvfree), .prepare = prepare_vfree, .nonblock = MIGHT_SLEEP },
	{ OP(msleep), .nonblock = SCHEDULE },
	{ OP(usleep_range), .nonblock = SCHEDULE },
	{ OP(schedule_timeout), .nonblock = SCHEDULE },
	{ OP(kthread_stop), .prepare = prepare_kthread, .nonblock = MIGHT_SLEEP | MAYBE_SCHEDULE },
	{ OP(synchronize_rcu), .nonblock = MIGHT_SLEEP | MAYBE_SCHEDULE,
	  .missing = IS_ENABLED(CONFIG_TINY_RCU) ? "tiny RCU does not wait" : NULL },
	{ OP(synchronize_srcu), .nonblock = MIGHT_SLEEP | MAYBE_SCHEDULE },
	{ OP(dma_fence_wait), .prepare = prepare_fence, .nonblock = MIGHT_SLEEP,
	  .missing = NO_DMA_FENCE },

	{ ALLOCATOR(kmem_cache_alloc) },
	{ ALLOCATOR(alloc_page) },
	{ ALLOCATOR(kvmalloc) },
	{ ALLOCATOR(vmalloc), .prepare = prepare_vmalloc },
	{ ALLOCATOR(vmap_page) },
	{ ALLOCATOR(mempool_alloc) },
	{ ALLOCATOR(xa_insert) },
	{ ALLOCATOR(radix_tree_insert) },
	/* Takes a mutex where it may reclaim, and allocates under that. */
	{ OP(alloc_percpu), .gfp = GFP_KERNEL, .nonblock = LOCK, INTERVAL_DEADLOCKS },
	{ KMALLOC(GFP_KERNEL), .nonblock = RECLAIM, DEADLOCKS },
	{ KMALLOC(GFP_USER), .nonblock = RECLAIM, DEADLOCKS },
	{ KMALLOC(GFP_NOFS), .nonblock = RECLAIM, DEADLOCKS },
	{ KMALLOC(GFP_NOIO), .nonblock = RECLAIM, DEADLOCKS },
	{ KMALLOC(GFP_KERNEL | __GFP_NORETRY), .nonblock = RECLAIM, DEADLOCKS },
	{ KMALLOC(GFP_KERNEL | __GFP_NOFAIL), .nonblock = RECLAIM, DEADLOCKS },
	{ SCOPED(nofs, PF_MEMALLOC_NOFS), .nonblock = RECLAIM, DEADLOCKS },
	{ SCOPED(noio, PF_MEMALLOC_NOIO), .nonblock = RECLAIM, DEADLOCKS },

	{ OP(kmalloc_in_raw_spin_lock), .nonblock = RECLAIM, IN_SPINLOCK },
	{ OP(kmalloc_in_spin_lock_bh), .nonblock = RECLAIM, IN_SPINLOCK },
	{ OP(kmalloc_in_spin_lock_irqsave), .nonblock = RECLAIM, IN_SPINLOCK },
	{ OP(mutex_lock_in_raw_spin_lock), .nonblock = LOCK,
	  .blockable_range = LOCK, .blockable_interval = LOCK },

	/* Not itself, but what it waits for allocates. */
	{ OP(held_by_allocator), .nonblock = CIRCULAR, INTERVAL_DEADLOCKS },
	{ OP(cpus_read_lock), .nonblock = CIRCULAR | MIGHT_SLEEP, INTERVAL_DEADLOCKS,
	  .missing = NO_CPU_LOCK },
	{ OP(flush_allocating_work), .prepare = prepare_allocating_work,
	  .nonblock = CIRCULAR | MIGHT_SLEEP | MAYBE_SCHEDULE, INTERVAL_DEADLOCKS },
};

static const struct mn_op protected_ops[] = {
	{ OP(mutex_trylock) },
	{ OP(rt_mutex_trylock), .missing = NO_RT_MUTEX },
	{ OP(ww_mutex_trylock) },
	{ OP(down_read_trylock) },
	{ OP(down_write_trylock) },
	{ OP(inode_trylock) },
	{ OP(mmap_read_trylock) },
	{ OP(percpu_down_read_trylock) },
	{ OP(cpus_read_trylock), .missing = NO_CPU_LOCK },
	{ OP(down_trylock) },
	{ OP(folio_trylock) },
	{ OP(spin_lock) },
	{ OP(spin_lock_bh) },
	{ OP(spin_lock_irqsave) },
	{ OP(raw_spin_lock) },
	{ OP(raw_spin_lock_bh) },
	{ OP(raw_spin_lock_irqsave) },
	{ OP(read_lock) },
	{ OP(read_lock_bh) },
	{ OP(read_lock_irqsave) },
	{ OP(write_lock) },
	{ OP(write_lock_bh) },
	{ OP(write_lock_irqsave) },
	{ OP(seqlock) },
	{ OP(local_lock) },
	{ OP(bit_spin_lock) },
	{ OP(rcu_read_lock) },
	{ OP(srcu_read_lock) },
	{ OP(preempt_disable) },
	{ OP(local_irq_save) },
	{ OP(preempted),
	  .missing = IS_ENABLED(CONFIG_PREEMPTION) ? NULL : "no preemption in the kernel" },
	{ OP(complete) },
	{ OP(wake_up) },
	{ OP(queue_work) },
	{ OP(mod_delayed_work) },
	{ OP(timer_delete_sync) },
	{ OP(kfree) },
	{ OP(kvfree_rcu) },
	{ OP(call_rcu) },
	{ OP(kmem_cache_alloc), .gfp = GFP_NOWAIT },
	{ OP(alloc_page), .gfp = GFP_NOWAIT },
	{ OP(kvmalloc), .gfp = GFP_NOWAIT },
	{ OP(alloc_percpu), .gfp = GFP_NOWAIT },
	{ OP(mempool_alloc), .gfp = GFP_NOWAIT },
	{ OP(xa_insert), .gfp = GFP_NOWAIT },
	{ OP(radix_tree_insert), .gfp = GFP_NOWAIT },
	{ KMALLOC(GFP_NOWAIT) },
	{ KMALLOC(GFP_ATOMIC) },
};

/* What is wrong, or may be, and not reported, or not by lockdep: the guide says so. */
static const struct mn_op limit_ops[] = {
	{ OP(mutex_trylock_spinning) },
	{ OP(yield) },
	{ KMALLOC(GFP_KERNEL | __GFP_NOLOCKDEP) },
	{ SCOPED(noreclaim, PF_MEMALLOC) },
};

/**
 * struct mn_misuse - what a callback takes and does not give back
 * @name: for the name of the test
 * @before: what the caller of the pass does, or NULL
 * @run: the callback
 * @after: what the caller does when the pass is over, so that the task ends as
 *	   it began; or NULL
 * @changed: what the warning must say that the callback changed
 * @missing: why it cannot be tested in this kernel, or NULL
 */
struct mn_misuse {
	const char *name;
	void (*before)(void);
	void (*run)(void);
	void (*after)(void);
	const char *changed;
	const char *missing;
};

/* A lock that sleeps or spins would make a circle with what the core does next. */
DEFINE_STATIC_SRCU(kept_srcu);
static int kept_idx;

static void keep_srcu_read_lock(void)
	__acquires(&kept_srcu)
{
	kept_idx = srcu_read_lock(&kept_srcu);
}

static void unlock_srcu(void)
	__releases(&kept_srcu)
{
	srcu_read_unlock(&kept_srcu, kept_idx);
}

static DEFINE_MUTEX(outer_mutex);
static unsigned int memalloc_flags;

#define STEP(name, step)						\
static void name(void)							\
{									\
	step;								\
}

static void exchange_locks(void)
{
	mutex_unlock(&outer_mutex);
	keep_srcu_read_lock();
}

STEP(lock_outer_mutex, mutex_lock(&outer_mutex))
STEP(drop_outer_mutex, mutex_unlock(&outer_mutex))
STEP(disable_preempt, preempt_disable())
STEP(enable_preempt, preempt_enable())
STEP(disable_irqs, local_irq_disable())
STEP(enable_irqs, local_irq_enable())
STEP(disable_pagefaults, pagefault_disable())
STEP(enable_pagefaults, pagefault_enable())
STEP(enter_memalloc_nofs, memalloc_flags = memalloc_nofs_save())
STEP(leave_memalloc_nofs, memalloc_nofs_restore(memalloc_flags))
STEP(enter_memalloc_noio, memalloc_flags = memalloc_noio_save())
STEP(leave_memalloc_noio, memalloc_noio_restore(memalloc_flags))
STEP(enter_memalloc_noreclaim, memalloc_flags = memalloc_noreclaim_save())
STEP(leave_memalloc_noreclaim, memalloc_noreclaim_restore(memalloc_flags))
STEP(start_non_block, non_block_start())
STEP(end_non_block, non_block_end())

/* The core goes on to take a spinlock. */
#define RT_SLEEPS							\
	(IS_ENABLED(CONFIG_PREEMPT_RT) ?				\
	 "what the core does next may sleep on PREEMPT_RT" : NULL)
#define NO_PREEMPT_COUNT						\
	(IS_ENABLED(CONFIG_PREEMPT_COUNT) ? RT_SLEEPS :			\
	 "preemption is not counted without CONFIG_PREEMPT_COUNT")
#define NO_NON_BLOCK							\
	(IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) ? NULL :			\
	 "non_block_start() needs CONFIG_DEBUG_ATOMIC_SLEEP")

static const struct mn_misuse misuses[] = {
	{ .name = "lock_kept", .run = keep_srcu_read_lock, .after = unlock_srcu,
	  .changed = "held locks" },
	{ .name = "lock_dropped", .before = lock_outer_mutex, .run = drop_outer_mutex,
	  .changed = "held locks" },
	/* As many as before */
	{ .name = "lock_exchanged", .before = lock_outer_mutex, .run = exchange_locks,
	  .after = unlock_srcu, .changed = "held locks" },
	{ .name = "preempt_disabled", .run = disable_preempt, .after = enable_preempt,
	  .changed = "preempt_count()", .missing = NO_PREEMPT_COUNT },
	{ .name = "irqs_disabled", .run = disable_irqs, .after = enable_irqs,
	  .changed = "irqs_disabled()", .missing = RT_SLEEPS },
	{ .name = "pagefault_disabled", .run = disable_pagefaults, .after = enable_pagefaults,
	  .changed = "pagefault_disabled()" },
	{ .name = "memalloc_nofs_entered", .run = enter_memalloc_nofs,
	  .after = leave_memalloc_nofs, .changed = "the memalloc scope" },
	{ .name = "memalloc_noio_entered", .run = enter_memalloc_noio,
	  .after = leave_memalloc_noio, .changed = "the memalloc scope" },
	{ .name = "memalloc_noreclaim_entered", .run = enter_memalloc_noreclaim,
	  .after = leave_memalloc_noreclaim, .changed = "the memalloc scope" },
	{ .name = "non_block_started", .run = start_non_block, .after = end_non_block,
	  .changed = "non_block_count", .missing = NO_NON_BLOCK },
	{ .name = "non_block_ended", .run = end_non_block, .after = start_non_block,
	  .changed = "non_block_count", .missing = NO_NON_BLOCK },
};

/**
 * mn_ops_init() - allocate what the operations use, and teach lockdep who allocates
 *
 * Context: May sleep. mn_ops_exit() has to follow, even after an error.
 *
 * Return: 0 or -ENOMEM.
 */
static int mn_ops_init(void)
{
	ww_mutex_init(&ww_mutex, &ww_class);
	other_mm = mm_alloc();
	folio = folio_alloc(GFP_KERNEL, 0);
	cache = kmem_cache_create("mmu_notifier_op", 64, 0, 0, NULL);
	mempool = mempool_create_kmalloc_pool(1, 64);
	workqueue = alloc_workqueue("mmu_notifier_op", WQ_UNBOUND, 0);
	file = anon_inode_getfile("mmu_notifier_op", &no_fops, NULL, O_RDONLY);
	if (!other_mm || !folio || !cache || !mempool || !workqueue || IS_ERR(file))
		return -ENOMEM;

	lock_map_acquire(&held_by_allocator);
	might_alloc(GFP_KERNEL);
	lock_map_release(&held_by_allocator);

	cpus_read_lock();
	might_alloc(GFP_KERNEL);
	cpus_read_unlock();

	prepare_allocating_work();
	op_flush_allocating_work(0);

	/* More than can be left: has memory allocated under the mutex. */
	free_percpu(__alloc_percpu(PCPU_MIN_UNIT_SIZE, sizeof(long)));
	return 0;
}

/**
 * mn_ops_exit() - wait for what the operations have begun, and free what they used
 *
 * Context: May sleep.
 */
static void mn_ops_exit(void)
{
	free_vmalloced();
	flush_work(&idle_work);
	op_flush_allocating_work(0); /* if a test was ended before it came to that */
	cancel_delayed_work_sync(&delayed_work);
	rcu_barrier();

	put_fence();
	if (!IS_ERR_OR_NULL(file))
		fput(file);
	if (workqueue)
		destroy_workqueue(workqueue);
	mempool_destroy(mempool);
	kmem_cache_destroy(cache);
	if (folio)
		folio_put(folio);
	if (other_mm)
		mmput(other_mm);
	ww_mutex_destroy(&ww_mutex);
	xa_destroy(&xarray);
}

#endif /* _MM_TESTS_MMU_NOTIFIER_OPS_KUNIT_H */
