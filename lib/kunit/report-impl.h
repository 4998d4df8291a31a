/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Set-up of the report expectations, see include/kunit/report.h.
 */
#ifndef _KUNIT_REPORT_IMPL_H
#define _KUNIT_REPORT_IMPL_H

#include <linux/types.h>

#ifdef CONFIG_KUNIT_REPORT
/* Was lockdep on before any test ran? Tests may say otherwise. */
extern bool kunit_report_lockdep_was_on;

void kunit_report_init(void);
void kunit_report_exit(void);
void kunit_report_abort(void);
#else
static inline void kunit_report_init(void) { }
static inline void kunit_report_exit(void) { }
static inline void kunit_report_abort(void) { }
#endif

#endif /* _KUNIT_REPORT_IMPL_H */
