"""Boots of an appliance with the units that the NixOS module makes (tests/golden/nix/module), their command lines as they are."""

import json
import tarfile
import unittest

import guest_base
import rig
from appliance_case import (
    JOB,
    NEXT,
    ONLY_LINKS,
    RUN_BOTH,
    SAY_INIT,
    STATUS,
    TEXTS,
    WEB,
    ApplianceCase,
    count_files,
    make_medium,
)
from partitions import partitioned

GOLDEN = rig.SOURCE / "tests/golden/nix/module"
SERVICES = [f"ociseed-{name}.service" for name in ("place", "critical", "background", "settle")]
# As tests/nix/module/cases.nix has them.
LOADER = "/nix/store/00000000000000000000000000000000-ociseed-loader/bin/ociseed-loader"
DISK = "/nix/store/11111111111111111111111111111111-appliance.erofs"
K3S_ROOT, K3S_ADDRESS = "/var/lib/rancher/k3s/agent/containerd", "/run/k3s/containerd/containerd.sock"
# What k3s is to the loader: a service that starts a containerd of its own, late, and that is up much later than that.
K3S = f"""
[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'sleep 5; env -u NOTIFY_SOCKET containerd --root {K3S_ROOT} --state /run/k3s/containerd --address {K3S_ADDRESS} \
--config /etc/containerd/config.toml & sleep 40; systemd-notify --ready; wait'
[Install]
WantedBy=multi-user.target
"""
AFTER = "[Unit]\nAfter=ociseed-background.service\n"
SHOW = f"systemctl show --property Id,ActiveState,SubState,Result {' '.join(SERVICES)} | cat\n"
JOURNAL = "journalctl --boot --output cat --unit 'ociseed-*' | cat\n"
STATE = "/var/lib/ociseed/state.json"
# What a user does, and what brings it back.
REMOVE = f"ctr --namespace k8s.io images rm --sync {WEB}\nsystemctl restart ociseed-critical.service\n"


class Nixos(ApplianceCase):
    def nixos(self, case, *, seed=None, in_store=False, units=()):
        """An appliance with the units of a case, and with the loader, and perhaps the disk, where NixOS has them."""
        members = {LOADER: rig.BINARIES / "ociseed-loader"}
        if in_store:
            members[DISK] = self.medium.image
        archive = self.directory / f"{case}.tar"
        with tarfile.open(archive, "w") as tar:
            for name, path in members.items():
                tar.add(path, name)
        directory = GOLDEN / case
        self.assertEqual(sorted(path.name for path in directory.glob("*.service")), sorted(SERVICES))
        files = {
            "/etc/tmpfiles.d/00-nixos.conf": (directory / "tmpfiles.conf").read_bytes(),
            "/etc/systemd/system/appliance.service.d/after.conf": AFTER,
        }
        all_units = [*(directory / name for name in SERVICES), *units]
        return self.appliance(seed, init="systemd", units=all_units, archives=[archive], files=files)

    def state(self, guest):
        """What the appliance remembers while it is off."""
        return json.loads(rig.run(["debugfs", "-R", f"cat {STATE}", guest.disk]).stdout)["state"]

    def assert_units_are_ready(self, console):
        self.assertEqual([console.lines.count(f"Id={name}") for name in SERVICES], [1] * len(SERVICES), console.text)
        for line in ("Result=success", "ActiveState=active", "SubState=exited"):
            self.assertEqual(console.lines.count(line), len(SERVICES), console.text)

    def test_with_the_disk_as_a_file_in_the_store(self):
        guest = self.nixos("file", in_store=True)
        first = guest.boot(SAY_INIT + JOURNAL + SHOW + count_files() + RUN_BOTH)
        self.assert_said(first, "init is systemd", self.seed_line("sealed", "hashed"), "placed ", ONLY_LINKS)
        # One for each class.
        self.assertEqual(sum(line.startswith("done settled=") for line in first.lines), 2, first.text)
        self.assert_ran(first)
        self.assert_units_are_ready(first)
        self.assertFalse(guest.has_unwritten_journal())
        second = guest.boot(STATUS + REMOVE + JOURNAL + SHOW + RUN_BOTH)
        self.assert_said(second, self.seed_line("sealed", "noted"), "kept ", "exit code 0", f"added name={WEB} ")
        self.assert_ran(second)
        self.assert_units_are_ready(second)
        # Something was changed, and noted by `settle` when the appliance went down.
        self.assertEqual(self.state(guest), "settled")

    def test_with_partitions_of_two_slots(self):
        other = make_medium(self.directory / "b", (NEXT,))
        slots = partitioned(self.directory / "both", {"seed-a": self.medium.image, "seed-b": other.image})
        guest = self.nixos("partition", seed=slots)
        console = guest.boot(JOURNAL + SHOW + count_files() + RUN_BOTH)
        self.assert_said(console, self.seed_line("sealed", "hashed"), f"previous seed id={other.seed_id} ", "placed ", ONLY_LINKS)
        self.assert_ran(console)
        self.assert_units_are_ready(console)

    def test_beside_a_containerd_that_another_service_starts(self):
        unit = self.directory / "k3s.service"
        unit.write_text(K3S)
        guest = self.nixos("k3s", in_store=True, units=[unit])
        run = f"export CONTAINERD_ADDRESS={K3S_ADDRESS}\n{RUN_BOTH}"
        state = "echo \"k3s is $(systemctl show --property ActiveState --value k3s.service)\"\n"
        console = guest.boot(JOURNAL + SHOW + state + count_files(K3S_ROOT) + run)
        # The images are there long before it is up, and none are in another root.
        self.assert_said(console, self.seed_line("sealed", "hashed"), f"placed engine=containerd root={K3S_ROOT} ")
        self.assert_said(console, "k3s is activating", ONLY_LINKS, TEXTS[WEB], TEXTS[JOB])
        self.assert_ran(console)
        self.assert_units_are_ready(console)


if not guest_base.IN_THIS_SUITE:
    del Nixos


if __name__ == "__main__":
    unittest.main()
