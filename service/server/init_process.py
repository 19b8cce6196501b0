"""Process 1 of a container: passes signals on to the program, and collects processes whose parent has ended.

The kernel ignores a signal to process 1 that it has no handler for, and only process 1 can collect orphans: a killed
Postgres would stay a zombie.
"""

import os
import signal
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
SIGNAL_EXIT = 128  # plus the signal's number: the exit code of a program that a signal ended


def continue_as_child() -> None:
    """Return in a child process if this process is the first of its container, else return at once.

    Process 1 itself stays in here until the child ends, and exits with the child's code.
    """
    if os.getpid() != 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that arrives between the fork and the installation of the handlers waits for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        return
    for number in FORWARDED:
        if number != signal.SIGINT or not sys.stdin.isatty():  # a terminal sends Ctrl-C to the child as well
            signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else SIGNAL_EXIT - code)
