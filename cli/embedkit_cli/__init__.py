"""The command line of embedkit: each command parses, calls one public function and prints."""

import os
import sys

from embedkit_cli.interrupts import leave_at_once

if os.path.basename(sys.argv[0] if sys.argv else "") in ("embedkit", "embedkit.exe"):  # and not a program that has us
    leave_at_once()  # importing the rest takes a moment; `main` puts its own handlers
