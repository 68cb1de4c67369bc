"""Runs the unittest tests of a directory and records how many passed, failed and were skipped.

    run-tests.py DIRECTORY COUNTS [NAME]...

COUNTS gets a line for each kind, as tests/run reads it. NAMEs limit the run to tests whose id contains one of them. A
directory without tests is a failure: a gate that tests nothing must not be green.
"""

import sys
import unittest


class Result(unittest.TextTestResult):
    """Counts what passed, which unittest does not, and gives each test's subtests one verdict."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def identity(test):
    return getattr(test, "test_case", test).id()


def main(directory, counts, *names):
    loader = unittest.TestLoader()
    if names:
        loader.testNamePatterns = [f"*{name}*" for name in names]
    suite = loader.discover(directory)
    if suite.countTestCases() == 0:
        print(f"error: no tests in {directory}", file=sys.stderr)
        return 1
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
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
