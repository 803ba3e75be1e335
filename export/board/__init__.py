"""What runs on a board: Python 3.6 and later, the standard library, and the board's own TensorRT.

These modules have two readers. On this machine they are imported like any others (building, running and inspecting
engines is written once, here). For the shipped folder `fednas.export.board_kit` joins them into one script.
So they import nothing of ours but each other, use no syntax newer than Python 3.6, and no name twice.
"""
