# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the audit that need no kernel; selftest.py has those that do."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import textwrap
import unittest
from pathlib import Path

from nonblock.audit import ir, selftest, sleeps
from nonblock.audit.audit import mirror
from nonblock.audit.compiler import WRAPPER, Compiler, last_words
from nonblock.audit.find import members
from nonblock.audit.judge import World
from nonblock.audit.kernel import range_members, reaper_event
from nonblock.audit.module import Module, Slot
from nonblock.audit.sleeps import Values
from nonblock.audit.sources import Sources, defines
from nonblock.audit.specialise import Entry, Program, RangeLayout
from nonblock.audit.walk import Entered, Walk, returned

REPO = Path(__file__).resolve().parents[6]
LAYOUT = RangeLayout(('mm', 'start', 'end', 'flags', 'event', 'owner'), 1)
RECLAIM = 0x400
# Acts of the suites that the table has not: selftest.py compiles them
INLINE = {'mmap_read_lock', 'get_user', 'percpu_down_read', 'wait_event', 'inode_lock',
          'cond_resched', 'usleep_range', 'kmalloc_in_raw_spin_lock', 'kmalloc_in_spin_lock_bh',
          'kmalloc_in_spin_lock_irqsave', 'mutex_lock_in_raw_spin_lock', 'flush_allocating_work',
          'alloc_page', 'kvmalloc', 'vmap_page', 'xa_insert', 'radix_tree_insert', 'alloc_percpu',
          'kmalloc'}

# As clang writes it, in short
FUNCTION = '''\
%struct.range = type { ptr, i64, i64, i32, i32, ptr }
%struct.mmu_notifier_ops = type { ptr, ptr }
%struct.funcs = type { i32, ptr }
%struct.box = type { i32, %struct.mmu_notifier_ops }
@ops = internal constant %struct.mmu_notifier_ops { ptr null, ptr @callback }, align 8
@box = internal global %struct.box zeroinitializer, align 8
@flag = internal global i8 0, align 1
@llvm.used = appending global [1 x ptr] [ptr @ops], section "llvm.metadata"
define internal zeroext i1 @callback(ptr noundef %mni, ptr noundef %range, i64 noundef %seq) #0 !dbg !4 {
entry:
  %flags = getelementptr inbounds %struct.range, ptr %range, i32 0, i32 3, !dbg !7
  %0 = load i32, ptr %flags, align 8, !dbg !7
  %1 = and i32 %0, 1, !dbg !7
  %2 = icmp ne i32 %1, 0, !dbg !7
  br i1 %2, label %yes, label %no, !dbg !7

yes:                                              ; preds = %entry
  call void @mutex_lock(ptr noundef %mni) #1, !dbg !8
  br label %no

no:                                               ; preds = %yes, %entry
  %gfp = phi i32 [ 3264, %yes ], [ 2048, %entry ]
  %3 = or i32 %gfp, 256
  %4 = call ptr @__kmalloc_noprof(i64 noundef 64, i32 noundef %3) #1, !dbg !9
  %fn = getelementptr inbounds %struct.funcs, ptr %4, i32 0, i32 1, !dbg !9
  %5 = load ptr, ptr %fn, align 8, !dbg !9
  call void %5(ptr noundef %mni) #1, !dbg !10
  store ptr @callback, ptr getelementptr inbounds (%struct.box, ptr @box, i32 0, i32 1), align 8
  ret i1 %2, !dbg !9
}
declare void @mutex_lock(ptr noundef) #1
declare ptr @__kmalloc_noprof(i64 noundef, i32 noundef) #1
attributes #0 = { noinline nounwind "frame-pointer"="all" }
attributes #1 = { nounwind }
!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!3}
!0 = distinct !DICompileUnit(language: DW_LANG_C11, file: !1, producer: "clang", isOptimized: true, runtimeVersion: 0, emissionKind: LineTablesOnly)
!1 = !DIFile(filename: "drivers/a.c", directory: "/tree")
!3 = !{i32 2, !"Debug Info Version", i32 3}
!4 = distinct !DISubprogram(name: "callback", scope: !1, file: !1, line: 10, type: !5, scopeLine: 10, spFlags: DISPFlagDefinition, unit: !0)
!5 = !DISubroutineType(types: !6)
!6 = !{}
!7 = !DILocation(line: 12, column: 3, scope: !4)
!8 = !DILocation(line: 13, column: 3, scope: !4)
!9 = !DILocation(line: 14, column: 3, scope: !4)
!10 = !DILocation(line: 15, column: 5, scope: !11)
!11 = !DILexicalBlock(scope: !4, file: !1, line: 15)
!12 = !DILocation(line: 99, column: 1, scope: !4, inlinedAt: !10)
'''     # noqa: E501


class Base(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def module(self) -> Module:
        (self.folder / 'a.ll').write_text(FUNCTION, encoding='utf-8')
        return Module(self.folder / 'a.ll', '/tree')


class ReaderTest(Base):
    def test_split(self) -> None:
        self.assertEqual(ir.split('i32 1, ptr getelementptr (i8, ptr @a, i64 1), [2 x i8] c"a,b"'),
                         ['i32 1', 'ptr getelementptr (i8, ptr @a, i64 1)', '[2 x i8] c"a,b"'])

    def test_call(self) -> None:
        call = ir.read_call('%1 = tail call void (ptr, ...) @f(ptr noundef %x, i32 7) #1, !dbg !5')
        assert call
        self.assertEqual((call.callee, call.arguments, call.dbg, call.result),
                         ('@f', ['ptr noundef %x', 'i32 7'], '5', '%1'))
        call = ir.read_call('call void asm sideeffect "call f(x)", "r"(ptr @g), !dbg !1')
        assert call
        self.assertEqual(call.callee, '')
        call = ir.read_call('%2 = call noundef range(i32 0, 3) i32 %fp(i32 1)')
        assert call
        self.assertTrue(call.indirect)

    def test_values(self) -> None:
        function = next(iter(ir.read_functions(FUNCTION).values()))
        frame = Entered(function)
        self.assertEqual(frame.evaluate('%3', RECLAIM), (frozenset({0, RECLAIM}), False))
        self.assertEqual(frame.evaluate('%1', 1), (frozenset(), True))
        self.assertEqual(frame.evaluate('%range', 1), (frozenset(), True))

    def test_reachable(self) -> None:
        function = next(iter(ir.read_functions(FUNCTION).values()))
        self.assertEqual(function.reachable(''), set())
        self.assertEqual(function.reachable('entry'), {'yes', 'no'})

    def test_places(self) -> None:
        places = ir.Places(FUNCTION, '/tree')
        self.assertEqual(places.chain('10'), [ir.Place('callback', 'drivers/a.c', 15, 5)])
        self.assertEqual(places.chain('12'), [ir.Place('callback', 'drivers/a.c', 15, 5),
                                              ir.Place('callback', 'drivers/a.c', 99, 1)])


class ModuleTest(Base):
    def test_tables(self) -> None:
        module = self.module()
        found = {(table.type, table.functions) for table in module.tables()}
        symbol = f'callback.s{module.id}'
        self.assertIn(('mmu_notifier_ops', ('', symbol)), found)
        self.assertIn(('mmu_notifier_ops', (symbol,)), found)
        self.assertIn(('box', ('', symbol)), found)

    def test_sites(self) -> None:
        site = self.module().sites()['callback', 15, 5]
        self.assertEqual(site.slot, Slot('funcs', 1))
        self.assertEqual(site.slot and site.slot.name, 'fn')

    def test_nothing_is_known_of_variables(self) -> None:
        text = self.module().text
        self.assertIn('@flag = external global i8,', text)
        self.assertIn('@box = external global %struct.box,', text)
        self.assertNotIn('llvm.used', text)
        self.assertNotIn('noinline', text)


class WorldTest(Base):
    def test_kernel_modules_with_functions_of_the_same_name(self) -> None:
        world = World(Compiler(self.folder, self.folder, 1), Sources(self.folder, self.folder),
                      LAYOUT, RECLAIM, self.folder)
        for source, function, parts in (('one', 'one', 'one'), ('one_hw', 'sync', 'one'),
                                        ('two', 'two', 'two'), ('two_hw', 'sync', 'two:three')):
            path = self.folder / f'{source}.ll'
            path.write_text(f'define void @{function}() {{\n  ret void\n}}\n; kbuild: {parts}\n',
                            encoding='utf-8')
            world.load(source, path)
        for name in ('one', 'two'):
            self.assertIs(world.defining('sync', world.modules[name]),
                          world.modules[f'{name}_hw'])
        self.assertIs(world.defining('two', world.modules['one']), world.modules['two'])
        self.assertIsNone(world.defining('three', world.modules['one']))


class CompilerTest(Base):
    def call(self, *arguments: str) -> list[str]:
        """What the wrapper calls the compiler with."""
        clang, wrapper = self.folder / 'clang', self.folder / 'cc'
        clang.write_text(f'#!/bin/sh\necho "$*" >> {self.folder}/log\n', encoding='utf-8')
        wrapper.write_text(WRAPPER.format(clang=clang, flags='-w'), encoding='utf-8')
        clang.chmod(0o755)
        (self.folder / 'log').unlink(missing_ok=True)
        subprocess.run(['sh', wrapper, *arguments], cwd=self.folder, check=True)
        return (self.folder / 'log').read_text(encoding='utf-8').splitlines()

    def test_objects_of_kbuild(self) -> None:
        calls = self.call('-Wp,-MMD,.a.o.d', '-D__KBUILD_MODNAME=kmod_foo', '-c', '-o', 'a.o',
                          'a.c')
        self.assertIn(' -w -S -emit-llvm ', calls[0])
        self.assertTrue(calls[0].endswith(' -o a.ll'), calls)
        self.assertEqual(calls[1], '-c -x c -o a.o /dev/null')
        self.assertEqual((self.folder / 'a.ll').read_text(encoding='utf-8'), '; kbuild: foo\n')

    def test_what_a_driver_compiles_to_learn_of_the_kernel(self) -> None:
        for arguments in (['-Werror', '-c', 'conftest1.c'], ['-c', '-o', 'a.o', 'a.c'],
                          ['-E', '-']):
            self.assertEqual(self.call(*arguments), [' '.join(arguments)])

    def test_last_words(self) -> None:
        self.assertEqual(last_words('  CC a.o\n\n*** Set FOO. ***\nmake[2]: *** [a] Error 1\n'
                                    'make: Leaving directory'), ['  CC a.o', '*** Set FOO. ***'])
        self.assertEqual(last_words('make: *** No targets.  Stop.\n'),
                         ['make: *** No targets.  Stop.'])


@unittest.skipUnless(shutil.which('opt-19'), 'no llvm-19')
class SpecialiseTest(Base):
    def walk(self) -> Walk:
        module = self.module()
        symbol = f'callback.s{module.id}'
        program = Program(self.folder, module, Entry(symbol, ((1, '@__audit_range'),)), LAYOUT)
        return Walk(program.optimise(), '/tree',
                    lambda name, argument: sleeps.look_up(name, argument, RECLAIM)).run()

    def test_nonblocking_only(self) -> None:
        walk = self.walk()
        self.assertEqual([finding.name for finding in walk.sleeps], [])
        self.assertEqual([finding.name for finding in walk.calls], ['__kmalloc_noprof'])
        self.assertEqual([finding.pointer for finding in walk.unknown], [True])
        self.assertEqual(returned(walk), (frozenset({0}), False))


class SleepsTest(unittest.TestCase):
    @staticmethod
    def flags(*values: int, more: bool = False) -> sleeps.Argument:
        def argument(_index: int, mask: int) -> Values:
            return frozenset(value & mask for value in values), more
        return argument

    def test_allocators(self) -> None:
        for values, more, expected in (((0xcc0,), False, True), ((0x800,), False, False),
                                       ((), True, None), ((0x800, 0xcc0), True, True)):
            known = sleeps.look_up('__kmalloc_noprof', self.flags(*values, more=more), RECLAIM)
            assert known
            self.assertEqual(known.sleeps, expected)

    def test_unknown(self) -> None:
        self.assertIsNone(sleeps.look_up('foo_invalidate', self.flags(0), RECLAIM))
        self.assertIsNone(sleeps.look_up('mutex_lock_foo', self.flags(0), RECLAIM))

    def test_every_entry_that_the_suites_run(self) -> None:
        """The table must not say of a name what a test of the suites shows to be false."""
        ops = selftest.read_ops((REPO / selftest.OPS).read_text(encoding='utf-8'))
        self.assertGreater(len(ops), 60)
        compared = 0
        for one in ops:
            known = sleeps.look_up(one.name, self.flags(RECLAIM if one.wrong else 0), RECLAIM)
            self.assertTrue(known or not one.wrong or one.name in INLINE, one.name)
            if known is None or known.sleeps is None:
                continue
            compared += 1
            self.assertEqual(known.sleeps, one.wrong, one.name)
        self.assertGreater(compared, 25)


class KernelTest(Base):
    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding='utf-8')

    def test_event(self) -> None:
        self.write('mm/oom_kill.c', '')
        self.write('mm/memory.c', '''\
            mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, 0, mm, 0, 1);
            mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mm,
                                    0, 1);
            if (mmu_notifier_invalidate_range_start_nonblock(&range))
            ''')
        self.assertEqual(reaper_event(self.folder), 'MMU_NOTIFY_CLEAR')

    def test_range(self) -> None:
        self.write('include/linux/mmu_notifier.h', '''\
            struct mmu_notifier_range {
                struct mm_struct *mm;
                unsigned long start;
                unsigned long end;
                unsigned flags;
                enum mmu_notifier_event event;
                void *owner;
            };
            ''')
        self.assertEqual(range_members(self.folder), LAYOUT.members)

    def test_option(self) -> None:
        self.write('drivers/Makefile', 'obj-$(CONFIG_FOO) += foo/\n')
        self.write('drivers/foo/Makefile', 'obj-$(CONFIG_FOO_CORE) += foo.o\n'
                                           'foo-y := main.o \\\n\tother.o\n'
                                           'foo-$(CONFIG_FOO_MMU) += mmu.o\n')
        sources = Sources(self.folder, self.folder)
        self.assertEqual(sources.option('drivers/foo/mmu.c'), 'CONFIG_FOO_MMU')
        self.assertEqual(sources.option('drivers/foo/other.c'), 'CONFIG_FOO_CORE')

    def test_find_for_a_driver_outside(self) -> None:
        self.write('mm/a.c', 'int f(void)\n{\n}\n')
        sources = Sources(self.folder, self.folder)
        self.assertEqual(sources.find('f', '/home/driver/b.c'), 'mm/a.c')
        self.assertEqual(sources.find('g', '/home/driver/b.c'), '')

    def test_members(self) -> None:
        self.write('a.h', '''\
            struct ops {
                const char *name;       /* of it; whatever */
            #ifdef CONFIG_OFF
                int (*off)(void);
            #endif
                void (*on)(int a,
                           int b);
            };
            ''')
        self.assertEqual(Sources(self.folder, self.folder).members('a.h', 'ops', set()),
                         ['name', 'on'])

    def test_defines(self) -> None:
        self.assertTrue(defines('static int f(int a,\n\t     int b)\n{\n}\n', 'f'))
        self.assertFalse(defines('int f(int a);\nint g(void)\n{\n\tf(1);\n}\n', 'f'))
        self.assertFalse(defines('#define f(x) { }\n', 'f'))

    def test_header(self) -> None:
        self.assertEqual(members('mmu_interval_notifier_ops', 'struct mmu_interval_notifier_ops {\n'
                                 '\tbool (*invalidate)(int);\n\tvoid (*invalidate_finish)(int);\n'
                                 '};\n'), ['invalidate', 'invalidate_finish'])


class MirrorTest(Base):
    def test_mirror(self) -> None:
        source, target = self.folder / 'driver', self.folder / 'copy'
        source.mkdir()
        for name in ('a.c', 'a.o', 'gone.c'):
            (source / name).write_text(name, encoding='utf-8')
        mirror(source, target)
        (target / 'a.ll').touch()
        (target / 'gone.ll').touch()
        (source / 'gone.c').unlink()
        mirror(source, target)
        self.assertEqual(sorted(path.name for path in target.iterdir()), ['a.c', 'a.ll'])

    def test_links_to_folders(self) -> None:
        source, target = self.folder / 'driver', self.folder / 'copy'
        for name in ('driver/common', 'driver/a', 'elsewhere'):
            (self.folder / name).mkdir(parents=True)
        (source / 'common/x.h').touch()
        (source / 'a/inc').symlink_to('../common')
        (source / 'a/whole').symlink_to(source / 'common')
        (source / 'a/loop').symlink_to('.')
        (source / 'elsewhere').symlink_to(self.folder / 'elsewhere')
        for _ in range(2):
            mirror(source, target)
            for name in ('inc', 'whole'):
                self.assertTrue((target / 'a' / name / 'x.h').is_file())
                self.assertEqual((target / 'a' / name).resolve(), target / 'common')
        # What is built there must not be built in the user's folder.
        self.assertFalse((target / 'elsewhere').exists())


if __name__ == '__main__':
    unittest.main()
