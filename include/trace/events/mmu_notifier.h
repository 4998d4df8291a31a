/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mmu_notifier

#if !defined(_TRACE_MMU_NOTIFIER_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
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
 * A pass that may not block: of the OOM reaper, of process_mrelease(2), or a
 * probe. After a start come the back-offs, if any; an end comes if there was none.
 */
DECLARE_EVENT_CLASS(mmu_notifier_nonblock,

	TP_PROTO(const struct mmu_notifier_range *range),

	TP_ARGS(range),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, event)
		__field(bool, probe)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
		__entry->probe = range->flags & MMU_NOTIFIER_RANGE_PROBED;
	),

	TP_printk("mm=%p start=%#lx end=%#lx event=%s probe=%d", __entry->mm,
		  __entry->start, __entry->end,
		  __print_symbolic(__entry->event, MMU_NOTIFIER_EVENTS), __entry->probe)
);

/* All passes come by here, so that the callers need no condition of their own. */
DEFINE_EVENT_CONDITION(mmu_notifier_nonblock, mmu_notifier_nonblock_start,
	TP_PROTO(const struct mmu_notifier_range *range),
	TP_ARGS(range),
	TP_CONDITION(!mmu_notifier_range_blockable(range)));

DEFINE_EVENT_CONDITION(mmu_notifier_nonblock, mmu_notifier_nonblock_end,
	TP_PROTO(const struct mmu_notifier_range *range),
	TP_ARGS(range),
	TP_CONDITION(!mmu_notifier_range_blockable(range)));

/* An interval notifier that returns false has the error -EAGAIN. */
TRACE_EVENT_CONDITION(mmu_notifier_nonblock_backoff,

	TP_PROTO(const struct mmu_notifier_range *range, const void *callback,
		 int error),

	TP_ARGS(range, callback, error),

	TP_CONDITION(!mmu_notifier_range_blockable(range)),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(const void *, callback)
		__field(int, error)
		__field(bool, probe)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->callback = callback;
		__entry->error = error;
		__entry->probe = range->flags & MMU_NOTIFIER_RANGE_PROBED;
	),

	TP_printk("mm=%p start=%#lx end=%#lx callback=%ps error=%d probe=%d",
		  __entry->mm, __entry->start, __entry->end,
		  __entry->callback, __entry->error, __entry->probe)
);

#undef EM
#undef EMe

#endif /* _TRACE_MMU_NOTIFIER_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
