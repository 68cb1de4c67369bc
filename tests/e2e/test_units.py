"""The units that are shipped, held against systemd's own opinion of them."""

import os
import re
import shlex
import shutil
import subprocess
import unittest
from pathlib import Path

import rig
from service_manager import ENVIRONMENT, LOADER, ServiceManager

UNITS = rig.SOURCE / "systemd"
# The units that the NixOS module makes, by configuration, and where they have the loader.
NIXOS = rig.SOURCE / "tests/golden/nix/module"
NIXOS_LOADER = Path("/nix/store/00000000000000000000000000000000-ociseed-loader/bin/ociseed-loader")
DIRECTORIES = {"run/ociseed": 0o755, "run/ociseed/seeds": 0o755, "var/lib/ociseed": 0o755}


def alone(command):
    """Runs a command for a second, where it finds and leaves nothing; returns its exit code, or None, and what it said."""
    hidden = " && ".join(f"mkdir -p {path} && mount -t tmpfs tmpfs {path}" for path in ("/run", "/var/lib", "/data"))
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{hidden} && exec "$@"', "sh", *command]
    try:
        result = rig.run(inside, check=False, timeout=1)
    except subprocess.TimeoutExpired:
        return None, ""
    return result.returncode, result.stdout + result.stderr


@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd in this root")
class Units(unittest.TestCase):
    def setUp(self):
        self.directory = rig.scratch_directory("u")
        self.addCleanup(rig.run, ["rm", "-rf", "--", self.directory])

    def verify(self, name, text):
        """Returns all that systemd says of a unit."""
        unit = self.directory / name
        unit.write_text(text)
        result = rig.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit], check=False)
        return result.returncode, result.stdout + result.stderr

    def assert_right(self, units, loader):
        self.assertTrue(units)
        loader.parent.mkdir(parents=True, exist_ok=True)
        loader.symlink_to(rig.BINARIES / "ociseed-loader")
        self.addCleanup(loader.unlink)
        for unit in units:
            with self.subTest(unit=str(unit)):
                text = unit.read_text()
                self.assertEqual(self.verify(unit.name, text), (0, ""))
                # That it looks at all.
                for right, wrong in (("Type=", "Typ="), (f"{loader.parent}/", "/usr/nowhere/")):
                    self.assertNotEqual(self.verify(unit.name, text.replace(right, wrong)), (0, ""))

    def test_units_are_right(self):
        # What they start is where packages put it.
        self.assert_right(sorted(UNITS.glob("*.service")), LOADER)

    def test_units_of_the_nixos_module_are_right(self):
        self.assert_right(sorted(NIXOS.glob("*/*.service")), NIXOS_LOADER)

    def test_the_loader_takes_the_command_lines_of_the_nixos_module(self):
        units = sorted(NIXOS.glob("*/*.service"))
        self.assertTrue(units)
        for unit in units:
            with self.subTest(unit=str(unit)):
                (line,) = re.findall(r"^Exec(?:Start|Stop)=(.*)$", unit.read_text(), re.MULTILINE)
                # Escapes of systemd that the module uses.
                program, *words = shlex.split(line.replace("%%", "%").replace("$$", "$"))
                self.assertEqual(program, str(NIXOS_LOADER))
                code, said = alone([rig.BINARIES / "ociseed-loader", *words])
                # The seed is not there, or is still waited for: both come after the words were understood.
                self.assertIn(code, (0, 3, None), said)
                code, said = alone([rig.BINARIES / "ociseed-loader", *words, "--no-such-flag"])
                self.assertEqual(code, 2, said)

    def test_rules_make_the_directories(self):
        root = self.directory / "root"
        root.mkdir()
        result = rig.run(["systemd-tmpfiles", f"--root={root}", "--create", *sorted(UNITS.glob("*.conf"))])
        self.assertEqual(result.stdout + result.stderr, "")
        paths = [path for path in root.rglob("*") if path.name not in ("run", "var", "lib")]
        found = {str(path.relative_to(root)): path.stat().st_mode & 0o7777 for path in paths}
        self.assertEqual(found, DIRECTORIES)
        self.assertEqual({os.stat(path).st_uid for path in paths}, {0})


CONTAINERD = """
[Unit]
Description=A stand-in for containerd
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo containerd starts >> LOG'
ExecStop=/bin/sh -c 'sleep 0.5; echo containerd stopped >> LOG'
"""
KUBELET = """
[Unit]
Description=A stand-in for kubelet
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo kubelet starts >> LOG'
"""
SHOW = "echo {0} is $(systemctl show --property Result,ActiveState,SubState --value ociseed-{0}.service) >> LOG\n"
SHOW_BOTH = SHOW.format("critical") + SHOW.format("background")
# Of several names one that is active is enough for it.
UNTIL = "until systemctl --quiet is-active ociseed-{}.service; do sleep 0.1; done\n"
UNTIL_BOTH = UNTIL.format("critical") + UNTIL.format("background")
GOOD = "success active exited"
# So soon is tried again what failed, and killed what hangs.
HASTE = "[Service]\nRestartSec=100ms\nTimeoutStartSec=1\n"
CRITICAL, BACKGROUND, PLACE = "run critical", "run background", "place"


@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd in this root")
class Started(unittest.TestCase):
    """What systemd makes of the units, whose loader is a stand-in."""

    def manager(self, environment="", haste=True, units=UNITS, containerd="containerd.service"):
        directory = rig.scratch_directory("u")
        self.addCleanup(rig.run, ["rm", "-rf", "--", directory])
        for path in (LOADER, ENVIRONMENT):
            self.addCleanup(path.unlink, missing_ok=True)
        units = sorted(units.glob("*.service"))
        others = {containerd: CONTAINERD, "kubelet.service": KUBELET}
        manager = ServiceManager(directory, units, others, environment)
        for unit in units:
            if haste:
                manager.add(f"{unit.name}.d/haste.conf", HASTE)
        return manager

    def assert_order(self, lines, *expected):
        at = [lines.index(line) for line in expected]
        self.assertEqual(at, sorted(at), lines)

    def test_they_start_and_stop_in_order_with_their_options(self):
        options = "SEED=LABEL=seed\nPLACE=--trust verity\nRUN=--wait 3 --trust verity\nSETTLE=--state-dir /data\n"
        manager = self.manager(options, haste=False)
        # Long enough for what would start beside it.
        manager.behave(CRITICAL, "beat 1")
        lines = manager.boot(SHOW_BOTH)
        run = "loader run --class {} --engine containerd --seed LABEL=seed --wait 3 --trust verity"
        place = "loader place --engine containerd --seed LABEL=seed --trust verity"
        settle = "loader settle --state-dir /data"
        before = [place, "end of place", "containerd starts", run.format("critical"), f"end of {CRITICAL}"]
        self.assert_order(lines, *before, "kubelet starts", "containerd stopped", settle)
        self.assert_order(lines, f"end of {CRITICAL}", run.format("background"), f"end of {BACKGROUND}")
        self.assert_order(lines, f"critical is {GOOD}", "containerd stopped")
        self.assertIn(f"background is {GOOD}", lines)
        self.assertEqual([lines.count(line) for line in (place, run.format("critical"), run.format("background"), settle)], [1] * 4)

    def test_those_of_the_nixos_module_start_and_stop_in_order_with_their_words(self):
        units = rig.scratch_directory("u")
        self.addCleanup(rig.run, ["rm", "-rf", "--", units])
        for unit in (NIXOS / "everything").glob("*.service"):
            (units / unit.name).write_text(unit.read_text().replace(str(NIXOS_LOADER), str(LOADER)))
        lines = self.manager(units=units, containerd="my-containerd.service", haste=False).boot(SHOW_BOTH)
        (place,) = [line for line in lines if line.startswith("loader place ")]
        self.assertIn(" --previous-seed LABEL=the other seed --expect-seed ", place)
        self.assertTrue(place.endswith(' --run-dir /run/a "word" with 50%, ${SEED} and \\'), place)
        (settle,) = [line for line in lines if line.startswith("loader settle ")]
        self.assert_order(lines, place, "end of place", "containerd starts", f"end of {CRITICAL}", f"end of {BACKGROUND}")
        self.assert_order(lines, f"critical is {GOOD}", f"background is {GOOD}", "containerd stopped", settle)

    def test_without_options_the_seed_is_that_of_the_image(self):
        (line,) = [line for line in self.manager().boot() if line.startswith("loader run --class critical ")]
        self.assertTrue(line.endswith(" --seed /usr/lib/ociseed/seed"), line)

    def test_critical_failures_are_tried_again_and_nothing_waits_for_the_background(self):
        manager = self.manager()
        manager.behave(CRITICAL, "exit 8", "exit 6", "exit 0")
        manager.behave(BACKGROUND, "beat 2")
        lines = manager.boot(UNTIL_BOTH + SHOW_BOTH)
        self.assertEqual(lines.count(f"end of {CRITICAL}"), 3, lines)
        self.assertIn(f"critical is {GOOD}", lines)
        # Neither a failed critical image nor a background image keeps kubelet from starting.
        self.assert_order(lines, f"end of {CRITICAL}", "kubelet starts", f"end of {BACKGROUND}")

    def test_what_is_not_right_the_next_time_is_not_tried_again(self):
        for code in (2, 3):
            with self.subTest(code):
                manager = self.manager()
                manager.behave(CRITICAL, f"exit {code}")
                lines = manager.boot(f"sleep 1\n{SHOW_BOTH}")
                self.assertEqual(lines.count(f"end of {CRITICAL}"), 1)
                self.assertIn("critical is exit-code failed failed", lines)
                self.assertIn(f"background is {GOOD}", lines)

    def test_background_failures_are_tried_again_by_the_background(self):
        manager = self.manager()
        manager.behave(CRITICAL, "exit 7")
        manager.behave(BACKGROUND, "exit 7", "exit 0")
        lines = manager.boot(UNTIL_BOTH + SHOW_BOTH)
        self.assertEqual([lines.count(f"end of {command}") for command in (CRITICAL, BACKGROUND)], [1, 2], lines)
        self.assertIn(f"critical is {GOOD}", lines)

    def test_progress_gives_time_and_hanging_is_ended(self):
        manager = self.manager()
        for command in (PLACE, CRITICAL):
            manager.behave(command, "beat 3", "exit 0")
        manager.behave(BACKGROUND, "hang 30", "exit 0")
        lines = manager.boot(f"{UNTIL_BOTH}{SHOW.format('place')}{SHOW_BOTH}")
        for name in ("place", "critical", "background"):
            self.assertIn(f"{name} is {GOOD}", lines)
        begun = [sum(line.startswith(f"loader run --class {name} ") for line in lines) for name in ("critical", "background")]
        self.assertEqual((begun, lines.count(f"end of {BACKGROUND}")), ([1, 2], 1), lines)

    def test_one_that_is_told_to_stop_has_not_failed(self):
        for name, command in (("critical", CRITICAL), ("background", BACKGROUND)):
            with self.subTest(name):
                manager = self.manager(haste=False)
                manager.behave(command, "exit 0", "hang 30")
                unit = f"ociseed-{name}.service"
                script = f"systemctl --no-block restart {unit}\nsleep 1\nsystemctl stop {unit}\n{SHOW.format(name)}"
                self.assertIn(f"{name} is success inactive dead", manager.boot(script))

    def test_settle_is_not_stopped_by_hand(self):
        lines = self.manager().boot("systemctl stop ociseed-settle.service && echo stopped by hand >> LOG\n")
        self.assertNotIn("stopped by hand", lines)
        self.assert_order(lines, "containerd stopped", "loader settle")

    def test_a_restart_of_containerd_is_one_of_theirs(self):
        lines = self.manager().boot(f"systemctl restart containerd.service\n{UNTIL_BOTH}")
        self.assertEqual(lines.count(f"end of {CRITICAL}"), 2, lines)
        self.assertEqual(lines.count("end of settle"), 1, lines)


# The suite whose root has systemd because its recipe says so.
if rig.SUITE != "bookworm":
    del Started, Units


if __name__ == "__main__":
    unittest.main()
