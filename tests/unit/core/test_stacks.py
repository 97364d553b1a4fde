"""core.stacks: what is read out of faulthandler's words; test_local asks a real process."""

from __future__ import annotations

from eyasd.core.stacks import place

WORDS = """Process 12:
Thread 0x00007f01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
  File "/app/eyasd/training/lines.py", line 72 in _run

Current thread 0x00007f02 (most recent call first):
  File "/usr/lib/python3.11/selectors.py", line 415 in select
  File "/usr/lib/python3.11/multiprocessing/connection.py", line 930 in wait
  File "/app/eyasd/training/feed.py", line 57 in take
  File "/app/eyasd/training/train.py", line 90 in train

Process 13:
Current thread 0x00007f03 (most recent call first):
  File "/app/eyasd/training/together.py", line 3 in assist
"""


def test_the_main_thread_of_the_first_process_by_its_innermost_frames() -> None:
    assert place(WORDS) == "select (selectors.py:415), called in take (feed.py:57)"
    assert place(WORDS[WORDS.index("Process 13") :]) == "assist (together.py:3)"


def test_who_says_nothing_is_nowhere() -> None:
    assert place("") == ""
    assert place("Process 12:\nSegmentation fault\n") == ""
