/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MMU_NOTIFIER_INIT_H
#define _MMU_NOTIFIER_INIT_H

void run_as_init(void);

#endif /* _MMU_NOTIFIER_INIT_H */
