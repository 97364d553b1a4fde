"""On the path of a daemon: takes down when its training programs run, plays most of them, and plants a bug where one is wanted."""

import os
import sys

if sys.orig_argv[1:3] == ["-m", "eyasd"] and "EYAS_TEST_APART" in os.environ:
    import apart

    apart.have_own_shared_memory()

if sys.orig_argv[1:3] == ["-m", "eyasd.training"]:
    import noted

    if noted.begins(sys.orig_argv[3]):
        import brief

        status = brief.main(sys.orig_argv[3])
        noted.ends()
        os._exit(status)  # nothing else is to run in this process
elif sys.orig_argv[1:3] in (["-m", "eyasd"], ["-m", "eyasd.acceptor"]) and "EYAS_TEST_PLANT" in os.environ:
    import plants

    plants.plant(os.environ["EYAS_TEST_PLANT"])
