"""An appliance is updated and taken back, also with power cuts: each boot settles, and all containers see what they should."""

import json
import unittest

import guest_base
import rig
import updates
from updates import IMPORT, Boot, Cut
from updates_case import UpdatesCase

UNITS = rig.SOURCE / "systemd"
SERVICES = [f"ociseed-{name}.service" for name in ("place", "critical", "background", "settle")]
# It says nothing of ociseed; that what it runs is there is for the others to see to.
KUBELET = """
[Unit]
Requires=containerd.service
After=containerd.service
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/console
ExecStart=/usr/bin/ctr --namespace k8s.io run --rm docker.io/library/web:1 kubelet cat /etc/motd
[Install]
WantedBy=multi-user.target
"""
AFTER = "[Unit]\nAfter=ociseed-background.service kubelet.service\n"
SHOW = f"systemctl show --property Id,ActiveState,SubState,Result,StatusText {' '.join(SERVICES)} | cat\n"
JOURNAL = "journalctl --boot --output json --unit ociseed-critical.service --unit ociseed-background.service | cat\n"
STATE = "/var/lib/ociseed/state.json"


class Updates(UpdatesCase):
    def test_an_update_and_the_way_back_with_power_cuts(self):
        # What a user imported before is in the next seed, too.
        fleet = self.fleet(files=self.imported())
        a, b = Boot("a", only=()), Boot("b", "a", only=("web", "new"))
        first = fleet.boot(a, b, script=IMPORT, cut=Cut("^step blobs "))
        self.assert_settled(fleet, first, a)
        self.assertEqual((first.counts["files"], first.counts["read-back"]), (0, 0), first.console.text)
        # The tags are the next version's, the version before is there by its digest.
        back = Boot("a", "b", only=("web",))
        second = fleet.boot(b, back, cut=Cut("^step records "))
        self.assert_settled(fleet, second, b)
        # What was imported stays files, and its blobs are hashed after a power cut.
        self.assertGreater(second.counts["files"], 0)
        self.assertGreater(second.counts["read-back"], 0)
        # The way back, and on to a third version in the other slot.
        c = Boot("c", "a", only=("web", "new"))
        third = fleet.boot(back, c, cut=Cut("^step snapshots "))
        self.assert_settled(fleet, third, back)
        self.assert_settled(fleet, fleet.boot(c), c)

    def test_by_systemd_an_update_in_good_order(self):
        kubelet = self.directory / "kubelet.service"
        kubelet.write_text(KUBELET)
        files = {
            **self.imported(),
            "/etc/default/ociseed": self.options(Boot("a")),
            "/etc/systemd/system/appliance.service.d/after.conf": AFTER,
        }
        units = [*(UNITS / name for name in SERVICES), kubelet]
        fleet = self.fleet(init="systemd", units=units, files=files)
        # While it runs; what was imported is taken over as it is.
        script = IMPORT + self.set_options(Boot("b", "a"))
        script += f"systemctl restart ociseed-critical.service ociseed-background.service\n{SHOW}"
        b = Boot("b", "a", only=("new",))
        script += fleet.looks(b) + self.set_options(Boot("c", "b"))
        first = fleet.boot(None, script=script)
        self.assertIn("web of a", first.console.lines, first.console.text)
        self.assert_settled(fleet, first, b)
        self.assert_units_are_ready(first)
        self.assertGreater(first.counts["files"], 0)
        self.assertEqual(self.state(fleet)["state"], "settled")
        # A boot that changes something again, and hashes nothing of what is there.
        c = Boot("c", "b", only=())
        second = fleet.boot(c, script=SHOW + JOURNAL)
        self.assertIn("web of c", second.console.lines, second.console.text)
        self.assert_settled(fleet, second, c)
        self.assert_units_are_ready(second)
        self.assertEqual(second.counts["read-back"], 0)
        self.assert_journal(second)
        self.assertEqual(self.state(fleet)["state"], "settled")
        self.assertFalse(fleet.appliance.has_unwritten_journal())

    def options(self, boot):
        return updates.options(self.slots, boot)

    def set_options(self, boot):
        return f"cat >/etc/default/ociseed <<'END'\n{self.options(boot)}END\n"

    def state(self, fleet):
        """What the appliance remembers while it is off."""
        return json.loads(rig.run(["debugfs", "-R", f"cat {STATE}", fleet.appliance.disk]).stdout)

    def assert_units_are_ready(self, said):
        lines = said.console.lines
        for name in SERVICES:
            # Blocks of lines, in an order of systemd's own, with a blank one between.
            at = lines.index(f"Id={name}")
            first = max((n for n in range(at) if not lines[n]), default=at - 4)
            block = set(lines[max(first, at - 4) : at + 5])
            ready = {"Result=success", "ActiveState=active", "SubState=exited"}
            self.assertLessEqual(ready, block, f"{name}\n{said.console.text}")

    def assert_journal(self, said):
        """The loader's lines are in the journal with the priorities of docs/loader.md, and without what says them."""
        entries = [json.loads(line) for line in said.console.lines if line.startswith("{")]
        found = {}
        for entry in entries:
            if entry.get("_COMM") == "ociseed-loader" and isinstance(entry["MESSAGE"], str):
                found.setdefault(entry["MESSAGE"].split()[0], set()).add(entry["PRIORITY"])
        expected = {"seed": {"5"}, "step": {"7"}, "added": {"6"}, "updated": {"6"}, "done": {"5"}}
        self.assertLessEqual(expected.items(), found.items(), said.console.text)


if not guest_base.IN_THIS_SUITE:
    del Updates


if __name__ == "__main__":
    unittest.main()
