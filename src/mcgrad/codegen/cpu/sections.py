"""Divide the body of a long function into sections, each a function of its own.

Numba's analysis of a function takes time that grows with the square of its loops, and its search for definitions
recurses from loop to loop: 260 loops take 24 seconds in one function, and 11 in sections. All that one nest leaves for
another is in the workspace, so sections are called with arrays and with the numbers of the loops around them. A step of
a loop whose end is looked for after each step stays in the function with that loop.
"""

from __future__ import annotations

from dataclasses import replace

from mcgrad.codegen.loops.loop_tree import Fill, Leave, Loop, Section, Tree, walk

LONG = 90  # loops up to which a function stays whole
MOST = 24  # loops after which a section ends: fewer would compile no faster, as each function costs some 0.05 s
FEWEST = 4  # loops below which nodes stay where they are


def in_sections(tree: Tree) -> Tree:
    """The tree of a kernel, before its loops over lanes are split, with sections where it is long."""
    return _divided(tree) if loops(tree) > LONG else tree


def loops(tree: Tree) -> int:
    """How many loops are written, each within another counted, too."""
    return sum(isinstance(node, Loop | Fill) for node in walk(tree))


def _divided(tree: Tree) -> Tree:
    divided: Tree = ()
    section: Tree = ()
    for node in tree:
        is_long = isinstance(node, Loop) and node.kind == "serial" and loops((node,)) > MOST
        if is_long or isinstance(node, Leave):
            inside = replace(node, body=_divided(node.body)) if isinstance(node, Loop) else node
            divided, section = (*divided, *_as_section(section), inside), ()
        else:
            section = (*section, node)
            if loops(section) >= MOST:
                divided, section = (*divided, *_as_section(section)), ()
    return (*divided, *_as_section(section))


def _as_section(nodes: Tree) -> Tree:
    return (Section(nodes),) if loops(nodes) >= FEWEST else nodes
