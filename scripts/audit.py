"""Known holes in what Telltale depends on: `pip-audit` over an environment, then `telltale doctor`.

    python scripts/audit.py .venv-bare/bin/python

pip-audit ends with success also where its advisory service answered nothing about a package; here that is exit code 2
and a sentence. Exit code 1: a known hole, or a version that `doctor` refuses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OURS = "telltale"


def main() -> int:
    python = Path(sys.argv[1])
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    command = [sys.executable, "-m", "pip_audit", "--path", where, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit could not do its work: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        return 2
    found = [package for package in found if package["name"] != OURS]
    unknown = [package["name"] for package in found if "skip_reason" in package]
    holes = [
        (package["name"], package["version"], hole["id"]) for package in found for hole in package.get("vulns", [])
    ]
    for name, version, hole in holes:
        print(f"{name} {version}: {hole}")
    print(f"{len(found) - len(unknown)} of {len(found)} packages audited, {len(holes)} known holes")
    doctor = subprocess.run([python, "-m", "telltale", "doctor"], check=False).returncode
    if holes or doctor:
        return 1
    if unknown:
        print(
            f"the advisory service said nothing about {len(unknown)} packages ({', '.join(unknown[:5])} ..): run this "
            "where https://pypi.org answers, or name another with PIP_AUDIT_VULNERABILITY_SERVICE=osv"
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
