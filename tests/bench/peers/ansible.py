"""Ansible, told to be quick: facts off, pipelining on, one persistent connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.bed import Bed, Run, Way
from tests.bench.peers.environment import environment
from tests.bench.peers.place import Place
from tests.support.project import Project

PACKAGE = "ansible-core>=2.19,<2.20"

CONFIG = """\
[defaults]
host_key_checking = True
gathering = explicit
interpreter_python = /usr/bin/python3
forks = 1
[ssh_connection]
pipelining = True
ssh_args = -F {config} -o ControlMaster=auto -o ControlPersist=60s -o ControlPath={directory}/cm-%C
"""
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  vars:
    home: /srv/{name}
    new: /srv/{name}/releases/{release}
  tasks:
    - name: Link the files of the release before
      ansible.builtin.shell: cp -al $(readlink -f {{{{ home }}}}/current) {{{{ new }}}}
    - name: Unpack the change
      ansible.builtin.unarchive: {{src: "{archive}", dest: "{{{{ new }}}}"}}
    - name: Collect the static files
      ansible.builtin.command: ../../venv/bin/python manage.py collectstatic --noinput
      args: {{chdir: "{{{{ new }}}}"}}
      environment: {{DJANGO_SETTINGS_MODULE: shop.settings}}
    - name: Migrate
      ansible.builtin.command: ../../venv/bin/python manage.py migrate --noinput
      args: {{chdir: "{{{{ new }}}}"}}
      environment: {{DJANGO_SETTINGS_MODULE: shop.settings}}
    - name: Switch
      ansible.builtin.file: {{src: "releases/{release}", dest: "{{{{ home }}}}/current", state: link}}
    - name: Restart
      ansible.builtin.systemd_service: {{name: "{name}", state: restarted}}
    - name: Check
      ansible.builtin.uri: {{url: "http://localhost/healthz", unix_socket: "/run/{name}/web.sock"}}
"""


@dataclass(slots=True, kw_only=True)
class Ansible:
    """A callable that makes a one-line change and deploys it by a playbook of seven tasks."""

    bed: Bed
    project: Project
    place: Place
    playbook: Path
    count: int = 0

    @classmethod
    def installed(cls, bed: Bed, project: Project, place: Place) -> Ansible | None:
        """Ready to deploy; None if Ansible cannot be had."""
        found = environment("ansible", PACKAGE)
        if found is None:
            return None
        return cls(bed=bed, project=project, place=place, playbook=found / "ansible-playbook")

    def __call__(self, way: Way) -> Run:
        self.bed.change(self.project)
        self.count += 1
        directory = self.bed.directory / f"ansible-{way.config.suffix[1:]}"
        directory.mkdir(exist_ok=True)
        archive, release = directory / "change.tgz", f"a{self.count}"
        (directory / "play.yml").write_text(PLAYBOOK.format(name=self.place.name, release=release, archive=archive))
        (directory / "ansible.cfg").write_text(CONFIG.format(config=way.config, directory=directory))
        changed = self.project.git("diff", "--name-only", "HEAD~1").splitlines()
        argv = [str(self.playbook), "-i", f"{way.name},", "-u", "root", "play.yml"]
        pack = ["tar", "-C", str(self.project.path), "-czf", str(archive), *changed]
        # The archive and the end of the persistent connection belong to the command: one wall time, no left-over.
        stop = f"ssh -F {way.config} -o ControlPath={directory}/cm-%C -O exit root@{way.name} 2>/dev/null; exit $s"
        script = f"{' '.join(pack)} && {' '.join(argv)}; s=$?; {stop}"
        return way.run(["sh", "-c", script], directory)
