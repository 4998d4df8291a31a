/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What MMU notifier callbacks do, and what has to be reported about it.
 */
#ifndef _MM_TESTS_MMU_NOTIFIER_OPS_KUNIT_H
#define _MM_TESTS_MMU_NOTIFIER_OPS_KUNIT_H

#include <kunit/report.h>
#include <linux/anon_inodes.h>
#include <linux/atomic.h>
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
#include <linux/kref.h>
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

/* Where spinlocks sleep, an allocation may, too. */
#define SLEEP_IN_SPINLOCK	(IS_ENABLED(CONFIG_PREEMPT_RT) ? 0 : MIGHT_SLEEP)

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
static DEFINE_SPINLOCK(spinlock);
static DEFINE_RAW_SPINLOCK(raw_spinlock);
static DEFINE_RWLOCK(rwlock);
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

/* Sleeping locks */

static void op_mutex_lock(gfp_t gfp)
{
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
}

static void op_mutex_lock_nested(gfp_t gfp)
{
	mutex_lock_nested(&mutex, SINGLE_DEPTH_NESTING);
	mutex_unlock(&mutex);
}

static void op_mutex_lock_interruptible(gfp_t gfp)
{
	if (!mutex_lock_interruptible(&mutex))
		mutex_unlock(&mutex);
}

static void op_mutex_lock_killable(gfp_t gfp)
{
	if (!mutex_lock_killable(&mutex))
		mutex_unlock(&mutex);
}

static void op_mutex_trylock(gfp_t gfp)
{
	if (mutex_trylock(&mutex))
		mutex_unlock(&mutex);
}

static void op_down_read(gfp_t gfp)
{
	down_read(&rwsem);
	up_read(&rwsem);
}

static void op_down_read_killable(gfp_t gfp)
{
	if (!down_read_killable(&rwsem))
		up_read(&rwsem);
}

static void op_down_read_trylock(gfp_t gfp)
{
	if (down_read_trylock(&rwsem))
		up_read(&rwsem);
}

static void op_down_write(gfp_t gfp)
{
	down_write(&rwsem);
	up_write(&rwsem);
}

static void op_down_write_killable(gfp_t gfp)
{
	if (!down_write_killable(&rwsem))
		up_write(&rwsem);
}

static void op_down_write_trylock(gfp_t gfp)
{
	if (down_write_trylock(&rwsem))
		up_write(&rwsem);
}

static void op_mmap_read_lock(gfp_t gfp)
{
	mmap_read_lock(other_mm);
	mmap_read_unlock(other_mm);
}

static void op_mmap_read_trylock(gfp_t gfp)
{
	if (mmap_read_trylock(other_mm))
		mmap_read_unlock(other_mm);
}

static void op_ww_mutex_lock(gfp_t gfp)
{
	if (!ww_mutex_lock(&ww_mutex, NULL))
		ww_mutex_unlock(&ww_mutex);
}

static void op_ww_mutex_trylock(gfp_t gfp)
{
	if (ww_mutex_trylock(&ww_mutex, NULL))
		ww_mutex_unlock(&ww_mutex);
}

#ifdef CONFIG_RT_MUTEXES
#define NO_RT_MUTEX NULL
static DEFINE_RT_MUTEX(rt_mutex);

static void op_rt_mutex_lock(gfp_t gfp)
{
	rt_mutex_lock(&rt_mutex);
	rt_mutex_unlock(&rt_mutex);
}

static void op_rt_mutex_trylock(gfp_t gfp)
{
	if (rt_mutex_trylock(&rt_mutex))
		rt_mutex_unlock(&rt_mutex);
}
#else
#define NO_RT_MUTEX "no rt_mutex without CONFIG_RT_MUTEXES"
#define op_rt_mutex_lock NULL
#define op_rt_mutex_trylock NULL
#endif

static void op_percpu_down_read(gfp_t gfp)
{
	percpu_down_read(&percpu_rwsem);
	percpu_up_read(&percpu_rwsem);
}

static void op_percpu_down_read_trylock(gfp_t gfp)
{
	if (percpu_down_read_trylock(&percpu_rwsem))
		percpu_up_read(&percpu_rwsem);
}

static void op_down(gfp_t gfp)
{
	down(&semaphore);
	up(&semaphore);
}

static void op_down_trylock(gfp_t gfp)
{
	if (!down_trylock(&semaphore))
		up(&semaphore);
}

static const struct file_operations no_fops;
static struct file *file;

static void op_inode_lock(gfp_t gfp)
{
	inode_lock(file_inode(file));
	inode_unlock(file_inode(file));
}

static void op_inode_trylock(gfp_t gfp)
{
	if (inode_trylock(file_inode(file)))
		inode_unlock(file_inode(file));
}

#define NO_CPU_LOCK							\
	(IS_ENABLED(CONFIG_HOTPLUG_CPU) ? NULL : "no lock of CPUs without CONFIG_HOTPLUG_CPU")

static void op_cpus_read_lock(gfp_t gfp)
{
	cpus_read_lock();
	cpus_read_unlock();
}

static void op_cpus_read_trylock(gfp_t gfp)
{
	if (cpus_read_trylock())
		cpus_read_unlock();
}

/* Waits for another task as mutex_lock() does, but neither sleeps nor tells lockdep. */
static void op_mutex_trylock_spinning(gfp_t gfp)
{
	while (!mutex_trylock(&mutex))
		cpu_relax();
	mutex_unlock(&mutex);
}

static void op_folio_lock(gfp_t gfp)
{
	folio_lock(folio);
	folio_unlock(folio);
}

static void op_folio_trylock(gfp_t gfp)
{
	if (folio_trylock(folio))
		folio_unlock(folio);
}

/* Waiting */

static void op_might_sleep(gfp_t gfp)
{
	might_sleep();
}

static void op_wait_event(gfp_t gfp)
{
	wait_event(wait_queue, true);
}

static void op_wait_for_completion(gfp_t gfp)
{
	complete(&completion);
	wait_for_completion(&completion);
}

static void op_complete(gfp_t gfp)
{
	complete(&completion);
	reinit_completion(&completion);
}

static void op_wake_up(gfp_t gfp)
{
	wake_up(&wait_queue);
}

/* With shorter timeouts, a slow CPU has them over before it comes to schedule. */
static void op_msleep(gfp_t gfp)
{
	msleep(50);
}

static void op_schedule_timeout(gfp_t gfp)
{
	schedule_timeout_uninterruptible(HZ / 20);
}

static void op_usleep_range(gfp_t gfp)
{
	usleep_range(50000, 60000);
}

static void op_cond_resched(gfp_t gfp)
{
	cond_resched();
}

static void op_yield(gfp_t gfp)
{
	yield();
}

static int prepare_mmput(void)
{
	mmget(other_mm);
	return 0;
}

static void op_mmput(gfp_t gfp)
{
	mmput(other_mm);
}

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

static void op_kthread_stop(gfp_t gfp)
{
	kthread_stop(kthread);
}

static void op_synchronize_rcu(gfp_t gfp)
{
	synchronize_rcu();
}

static void op_synchronize_srcu(gfp_t gfp)
{
	synchronize_srcu(&srcu_struct);
}

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
static void op_dma_fence_wait(gfp_t gfp)
{
	dma_fence_wait(fence, false);
}

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

static void op_queue_work(gfp_t gfp)
{
	queue_work(system_long_wq, &idle_work);
}

static void op_mod_delayed_work(gfp_t gfp)
{
	mod_delayed_work(system_long_wq, &delayed_work, 1);
}

static void op_flush_work(gfp_t gfp)
{
	flush_work(&idle_work);
}

static void op_cancel_work_sync(gfp_t gfp)
{
	cancel_work_sync(&idle_work);
}

static struct workqueue_struct *workqueue;

static void op_flush_workqueue(gfp_t gfp)
{
	flush_workqueue(workqueue);
}

static void timer_over(struct timer_list *timer)
{
}

static DEFINE_TIMER(timer, timer_over);

/* Waits for timer_over() only, which cannot sleep. */
static void op_timer_delete_sync(gfp_t gfp)
{
	mod_timer(&timer, jiffies + HZ);
	timer_delete_sync(&timer);
}

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
	complete(&flushing);
	flush_work(&allocating_work);
}

static struct lockdep_map held_by_allocator =
	STATIC_LOCKDEP_MAP_INIT("held_by_allocator", &held_by_allocator);

static void op_held_by_allocator(gfp_t gfp)
{
	lock_map_acquire(&held_by_allocator);
	lock_map_release(&held_by_allocator);
}

/* Locks that spin, and what else never sleeps */

static void op_spin_lock(gfp_t gfp)
{
	spin_lock(&spinlock);
	spin_unlock(&spinlock);
}

static void op_spin_lock_bh(gfp_t gfp)
{
	spin_lock_bh(&spinlock);
	spin_unlock_bh(&spinlock);
}

static void op_spin_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	spin_lock_irqsave(&spinlock, flags);
	spin_unlock_irqrestore(&spinlock, flags);
}

static void op_raw_spin_lock(gfp_t gfp)
{
	raw_spin_lock(&raw_spinlock);
	raw_spin_unlock(&raw_spinlock);
}

static void op_raw_spin_lock_bh(gfp_t gfp)
{
	raw_spin_lock_bh(&raw_spinlock);
	raw_spin_unlock_bh(&raw_spinlock);
}

static void op_raw_spin_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&raw_spinlock, flags);
	raw_spin_unlock_irqrestore(&raw_spinlock, flags);
}

static void op_read_lock(gfp_t gfp)
{
	read_lock(&rwlock);
	read_unlock(&rwlock);
}

static void op_read_lock_bh(gfp_t gfp)
{
	read_lock_bh(&rwlock);
	read_unlock_bh(&rwlock);
}

static void op_read_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	read_lock_irqsave(&rwlock, flags);
	read_unlock_irqrestore(&rwlock, flags);
}

static void op_write_lock(gfp_t gfp)
{
	write_lock(&rwlock);
	write_unlock(&rwlock);
}

static void op_write_lock_bh(gfp_t gfp)
{
	write_lock_bh(&rwlock);
	write_unlock_bh(&rwlock);
}

static void op_write_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	write_lock_irqsave(&rwlock, flags);
	write_unlock_irqrestore(&rwlock, flags);
}

static void op_seqlock(gfp_t gfp)
{
	unsigned int seq;

	write_seqlock(&seqlock);
	write_sequnlock(&seqlock);
	do {
		seq = read_seqbegin(&seqlock);
	} while (read_seqretry(&seqlock, seq));
}

static void op_local_lock(gfp_t gfp)
{
	local_lock(&locked.lock);
	local_unlock(&locked.lock);
}

static void op_bit_spin_lock(gfp_t gfp)
{
	bit_spin_lock(0, &bit_lock);
	bit_spin_unlock(0, &bit_lock);
}

static void op_rcu_read_lock(gfp_t gfp)
{
	rcu_read_lock();
	rcu_read_unlock();
}

static void op_srcu_read_lock(gfp_t gfp)
{
	int idx = srcu_read_lock(&srcu_struct);

	srcu_read_unlock(&srcu_struct, idx);
}

static void op_preempt_disable(gfp_t gfp)
{
	preempt_disable();
	preempt_enable();
}

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

static void kref_released(struct kref *kref)
{
}

static void op_kref(gfp_t gfp)
{
	struct kref kref;

	kref_init(&kref);
	kref_get(&kref);
	kref_put(&kref, kref_released);
	kref_put(&kref, kref_released);
}

static void op_atomic(gfp_t gfp)
{
	static atomic_t counter;

	atomic_inc(&counter);
}

struct rcu_object {
	struct rcu_head rcu;
};

static void op_kfree(gfp_t gfp)
{
	kfree(kmalloc(64, GFP_NOWAIT));
}

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

static void op_kmalloc(gfp_t gfp)
{
	kfree(kmalloc(64, gfp));
}

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

static void op_kvmalloc(gfp_t gfp)
{
	kvfree(kvmalloc(64, gfp));
}

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

static void op_vfree(gfp_t gfp)
{
	free_vmalloced();
}

static void op_kvfree(gfp_t gfp)
{
	kvfree(vmalloced);
	vmalloced = NULL;
}

static void op_vmap(gfp_t gfp)
{
	struct page *page = folio_page(folio, 0);

	vunmap(vmap(&page, 1, VM_MAP, PAGE_KERNEL));
}

static void op_alloc_percpu(gfp_t gfp)
{
	free_percpu(alloc_percpu_gfp(int, gfp));
}

static void op_mempool_alloc(gfp_t gfp)
{
	void *object = mempool_alloc(mempool, gfp);

	if (object)
		mempool_free(object, mempool);
}

static void op_xa_insert(gfp_t gfp)
{
	if (!xa_insert(&xarray, 1000, xa_mk_value(1), gfp))
		xa_erase(&xarray, 1000);
}

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
#define IN_SPINLOCK						\
	.blockable_range = DEADLOCK | SLEEP_IN_SPINLOCK,	\
	.blockable_interval = DEADLOCK | SLEEP_IN_SPINLOCK
#define ALLOCATOR(op)	OP(op), .gfp = GFP_KERNEL, .nonblock = RECLAIM, DEADLOCKS
#define KMALLOC(how)	.name = "kmalloc/" #how, .run = op_kmalloc, .gfp = how

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
	{ OP(cpus_read_lock), .nonblock = MIGHT_SLEEP, .missing = NO_CPU_LOCK },
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
	{ ALLOCATOR(vmap) },
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
	{ KMALLOC(GFP_KERNEL), .name = "kmalloc/memalloc_nofs", .scope = PF_MEMALLOC_NOFS,
	  .nonblock = RECLAIM, DEADLOCKS },
	{ KMALLOC(GFP_KERNEL), .name = "kmalloc/memalloc_noio", .scope = PF_MEMALLOC_NOIO,
	  .nonblock = RECLAIM, DEADLOCKS },

	{ OP(kmalloc_in_raw_spin_lock), .nonblock = RECLAIM,
	  .blockable_range = DEADLOCK | MIGHT_SLEEP,
	  .blockable_interval = DEADLOCK | MIGHT_SLEEP },
	{ OP(kmalloc_in_spin_lock_bh), .nonblock = RECLAIM, IN_SPINLOCK },
	{ OP(kmalloc_in_spin_lock_irqsave), .nonblock = RECLAIM, IN_SPINLOCK },
	{ OP(mutex_lock_in_raw_spin_lock), .nonblock = LOCK,
	  .blockable_range = LOCK, .blockable_interval = LOCK },

	/* Not itself, but what it waits for allocates. */
	{ OP(held_by_allocator), .nonblock = CIRCULAR, INTERVAL_DEADLOCKS },
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
	{ OP(kref) },
	{ OP(atomic) },
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
	{ KMALLOC(GFP_KERNEL | __GFP_NOLOCKDEP), .nonblock = MIGHT_SLEEP },
	{ KMALLOC(GFP_KERNEL), .name = "kmalloc/memalloc_noreclaim", .scope = PF_MEMALLOC },
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

static void lock_outer_mutex(void)
{
	mutex_lock(&outer_mutex);
}

static void drop_outer_mutex(void)
{
	mutex_unlock(&outer_mutex);
}

static void exchange_locks(void)
{
	mutex_unlock(&outer_mutex);
	keep_srcu_read_lock();
}

static void disable_preempt(void)
{
	preempt_disable();
}

static void enable_preempt(void)
{
	preempt_enable();
}

static void disable_irqs(void)
{
	local_irq_disable();
}

static void enable_irqs(void)
{
	local_irq_enable();
}

static void disable_pagefaults(void)
{
	pagefault_disable();
}

static void enable_pagefaults(void)
{
	pagefault_enable();
}

static unsigned int memalloc_flags;

static void enter_memalloc_nofs(void)
{
	memalloc_flags = memalloc_nofs_save();
}

static void leave_memalloc_nofs(void)
{
	memalloc_nofs_restore(memalloc_flags);
}

static void start_non_block(void)
{
	non_block_start();
}

static void end_non_block(void)
{
	non_block_end();
}

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
