"""Runs the unittest tests of a directory, records how many passed, failed and were skipped, and says which were slow.

    run-tests.py DIRECTORY COUNTS [NAME]...

COUNTS gets a line for each kind, as tests/run reads it. NAMEs limit the run to tests whose id contains one of them. A
directory without tests is a failure: a gate that tests nothing must not be green.
"""

import sys
import time
import unittest

SLOWEST = 10


class Result(unittest.TextTestResult):
    """Counts what passed, which unittest does not, and gives each test's subtests one verdict."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0
        self.seconds = {}
        self._ended = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        now = time.monotonic()
        # From the end of the test before: what a class sets up counts for its first test.
        self.seconds[identity(test)] = now - self._ended
        self._ended = now

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def identity(test):
    return getattr(test, "test_case", test).id()


def say_slowest(seconds):
    """Says where the time goes."""
    slowest = sorted(seconds.items(), key=lambda item: item[1], reverse=True)[:SLOWEST]
    if slowest and slowest[0][1] >= 1:
        print("slowest:", file=sys.stderr)
        for name, taken in slowest:
            print(f"{taken:8.1f} s  {name}", file=sys.stderr)


def main(directory, counts, *names):
    loader = unittest.TestLoader()
    if names:
        loader.testNamePatterns = [f"*{name}*" for name in names]
    suite = loader.discover(directory)
    if suite.countTestCases() == 0:
        print(f"error: no tests in {directory}", file=sys.stderr)
        return 1
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    say_slowest(result.seconds)
    failed = {identity(test) for test, _ in result.failures + result.errors}
    failed |= {identity(test) for test in result.unexpectedSuccesses}
    with open(counts, "a", encoding="utf-8") as file:
        print(f"passed {result.passed + len(result.expectedFailures)}", file=file)
        print(f"failed {len(failed)}", file=file)
        for test, reason in result.skipped:
            print(f"skipped {identity(test)} ({reason})", file=file)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
