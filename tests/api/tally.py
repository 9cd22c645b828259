# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""tally: what a test has found, good and bad, and its closing line."""

_passed = _failed = 0


def check(what, good, detail=""):
    global _passed, _failed
    if good:
        _passed += 1
    else:
        _failed += 1
        print(f"FAILED: {what} {detail}")


def finish():
    """Prints the closing line. The exit status; a test that found nothing has not gone well."""
    print(f"{_passed} passed, {_failed} failed, 0 skipped")
    return 1 if _failed or _passed == 0 else 0
