# SPDX-License-Identifier: GPL-2.0-only
"""Unit tests of what make mutants compiles."""

from __future__ import annotations

import unittest

from nonblock.mutants.build import Kernel
from nonblock.tests.fixtures import ScratchTest, write

CODE = '\nconst char *f(int a)\n{\n\treturn a ? __FILE__ : 0;\n}\n'
USER = '#include "x.h"\nint g(int a)\n{\n\treturn h(a);\n}\n'
HEADER = '''#ifdef X
static inline int h(int a) { return a; }
#else
static inline int h(int a) { return a + sizeof(__FILE__); }
#endif
'''
COMMAND = '''savedcmd_mm/{0}.o := gcc -O1 -I{1}/include -c -o mm/{0}.o mm/{0}.c
source_mm/{0}.o := {1}/mm/{0}.c

deps_mm/{0}.o := \\
  {1}/include/{2}.h \\
'''


class CodeTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        tree, um = self.kernel, self.kernel.with_name('um')
        write(tree, {'mm/x.c': CODE, 'mm/y.c': USER, 'include/x.h': HEADER})
        write(um, {'mm/x.o': '', 'mm/.x.o.cmd': COMMAND.format('x', tree, 'no'),
                   'mm/y.o': '', 'mm/.y.o.cmd': COMMAND.format('y', tree, 'x')})
        self.built = Kernel(self.session())

    def test_the_same_code(self) -> None:
        code = self.built.code('mm/x.c', CODE)
        self.assertTrue(code)
        self.assertEqual(code, self.built.code('mm/x.c', CODE.replace(': 0', ': (void *)0'), 7))
        self.assertNotEqual(code, self.built.code('mm/x.c', CODE.replace('a ?', '!a ?'), 7))
        self.assertEqual(b'', self.built.code('mm/x.c', CODE.replace('a ?', 'b ?'), 7))

    def test_the_same_of_a_header(self) -> None:
        code = self.built.code('include/x.h', HEADER)
        self.assertTrue(code)
        self.assertEqual(code, self.built.code('include/x.h',
                                               HEADER.replace('return a;', 'return 1;'), 7))
        self.assertNotEqual(code, self.built.code('include/x.h', HEADER.replace('a +', 'a -'), 7))


if __name__ == '__main__':
    unittest.main()
