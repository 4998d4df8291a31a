// SPDX-License-Identifier: GPL-2.0-only
/*
 * What MMU notifier callbacks do, and what has to be reported about it.
 */

#include <kunit/report.h>
#include <linux/atomic.h>
#include <linux/bit_spinlock.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/kref.h>
#include <linux/kthread.h>
#include <linux/llist.h>
#include <linux/local_lock.h>
#include <linux/lockdep.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/percpu.h>
#include <linux/percpu-rwsem.h>
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
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/ww_mutex.h>
#include <linux/xarray.h>

#include "mmu_notifier_acts.h"

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
static LLIST_HEAD(vmalloced);

struct locked {
	local_lock_t lock;
};

static DEFINE_PER_CPU(struct locked, locked) = {
	.lock = INIT_LOCAL_LOCK(lock),
};

/* Sleeping locks */

static void act_mutex_lock(gfp_t gfp)
{
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
}

static void act_mutex_lock_nested(gfp_t gfp)
{
	mutex_lock_nested(&mutex, SINGLE_DEPTH_NESTING);
	mutex_unlock(&mutex);
}

static void act_mutex_lock_interruptible(gfp_t gfp)
{
	if (!mutex_lock_interruptible(&mutex))
		mutex_unlock(&mutex);
}

static void act_mutex_lock_killable(gfp_t gfp)
{
	if (!mutex_lock_killable(&mutex))
		mutex_unlock(&mutex);
}

static void act_mutex_trylock(gfp_t gfp)
{
	if (mutex_trylock(&mutex))
		mutex_unlock(&mutex);
}

static void act_down_read(gfp_t gfp)
{
	down_read(&rwsem);
	up_read(&rwsem);
}

static void act_down_read_killable(gfp_t gfp)
{
	if (!down_read_killable(&rwsem))
		up_read(&rwsem);
}

static void act_down_read_trylock(gfp_t gfp)
{
	if (down_read_trylock(&rwsem))
		up_read(&rwsem);
}

static void act_down_write(gfp_t gfp)
{
	down_write(&rwsem);
	up_write(&rwsem);
}

static void act_down_write_killable(gfp_t gfp)
{
	if (!down_write_killable(&rwsem))
		up_write(&rwsem);
}

static void act_down_write_trylock(gfp_t gfp)
{
	if (down_write_trylock(&rwsem))
		up_write(&rwsem);
}

static void act_mmap_read_lock(gfp_t gfp)
{
	mmap_read_lock(other_mm);
	mmap_read_unlock(other_mm);
}

static void act_mmap_read_trylock(gfp_t gfp)
{
	if (mmap_read_trylock(other_mm))
		mmap_read_unlock(other_mm);
}

static void act_ww_mutex_lock(gfp_t gfp)
{
	if (!ww_mutex_lock(&ww_mutex, NULL))
		ww_mutex_unlock(&ww_mutex);
}

static void act_ww_mutex_trylock(gfp_t gfp)
{
	if (ww_mutex_trylock(&ww_mutex, NULL))
		ww_mutex_unlock(&ww_mutex);
}

#ifdef CONFIG_RT_MUTEXES
#define NO_RT_MUTEX NULL
static DEFINE_RT_MUTEX(rt_mutex);

static void act_rt_mutex_lock(gfp_t gfp)
{
	rt_mutex_lock(&rt_mutex);
	rt_mutex_unlock(&rt_mutex);
}

static void act_rt_mutex_trylock(gfp_t gfp)
{
	if (rt_mutex_trylock(&rt_mutex))
		rt_mutex_unlock(&rt_mutex);
}
#else
#define NO_RT_MUTEX "no rt_mutex without CONFIG_RT_MUTEXES"
#define act_rt_mutex_lock NULL
#define act_rt_mutex_trylock NULL
#endif

static void act_percpu_down_read(gfp_t gfp)
{
	percpu_down_read(&percpu_rwsem);
	percpu_up_read(&percpu_rwsem);
}

static void act_percpu_down_read_trylock(gfp_t gfp)
{
	if (percpu_down_read_trylock(&percpu_rwsem))
		percpu_up_read(&percpu_rwsem);
}

static void act_down(gfp_t gfp)
{
	down(&semaphore);
	up(&semaphore);
}

static void act_down_trylock(gfp_t gfp)
{
	if (!down_trylock(&semaphore))
		up(&semaphore);
}

static void act_folio_lock(gfp_t gfp)
{
	folio_lock(folio);
	folio_unlock(folio);
}

static void act_folio_trylock(gfp_t gfp)
{
	if (folio_trylock(folio))
		folio_unlock(folio);
}

/* Waiting */

static void act_might_sleep(gfp_t gfp)
{
	might_sleep();
}

static void act_wait_event(gfp_t gfp)
{
	wait_event(wait_queue, true);
}

static void act_wait_for_completion(gfp_t gfp)
{
	complete(&completion);
	wait_for_completion(&completion);
}

static void act_complete(gfp_t gfp)
{
	complete(&completion);
	reinit_completion(&completion);
}

static void act_wake_up(gfp_t gfp)
{
	wake_up(&wait_queue);
}

/* With shorter timeouts, a slow CPU has them over before it comes to schedule. */
static void act_msleep(gfp_t gfp)
{
	msleep(50);
}

static void act_schedule_timeout(gfp_t gfp)
{
	schedule_timeout_uninterruptible(HZ / 20);
}

static void act_get_user(gfp_t gfp)
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
	kthread = kthread_run(until_stopped, NULL, "mmu_notifier_act");
	return PTR_ERR_OR_ZERO(kthread);
}

static void act_kthread_stop(gfp_t gfp)
{
	kthread_stop(kthread);
}

static void act_synchronize_rcu(gfp_t gfp)
{
	synchronize_rcu();
}

static void act_synchronize_srcu(gfp_t gfp)
{
	synchronize_srcu(&srcu_struct);
}

#ifdef CONFIG_DMA_SHARED_BUFFER
#define NO_DMA_FENCE NULL

static const char *fence_name(struct dma_fence *fence)
{
	return "mmu_notifier_act";
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
static void act_dma_fence_wait(gfp_t gfp)
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
#define act_dma_fence_wait NULL
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

static void act_queue_work(gfp_t gfp)
{
	queue_work(system_long_wq, &idle_work);
}

static void act_mod_delayed_work(gfp_t gfp)
{
	mod_delayed_work(system_long_wq, &delayed_work, 1);
}

static void act_flush_work(gfp_t gfp)
{
	flush_work(&idle_work);
}

static void act_cancel_work_sync(gfp_t gfp)
{
	cancel_work_sync(&idle_work);
}

/*
 * Indirect dependencies on an allocation: what is waited for here allocates
 * elsewhere, and lockdep has seen it do so (mn_acts_init()).
 */

static int prepare_allocating_work(void)
{
	reinit_completion(&flushing);
	queue_work(system_long_wq, &allocating_work);
	return 0;
}

static void act_flush_allocating_work(gfp_t gfp)
{
	flusher = current;
	complete(&flushing);
	flush_work(&allocating_work);
}

static struct lockdep_map held_by_allocator =
	STATIC_LOCKDEP_MAP_INIT("held_by_allocator", &held_by_allocator);

static void act_held_by_allocator(gfp_t gfp)
{
	lock_map_acquire(&held_by_allocator);
	lock_map_release(&held_by_allocator);
}

/* Locks that spin, and what else never sleeps */

static void act_spin_lock(gfp_t gfp)
{
	spin_lock(&spinlock);
	spin_unlock(&spinlock);
}

static void act_spin_lock_bh(gfp_t gfp)
{
	spin_lock_bh(&spinlock);
	spin_unlock_bh(&spinlock);
}

static void act_spin_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	spin_lock_irqsave(&spinlock, flags);
	spin_unlock_irqrestore(&spinlock, flags);
}

static void act_raw_spin_lock(gfp_t gfp)
{
	raw_spin_lock(&raw_spinlock);
	raw_spin_unlock(&raw_spinlock);
}

static void act_raw_spin_lock_bh(gfp_t gfp)
{
	raw_spin_lock_bh(&raw_spinlock);
	raw_spin_unlock_bh(&raw_spinlock);
}

static void act_raw_spin_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&raw_spinlock, flags);
	raw_spin_unlock_irqrestore(&raw_spinlock, flags);
}

static void act_read_lock(gfp_t gfp)
{
	read_lock(&rwlock);
	read_unlock(&rwlock);
}

static void act_read_lock_bh(gfp_t gfp)
{
	read_lock_bh(&rwlock);
	read_unlock_bh(&rwlock);
}

static void act_read_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	read_lock_irqsave(&rwlock, flags);
	read_unlock_irqrestore(&rwlock, flags);
}

static void act_write_lock(gfp_t gfp)
{
	write_lock(&rwlock);
	write_unlock(&rwlock);
}

static void act_write_lock_bh(gfp_t gfp)
{
	write_lock_bh(&rwlock);
	write_unlock_bh(&rwlock);
}

static void act_write_lock_irqsave(gfp_t gfp)
{
	unsigned long flags;

	write_lock_irqsave(&rwlock, flags);
	write_unlock_irqrestore(&rwlock, flags);
}

static void act_seqlock(gfp_t gfp)
{
	unsigned int seq;

	write_seqlock(&seqlock);
	write_sequnlock(&seqlock);
	do {
		seq = read_seqbegin(&seqlock);
	} while (read_seqretry(&seqlock, seq));
}

static void act_local_lock(gfp_t gfp)
{
	local_lock(&locked.lock);
	local_unlock(&locked.lock);
}

static void act_bit_spin_lock(gfp_t gfp)
{
	bit_spin_lock(0, &bit_lock);
	bit_spin_unlock(0, &bit_lock);
}

static void act_rcu_read_lock(gfp_t gfp)
{
	rcu_read_lock();
	rcu_read_unlock();
}

static void act_srcu_read_lock(gfp_t gfp)
{
	int idx = srcu_read_lock(&srcu_struct);

	srcu_read_unlock(&srcu_struct, idx);
}

static void act_preempt_disable(gfp_t gfp)
{
	preempt_disable();
	preempt_enable();
}

static void act_local_irq_save(gfp_t gfp)
{
	unsigned long flags;

	local_irq_save(flags);
	local_irq_restore(flags);
}

static void act_preempted(gfp_t gfp)
{
	preempt_disable();
	set_tsk_need_resched(current);
	set_preempt_need_resched();
	preempt_enable();
}

static void kref_released(struct kref *kref)
{
}

static void act_kref(gfp_t gfp)
{
	struct kref kref;

	kref_init(&kref);
	kref_get(&kref);
	kref_put(&kref, kref_released);
	kref_put(&kref, kref_released);
}

static void act_atomic(gfp_t gfp)
{
	static atomic_t counter;

	atomic_inc(&counter);
}

struct rcu_object {
	struct rcu_head rcu;
};

static void act_kfree(gfp_t gfp)
{
	kfree(kmalloc(64, GFP_NOWAIT));
}

static void act_kvfree_rcu(gfp_t gfp)
{
	struct rcu_object *object = kmalloc(sizeof(*object), GFP_NOWAIT);

	if (object)
		kvfree_rcu(object, rcu);
}

static void free_rcu_object(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct rcu_object, rcu));
}

static void act_call_rcu(gfp_t gfp)
{
	struct rcu_object *object = kmalloc(sizeof(*object), GFP_NOWAIT);

	if (object)
		call_rcu(&object->rcu, free_rcu_object);
}

/* Allocators */

static void act_kmalloc(gfp_t gfp)
{
	kfree(kmalloc(64, gfp));
}

/* A lock of its own: the others do not depend on reclaim. */
static void act_kmalloc_in_raw_spin_lock(gfp_t gfp)
{
	static DEFINE_RAW_SPINLOCK(lock);

	raw_spin_lock(&lock);
	kfree(kmalloc(64, GFP_KERNEL));
	raw_spin_unlock(&lock);
}

static void act_kmem_cache_alloc(gfp_t gfp)
{
	void *object = kmem_cache_alloc(cache, gfp);

	if (object)
		kmem_cache_free(cache, object);
}

static void act_alloc_page(gfp_t gfp)
{
	struct page *page = alloc_page(gfp);

	if (page)
		__free_page(page);
}

static void act_kvmalloc(gfp_t gfp)
{
	kvfree(kvmalloc(64, gfp));
}

/* vfree() may sleep itself, so mn_acts_exit() does that. */
static void act_vmalloc(gfp_t gfp)
{
	struct llist_node *node = __vmalloc(PAGE_SIZE, gfp);

	if (node)
		llist_add(node, &vmalloced);
}

static void act_alloc_percpu(gfp_t gfp)
{
	free_percpu(alloc_percpu_gfp(int, gfp));
}

static void act_mempool_alloc(gfp_t gfp)
{
	void *object = mempool_alloc(mempool, gfp);

	if (object)
		mempool_free(object, mempool);
}

static void act_xa_insert(gfp_t gfp)
{
	if (!xa_insert(&xarray, 1000, xa_mk_value(1), gfp))
		xa_erase(&xarray, 1000);
}

static void act_radix_tree_insert(gfp_t gfp)
{
	RADIX_TREE(tree, gfp);

	if (!radix_tree_insert(&tree, 1000, xa_mk_value(1)))
		radix_tree_delete(&tree, 1000);
}

/* Before it could be called with GFP_NOWAIT, vmalloc() took that for GFP_KERNEL. */
#define VMALLOC_SLEEPS							\
	(LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0) ?		\
	 "vmalloc() may sleep whatever the flags" : NULL)

const struct mn_act mn_allocators[] = {
	{ "kmalloc", NULL, act_kmalloc, RECLAIM, DEADLOCK, DEADLOCK },
	{ "kmem_cache_alloc", NULL, act_kmem_cache_alloc, RECLAIM, DEADLOCK, DEADLOCK },
	{ "alloc_page", NULL, act_alloc_page, RECLAIM, DEADLOCK, DEADLOCK },
	{ "kvmalloc", NULL, act_kvmalloc, RECLAIM, DEADLOCK, DEADLOCK },
	{ "vmalloc", NULL, act_vmalloc, RECLAIM, DEADLOCK, DEADLOCK,
	  .missing_protected = VMALLOC_SLEEPS },
	/* Takes a mutex where it may reclaim, and allocates under that. */
	{ "alloc_percpu", NULL, act_alloc_percpu, LOCK, 0, DEADLOCK },
	{ "mempool_alloc", NULL, act_mempool_alloc, RECLAIM, DEADLOCK, DEADLOCK },
	{ "xa_insert", NULL, act_xa_insert, RECLAIM, DEADLOCK, DEADLOCK },
	{ "radix_tree_insert", NULL, act_radix_tree_insert, RECLAIM, DEADLOCK, DEADLOCK },
};

const struct mn_gfp mn_wrong_gfps[] = {
	{ "GFP_KERNEL", GFP_KERNEL },
	{ "GFP_USER", GFP_USER },
	{ "GFP_NOFS", GFP_NOFS },
	{ "GFP_NOIO", GFP_NOIO },
	{ "nofs_scope", GFP_KERNEL, PF_MEMALLOC_NOFS },
	{ "noio_scope", GFP_KERNEL, PF_MEMALLOC_NOIO },
};

const struct mn_gfp mn_protected_gfps[] = {
	{ "GFP_NOWAIT", GFP_NOWAIT },
	{ "GFP_ATOMIC", GFP_ATOMIC },
};

const struct mn_act mn_wrong_acts[] = {
	{ "mutex_lock", NULL, act_mutex_lock, LOCK },
	{ "mutex_lock_nested", NULL, act_mutex_lock_nested, LOCK },
	{ "mutex_lock_interruptible", NULL, act_mutex_lock_interruptible, LOCK },
	{ "mutex_lock_killable", NULL, act_mutex_lock_killable, LOCK },
	{ "rt_mutex_lock", NULL, act_rt_mutex_lock, LOCK, .missing = NO_RT_MUTEX },
	{ "ww_mutex_lock", NULL, act_ww_mutex_lock, LOCK },
	{ "down_read", NULL, act_down_read, LOCK },
	{ "down_read_killable", NULL, act_down_read_killable, LOCK },
	{ "down_write", NULL, act_down_write, LOCK },
	{ "down_write_killable", NULL, act_down_write_killable, LOCK },
	{ "mmap_read_lock", NULL, act_mmap_read_lock, LOCK, 0, DEADLOCK },
	{ "get_user", NULL, act_get_user, LOCK, 0, DEADLOCK },
	/* Lockdep knows of no lock here, or of none with a wait type. */
	{ "percpu_down_read", NULL, act_percpu_down_read, MIGHT_SLEEP },
	{ "down", NULL, act_down, MIGHT_SLEEP },
	{ "folio_lock", NULL, act_folio_lock, MIGHT_SLEEP },
	{ "might_sleep", NULL, act_might_sleep, MIGHT_SLEEP },
	{ "wait_event", NULL, act_wait_event, MIGHT_SLEEP },
	{ "wait_for_completion", NULL, act_wait_for_completion, MIGHT_SLEEP },
	{ "flush_work", NULL, act_flush_work, MIGHT_SLEEP },
	{ "cancel_work_sync", NULL, act_cancel_work_sync, MIGHT_SLEEP },
	{ "msleep", NULL, act_msleep, SCHEDULE },
	{ "schedule_timeout", NULL, act_schedule_timeout, SCHEDULE },
	{ "kthread_stop", prepare_kthread, act_kthread_stop, MIGHT_SLEEP | MAYBE_SCHEDULE },
	{ "synchronize_rcu", NULL, act_synchronize_rcu, MIGHT_SLEEP | MAYBE_SCHEDULE,
	  .missing = IS_ENABLED(CONFIG_TINY_RCU) ? "tiny RCU does not wait" : NULL },
	{ "synchronize_srcu", NULL, act_synchronize_srcu, MIGHT_SLEEP | MAYBE_SCHEDULE },
	{ "dma_fence_wait", prepare_fence, act_dma_fence_wait, MIGHT_SLEEP,
	  .missing = NO_DMA_FENCE },
	{ "kmalloc_in_raw_spin_lock", NULL, act_kmalloc_in_raw_spin_lock, RECLAIM,
	  DEADLOCK | MIGHT_SLEEP, DEADLOCK | MIGHT_SLEEP },
	/* Not itself, but what it waits for allocates. */
	{ "held_by_allocator", NULL, act_held_by_allocator, CIRCULAR, 0, DEADLOCK },
	{ "flush_allocating_work", prepare_allocating_work, act_flush_allocating_work,
	  CIRCULAR | MIGHT_SLEEP | MAYBE_SCHEDULE, 0, DEADLOCK },
};

const struct mn_act mn_protected_acts[] = {
	{ "mutex_trylock", NULL, act_mutex_trylock },
	{ "rt_mutex_trylock", NULL, act_rt_mutex_trylock, .missing = NO_RT_MUTEX },
	{ "ww_mutex_trylock", NULL, act_ww_mutex_trylock },
	{ "down_read_trylock", NULL, act_down_read_trylock },
	{ "down_write_trylock", NULL, act_down_write_trylock },
	{ "mmap_read_trylock", NULL, act_mmap_read_trylock },
	{ "percpu_down_read_trylock", NULL, act_percpu_down_read_trylock },
	{ "down_trylock", NULL, act_down_trylock },
	{ "folio_trylock", NULL, act_folio_trylock },
	{ "spin_lock", NULL, act_spin_lock },
	{ "spin_lock_bh", NULL, act_spin_lock_bh },
	{ "spin_lock_irqsave", NULL, act_spin_lock_irqsave },
	{ "raw_spin_lock", NULL, act_raw_spin_lock },
	{ "raw_spin_lock_bh", NULL, act_raw_spin_lock_bh },
	{ "raw_spin_lock_irqsave", NULL, act_raw_spin_lock_irqsave },
	{ "read_lock", NULL, act_read_lock },
	{ "read_lock_bh", NULL, act_read_lock_bh },
	{ "read_lock_irqsave", NULL, act_read_lock_irqsave },
	{ "write_lock", NULL, act_write_lock },
	{ "write_lock_bh", NULL, act_write_lock_bh },
	{ "write_lock_irqsave", NULL, act_write_lock_irqsave },
	{ "seqlock", NULL, act_seqlock },
	{ "local_lock", NULL, act_local_lock },
	{ "bit_spin_lock", NULL, act_bit_spin_lock },
	{ "rcu_read_lock", NULL, act_rcu_read_lock },
	{ "srcu_read_lock", NULL, act_srcu_read_lock },
	{ "preempt_disable", NULL, act_preempt_disable },
	{ "local_irq_save", NULL, act_local_irq_save },
	{ "preempted", NULL, act_preempted,
	  .missing = IS_ENABLED(CONFIG_PREEMPTION) ? NULL : "no preemption in the kernel" },
	{ "complete", NULL, act_complete },
	{ "wake_up", NULL, act_wake_up },
	{ "queue_work", NULL, act_queue_work },
	{ "mod_delayed_work", NULL, act_mod_delayed_work },
	{ "kfree", NULL, act_kfree },
	{ "kvfree_rcu", NULL, act_kvfree_rcu },
	{ "call_rcu", NULL, act_call_rcu },
	{ "kref", NULL, act_kref },
	{ "atomic", NULL, act_atomic },
};

/* Callbacks that return with more or less than they were called with */

/* A lock that sleeps or spins would make a circle with what the core does next. */
DEFINE_STATIC_SRCU(kept_srcu);
static int kept_idx;

static void keep_srcu_read_lock(gfp_t gfp)
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

static void drop_outer_mutex(gfp_t gfp)
{
	mutex_unlock(&outer_mutex);
}

static void keep_preempt_disabled(gfp_t gfp)
{
	preempt_disable();
}

static void enable_preempt(void)
{
	preempt_enable();
}

static void keep_irqs_disabled(gfp_t gfp)
{
	local_irq_disable();
}

static void enable_irqs(void)
{
	local_irq_enable();
}

/* What follows, the annotation puts right itself. */

static void start_non_block(gfp_t gfp)
{
	non_block_start();
}

static void end_non_block(gfp_t gfp)
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

const struct mn_misuse mn_misuses[] = {
	{ "lock_kept", NULL, keep_srcu_read_lock, unlock_srcu,
	  "locks +1, preempt_count +0, irqs_disabled +0, non_block +0" },
	{ "lock_dropped", lock_outer_mutex, drop_outer_mutex, NULL,
	  "locks -1, preempt_count +0, irqs_disabled +0, non_block +0" },
	{ "preempt_disabled", NULL, keep_preempt_disabled, enable_preempt,
	  "locks +0, preempt_count +1, irqs_disabled +0, non_block +0", NO_PREEMPT_COUNT },
	{ "irqs_disabled", NULL, keep_irqs_disabled, enable_irqs,
	  "locks +0, preempt_count +0, irqs_disabled +1, non_block +0", RT_SLEEPS },
	{ "non_block_started", NULL, start_non_block, NULL,
	  "locks +0, preempt_count +0, irqs_disabled +0, non_block +1", NO_NON_BLOCK },
	{ "non_block_ended", NULL, end_non_block, NULL,
	  "locks +0, preempt_count +0, irqs_disabled +0, non_block -1", NO_NON_BLOCK },
};

/**
 * mn_acts_init() - allocate what the acts use, and teach lockdep who allocates
 *
 * Context: May sleep. mn_acts_exit() has to follow, even after an error.
 *
 * Return: 0 or -ENOMEM.
 */
int mn_acts_init(void)
{
	ww_mutex_init(&ww_mutex, &ww_class);
	other_mm = mm_alloc();
	folio = folio_alloc(GFP_KERNEL, 0);
	cache = kmem_cache_create("mmu_notifier_act", 64, 0, 0, NULL);
	mempool = mempool_create_kmalloc_pool(1, 64);
	if (!other_mm || !folio || !cache || !mempool)
		return -ENOMEM;

	lock_map_acquire(&held_by_allocator);
	might_alloc(GFP_KERNEL);
	lock_map_release(&held_by_allocator);

	prepare_allocating_work();
	act_flush_allocating_work(0);

	/* More than can be left: has memory allocated under the mutex. */
	free_percpu(__alloc_percpu(PCPU_MIN_UNIT_SIZE, sizeof(long)));
	return 0;
}

/**
 * mn_acts_exit() - wait for what the acts have begun, and free what they used
 *
 * Context: May sleep.
 */
void mn_acts_exit(void)
{
	struct llist_node *node, *next;

	llist_for_each_safe(node, next, llist_del_all(&vmalloced))
		vfree(node);

	flush_work(&idle_work);
	act_flush_allocating_work(0); /* if a test was ended before it came to that */
	cancel_delayed_work_sync(&delayed_work);
	rcu_barrier();

	put_fence();
	mempool_destroy(mempool);
	kmem_cache_destroy(cache);
	if (folio)
		folio_put(folio);
	if (other_mm)
		mmput(other_mm);
	ww_mutex_destroy(&ww_mutex);
	xa_destroy(&xarray);
}
