/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KUnit's core calls of the report expectations, see include/kunit/report.h.
 */
#ifndef _KUNIT_REPORT_IMPL_H
#define _KUNIT_REPORT_IMPL_H

struct kunit;

#ifdef CONFIG_KUNIT_REPORT
/* Which test turned lockdep off, and by what; empty while it is on */
extern char kunit_report_lockdep_off[128];

void kunit_report_note_lockdep(void);
void kunit_report_init(void);
void kunit_report_exit(void);
void kunit_report_abort(void);
void kunit_report_case_end(struct kunit *test);
#else
static inline void kunit_report_init(void) { }
static inline void kunit_report_exit(void) { }
static inline void kunit_report_abort(void) { }
static inline void kunit_report_case_end(struct kunit *test) { }
#endif

#endif /* _KUNIT_REPORT_IMPL_H */
