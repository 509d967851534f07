"""Tests, by what they cost: `unit` needs no server, `server` shares one, `system` takes all else that is real.

Whatever the developer's shell or profile says is out of the way before Prefect is imported and reads it, and nothing is
written to the home folder.
"""

import atexit
import os
import shutil
import tempfile

for _name in [name for name in os.environ if name.startswith(("PREFECT_", "DEPLOYMENT_", "DOCKER_"))]:
    del os.environ[_name]
_home = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ |= {
    "PREFECT_HOME": _home,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",  # every client of Prefect's would read the certificates: 30 ms each
}
