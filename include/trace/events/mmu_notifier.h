/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mmu_notifier

#if !defined(_TRACE_MMU_NOTIFIER_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>

#define MMU_NOTIFIER_EVENTS			\
	EM(MMU_NOTIFY_UNMAP)			\
	EM(MMU_NOTIFY_CLEAR)			\
	EM(MMU_NOTIFY_PROTECTION_VMA)		\
	EM(MMU_NOTIFY_PROTECTION_PAGE)		\
	EM(MMU_NOTIFY_SOFT_DIRTY)		\
	EM(MMU_NOTIFY_RELEASE)			\
	EM(MMU_NOTIFY_MIGRATE)			\
	EMe(MMU_NOTIFY_EXCLUSIVE)

#undef EM
#undef EMe
#define EM(event)	TRACE_DEFINE_ENUM(event);
#define EMe(event)	TRACE_DEFINE_ENUM(event);

MMU_NOTIFIER_EVENTS

#undef EM
#undef EMe
#define EM(event)	{ event, #event },
#define EMe(event)	{ event, #event }

/*
 * A callback that may not block has returned: of a pass of the OOM reaper, of
 * process_mrelease(2), or of a probe. An interval notifier that returned false has
 * -EAGAIN in ret, and callbacks that return nothing have 0.
 */
TRACE_EVENT(mmu_notifier_nonblock,

	TP_PROTO(const struct mmu_notifier_range *range, const void *callback, int ret,
		 u64 since),

	TP_ARGS(range, callback, ret, since),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, event)
		__field(const void *, callback)
		__field(int, ret)
		__field(u64, ns)
		__field(bool, probe)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
		__entry->callback = callback;
		__entry->ret = ret;
		/* Tracing may have begun within the callback. */
		__entry->ns = since ? ktime_get_mono_fast_ns() - since : 0;
		__entry->probe = range->flags & MMU_NOTIFIER_RANGE_PROBE;
	),

	TP_printk("mm=%p start=%#lx end=%#lx event=%s callback=%ps ret=%d ns=%llu probe=%d",
		  __entry->mm, __entry->start, __entry->end,
		  __print_symbolic(__entry->event, MMU_NOTIFIER_EVENTS),
		  __entry->callback, __entry->ret, __entry->ns, __entry->probe)
);

#undef EM
#undef EMe

#endif /* _TRACE_MMU_NOTIFIER_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
