"""What runs on the board: Python 3.6 and later, the standard library, and whichever runtime the board has.

These modules have two readers. Here they are imported and tested like any others; `fednas.toolchain.measure.kit.script`
joins them, with some of `fednas.export.board`, into the kit's one script. So they import nothing of ours but each
other and those, use no syntax newer than Python 3.6, and no name twice.
"""
