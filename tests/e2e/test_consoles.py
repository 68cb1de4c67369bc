"""What is made of what guests say (guest_base), whoever says it: here a shell."""

import unittest

import guest_base


class Consoles(unittest.TestCase):
    def watch(self, script, patience=60, kill_at=None):
        return guest_base.watch(["sh", "-c", script], patience, kill_at)

    def test_marks_are_found_in_lines(self):
        said = ["@mark one 1.50\\r", "[    1.6] noise @mark two 2.25 more", "mark three 3.00", "[    4.125] reboot: Power down"]
        console = self.watch("".join(f"printf '{line}\\n'\n" for line in said))
        times = {name: mark.guest for name, mark in console.marks.items()}
        self.assertEqual(times, {"one": 1.5, "two": 2.25, "powered-off": 4.125})
        self.assertEqual(console.lines[0], "@mark one 1.50")
        self.assertTrue(console.powered_off)

    def test_a_guest_is_killed_at_a_line(self):
        console = self.watch("echo before; echo at; exec sleep 60", kill_at="^at$")
        self.assertTrue(console.killed)
        self.assertEqual(console.lines, ["before", "at"])
        self.assertLess(console.seconds, 30)

    def test_what_does_not_end_as_it_was_meant_to_fails(self):
        cases = {
            "did not end within 1 s": {"script": "echo said; exec sleep 60", "patience": 1},
            "ended before it said `at`": {"script": "echo said", "kill_at": "at"},
            "QEMU ended with 3": {"script": "echo said; exit 3"},
        }
        for expected, case in cases.items():
            with self.subTest(expected), self.assertRaisesRegex(AssertionError, f"(?s){expected}.*said"):
                self.watch(**case)


if __name__ == "__main__":
    unittest.main()
